"""A step that is asked for again and again by somebody who looks at each result first, such as a decoder: recorded and
compiled once, and run on arrays that stay where they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.engines import engine_in_force
from tinygrad_rnn.loops.compiling import compile_step
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.layout import Env
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.loops.scanning import listener
from tinygrad_rnn.loops.trees import flat, rebuild
from tinygrad_rnn.loops.unrolling import Step
from tinygrad_rnn.surroundings import is_interpreted
from tinygrad_rnn.tape import Box
from tinygrad_rnn.tensor import Tensor


class RepeatedStep:
    """`step(state, x) -> (state, y)`, a function of nothing else: what it closes over must stay as it is. Without a
    tape. It runs as machine code where that is in force and the step can be had so, and otherwise, or where somebody
    watches its ops, as it is."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self._made_for: Any = None
        self._compiled: _OneStep | None = None

    def __call__(self, state: Any, x: Any) -> tuple[Any, Any]:
        """The new state and what the step puts out."""
        if engine_in_force() != "machine" or is_interpreted() or listener.get() is not None:
            return self.step(state, x)
        given = [_array(v) for v in (*flat(state), *flat(x))]
        kinds = [(type(v), v.shape, v.dtype) if v is not None else None for v in given]
        if kinds != self._made_for:
            self._made_for, self._compiled = kinds, None if None in kinds else _compiled(self.step, state, x)
        if self._compiled is None:
            return self.step(state, x)
        count = len(flat(state))
        states, ys = self._compiled.run(given[:count], given[count:])
        return rebuild(state, map(Tensor, states)), rebuild(self._compiled.y, map(Tensor, ys))


def _array(v: Any) -> Any:
    """The array of a Tensor off the tape, or an array; None for anything else."""
    data = v.data if isinstance(v, Box) and v.node is None else v
    return data if isinstance(data, np.ndarray) else None


def _compiled(step: Step, state: Any, x: Any) -> _OneStep | None:
    """The step for arrays of these shapes; None where it cannot be had as machine code."""
    try:
        program, _, y = record_step(step, state, rebuild(x, (_array(v)[None] for v in flat(x))))
        return _OneStep(*compile_step(program), program.operands, y)
    except Exception:  # the step itself says what is wrong with it
        return None


class _OneStep:
    """The forward loop of a program for one time step, with its arrays: all that is timed has a time axis of 1."""

    def __init__(self, program: Program, loop: Loop, operands: list[Any], y: Any) -> None:
        self.y, self.loop = y, loop
        captured = (v.data if isinstance(v, Box) else v for v in operands)
        env: Env = dict(zip(program.captured, captured, strict=True))
        beside = [*loop.parts.before, *loop.parts.after]
        for v in (*program.xs, *(out for e in beside for out in e.outs)):
            env[v] = np.zeros((1, *v.shape), v.dtype)
        for e in loop.parts.once:
            result = e.primitive.forward(*(env[a] if isinstance(a, Var) else a for a in e.args), **e.params)
            env.update(zip(e.outs, result if e.several else (result,), strict=True))
        loop.layout.show_slices(env)
        zeros = [np.zeros(v.shape, v.dtype) for v in loop.layout.carry]
        rings, ends = loop.layout.allocate(1, env, zeros)
        paired = dict(loop.layout.paired)
        self.looped = loop.body.ready(1, env, rings)
        now = {v: x[0, ...] if v in loop.layout.timed else x for v, x in env.items()}
        self.starts = [now[c] if c in paired else rings[c][0] for c in loop.layout.carry]
        self.ends = [ends[c] for c in loop.layout.carry]
        self.xs, self.ys = [now[v] for v in program.xs], [now[v] for v in program.ys]
        self.before, self.after = ([_Ready(e, now) for e in part] for part in (loop.parts.before, loop.parts.after))

    def run(self, states: list[Array], xs: list[Array]) -> tuple[list[Array], list[Array]]:
        """New states and outputs, in arrays of their own."""
        for array, given in zip((*self.starts, *self.xs), (*states, *xs), strict=True):
            array[...] = given
        for each in self.before:
            each.run()
        self.looped()
        for each in self.after:
            each.run()
        return [end.copy() for end in self.ends], [y.copy() for y in self.ys]


class _Ready:
    """An equation on arrays that stay where they are."""

    def __init__(self, e: Equation, now: Env) -> None:
        args = [now[a] if isinstance(a, Var) else a for a in e.args]
        self.function = partial(e.primitive.forward, *args, **e.params)
        self.several, self.outs = e.several, [now[v] for v in e.outs]

    def run(self) -> None:
        """Its results, into their arrays."""
        result = self.function()
        for out, value in zip(self.outs, result if self.several else (result,), strict=True):
            out[...] = value
