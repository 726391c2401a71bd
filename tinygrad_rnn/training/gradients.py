"""The gradient of one step: of a process by itself, or of several that share the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from tinygrad_rnn.models.notes import LayerNotes, notes_of_layers
from tinygrad_rnn.ops.rows import Reduction
from tinygrad_rnn.optim.optimizer import Optimizer
from tinygrad_rnn.ranks.processes import Ranks
from tinygrad_rnn.ranks.summing import GradientSum
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.training.penalties import Penalties, penalised


class Learner(Protocol):
    """What can be trained: a LanguageModel, say."""

    def batch_loss(
        self, batch: Any, rng: np.random.Generator | None, state: Any, reduction: Reduction
    ) -> tuple[Tensor, int, Any]:
        """The loss of a batch, "mean" or "sum" (scalar), over how many tokens or examples, and the state to carry on
        from. `rng` draws the noise of training; without it there is none."""


@dataclass(frozen=True)
class Passed:
    """A forward and a backward pass, after which every parameter has its gradient: what tells the mean loss, over how
    many it is, the state to carry on from, and what tells the means of the penalties, by name. On a GPU who asks for a
    number waits."""

    loss: Callable[[], float]
    count: int
    state: Any
    penalties: Mapping[str, Callable[[], float]] = field(default_factory=dict)


class Passes(Protocol):
    """Makes them."""

    def __call__(self, batch: Any, rng: np.random.Generator | None, state: Any) -> Passed: ...


def passes(model: Learner, optimizer: Optimizer, penalties: Penalties | None, ranks: Ranks) -> Passes:
    """Those of a process by itself, or of one of several ranks."""
    kind = _Shared if ranks.size > 1 else _Own
    return kind(model, optimizer, penalties or {}, ranks)


class _Own:
    """Of a process that has the whole batch."""

    def __init__(self, model: Learner, optimizer: Optimizer, penalties: Penalties, ranks: Ranks) -> None:
        self.model, self.optimizer, self.penalties = model, optimizer, penalties

    def __call__(self, batch: Any, rng: np.random.Generator | None, state: Any) -> Passed:
        with _noted(self.penalties) as noted:
            loss, count, after = self.model.batch_loss(batch, rng, state, "mean")
        total, means = penalised(loss, noted, self.penalties)
        self.optimizer.zero_grad()
        total.backward()
        return Passed(loss.item, count, after, {name: mean.item for name, mean in means.items()})


class _Shared:
    """Of a rank, which has its share of the batch, or None where there are fewer rows than ranks. Losses and gradients
    are sums here, and become means of the whole batch when those of all ranks are added up."""

    def __init__(self, model: Learner, optimizer: Optimizer, penalties: Penalties, ranks: Ranks) -> None:
        self.model, self.optimizer, self.penalties, self.ranks = model, optimizer, penalties, ranks
        self.summed = GradientSum(ranks, optimizer.parameters)

    def __call__(self, batch: Any, rng: np.random.Generator | None, state: Any) -> Passed:
        loss: Tensor | None = None
        count, after = 0, None
        with _noted(self.penalties) as noted:
            if batch is not None:
                loss, count, after = self.model.batch_loss(batch, rng, state, "sum")
        self.optimizer.zero_grad()
        total, means = self._penalised(loss, count, noted) if self.penalties else (loss, {})
        self.summed.backward(total)
        told = [_told(loss), count, *(_told(means.get(name)) for name in self.penalties)]
        nats, whole, *summed_means = self.summed.exchange(told).sum(axis=0).tolist()
        self.summed.finish(1 / max(whole, 1))
        known = {name: partial(float, mean) for name, mean in zip(self.penalties, summed_means, strict=True)}
        return Passed(lambda: nats / max(whole, 1), int(whole) if whole.is_integer() else whole, after, known)

    def _penalised(
        self, loss: Tensor | None, count: int, noted: list[LayerNotes]
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The summed loss with this rank's part of the penalties, as a sum too, and that part by name."""
        every = self.ranks.allgather((count, [layer.count for layer in noted]))
        steps = [sum(each) for each in zip(*(counts for _, counts in every if counts), strict=True)]
        if loss is None:
            return None, {}
        whole = sum(each for each, _ in every)
        parts = [layer.count / step if step else 0.0 for layer, step in zip(noted, steps, strict=True)]
        return penalised(loss, noted, self.penalties, parts, max(whole, 1))


def _told(mean: Tensor | None) -> float:
    return 0.0 if mean is None else mean.item()


@contextmanager
def _noted(penalties: Penalties) -> Iterator[list[LayerNotes]]:
    """Within it layers write down what their cells note, where something is made of it."""
    if not penalties:
        yield []
        return
    with notes_of_layers() as noted:
        yield noted
