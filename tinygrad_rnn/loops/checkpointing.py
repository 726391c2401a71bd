"""Less memory for more time: only every k-th state is saved, and the steps between are run again when the gradient
comes by (Chen et al. 2016, sect. 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.loops.compiling import Compiled

States = Sequence[Array]


def forward(light: Compiled, operands: Sequence[Array], every: int) -> tuple[tuple[Array, ...], list[States]]:
    """`light.run_forward` in parts of `every` steps: its results, and the states in which the parts began."""
    captured, state, xs = light.program.sorted(operands)
    steps = len(xs[0])
    ys = [np.empty((steps, *y.shape), y.dtype) for y in light.program.ys]
    starts: list[States] = []
    for start in range(0, steps, every):
        part = slice(start, start + every)
        starts.append(state)
        results, _ = light.run_forward([*captured, *state, *(x[part] for x in xs)])
        state = results[: len(state)]
        for y, value in zip(ys, results[len(state) :], strict=True):
            y[part] = value
    return (*state, *ys), starts


def backward(
    compiled: Compiled, starts: list[States], g: Sequence[Array | None], operands: Sequence[Array], every: int
) -> list[Array | None]:
    """`compiled.run_backward`, part by part from the last one, each run forward again first."""
    captured, state, xs = compiled.program.sorted(operands)
    a, b = len(captured), len(captured) + len(state)
    g_state: Sequence[Any] = g[: len(state)]
    totals: list[Array | None] = [None] * a
    g_xs: list[list[Array | None]] = []
    for number in reversed(range(len(starts))):
        part = slice(number * every, (number + 1) * every)
        again = [*captured, *starts[number], *(x[part] for x in xs)]
        _, saved = compiled.run_forward(again)
        g_part = [*g_state, *(None if x is None else x[part] for x in g[len(state) :])]
        found = compiled.run_backward(saved, g_part, again)
        del saved
        totals = [_sum(before, new) for before, new in zip(totals, found[:a], strict=True)]
        g_state = found[a:b]
        g_xs.append(found[b:])
    columns = zip(*reversed(g_xs), strict=True)
    return [*totals, *g_state, *(None if column[0] is None else np.concatenate(column) for column in columns)]


def _sum(before: Array | None, new: Array | None) -> Array | None:
    if before is None or new is None:
        return new
    before += new
    return before
