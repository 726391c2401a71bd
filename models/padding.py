"""Padding: rows of a batch that end before others, and what stands in for them after their end.

Every row goes on until the longest one ends. What a padded step computes is thrown away, and its gradient is zero; but
zero times a derivative that is infinite is NaN, and `x / |x|` or `log x` have one at the zeros that padding is made of.
So a padded step computes what the longest row computes: on that row's input, from that row's state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array, HostArray, to_host, xp
from tinygrad_rnn.ops.indexing import _row_at
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tensor import Tensor


def checked_lengths(xs: Any, lengths: Any, name: str = "lengths") -> HostArray:
    """Lengths (B,) of the rows of `xs` (T,B,...). Raises ValueError, by the `name` of the argument, for lengths that do
    not fit."""
    if len(xs.shape) < 2:
        raise ValueError(f"{name}: xs must have the shape (T,B,...), got {tuple(xs.shape)}")
    steps, batch = xs.shape[:2]
    rows = to_host(lengths.data if isinstance(lengths, Tensor) else lengths)
    if rows.shape != (batch,) or rows.dtype.kind not in "iu" or (batch and not 0 <= rows.min() <= rows.max() <= steps):
        raise ValueError(f"{name} must be {batch} whole numbers between 0 and {steps}, one per row, got {rows!r}")
    return rows.astype(np.int64)


def whole_lengths(xs: Any) -> HostArray:
    """The lengths of rows without padding: xs (T,B,...) -> T for each, (B,)."""
    return np.full(xs.shape[1], xs.shape[0], dtype=np.int64)


def within_lengths(xs: Any, lengths: Any) -> Array:
    """Which steps of which rows count: where a reduction over time looks, `ops.mean(xs, axis=0, where=...)`, or weights
    of `ops.mse`.

    Args:
        xs: (T,B,...), a Tensor or an array.
        lengths: (B,), whole numbers of steps.

    Returns:
        Booleans (T,B,1) on the device of `xs`: True before the end of a row.

    Raises:
        ValueError: lengths do not fit.

    Example:
        >>> models.within_lengths(np.ones((3, 2, 4)), [2, 1])[..., 0]
        array([[ True,  True], [ True, False], [False, False]])
    """
    lib = xs.xp if isinstance(xs, Tensor) else xp(xs)
    return lib.asarray(steps_within(xs, lengths)[..., None])


def steps_within(xs: Any, lengths: Any) -> HostArray:
    """Which steps of which rows of `xs` (T,B,...) count, (T,B) booleans on the host. Raises ValueError for lengths that
    do not fit."""
    return _live(checked_lengths(xs, lengths), xs.shape[0])[..., 0]


def _live(rows: HostArray, steps: int) -> HostArray:
    return (np.arange(steps)[:, None] < rows)[..., None]


class Padding:
    """Of rows of different lengths (B,), of which the longest has S steps, 1 or more: which steps are `live`, and which
    are `starting`, a row's first, both (S,B,1) booleans; in a sequence that is read backwards padding comes first."""

    def __init__(self, rows: HostArray, like: Tensor, backward: bool = False) -> None:
        asarray = xp(like.data).asarray
        live = _live(rows, int(rows.max()))
        self.rows, self.backward, self.row = rows, backward, int(rows.argmax())
        self.begun = None if rows.all() else Tensor(asarray(rows[:, None] > 0))
        if backward:
            live = live[::-1]
            starting = live.copy()
            starting[1:] &= ~live[:-1]
            self.starting = Tensor(asarray(starting))
        self.live, self.longest = Tensor(asarray(live)), Tensor(asarray(np.array([self.row])))

    def filled(self, values: Tensor) -> Tensor:
        """(S,B,...), where the padding holds what the longest row has; no gradient goes there."""
        with no_grad():
            row = values[:, self.row : self.row + 1]
        return ops.where(beside(self.live, values, 2), values, row)

    def lent(self, live: Tensor, values: Tensor) -> Tensor:
        """(B,...), where rows that are not `live` (B,1) have what the longest row has; no gradient goes there."""
        return ops.where(beside(live, values), values, self.of_longest(values))

    def of_longest(self, values: Tensor) -> Tensor:
        """(B,...) -> (1,...), off the tape: by an operand, so that a compiled step is the same whichever row it is."""
        with no_grad():
            return _row_at(values, self.longest)

    def last(self, states: Tensor, initial: Tensor) -> Tensor:
        """Of a state at all steps (S,B,...) that of each row's own last step."""
        asarray = xp(states.data).asarray
        ends = asarray(np.maximum(self.rows - 1, 0)), asarray(np.arange(len(self.rows)))
        return self.begun_or(states[ends], initial)

    def begun_or(self, state: Tensor, initial: Tensor) -> Tensor:
        """A last state (B,...), and of rows without a step the initial one."""
        return state if self.begun is None else ops.where(beside(self.begun, state), state, initial)


def beside(mask: Tensor, like: Tensor, axes: int = 1) -> Tensor:
    """A mask whose last axis, of 1, stands for all axes of `like` from number `axes` on, with as many axes as that."""
    missing = like.ndim - axes - 1
    return mask if not missing else mask.reshape((*mask.shape[:axes], *(1,) * (missing + 1)))
