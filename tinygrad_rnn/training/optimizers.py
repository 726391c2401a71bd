"""The optimiser that the settings name, and the schedule of its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_rnn.data.batches import Batch
from tinygrad_rnn.optim.formulas import SGD, AdaDelta, AdaGrad, Adam, RMSprop
from tinygrad_rnn.optim.optimizer import Optimizer
from tinygrad_rnn.optim.schedules import CosineDecay, ExponentialDecay, HalveOnRise, Schedule
from tinygrad_rnn.training.settings import Settings, SettingsError

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": AdaGrad,
    "adadelta": AdaDelta,
    "rmsprop": RMSprop,
    "adam": Adam,
}
"""By the names that settings have for them."""


def make_optimizer(settings: Settings, parameters: Any) -> Optimizer:
    """The optimiser that the settings name, over (name, Parameter) pairs."""
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        options["momentum"] = settings.momentum
    if settings.decay is not None:
        options["decay"] = settings.decay
    return OPTIMIZERS[settings.optimizer](parameters, **options)


def make_schedule(
    settings: Settings, optimizer: Optimizer, batches: Callable[[int], Sequence[Batch]]
) -> Schedule | HalveOnRise | None:
    """The schedule that the settings name, of which a step is an evaluation; None for a constant rate.

    `batches` gives those of an epoch; it is called only where the schedule depends on how many there are. Raises
    SettingsError where the settings do not say when a cosine ends."""
    if settings.schedule == "halve":
        return HalveOnRise(optimizer)
    if settings.schedule == "exponential":
        return ExponentialDecay(optimizer, 0.9)
    if settings.schedule == "cosine":
        if settings.epochs is None:
            raise SettingsError("the schedule cosine needs epochs, to know where it ends")
        evaluations = settings.epochs
        if settings.evaluate_every is not None:
            evaluations = evaluations * len(batches(0)) // settings.evaluate_every
        return CosineDecay(optimizer, max(evaluations, 1), final=0.01)
    return None
