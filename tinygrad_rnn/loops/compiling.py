"""From a recorded step to two loops: differentiate, split, merge, emit. And a scan made of them as one op."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.loops.batching import whole
from tinygrad_rnn.loops.differentiating import Backward, differentiate
from tinygrad_rnn.loops.emitting import copy
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.fusing import fuse
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.merging import Home, merge
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.splitting import sink, split_step
from tinygrad_rnn.loops.totals import Totals, operands, terms
from tinygrad_rnn.ops import zeros_like
from tinygrad_rnn.tape import Box


class Compiled:
    """A program, and where gradients are asked for its backward step, each split and emitted. It knows the shapes of
    one time step, not how many there are. `needs` tells for captured operands, states and inputs whether a gradient
    may be asked for."""

    def __init__(self, program: Program, needs: tuple[bool, ...]) -> None:
        program = replace(program, operands=[])  # the cache keeps no model alive
        self.program = program
        self.numbers = count(program.count + 10**6)
        self.backward: Backward | None = None
        kept: set[Var] = set(program.ys)
        if any(needs):
            a = len(program.captured)
            asked = [*needs[:a], *needs[a + len(program.states) :]]
            sources = [*program.captured, *program.xs]
            wanted = {v for v, need in zip(sources, asked, strict=True) if need and v.dtype.kind == "f"}
            self.backward = differentiate(program, wanted)
            makers = {v: e for e in self.backward.equations for v in e.outs}
            self.sums = sums = [None if g is None else terms(g, makers) for g in self.backward.g_captured]
            results = {g for g in self.backward.g_xs if g is not None} | operands(sums)
            own = {v for e in program.equations for v in e.outs} | set(program.states)
            self.read = {a for e in self.backward.equations for a in e.reads} | results
            kept |= self.read & own
        self.forward_loop = self._loop(program.equations, program.states, program.new_states, program.xs, kept)
        if self.backward is not None:
            layout = self.forward_loop.layout
            home = {v: place for v, place in layout.home.items() if v in kept and place.stack in layout.timed}
            self.read |= {place.stack for place in home.values()}
            self.backward_loop = self._loop(
                self.backward.equations,
                self.backward.g_new_states,
                self.backward.g_states,
                [*program.xs, *((kept | self.read) & layout.timed), *self.backward.g_ys],
                results,
                home,
            )
            self.totals = Totals(sums, self.backward_loop.layout)

    def _loop(
        self,
        equations: list[Equation],
        carry: list[Var],
        next_carry: Sequence[Var | None],
        timed: list[Var],
        kept: set[Var],
        home: Home | None = None,
    ) -> Loop:
        """Splits, merges and emits. What a step hands on must be made in the loop, each by an equation of its own:
        otherwise it is copied. `home` is given for the backward loop."""
        equations = list(equations)
        made = {v for e in equations for v in e.outs}
        ends: list[Var] = []
        for old, new in zip(carry, next_carry, strict=True):
            if new is not None and new in made and new not in ends:
                ends.append(new)
                continue
            ends.append(Var(next(self.numbers), old.shape, old.dtype))
            primitive, source = (zeros_like, old) if new is None else (copy, new)
            equations.append(Equation(primitive, (source,), {}, (ends[-1],)))
        parts = split_step(equations, carry, timed, ends, kept, whole)
        looped = {v for e in parts.loop for v in e.outs}
        for i, end in enumerate(ends):
            if end not in looped:  # the state has no part in it
                ends[i] = Var(next(self.numbers), end.shape, end.dtype)
                parts.loop.append(Equation(copy, (end,), {}, (ends[i],)))
        fuse(parts, [*carry, *timed], kept)
        sink(parts, kept)
        places = merge(parts, ends, [*carry, *timed], kept, home or {}, self.numbers)
        return Loop(parts, Layout(parts, carry, ends, timed, kept, places, reverse=home is not None))

    # --- Running ---

    def run_forward(self, operands: Sequence[Array]) -> tuple[tuple[Array, ...], Env]:
        """From captured operands, states and inputs to last states and outputs; and what the backward pass reads."""
        program = self.program
        captured, states, xs = program.sorted(operands)
        steps = len(xs[0])
        env = dict(zip((*program.captured, *program.xs), (*captured, *xs), strict=True))
        last = self.forward_loop.run(steps, env, states)
        ys: list[Array] = []
        for v in program.ys:  # each its own, and none of them the user's input
            y = _over_time(env[v], v, self.forward_loop, steps)
            ys.append(y.copy() if any(np.may_share_memory(y, other) for other in (*operands, *ys)) else y)
        saved = {} if self.backward is None else {v: env[v] for v in self.read if v in env}
        return (*(np.array(state) for state in last), *ys), saved

    def run_backward(self, saved: Env, g: Sequence[Array | None], operands: Sequence[Array]) -> list[Array | None]:
        """The gradients of captured operands, states and inputs, given those of last states and outputs."""
        program, backward, loop = self.program, self.backward, self.backward_loop
        assert backward is not None
        steps, cut = len(operands[-1]), len(program.new_states)
        ends = [
            np.zeros(v.shape, v.dtype) if x is None else x for v, x in zip(program.new_states, g[:cut], strict=True)
        ]
        env = dict(saved)
        for v, seed, x in zip(program.ys, backward.g_ys, g[cut:], strict=True):
            env[seed] = np.broadcast_to(np.zeros((), v.dtype), (steps, *v.shape)) if x is None else x
        for v, operand in zip(backward.constants, backward.operands, strict=True):
            env[v] = operand.data if isinstance(operand, Box) else operand
        first = loop.run(steps, env, ends)
        of_captured = self.totals.run(env, steps)
        of_states = [np.array(x) if v.dtype.kind == "f" else None for v, x in zip(program.states, first, strict=True)]
        others = [*saved.values(), *operands, *(x for x in g if x is not None)]
        of_xs: list[Array | None] = []
        for v in backward.g_xs:
            x = None if v is None else _over_time(env[v], v, loop, steps)
            if x is not None and (not x.flags.writeable or any(np.may_share_memory(x, other) for other in others)):
                x = x.copy()  # a gradient is given away, and these are not ours
            others += [] if x is None else [x]
            of_xs.append(x)
        return [*of_captured, *of_states, *of_xs]


def _over_time(value: Array, var: Var, loop: Loop, steps: int) -> Array:
    return value if var in loop.layout.timed else np.broadcast_to(value, (steps, *var.shape))


# --- The cache -------------------------------------------------------------------------------------------------

CACHE_SIZE = 64
_cache: OrderedDict[Any, Compiled] = OrderedDict()
_lock = threading.Lock()


def compiled_program(program: Program, needs: tuple[bool, ...]) -> Compiled:
    """From the cache, where the same program was compiled before: same ops, options, shapes and dtypes. So a step that
    is made anew on every call is compiled once, and one whose options changed is another."""
    key = (program.key, needs)
    with _lock:
        found = _cache.get(key)
        if found is not None:
            _cache.move_to_end(key)
            return found
    made = Compiled(program, needs)
    with _lock:
        _cache[key] = made
        while len(_cache) > CACHE_SIZE:
            _cache.popitem(last=False)
    return made
