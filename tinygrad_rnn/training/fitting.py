"""Training and evaluating a language model. The loop is the caller's: `fit` only says what happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_rnn.data.batches import Batch
from tinygrad_rnn.models.language import LanguageModel, perplexity
from tinygrad_rnn.optim.clipping import clip_by_norm, clip_by_value
from tinygrad_rnn.optim.optimizer import Optimizer
from tinygrad_rnn.surroundings import no_grad

Batches = Callable[[int], Iterable[Batch]]
"""Gives the batches of an epoch, the same ones each time it is asked for the same epoch."""


@dataclass
class Progress:
    """Where a run stands: `batch` batches into `epoch`, after `step` steps, and the state to carry on from. Saved and
    given back to `fit`, it continues there."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    state: Any = None


@dataclass(frozen=True)
class Record:
    """One step: `loss` in nats per token over `tokens` tokens, the gradient's norm before clipping, the learning rate,
    whether the step was applied (not where the gradient was NaN or infinite), and its seconds."""

    step: int
    epoch: int
    loss: float
    tokens: int
    gradient_norm: float
    lr: float
    applied: bool
    seconds: float
    last_of_epoch: bool


@dataclass(frozen=True)
class Evaluation:
    """`nats` per token over `tokens` tokens."""

    nats: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """exp(nats)."""
        return perplexity(self.nats)

    @property
    def bits(self) -> float:
        """Bits per token."""
        return self.nats / math.log(2)


def fit(
    model: LanguageModel,
    optimizer: Optimizer,
    batches: Batches,
    *,
    progress: Progress | None = None,
    carry: bool = False,
    rng: np.random.Generator | None = None,
    clip_norm: float | None = None,
    clip_limit: float | None = None,
) -> Iterator[Record]:
    """Trains without end, one Record a step; the caller's `for` decides when to log, to save and to stop. A step whose
    gradient is NaN or infinite is skipped, and the Record says so.

    `carry` starts each batch of an epoch from the last state of the one before, without its history: truncated
    back-propagation through time (Williams & Peng 1990) over contiguous streams. `rng` draws dropout masks;
    `clip_norm` bounds the norm of the whole gradient (Pascanu et al. 2013), `clip_limit` each of its entries.
    `progress` is kept up to date before each Record is given out. Raises ValueError for an epoch without batches, and
    for one that is shorter than `progress` says."""
    progress = Progress() if progress is None else progress
    while True:
        ahead = _with_last(batches(progress.epoch))
        for number, (batch, last) in enumerate(ahead):
            if number < progress.batch:
                continue  # done before the run was interrupted
            start = time.perf_counter()
            loss, state = model.loss(
                batch.inputs,
                batch.targets,
                batch.weights,
                progress.state,
                batch.lengths,
                rng,
                reduction="mean",
            )
            optimizer.zero_grad()
            loss.backward()
            norm = clip_by_norm(optimizer.parameters, math.inf if clip_norm is None else clip_norm)
            if clip_limit is not None:
                clip_by_value(optimizer.parameters, clip_limit)
            applied = optimizer.step()
            epoch = progress.epoch
            progress.step += 1
            progress.batch = number + 1
            # The state that gave a gradient without numbers may have none itself: the streams begin anew.
            progress.state = _detached(state) if carry and applied else None
            if last:
                progress.epoch, progress.batch, progress.state = epoch + 1, 0, None
            yield Record(
                step=progress.step,
                epoch=epoch,
                loss=loss.item(),
                tokens=batch.tokens,
                gradient_norm=float(norm),
                lr=optimizer.lr,
                applied=applied,
                seconds=time.perf_counter() - start,
                last_of_epoch=last,
            )
        if progress.batch:
            raise ValueError(f"fit: progress is {progress.batch} batches into an epoch that has only {number + 1}")


def _detached(state: Any) -> Any:
    """The state without its history; its parts are tuples where the layers' sizes differ."""
    return tuple(_detached(part) for part in state) if isinstance(state, tuple) else state.detach()


def _with_last(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
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


def evaluate(model: LanguageModel, batches: Iterable[Batch], *, carry: bool = False) -> Evaluation:
    """The mean nats per counted token over all batches, without dropout. Raises ValueError where nothing counts."""
    nats, tokens, state = 0.0, 0, None
    with no_grad():
        for batch in batches:
            loss, after = model.loss(batch.inputs, batch.targets, batch.weights, state, batch.lengths, reduction="sum")
            state = after if carry else None
            nats += loss.item()
            tokens += batch.tokens
    if not tokens:
        raise ValueError("evaluate: there must be at least one token to predict, got none")
    return Evaluation(nats / tokens, tokens)
