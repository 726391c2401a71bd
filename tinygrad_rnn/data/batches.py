"""Batches of ids: whole sentences side by side, or windows of contiguous streams.

Batches are time-major, (T,B), and stand one token ahead of themselves: `targets[t]` follows `inputs[t]`. A weight
of 1 marks the targets that count, which are the same whatever the batching: every token but START.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinygrad_rnn.backend import HostArray, to_device
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.vocabulary import Ids


@dataclass(frozen=True)
class Batch:
    """Teacher forcing: the model reads inputs (T,B) and is asked for targets (T,B), both int64.

    weights (T,B) float32 are 1 where the target counts and 0 elsewhere; lengths (B,) int64 are the rows' own where
    they end at different steps, and None where all run through."""

    inputs: Ids
    targets: Ids
    weights: HostArray
    lengths: Ids | None = None

    @property
    def tokens(self) -> int:
        """How many targets count."""
        return int((self.weights > 0).sum())

    def to(self, device: str) -> Batch:
        """The same batch on "cpu" or "cuda"."""
        lengths = None if self.lengths is None else to_device(self.lengths, device)
        arrays = (to_device(array, device) for array in (self.inputs, self.targets, self.weights))
        return replace(self, **dict(zip(("inputs", "targets", "weights"), arrays, strict=True)), lengths=lengths)


def bucketed(
    encoded: Iterable[Ids],
    batch_size: int,
    *,
    padding: int = 0,
    rng: np.random.Generator | None = None,
    max_length: int | None = None,
) -> Iterator[Batch]:
    """Batches of whole sentences (START ... END) of like length, padded to the longest.

    With `rng` the sentences of equal length and the batches are shuffled; without it the shortest come first. A
    sentence of more than `max_length` targets is read in pieces that each begin anew with the token that the one
    before ended with, so that every target is still asked for once. Raises TextError where there is no target."""
    _at_least_one("batch_size", batch_size)
    step = None if max_length is None else _at_least_one("max_length", max_length)
    pieces = [
        ids[begin : begin + (step or len(ids)) + 1]
        for ids in encoded
        for begin in range(0, len(ids) - 1, step or len(ids))
    ]
    if not pieces:
        raise TextError("batches need a sequence of at least 2 ids, got none")
    if rng is not None:
        pieces = [pieces[i] for i in rng.permutation(len(pieces))]
    pieces.sort(key=len)
    begins = np.arange(0, len(pieces), batch_size)
    for begin in begins if rng is None else rng.permutation(begins):
        yield _padded(pieces[begin : begin + batch_size], padding)


def _padded(rows: list[Ids], padding: int) -> Batch:
    lengths = np.array([len(row) - 1 for row in rows], dtype=np.int64)
    ids = np.full((int(lengths.max()) + 1, len(rows)), padding, dtype=np.int64)
    for b, row in enumerate(rows):
        ids[: len(row), b] = row
    weights = (np.arange(len(ids) - 1)[:, None] < lengths).astype(np.float32)
    return Batch(np.where(weights > 0, ids[:-1], padding), ids[1:], weights, lengths)


def stream(encoded: Iterable[Ids], batch_size: int, steps: int, *, start: int, warm_up: int = 0) -> Iterator[Batch]:
    """All sequences end to end, laid out as `batch_size` contiguous streams and cut into windows of `steps`: the
    row of a batch goes on where the same row of the batch before ended (truncated BPTT with a carried state).

    Every token is the target of one row at one step; targets that are START do not count, and the first token of
    all has nothing before it. The streams differ by at most one token, and the shorter ones end in a target that
    does not count. The last window may be short. A text of fewer than `batch_size * steps` targets gets fewer
    streams, of `steps` at the least where it has that many.

    With `warm_up` every stream but the first also reads that many tokens before its own, which do not count: what a
    model makes of a text then does not depend on where the streams begin, nor on how many there are. The first has
    nothing before it. There are no more streams than leave each `warm_up` tokens that count. Raises TextError where
    there is no target."""
    _at_least_one("batch_size", batch_size)
    _at_least_one("steps", steps)
    if warm_up < 0:
        raise TextError(f"warm_up must be at least 0, got {warm_up}")
    sequences = list(encoded)
    flat = np.concatenate(sequences) if sequences else np.zeros(0, dtype=np.int64)
    if len(flat) < 2:
        raise TextError(f"a stream needs at least 2 ids, got {len(flat)}")
    total = len(flat) - 1
    rows = min(batch_size, max(total // max(steps, warm_up), 1))
    # All streams are of one length, so the first, which reads nothing beforehand, has more of its own.
    begins = warm_up + np.arange(rows + 1) * (total - warm_up) // rows
    begins[0] = 0
    reads = np.maximum(begins[:-1] - warm_up, 0)
    positions = reads + np.arange((begins[1:] - reads).max())[:, None]  # (T,B): where in the text each input stands
    own = (begins[:-1] <= positions) & (positions < begins[1:])
    inside = positions < begins[1:]
    positions = np.minimum(positions, total - 1)
    inputs = np.where(inside, flat[positions], start)
    targets = np.where(inside, flat[positions + 1], start)
    weights = (own & (targets != start)).astype(np.float32)
    return (
        Batch(inputs[t : t + steps], targets[t : t + steps], weights[t : t + steps])
        for t in range(0, len(inputs), steps)
    )


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise TextError(f"{name} must be at least 1, got {value}")
    return value
