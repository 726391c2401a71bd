"""Sums over time of what the rows of a table get that a step reads by number: only these rows, never a table a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygrad_rnn.backend import xp
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.ops.indexing import Slot, _scatter
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.sums import total


@dataclass(frozen=True, eq=False)
class Lookup:
    """At each time step zeros of `shape`, to whose rows `numbers` (...) the `values` (..., *shape[1:]) are added."""

    numbers: Var
    values: Var
    shape: tuple[int, ...]

    def over_time(self, env: dict[Var, np.ndarray], timed: set[Var]) -> RowSparse:
        """The sum over time. One of the two at least has a time axis."""
        numbers, values = env[self.numbers], env[self.values]
        if self.numbers not in timed:
            values = total(values, 0)
        elif self.values not in timed:
            values = xp(values).broadcast_to(values, (len(numbers), *values.shape))
        return RowSparse.from_indices(numbers, values, self.shape)


def lookup(e: Equation | None) -> Lookup | None:
    """The equation as one, if it is."""
    if e is None or e.primitive is not _scatter or e.args[1] not in (Slot(0), (Slot(0),)):
        return None
    values, _, shape, numbers = e.args
    fits = values.shape == (*numbers.shape, *shape[1:])
    return Lookup(numbers, values, tuple(shape)) if fits else None
