"""Gradients of a scan that goes back over its steps in parts, the last part first.

Where a step attends to a memory of S entries, its backward step makes values S times as large as a state, which are
summed over time. Of all steps at once they would need more room than all else: such a loop runs in blocks of a few
steps, and the sums of the blocks are added up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.loops.program import Program, Var
from tinygrad_rnn.sums import SUMMED_AT_ONCE

LARGE = 16
"""How many times as large as the largest state, input or output of a step a value must be to be a large one: gates
side by side, or a few layers in one state, are not."""

BLOCK_BYTES = 1 << 26
"""Bytes that the values of a block may need (64 MiB). Every block sums and multiplies once for itself: in blocks of a
quarter, attention takes a tenth longer."""


def room_for_large_values(kept: Iterable[Var], given: Iterable[Var]) -> int:
    """The bytes a step of the values that are `kept`, if some are large beside those that a step is `given` and gives;
    otherwise 0."""
    sizes = {v: math.prod(v.shape) for v in kept}
    largest = max(math.prod(v.shape) for v in given)
    if max(sizes.values(), default=0) < LARGE * max(1, largest):
        return 0
    return sum(size * v.dtype.itemsize for v, size in sizes.items())


def blocks_of(part: slice, room: int) -> Iterator[slice]:
    """Cuts a part of the steps into blocks whose values, of so many bytes a step, fit into BLOCK_BYTES; the last first.
    They are few enough for their sums to be added up one after the other."""
    steps = part.stop - part.start
    most = max(1, BLOCK_BYTES // room, -(-steps // SUMMED_AT_ONCE)) if room else steps
    for stop in range(part.stop, part.start, -most):
        yield slice(max(part.start, stop - most), stop)


class Gathering:
    """What the parts have given so far: sums for captured operands, the parts of inputs, and the gradients of the
    states in which the latest part began."""

    def __init__(self, program: Program, of_states: Sequence[Array | None]) -> None:
        self.program, self.of_states = program, of_states
        self._totals: list[Array | None] = [None] * len(program.captured)
        self._of_xs: list[list[Array | None]] = [[] for _ in program.xs]
        self._lengths: list[int] = []

    def add(self, found: Sequence[Array | None], steps: int) -> None:
        """The gradients of captured operands, states and inputs that a part of so many steps gave."""
        of_captured, self.of_states, of_xs = self.program.sorted(found)
        self._totals = [_sum(before, new) for before, new in zip(self._totals, of_captured, strict=True)]
        self._lengths.append(steps)
        for parts, x in zip(self._of_xs, of_xs, strict=True):
            parts.append(x)

    def all(self) -> list[Array | None]:
        """The gradients of captured operands, states and inputs."""
        pairs = zip(self._totals, self.program.captured, strict=True)
        totals = [None if x is None else x.astype(v.dtype, copy=False) for x, v in pairs]
        return [*totals, *self.of_states, *map(self._joined, self._of_xs)]

    def _joined(self, parts: list[Array | None]) -> Array | None:
        """Of an input: nothing where no part gave any, and zeros where some did."""
        like = next((part for part in parts if part is not None), None)
        if like is None:
            return None
        pairs = [*zip(parts, self._lengths, strict=True)][::-1]
        lib = xp(like)
        return lib.concatenate(
            [lib.zeros((steps, *like.shape[1:]), like.dtype) if part is None else part for part, steps in pairs]
        )


def _sum(before: Array | None, new: Array | None) -> Array | None:
    if before is None or new is None:
        return new if before is None else before
    if before.dtype.char == "e":
        before = before.astype(np.float32)  # as all sums of float16
    before += new
    return before
