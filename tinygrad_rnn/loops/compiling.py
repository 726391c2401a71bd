"""From a recorded step to two loops, stage by stage, and running them.

record          recorder.py         the step, run once on placeholders: a Program
differentiate   differentiating.py  its backward step, by the same rules
                directions.py       each of the two then becomes a loop:
split           splitting.py        what goes before, into and after the loop
contract        contractions.py     sums of products over more axes than the factors have
fuse            fusing.py           a row that is added to a product becomes a row of it
sink            splitting.py        cheap work on large values goes back into the loop, where they are in cache
gather          splitting.py        for machine code instead of both: all that is cheap goes into the loop
merge           merging.py          products, sums and neighbouring gates become one each
lay out         layout.py           where every value lies
emit            emitting.py         the loop as straight-line NumPy,
                one_pass.py         long ones of little that is linear, whole sequences at once, or
                machine/            as passes and products, in machine code, or
                cuda/               the same in CUDA C, for a GPU
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, TypeVar

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.engines import Engine
from tinygrad_rnn.forks import in_each_child
from tinygrad_rnn.loops.differentiating import Backward, differentiate
from tinygrad_rnn.loops.directions import Direction, loop_of, loop_of_one_step
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.layout import Env
from tinygrad_rnn.loops.program import Program, Var
from tinygrad_rnn.loops.seeding import Pattern, Plan, active_values, planned
from tinygrad_rnn.loops.segments import Gathering, blocks_of, room_for_large_values
from tinygrad_rnn.loops.totals import Group, Totals, operands, terms
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.tape import Box

Kept = TypeVar("Kept")

# --- The stages ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program as loops. It knows the shapes of one time step, not how many there are."""

    program: Program
    forward: Loop
    backward: BackwardLoop | None
    """Where a gradient may be asked for: that of steps to all of whose results one comes."""
    others: BackwardLoops | None
    """Those of other steps."""

    def emit(self) -> None:
        """Makes it ready to run: what is wrong with it is told now."""
        for loop in (self.forward, *(() if self.backward is None else (self.backward.loop,))):
            loop.emit()

    def run_forward(self, operands: Sequence[Array]) -> tuple[tuple[Array, ...], Env]:
        """From captured operands, states and inputs to last states and outputs; and what the backward pass reads."""
        program = self.program
        captured, states, xs = program.sorted(operands)
        steps = len(xs[0])
        env = dict(zip((*program.captured, *program.xs), (*captured, *xs), strict=True))
        last = self.forward.run(steps, env, states)
        ys: list[Array] = []
        for v in program.ys:  # each its own, and none of them the user's input
            y = _over_time(env[v], v, self.forward, steps)
            ys.append(y.copy() if any(xp(y).may_share_memory(y, other) for other in (*operands, *ys)) else y)
        saved = {} if self.backward is None else {v: env[v] for v in self.backward.reads if v in env}
        return (*(state.copy() for state in last), *ys), saved

    def run_backward(self, saved: Env, g: Sequence[Array | None], operands: Sequence[Array]) -> list[Array | None]:
        """The gradients of captured operands, states and inputs, given those of last states and outputs (None where
        none was asked for); only where a gradient may be asked for."""
        if self.backward is None or self.others is None:
            raise RuntimeError("a program that was compiled without a backward loop was asked for gradients")
        plan = self.others.plan_for(tuple(x is not None for x in g))
        found = self._by_plan(self.backward, self.others, plan, saved, g, operands)
        for i, v in enumerate(self.program.captured):
            if v not in plan.reached:
                found[i] = None
        return found

    def _by_plan(
        self,
        backward: BackwardLoop,
        others: BackwardLoops,
        plan: Plan,
        saved: Env,
        g: Sequence[Array | None],
        operands: Sequence[Array],
    ) -> list[Array | None]:
        """The gradients by the loops that the patterns of the steps need."""
        steps = len(operands[-1])
        usual = [(backward, slice(0, steps))]
        if plan.patterns == others.usual_plan.patterns:
            return self._in_parts(usual, saved, g, operands)
        if backward.pattern in plan.patterns:
            # Nearly always it is as good for the steps that it was not made for: there, zeros stay zeros.
            with np.errstate(invalid="ignore", divide="ignore"):
                found = self._in_parts(usual, saved, g, operands)
                if all(x is None or _is_finite(x) for x in found):
                    return found
        segments = [(others.loop_for(pattern), part) for pattern, part in plan.segments(steps)]
        return self._in_parts(segments, saved, g, operands)

    def _in_parts(
        self,
        parts: list[tuple[BackwardLoop, slice]],
        saved: Env,
        g: Sequence[Array | None],
        operands: Sequence[Array],
    ) -> list[Array | None]:
        """Parts of the steps, the last one first, each by the loop that was made for it, and in blocks where that
        would keep large values of all its steps."""
        blocks = [(loop, block) for loop, part in parts for block in blocks_of(part, loop.room)]
        if len(blocks) == 1:
            return blocks[0][0].run(saved, g, operands)
        captured, states, xs = self.program.sorted(operands)
        timed, cut = self.forward.layout.timed, len(states)
        gathering = Gathering(self.program, g[:cut])
        for loop, block in blocks:
            g_block = [*gathering.of_states, *(None if x is None else x[block] for x in g[cut:])]
            kept = {v: value[block] if v in timed else value for v, value in saved.items()}
            found = loop.run(kept, g_block, [*captured, *states, *(x[block] for x in xs)])
            gathering.add(found, block.stop - block.start)
        return gathering.all()


