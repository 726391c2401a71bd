"""One direction of a scan, forward or backward, becomes a loop: split, contracted, fused or gathered, merged, laid out
and, for machine code, scheduled (the stages that `compiling.py` names)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tinygrad_rnn.engines import Engine
from tinygrad_rnn.loops.batching import can_be_whole, whole
from tinygrad_rnn.loops.contractions import contract
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.fusing import fuse
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.layout import Layout
from tinygrad_rnn.loops.machine.lowering import (
    can_be_a_line,
    can_be_lowered,
    is_cheap,
    is_outer_product,
    is_small_product,
)
from tinygrad_rnn.loops.machine.schedule import scheduled
from tinygrad_rnn.loops.merging import merge
from tinygrad_rnn.loops.one_pass import can_be_one_pass
from tinygrad_rnn.loops.places import Home
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.splitting import Parts, gather, sink, split_step
from tinygrad_rnn.machine.refusal import NotInMachineCode
from tinygrad_rnn.ops import zeros_like


@dataclass(frozen=True, eq=False, kw_only=True)
class Direction:
    """One direction of a scan, forward or backward, before it is split: what is done at each step, and what is known of
    its values."""

    equations: list[Equation]
    carry: list[Var]
    """What comes from step to step."""
    next_carry: Sequence[Var | None]
    """What a step makes of each; None where that is zero."""
    timed: list[Var]
    """What differs from step to step and is known beforehand."""
    kept: set[Var]
    """What is wanted afterwards, of all steps."""
    home: Home
    """What lies in a stack already."""
    reverse: bool
    """Whether the last step comes first."""


def loop_of(direction: Direction, numbers: Iterator[int], engine: Engine) -> Loop:
    """As machine code where that is asked for and can be had; otherwise as NumPy calls. `numbers` are for new Vars.
    Raises NotInMachineCode for what cannot be had for a GPU."""
    if engine == "cuda":
        return _loop_by(direction, numbers, "cuda")
    if engine == "machine":
        try:
            return _loop_by(direction, numbers, "machine")
        except NotInMachineCode as error:
            return _loop_by(direction, numbers, "numpy", str(error))
    return _loop_by(direction, numbers, "numpy")


def loop_of_one_step(direction: Direction, numbers: Iterator[int]) -> Loop:
    """As machine code that runs one time step at a time: as much of it as can be is in the loop. Raises
    NotInMachineCode."""
    apart = _not_to_be_lowered(direction.equations)
    return _loop_by(direction, numbers, "machine", is_apart=apart.__contains__)


def _not_to_be_lowered(equations: list[Equation]) -> set[Equation]:
    """What machine code cannot hold, and all that it needs."""
    found: set[Equation] = set()
    needed: set[Var] = set()
    for e in reversed(equations):
        if not can_be_lowered(e) or not needed.isdisjoint(e.outs):
            found.add(e)
            needed.update(e.reads)
    return found


def _loop_by(
    direction: Direction,
    numbers: Iterator[int],
    engine: Engine,
    why_not: str = "",
    is_apart: Callable[[Equation], bool] | None = None,
) -> Loop:
    """Split, fuse, merge, lay out, schedule. What does not wait for the state is done apart, for all time steps at
    once, if it can be (`is_apart`, or whatever can)."""
    carry, timed, kept = direction.carry, direction.timed, direction.kept
    equations, ends = _handed_on(direction, numbers)
    moving = [*carry, *timed]
    apart = engine == "cuda" and _stay_apart(split_step(equations, carry, timed, ends, kept, can_be_whole).loop, carry)
    parts = split_step(equations, carry, timed, ends, kept, is_apart or (can_be_whole if apart else whole))
    contract(parts, moving, {*kept, *ends})
    _into_the_loop(parts.loop, ends, numbers)
    if engine != "numpy":
        gather(parts, _as_large(carry[0]) if apart else _cheap_beside_products(parts, moving))
    elif can_be_one_pass(parts.loop, carry):
        home = _merged_but_for_the_loop(parts, ends, moving, kept, direction.home, numbers)
        return Loop(parts, Layout(parts, carry, ends, timed, kept, home, direction.reverse), None, why_not, linear=True)
    else:
        fuse(parts, moving, kept)
        sink(parts, kept)
    home = merge(parts, ends, moving, kept, direction.home, numbers)
    layout = Layout(parts, carry, ends, timed, kept, home, direction.reverse)
    return Loop(parts, layout, None if engine == "numpy" else scheduled(layout), why_not, on_gpu=engine == "cuda")


def _cheap_beside_products(parts: Parts, known: list[Var]) -> Callable[[Equation], bool]:
    """What is to be done in a loop that multiplies or adds up: what costs next to nothing there. `known` is what comes
    from step to step, or differs."""
    moving = {*known, *(v for part in (parts.before, parts.loop, parts.after) for e in part for v in e.outs)}
    return lambda e: is_cheap(e) or (is_small_product(e) and e.args[1] not in moving)


def _stay_apart(loop: list[Equation], carry: list[Var]) -> bool:
    """Whether a loop does all entry by entry, with values as large as each state: a GPU can run it as one kernel, and
    what adds up is done apart."""
    shapes = {v.shape for v in (*carry, *(e.outs[0] for e in loop))}
    return len(shapes) == 1 and bool(carry) and all(map(can_be_a_line, loop))


def _as_large(state: Var) -> Callable[[Equation], bool]:
    """What is to be done in such a loop: what does not join its entries either."""
    return lambda e: (can_be_a_line(e) or is_outer_product(e)) and e.outs[0].shape == state.shape


def _merged_but_for_the_loop(
    parts: Parts, ends: list[Var], moving: list[Var], kept: set[Var], known: Home, numbers: Iterator[int]
) -> Home:
    """`merge`, of what comes before and after a loop that stays as it is."""
    around = Parts(parts.once, parts.before, [], parts.after)
    moving = [*moving, *(out for e in parts.loop for out in e.outs)]
    return merge(around, ends, moving, {*kept, *(a for e in parts.loop for a in e.reads)}, known, numbers)


def _handed_on(direction: Direction, numbers: Iterator[int]) -> tuple[list[Equation], list[Var]]:
    """The equations, and for each carry the Var that a step hands on. Each must be made by an equation of its own: what
    is not (a state that stays as it is, one value for two states, a gradient of zero) is copied."""
    equations = list(direction.equations)
    made = {v for e in equations for v in e.outs}
    ends: list[Var] = []
    for old, new in zip(direction.carry, direction.next_carry, strict=True):
        if new is not None and new in made and new not in ends:
            ends.append(new)
            continue
        ends.append(Var(next(numbers), old.shape, old.dtype))
        primitive, source = (zeros_like, old) if new is None else (copy, new)
        equations.append(Equation(primitive, (source,), {}, (ends[-1],)))
    return equations, ends


def _into_the_loop(loop: list[Equation], ends: list[Var], numbers: Iterator[int]) -> None:
    """What a step hands on must be made in the loop. A state that no state has a part in was split off: it is copied
    there. In place."""
    looped = {v for e in loop for v in e.outs}
    for i, end in enumerate(ends):
        if end not in looped:
            ends[i] = Var(next(numbers), end.shape, end.dtype)
            loop.append(Equation(copy, (end,), {}, (ends[i],)))
