"""Less memory for more time: only every k-th state is saved, and the steps between are run again when the gradient
comes by (Chen et al. 2016, sect. 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.loops.compiling import Compiled
from tinygrad_rnn.loops.segments import Gathering

States = Sequence[Array]


def forward(light: Compiled, operands: Sequence[Array], every: int) -> tuple[tuple[Array, ...], list[States]]:
    """`light.run_forward` in parts of `every` steps: its results, and the states in which the parts began."""
    captured, state, xs = light.program.sorted(operands)
    steps = len(xs[0])
    ys = [xp(xs[0]).empty((steps, *y.shape), dtype=y.dtype) for y in light.program.ys]
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
    cut = len(state)
    gathering = Gathering(compiled.program, g[:cut])
    for number in reversed(range(len(starts))):
        part = slice(number * every, (number + 1) * every)
        again = [*captured, *starts[number], *(x[part] for x in xs)]
        _, saved = compiled.run_forward(again)
        g_part = [*gathering.of_states, *(None if x is None else x[part] for x in g[cut:])]
        found = compiled.run_backward(saved, g_part, again)
        del saved
        gathering.add(found, len(again[-1]))
    return gathering.all()