@dataclass(frozen=True, eq=False, kw_only=True)
class BackwardLoop:
    """The backward step of a program as a loop."""

    program: Program
    pattern: Pattern
    """Of each new state and output, whether a gradient comes to it."""
    step: Backward
    carried: list[int]
    """The numbers of the states whose gradient goes from step to step."""
    loop: Loop
    sums: list[Group | None]
    """Of each captured operand its gradient at one step, as terms to be summed over time."""
    totals: Totals
    reads: set[Var]
    """What it reads of the forward pass, which saves it."""
    room: int
    """The bytes a step of what it keeps of all steps, if large values are among that; otherwise 0."""

    def run(self, saved: Env, g: Sequence[Array | None], operands: Sequence[Array]) -> list[Array | None]:
        """The gradients of captured operands, states and inputs, given those of last states and outputs."""
        program, step, loop = self.program, self.step, self.loop
        steps, cut = len(operands[-1]), len(program.new_states)
        lib = xp(operands[-1])
        ends = [lib.zeros(v.shape, v.dtype) if (x := g[i]) is None else x for i, v in self._of_carried(program.states)]
        env = dict(saved)
        for v, seed, x in zip(program.ys, step.g_ys, g[cut:], strict=True):
            env[seed] = lib.broadcast_to(lib.zeros((), v.dtype), (steps, *v.shape)) if x is None else x
        for v, operand in zip(step.constants, step.operands, strict=True):
            env[v] = operand.data if isinstance(operand, Box) else operand
        first = loop.run(steps, env, ends)
        of_captured = self.totals.run(env, steps)
        of_states: list[Array | None] = [None] * cut
        for (i, v), x in zip(self._of_carried(step.g_states), first, strict=True):
            of_states[i] = None if v is None else x.copy()
        others = [*saved.values(), *operands, *(x for x in g if x is not None)]
        of_xs: list[Array | None] = []
        for v in step.g_xs:
            x = None if v is None else _over_time(env[v], v, loop, steps)
            if x is not None and (_is_repeated(x) or any(lib.may_share_memory(x, other) for other in others)):
                x = x.copy()  # a gradient is given away, and these are not ours
            others += [] if x is None else [x]
            of_xs.append(x)
        return [*of_captured, *of_states, *of_xs]

    def _of_carried(self, of_states: list[Kept]) -> list[tuple[int, Kept]]:
        return [(i, of_states[i]) for i in self.carried]


