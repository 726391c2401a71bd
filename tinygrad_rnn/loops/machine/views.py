"""How an equation sees a value that lies in memory: which entry is at which index.

A value lies in one piece, row after row (C order). What an equation does to its shape moves nothing: it is seen another
way, and entry (i, j, ...) of a view is entry

    offset + i * strides[0] + j * strides[1] + ...

of the piece. Of c (2, 3), with entries 0 to 5:

    c                         offset 0, shape (2, 3), strides (3, 1)
    c.T                       offset 0, shape (3, 2), strides (1, 3)
    c[:, 1]                   offset 1, shape (2,),   strides (3,)
    c broadcast to (4, 2, 3)  offset 0,               strides (0, 3, 1)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class StridedView:
    """A piece as it is seen; strides and offset count entries."""

    piece: Piece
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def broadcast_to(self, shape: Sequence[int]) -> StridedView:
        """Repeated along new leading axes and axes of size 1."""
        extra = len(shape) - len(self.shape)
        kept = zip(self.shape, shape[extra:], self.strides, strict=True)
        strides = (*(0 for _ in range(extra)), *(0 if n == 1 != m else s for n, m, s in kept))
        return StridedView(self.piece, tuple(shape), strides, self.offset)

    def transpose(self, axes: Sequence[int]) -> StridedView:
        """With its axes in another order."""
        return StridedView(
            self.piece, tuple(self.shape[a] for a in axes), tuple(self.strides[a] for a in axes), self.offset
        )

    def with_axis(self, at: int) -> StridedView:
        """With a new axis of size 1."""
        axes = [*zip(self.shape, self.strides, strict=True)]
        axes.insert(at, (1, 0))
        return _made(self.piece, axes, self.offset)

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
        return _made(self.piece, axes, offset)

    def reshape(self, shape: tuple[int, ...]) -> StridedView | None:
        """In another shape; None where the entries do not lie so."""
        if math.prod(shape) == 0:
            return StridedView(self.piece, shape, natural_strides(shape), self.offset)
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
        return StridedView(self.piece, shape, tuple(strides[::-1]), self.offset)


def _made(piece: Piece, axes: list[tuple[int, int]], offset: int) -> StridedView:
    return StridedView(piece, tuple(n for n, _ in axes), tuple(s for _, s in axes), offset)


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
