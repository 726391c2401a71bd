"""The backward step: the same rules as ever, run on the placeholders of the forward step."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_rnn.loops.placeholders import Placeholder
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.recorder import Recorder, frozen, reading
from tinygrad_rnn.loops.seeding import Pattern
from tinygrad_rnn.loops.walking import walk_back
from tinygrad_rnn.surroundings import recording_with
from tinygrad_rnn.tensor import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Backward:
    """One step backwards: from the gradients of new states and outputs (and any value of the forward step) to those of
    states, inputs and captured operands; None where none is wanted or nothing depends on it."""

    equations: list[Equation]
    constants: list[Var]
    """What the rules close over, and in `operands` what stood there."""
    operands: list[Any]
    g_new_states: list[Var]
    g_ys: list[Var]
    """Of each new state and output, though a step may be made for some of them alone."""
    g_states: list[Var | None]
    g_xs: list[Var | None]
    g_captured: list[Var | None]
    gradients: dict[Var, Var]
    """The values of the forward step by their gradients; of several that have the same, a sum and its parts, the one
    that was made last."""


def differentiate(
    program: Program, wanted: set[Var], active: set[Var], pattern: Pattern, at_hand: Container[Var] | None = None
) -> Backward:
    """Records the backward step (see `walk_back`). `wanted` are the states, inputs and captured operands whose gradient
    is asked for, `active` the values through which it goes there, `pattern` tells of each new state and output whether
    a gradient comes to it. `at_hand` are the values of the forward step that can be had, where not all can: the others
    are made again."""
    recorder = Recorder(program.count)
    grads: dict[Var, Tensor] = {}
    with recording_with(recorder):
        ends = [*program.new_states, *program.ys]
        seeds = [recorder.var(v.shape, v.dtype) for v in ends]
        for end, seed, has in zip(ends, seeds, pattern, strict=True):
            if has and end in active:
                seeded = Placeholder(seed, recorder)
                grads[end] = grads[end] + seeded if end in grads else seeded
        walk_back(program.equations, grads, active, recorder)

    equations, same = _each_once(recorder.equations, program.equations)
    if at_hand is not None:
        equations = _made_again(equations, program, at_hand, recorder)

    def found(var: Var) -> Var | None:
        if var not in grads:
            return None
        g: Var = recorder.lift(grads[var])
        return same.get(g, g)

    return Backward(
        equations=equations,
        constants=[var for var, _ in recorder.captured.values()],
        operands=[value for _, value in recorder.captured.values()],
        g_new_states=seeds[: len(program.new_states)],
        g_ys=seeds[len(program.new_states) :],
        g_states=[found(v) for v in program.states],
        g_xs=[found(v) if v in wanted else None for v in program.xs],
        g_captured=[found(v) if v in wanted else None for v in program.captured],
        gradients={same.get(g.var, g.var): v for v, g in reversed(grads.items()) if isinstance(g, Placeholder)},
    )


def _each_once(backward: list[Equation], forward: list[Equation]) -> tuple[list[Equation], dict[Var, Var]]:
    """The backward equations without twins, and by what the results of those left out are replaced. The twin of a
    forward equation (sigmoid's rule has the 1 - z that a step may have) stands for that too, and comes first: what
    the forward one made need then not be kept."""
    made = {_key(e, {}): (i, e.outs) for i, e in enumerate(forward)}
    seen: dict[Any, tuple[Var, ...]] = {}
    same: dict[Var, Var] = {}
    first: list[tuple[int, Equation]] = []
    later: list[Equation] = []
    for e in backward:
        key = _key(e, same)
        if key in seen:
            same.update(zip(e.outs, seen[key], strict=True))
            continue
        seen[key] = e.outs
        if key in made:
            first.append((made[key][0], e))
        else:
            later.append(e)
    first.sort(key=lambda pair: pair[0])
    ordered = [e for _, e in first] + later
    same |= {v: twin for i, e in first for v, twin in zip(forward[i].outs, e.outs, strict=True)}
    return [reading(e, same) for e in ordered], same


def _key(e: Equation, same: dict[Var, Var]) -> Any:
    """Equal for equations that do the same to the same values."""
    floating = e.outs[0].dtype.kind == "f"  # then 1 is 1.0

    def part(a: Any) -> Any:
        if isinstance(a, Var):
            return same.get(a, a)
        return frozen(float(a) if floating and type(a) is int else a)

    return e.primitive, tuple(map(part, e.args)), frozen(e.params)


def _made_again(
    equations: list[Equation], program: Program, at_hand: Container[Var], recorder: Recorder
) -> list[Equation]:
    """The backward equations, and before them what makes those values of the forward step that they read and that are
    not at hand."""
    makers = {out: e for e in program.equations for out in e.outs if out not in at_hand}
    again: set[Equation] = set()
    waiting = [a for e in equations for a in e.reads if a in makers]
    while waiting:
        e = makers[waiting.pop()]
        if e not in again:
            again.add(e)
            waiting += [a for a in e.reads if a in makers]
    twins = {out: recorder.var(out.shape, out.dtype) for e in again for out in e.outs}
    first = [replace(e, outs=tuple(twins[out] for out in e.outs)) for e in program.equations if e in again]
    return [reading(e, twins) for e in [*first, *equations]]