class BackwardLoops:
    """The backward loops of a program, each made when a gradient first comes to just those results of a step. The
    latest few are remembered."""

    def __init__(
        self, make: Callable[[Pattern], BackwardLoop], plan: Callable[[Pattern], Plan], usual: Pattern
    ) -> None:
        self._make, self._plan = make, plan
        self.usual_plan = Plan((usual,), 0)
        """That of most scans: all steps have the usual pattern."""
        self._plans: OrderedDict[Pattern, Plan] = OrderedDict()
        self._loops: OrderedDict[Pattern, BackwardLoop] = OrderedDict()

    def plan_for(self, given: Pattern) -> Plan:
        """Which patterns the steps have."""
        found = self._plans.get(given)
        if found is None:
            found = self._plan(given)
            if {*found.patterns} == {*self.usual_plan.patterns}:
                found = replace(self.usual_plan, reached=found.reached)
            _remember(self._plans, given, found)
        return found

    def loop_for(self, pattern: Pattern) -> BackwardLoop:
        """The loop of steps of one pattern."""
        found = self._loops.get(pattern)
        return _remember(self._loops, pattern, self._make(pattern)) if found is None else found


def _is_finite(x: Array | RowSparse) -> bool:
    values = x.values if isinstance(x, RowSparse) else x
    return bool(xp(values).isfinite(values.sum()))


def _is_repeated(x: Array) -> bool:
    """Whether several entries are one in memory."""
    return any(n > 1 and not stride for n, stride in zip(x.shape, x.strides, strict=True))


def _over_time(value: Array, var: Var, loop: Loop, steps: int) -> Array:
    return value if var in loop.layout.timed else xp(value).broadcast_to(value, (steps, *var.shape))


def compile_program(program: Program, needs: tuple[bool, ...], engine: Engine) -> Compiled:
    """All stages after the recording. `needs` tells for captured operands, states and inputs whether a gradient may be
    asked for, `engine` which emitter writes the loops."""
    program = replace(program, operands=[])  # the cache keeps no model alive
    numbers = count(program.count + 10**6)
    wanted = _wanted(program, needs)
    if not wanted:
        return Compiled(program, loop_of(_forward_direction(program, set()), numbers, engine), None, None)
    active = active_values(program, wanted)
    usual = (True,) * (len(program.new_states) + len(program.ys))
    step = differentiate(program, wanted, active, usual)
    sums = _sums(program, step)
    made = {v for e in program.equations for v in e.outs} | set(program.states)
    forward = loop_of(_forward_direction(program, _read_by(step, sums) & made), numbers, engine)
    backward = _backward_loop(program, usual, step, sums, forward, numbers, engine)

    def make(pattern: Pattern) -> BackwardLoop:
        if pattern == usual:
            return backward
        step = differentiate(program, wanted, active, pattern, backward.reads)
        sums = _sums(program, step)
        if not _read_by(step, sums) & made <= backward.reads:
            return backward  # it would need a state that was not saved
        return _backward_loop(program, pattern, step, sums, forward, numbers, engine)

    return Compiled(program, forward, backward, BackwardLoops(make, partial(planned, program, active), usual))


def _wanted(program: Program, needs: tuple[bool, ...]) -> set[Var]:
    """The captured operands, states and inputs whose gradients are asked for."""
    pairs = zip([*program.captured, *program.states, *program.xs], needs, strict=True)
    return {v for v, need in pairs if need and v.dtype.kind == "f"}


def _read_by(step: Backward, sums: list[Group | None]) -> set[Var]:
    """What a backward step reads, its own values among it."""
    return {a for e in step.equations for a in e.reads} | _results(step, sums)


def _sums(program: Program, step: Backward) -> list[Group | None]:
    makers = {v: e for e in step.equations for v in e.outs}
    moving = {*program.states, *program.xs, *step.g_new_states, *step.g_ys}
    for e in (*program.equations, *step.equations):
        if not moving.isdisjoint(e.reads):
            moving.update(e.outs)
    return [None if g is None else terms(g, makers, moving) for g in step.g_captured]


def _results(step: Backward, sums: list[Group | None]) -> set[Var]:
    """What a backward step is for, but for the gradients of states."""
    return {g for g in step.g_xs if g is not None} | operands(sums)


