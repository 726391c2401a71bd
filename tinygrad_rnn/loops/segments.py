"""Gradients of a scan that goes back over its steps in parts, the last part first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.loops.program import Program


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
        return [*self._totals, *self.of_states, *map(self._joined, self._of_xs)]

    def _joined(self, parts: list[Array | None]) -> Array | None:
        """Of an input: nothing where no part gave any, and zeros where some did."""
        like = next((part for part in parts if part is not None), None)
        if like is None:
            return None
        pairs = [*zip(parts, self._lengths, strict=True)][::-1]
        return np.concatenate(
            [np.zeros((steps, *like.shape[1:]), like.dtype) if part is None else part for part, steps in pairs]
        )


def _sum(before: Array | None, new: Array | None) -> Array | None:
    if before is None or new is None:
        return new if before is None else before
    before += new
    return before
