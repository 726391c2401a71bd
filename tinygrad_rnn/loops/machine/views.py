"""How an equation sees a value that lies in memory: which entry is at which index.

A value lies in one piece, row after row (C order). What an equation does to its shape moves nothing: it is seen another
way, and entry (i, j, ...) of a view is entry

    offset + i * strides[0] + j * strides[1] + ...

of the piece. Of c (2, 3), with entries 0 to 5:

    c                         offset 0, shape (2, 3), strides (3, 1)
    c.T                       offset 0, shape (3, 2), strides (1, 3)
    c[:, 1]                   offset 1, shape (2,),   strides (3,)
    c broadcast to (4, 2, 3)  offset 0,               strides (0, 3, 1)
    row r of c, (1, 3)        offset 0, shape (1, 3), strides (3, 1), and r times 3 further, where r lies in memory too
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tinygrad_rnn.loops.places import Home
from tinygrad_rnn.loops.program import Var


class Piece(NamedTuple):
    """A value that lies in one piece: one by itself, or one slice of a stack."""

    var: Var
    slice: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one time step."""
        return self.var.shape if self.slice is None else self.var.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its entries."""
        return self.var.dtype

    @property
    def size(self) -> int:
        """How many entries a time step has."""
        return math.prod(self.shape)


class Further(NamedTuple):
    """Entry number `at` of a piece of whole numbers says how many times `stride` entries further something lies."""

    piece: Piece
    at: int
    stride: int


@dataclass(frozen=True)
class StridedView:
    """A piece as it is seen; strides and offset count entries. It may lie `further` than the offset says, by what is
    known only when the loop runs."""

    piece: Piece
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    further: Further | None = None

    def broadcast_to(self, shape: Sequence[int]) -> StridedView:
        """Repeated along new leading axes and axes of size 1."""
        extra = len(shape) - len(self.shape)
        kept = zip(self.shape, shape[extra:], self.strides, strict=True)
        strides = (*(0 for _ in range(extra)), *(0 if n == 1 != m else s for n, m, s in kept))
        return replace(self, shape=tuple(shape), strides=strides)

    def transpose(self, axes: Sequence[int]) -> StridedView:
        """With its axes in another order."""
        return replace(self, shape=tuple(self.shape[a] for a in axes), strides=tuple(self.strides[a] for a in axes))

    def with_axis(self, at: int) -> StridedView:
        """With a new axis of size 1."""
        axes = [*zip(self.shape, self.strides, strict=True)]
        axes.insert(at, (1, 0))
        return self._with(axes, self.offset)

    def index(self, parts: Sequence[Any]) -> StridedView:
        """`view[parts]`, of whole numbers, slices, None and one `...`."""
        given = sum(part is not None and part is not Ellipsis for part in parts)
        rest = [slice(None)] * (len(self.shape) - given)
        at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
        offset, axes, axis = self.offset, [], 0
        for part in (*parts[:at], *rest, *parts[at + 1 :]):
            if part is None:
                axes.append((1, 0))
                continue
            n, stride = self.shape[axis], self.strides[axis]
            axis += 1
            if isinstance(part, slice):
                start, stop, step = part.indices(n)
                axes.append((len(range(start, stop, step)), step * stride))
                offset += start * stride if axes[-1][0] else 0
            else:
                offset += (part % n) * stride
        return self._with(axes, offset)

    def at_row(self, number: StridedView) -> StridedView:
        """The row, as an axis of 1, whose number lies in memory."""
        first = self.index((slice(0, 1),))
        return replace(first, further=Further(number.piece, number.offset, self.strides[0]))

    @property
    def numbers(self) -> StridedView | None:
        """What of the rows' numbers is read for each entry of the view, if there are any."""
        if self.further is None:
            return None
        return StridedView(self.further.piece, self.shape, (0,) * len(self.shape), self.further.at)

    def reshape(self, shape: tuple[int, ...]) -> StridedView | None:
        """In another shape; None where the entries do not lie so."""
        if math.prod(shape) == 0:
            return replace(self, shape=shape, strides=natural_strides(shape))
        old = _joined([(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1])
        strides: list[int] = []
        size, stride = 1, 0  # what is left of the last of the old axes
        for n in reversed(shape):
            if n != 1 and size == 1:
                size, stride = old.pop()
            if size % n:
                return None
            strides.append(stride)
            size, stride = size // n, stride * n
        return replace(self, shape=shape, strides=tuple(strides[::-1]))

    def _with(self, axes: list[tuple[int, int]], offset: int) -> StridedView:
        return replace(self, shape=tuple(n for n, _ in axes), strides=tuple(s for _, s in axes), offset=offset)


def _joined(axes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(size, stride) of each axis, with neighbours that run through memory as one made one."""
    found: list[tuple[int, int]] = []
    for n, stride in axes:
        if found and found[-1][1] == n * stride:
            found[-1] = (found[-1][0] * n, stride)
        else:
            found.append((n, stride))
    return found


def piece_of(v: Var, home: Home) -> Piece:
    """That in which a value lies, which is no stack."""
    place = home.get(v)
    return Piece(v) if place is None else Piece(place.stack, place.lo)


def natural_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Those of an array in C order."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def all_of(piece: Piece) -> StridedView:
    """All of a piece, as it lies."""
    return StridedView(piece, piece.shape, natural_strides(piece.shape))