def _backward_loop(
    program: Program,
    pattern: Pattern,
    step: Backward,
    sums: list[Group | None],
    forward: Loop,
    numbers: Iterator[int],
    engine: Engine,
) -> BackwardLoop:
    reads = _read_by(step, sums)
    pairs = zip(step.g_new_states, step.g_states, strict=True)
    read = {*reads, *step.g_states}
    carried = [i for i, (new, old) in enumerate(pairs) if old is not None or new in read]
    direction = _backward_direction(program, step, carried, _results(step, sums), reads, forward)
    loop = loop_of(direction, numbers, engine)
    return BackwardLoop(
        program=program,
        pattern=pattern,
        step=step,
        carried=carried,
        loop=loop,
        sums=sums,
        totals=Totals(sums, loop.layout),
        reads=reads | {place.stack for place in direction.home.values()},
        room=room_for_large_values(_kept_by(loop), [*program.states, *program.xs, *program.ys]),
    )


def _kept_by(loop: Loop) -> set[Var]:
    """What a loop makes that is there of all time steps at once; slices, and not the stacks in which they lie."""
    made = {v for e in (*loop.parts.before, *loop.parts.after) for v in e.outs} | loop.layout.stored
    return made - loop.layout.stacks


def _forward_direction(program: Program, read_later: set[Var]) -> Direction:
    return Direction(
        equations=program.equations,
        carry=program.states,
        next_carry=program.new_states,
        timed=program.xs,
        kept={*program.ys, *read_later},
        home={},
        reverse=False,
    )


def _backward_direction(
    program: Program, step: Backward, carried: list[int], results: set[Var], reads: set[Var], forward: Loop
) -> Direction:
    """The backward direction: what the forward pass kept is known beforehand, and lies where that put it."""
    layout, kept = forward.layout, {*program.ys, *reads}
    home = {v: place for v, place in layout.home.items() if v in kept and place.stack in layout.timed}
    stacks = {place.stack for place in home.values()}
    return Direction(
        equations=step.equations,
        carry=[step.g_new_states[i] for i in carried],
        next_carry=[step.g_states[i] for i in carried],
        timed=[*program.xs, *((kept | stacks) & layout.timed), *step.g_ys],
        kept=results,
        home=home,
        reverse=True,
    )


def compile_step(program: Program) -> tuple[Program, Loop]:
    """A program for one time step at a time, without a gradient, as machine code. Raises NotInMachineCode. It is
    remembered."""
    key = (program.key, "step")
    with _lock:
        found = _steps.get(key)
    if found is None:
        program = replace(program, operands=[])
        loop = loop_of_one_step(_forward_direction(program, set()), count(program.count + 10**6))
        with _lock:
            found = _remember(_steps, key, (program, loop))
    found[1].emit()
    return found


# --- The cache -------------------------------------------------------------------------------------------------

CACHE_SIZE = 64
_cache: OrderedDict[Any, Compiled] = OrderedDict()
_steps: OrderedDict[Any, tuple[Program, Loop]] = OrderedDict()
_lock = threading.Lock()


def _new_lock() -> None:
    global _lock  # noqa: PLW0603  (one for the process)
    _lock = threading.Lock()


in_each_child(_new_lock)


def _remember(found: OrderedDict[Any, Kept], key: Any, value: Kept, most: int = 8) -> Kept:
    """Puts a value beside at most so many others; the oldest are forgotten."""
    found[key] = value
    while len(found) > most:
        found.popitem(last=False)
    return value


def compiled_program(program: Program, needs: tuple[bool, ...], engine: Engine) -> Compiled:
    """From the cache, where the same program was compiled before: same ops, options, shapes and dtypes. So a step that
    is made anew on every call is compiled once, and one whose options changed is another."""
    key = (program.key, needs, engine)
    with _lock:
        found = _cache.get(key)
        if found is not None:
            _cache.move_to_end(key)
            return found
    made = compile_program(program, needs, engine)
    made.emit()
    with _lock:
        return _remember(_cache, key, made, CACHE_SIZE)
