"""The optimiser that the options name, and the schedule of its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_rnn.optim.formulas import SGD, AdaDelta, AdaGrad, Adam, RMSprop
from tinygrad_rnn.optim.optimizer import Optimizer
from tinygrad_rnn.optim.schedules import CosineDecay, ExponentialDecay, HalveOnRise, Schedule
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.ranks.split_optimizer import SplitOptimizer
from tinygrad_rnn.training.options import OptionError, RunOptions

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": AdaGrad,
    "adadelta": AdaDelta,
    "rmsprop": RMSprop,
    "adam": Adam,
}
"""By the names that options have for them."""


def make_optimizer(options: RunOptions, parameters: Any, ranks: Ranks = ONE_PROCESS) -> Optimizer:
    """The optimiser that the options name, over (name, Parameter) pairs; split over ranks where they say so."""
    kind, given = OPTIMIZERS[options.optimizer], _settings(options)
    if options.split_optimizer and ranks.size > 1:
        return SplitOptimizer(parameters, ranks, lambda pieces: kind(pieces, **given))
    return kind(parameters, **given)


def _settings(options: RunOptions) -> dict[str, Any]:
    """What the optimiser is given beside parameters."""
    given: dict[str, Any] = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
    if options.optimizer == "sgd":
        given["momentum"] = options.momentum
    if options.decay is not None:
        given["decay"] = options.decay
    return given


def make_schedule(
    options: RunOptions, optimizer: Optimizer, batches: Callable[[int], Sequence[Any]]
) -> Schedule | HalveOnRise | None:
    """The schedule that the options name, of which a step is an evaluation; None for a constant rate.

    `batches` gives those of an epoch; it is called only where the schedule depends on how many there are. Raises
    OptionError where the options do not say when a cosine ends."""
    if options.schedule == "halve":
        return HalveOnRise(optimizer)
    if options.schedule == "exponential":
        return ExponentialDecay(optimizer, 0.9)
    if options.schedule == "cosine":
        if options.epochs is None:
            raise OptionError("the schedule cosine needs epochs, to know where it ends")
        evaluations = options.epochs
        if options.evaluate_every is not None:
            evaluations = evaluations * len(batches(0)) // options.evaluate_every
        return CosineDecay(optimizer, max(evaluations, 1), final=0.01)
    return None
