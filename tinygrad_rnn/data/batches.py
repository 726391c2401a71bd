"""Batches of ids: whole sentences side by side, or windows of contiguous streams.

Batches are time-major, (T,B), and stand one token ahead of themselves: `targets[t]` follows `inputs[t]`. A weight
of 1 marks the targets that count, which are the same whatever the batching: every token but START.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.ragged import Ragged
from tinygrad_rnn.data.vocabulary import Ids


@dataclass(frozen=True)
class Batch:
    """Teacher forcing: the model reads inputs and is asked for targets, which stand one token ahead. It stays on the
    host, also where the model is on a GPU: the embedding and the loss move what they compute with, and what the host
    must know (whether ids are in the table, how many targets count) it need not wait for.

    Attributes:
        inputs, targets: (T,B) int64.
        weights: (T,B) float32, 1 where the target counts and 0 elsewhere.
        lengths: (B,) int64, the rows' own where they end at different steps, and None where all run through.
    """

    inputs: Ids
    targets: Ids
    weights: HostArray
    lengths: Ids | None = None

    @property
    def tokens(self) -> int:
        """How many targets count."""
        return int((self.weights > 0).sum())

    def rows(self, which: slice) -> Batch | None:
        """The batch of some of its rows, as long as the longest of them; None where that is none of them."""
        lengths = None if self.lengths is None else self.lengths[which]
        inputs, targets, weights = (array[:, which] for array in (self.inputs, self.targets, self.weights))
        if not inputs.shape[1]:
            return None
        until = len(inputs) if lengths is None else int(lengths.max())
        return Batch(inputs[:until], targets[:until], weights[:until], lengths)


def bucketed(
    encoded: Iterable[Ids],
    batch_size: int,
    *,
    padding: int = 0,
    rng: np.random.Generator | None = None,
    max_length: int | None = None,
) -> Iterator[Batch]:
    """Batches of whole sentences (START ... END) of like length, padded to the longest.

    Args:
        encoded: sequences of ids, (T,) each.
        batch_size: B; the last batch may be smaller.
        padding: the id after the end of a row.
        rng: shuffles the sentences of equal length, and the batches; without it the shortest come first.
        max_length: a sentence of more targets is read in pieces that each begin anew with the token that the one before
            ended with, so that every target is still asked for once.

    Raises:
        TextError: there is no target.

    Example:
        >>> batch, = data.bucketed([np.array([2, 7, 8, 3]), np.array([2, 9, 3])], batch_size=2)
        >>> batch.inputs
        array([[2, 2], [9, 7], [0, 8]])
        >>> batch.targets
        array([[9, 7], [3, 8], [0, 3]])
        >>> batch.lengths, batch.tokens
        (array([2, 3]), 5)
    """
    return iter(BucketedBatches(encoded, batch_size, padding=padding, rng=rng, max_length=max_length))


def stream(encoded: Iterable[Ids], batch_size: int, steps: int, *, start: int, warm_up: int = 0) -> Iterator[Batch]:
    """All sequences end to end, laid out as contiguous streams and cut into windows: the row of a batch goes on where
    the same row of the batch before ended (truncated BPTT with a carried state).

    Every token is the target of one row at one step; targets that are START do not count, and the first token of all
    has nothing before it. The streams differ by at most one token, and the shorter ones end in a target that does not
    count. The last window may be short. A text of fewer than `batch_size * steps` targets gets fewer streams, of
    `steps` at the least where it has that many.

    Args:
        encoded: sequences of ids, (T,) each.
        batch_size: B, how many streams.
        steps: T of a window.
        start: the id of START.
        warm_up: every stream but the first also reads that many tokens before its own, which do not count: what a model
            makes of a text then does not depend on where the streams begin, nor on how many there are. There are no
            more streams than leave each so many tokens that count.

    Raises:
        TextError: there is no target.

    Example:
        >>> first, second = data.stream([np.arange(13)], batch_size=2, steps=3, start=0)
        >>> first.inputs
        array([[0, 6], [1, 7], [2, 8]])
        >>> second.inputs
        array([[ 3,  9], [ 4, 10], [ 5, 11]])
    """
    return iter(StreamBatches(encoded, batch_size, steps, start=start, warm_up=warm_up))


class _Batches(Sequence[Batch], ABC):
    """Batches by number, each made when it is asked for."""

    @abstractmethod
    def _batch(self, number: int) -> Batch: ...

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        numbers = range(len(self))[index]
        return self._batch(numbers) if isinstance(numbers, int) else [self._batch(number) for number in numbers]


class BucketedBatches(_Batches):
    """What `bucketed` gives."""

    def __init__(
        self,
        encoded: Iterable[Ids],
        batch_size: int,
        *,
        padding: int = 0,
        rng: np.random.Generator | None = None,
        max_length: int | None = None,
    ) -> None:
        _at_least_one("batch_size", batch_size)
        self._text, self._size, self._padding = Ragged.of(encoded), batch_size, padding
        begins, lengths = self._text.begins, self._text.lengths
        if max_length is not None:
            begins, lengths = _pieces(begins, lengths, _at_least_one("max_length", max_length))
        begins, lengths = begins[lengths > 1], lengths[lengths > 1]
        if not len(begins):
            raise TextError("batches need a sequence of at least 2 ids, got none")
        order = np.arange(len(begins)) if rng is None else rng.permutation(len(begins))
        order = order[np.argsort(lengths[order], kind="stable")]
        self._begins, self._lengths = begins[order], lengths[order]
        firsts = np.arange(0, len(begins), batch_size)
        self._firsts = firsts if rng is None else rng.permutation(firsts)

    def __len__(self) -> int:
        return len(self._firsts)

    def _batch(self, number: int) -> Batch:
        rows = slice(self._firsts[number], self._firsts[number] + self._size)
        begins, lengths = self._begins[rows], self._lengths[rows] - 1
        step = np.arange(int(lengths.max()) + 1)[:, None]
        ids = self._text.flat[begins + np.minimum(step, lengths)].astype(np.int64)
        ids = np.where(step <= lengths, ids, self._padding)
        weights = (step[:-1] < lengths).astype(np.float32)
        return Batch(np.where(weights > 0, ids[:-1], self._padding), ids[1:], weights, lengths)


def _pieces(begins: HostArray, lengths: HostArray, step: int) -> tuple[HostArray, HostArray]:
    """Sequences in pieces of `step` targets, of which each begins with the last id of the one before."""
    counts = np.maximum(-(-(lengths - 1) // step), 0)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = np.repeat(begins + lengths, counts)
    firsts = np.repeat(begins, counts) + place * step
    return firsts, np.minimum(ends - firsts, step + 1)


class StreamBatches(_Batches):
    """What `stream` gives."""

    def __init__(self, encoded: Iterable[Ids], batch_size: int, steps: int, *, start: int, warm_up: int = 0) -> None:
        _at_least_one("batch_size", batch_size)
        self._steps, self._start = _at_least_one("steps", steps), start
        if warm_up < 0:
            raise TextError(f"warm_up must be at least 0, got {warm_up}")
        self._flat = Ragged.of(encoded).flat
        if len(self._flat) < 2:
            raise TextError(f"a stream needs at least 2 ids, got {len(self._flat)}")
        total = len(self._flat) - 1
        rows = min(batch_size, max(total // max(steps, warm_up), 1))
        # All streams are of one length, so the first, which reads nothing beforehand, has more of its own.
        self._begins = warm_up + np.arange(rows + 1) * (total - warm_up) // rows
        self._begins[0] = 0
        self._reads = np.maximum(self._begins[:-1] - warm_up, 0)
        self._length = int((self._begins[1:] - self._reads).max())

    def __len__(self) -> int:
        return math.ceil(self._length / self._steps)

    def _batch(self, number: int) -> Batch:
        begin = number * self._steps
        step = np.arange(begin, min(begin + self._steps, self._length))[:, None]
        positions = self._reads + step  # (T,B): where in the text each input stands
        own = (self._begins[:-1] <= positions) & (positions < self._begins[1:])
        inside = positions < self._begins[1:]
        positions = np.minimum(positions, len(self._flat) - 2)
        inputs = np.where(inside, self._flat[positions], self._start).astype(np.int64)
        targets = np.where(inside, self._flat[positions + 1], self._start).astype(np.int64)
        return Batch(inputs, targets, (own & (targets != self._start)).astype(np.float32))


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise TextError(f"{name} must be at least 1, got {value}")
    return value
