"""Training and evaluating a model. The loop is the caller's: `fit` only says what happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_rnn.optim.clipping import clip_by_value, clipped_by_norm
from tinygrad_rnn.optim.optimizer import Optimizer
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.training.gradients import Learner, passes
from tinygrad_rnn.training.penalties import Penalties

Batches = Callable[[int], Iterable[Any]]
"""Gives the batches of an epoch, the same ones each time it is asked for the same epoch."""


@dataclass
class Progress:
    """Where a run stands. Saved and given back to `fit`, it continues there.

    Attributes:
        epoch, batch: so many batches into this epoch, from 0.
        step: how many steps were made.
        state: to carry on from.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    state: Any = None


@dataclass(frozen=True)
class Record:
    """One step of `fit`.

    Attributes:
        step, epoch: the first step is 1, the first epoch 0.
        loss: the mean (nats per token, in a language model) over `count` tokens or examples, without the penalties.
        gradient_norm: before clipping.
        lr: the learning rate.
        applied: False where the gradient was NaN or infinite, and the step was skipped.
        seconds: that it took.
        last_of_epoch: whether it was.
        penalties: their means by name.
    """

    step: int
    epoch: int
    loss: float
    count: int
    gradient_norm: float
    lr: float
    applied: bool
    seconds: float
    last_of_epoch: bool
    penalties: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on some batches.

    Attributes:
        loss: the mean (nats per token, in a language model) over `count` tokens or examples.
        metrics: a task's, by name.
        sums, counts: the summed loss and the count of each batch, where they are known.

    Example:
        >>> found = training.Evaluation(loss=1.3862943611, count=100)
        >>> round(found.perplexity, 6), round(found.bits, 6)
        (4.0, 2.0)
    """

    loss: float
    count: int
    metrics: dict[str, float] = field(default_factory=dict)
    sums: Sequence[float] = field(default=(), repr=False)
    counts: Sequence[int] = field(default=(), repr=False)

    @property
    def perplexity(self) -> float:
        """exp of a loss in nats: the number of equally likely answers that would be as hard to guess."""
        return math.exp(min(self.loss, 700.0))

    @property
    def bits(self) -> float:
        """A loss in nats, in bits."""
        return self.loss / math.log(2)


def fit(
    model: Learner,
    optimizer: Optimizer,
    batches: Batches,
    *,
    progress: Progress | None = None,
    carry: bool = False,
    rng: np.random.Generator | None = None,
    clip_norm: float | None = None,
    clip_limit: float | None = None,
    penalties: Penalties | None = None,
    ranks: Ranks = ONE_PROCESS,
) -> Iterator[Record]:
    """Trains without end, one Record a step; the caller's `for` decides when to log, to save and to stop. A step whose
    gradient is NaN or infinite is skipped, and the Record says so.

    Args:
        model: what has a `batch_loss`, as a LanguageModel has.
        optimizer: of its parameters.
        batches: a function of the epoch's number, from 0, that gives its batches, the same ones each time.
        progress: where to begin; kept up to date before each Record is given out.
        carry: starts each batch of an epoch from the last state of the one before, without its history: truncated
            back-propagation through time (Williams & Peng 1990) over contiguous streams.
        rng: draws dropout masks; without it there is no dropout.
        clip_norm: bounds the norm of the whole gradient (Pascanu et al. 2013).
        clip_limit: bounds each of its entries.
        penalties: weights by name: what the cells note under it (`Cell.note`) is added to the loss, its mean times the
            weight.
        ranks: those that train together (`tinygrad_rnn.ranks.by_mpi.everyone()`): the batches are this rank's shares of
            those of all, None for a batch of which it has no row, and every rank makes the step of the whole batch.

    Raises:
        ValueError: an epoch has no batches, or fewer than `progress` says, or nothing notes a penalty.

    Example:
        >>> ids = [np.array([2, 4, 5, 4, 5, 4, 5, 3])] * 8
        >>> model = models.LanguageModel(vocab_size=6, embedding_size=8, hidden_size=8)
        >>> adam = optim.Adam(model.parameters(), lr=0.02)
        >>> batches = lambda epoch: data.bucketed(ids, 4)
        >>> for record in training.fit(model, adam, batches, clip_norm=1.0):
        ...     if record.step == 60:
        ...         break
        >>> training.evaluate(model, batches(0)).perplexity < 1.5
        True
    """
    progress = Progress() if progress is None else progress
    passed = passes(model, optimizer, penalties, ranks)
    while True:
        ahead = _with_last(batches(progress.epoch))
        for number, (batch, last) in enumerate(ahead):
            if number < progress.batch:
                continue  # done before the run was interrupted
            start = time.perf_counter()
            found = passed(batch, rng, progress.state)
            norm = clipped_by_norm(optimizer.parameters, math.inf if clip_norm is None else clip_norm)
            if clip_limit is not None:
                clip_by_value(optimizer.parameters, clip_limit)
            applied = optimizer.step()
            epoch = progress.epoch
            progress.step += 1
            progress.batch = number + 1
            # The state that gave a gradient without numbers may have none itself: the streams begin anew.
            progress.state = _detached(found.state) if carry and applied and found.state is not None else None
            if last:
                progress.epoch, progress.batch, progress.state = epoch + 1, 0, None
            yield Record(
                step=progress.step,
                epoch=epoch,
                loss=found.loss(),
                count=found.count,
                gradient_norm=norm(),
                lr=optimizer.lr,
                applied=applied,
                seconds=time.perf_counter() - start,
                last_of_epoch=last,
                penalties={name: mean() for name, mean in found.penalties.items()},
            )
        if progress.batch:
            raise ValueError(f"fit: progress is {progress.batch} batches into an epoch that has only {number + 1}")


def _detached(state: Any) -> Any:
    """The state without its history; its parts are tuples where the layers' sizes differ."""
    return tuple(_detached(part) for part in state) if isinstance(state, tuple) else state.detach()


def _with_last(batches: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Each batch, and whether it is the last."""
    iterator = iter(batches)
    try:
        held = next(iterator)
    except StopIteration:
        raise ValueError("fit: an epoch must have at least one batch, got none") from None
    for batch in iterator:
        yield held, False
        held = batch
    yield held, True


def evaluate(model: Learner, batches: Iterable[Any], *, carry: bool = False) -> Evaluation:
    """The mean loss over all that counts in the batches, without noise.

    Args:
        model: what has a `batch_loss`, as a LanguageModel has.
        batches: as the model takes them.
        carry: starts each from the last state of the one before.

    Raises:
        ValueError: nothing counts.

    Example:
        >>> model = models.LanguageModel(vocab_size=6, embedding_size=8, hidden_size=8)
        >>> training.evaluate(model, data.bucketed([np.array([2, 4, 5, 3])], 1)).count
        3
    """
    sums, counts, state = list[float](), list[int](), None
    with no_grad():
        for batch in batches:
            loss, counted, after = model.batch_loss(batch, None, state, "sum")
            state = after if carry else None
            sums.append(loss.item())
            counts.append(counted)
    if not (count := sum(counts)):
        raise ValueError("evaluate: there must be at least one token or example to predict, got none")
    return Evaluation(sum(sums, 0.0) / count, count, sums=sums, counts=counts)
