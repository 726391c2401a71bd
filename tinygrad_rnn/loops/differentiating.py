"""The backward step: the same rules as ever, run on the placeholders of the forward step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.recorder import Placeholder, Recorder, frozen
from tinygrad_rnn.surroundings import recording_with
from tinygrad_rnn.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Backward:
    """One step backwards: from the gradients of new states and outputs (and any value of the forward step) to those of
    states, inputs and captured operands; None where none is wanted or nothing depends on it."""

    equations: list[Equation]
    constants: list[Var]
    operands: list[Any]
    g_new_states: list[Var]
    g_ys: list[Var]
    g_states: list[Var | None]
    g_xs: list[Var | None]
    g_captured: list[Var | None]
    gradients: dict[Var, Var]
    """The values of the forward step by their gradients."""


def differentiate(program: Program, wanted: set[Var]) -> Backward:
    """Records the backward step. `wanted` are those of the inputs and captured operands whose gradient is asked for;
    the states always are."""
    recorder = Recorder(program.count)
    active = {v for v in program.states if v.dtype.kind == "f"} | wanted
    for equation in program.equations:
        if equation.graded and any(a in active for a in equation.reads):
            active.update(out for out in equation.outs if out.dtype.kind == "f")
    grads: dict[Var, Tensor] = {}

    def give(var: Var, share: Tensor) -> None:
        if share.shape != var.shape:
            share = ops.sum_to(share, var.shape)
        if share.dtype != var.dtype:
            share = ops.astype(share, var.dtype)
        grads[var] = grads[var] + share if var in grads else share

    with recording_with(recorder):
        ends = [*program.new_states, *program.ys]
        seeds = [recorder.var(v.shape, v.dtype) for v in ends]
        for end, seed in zip(ends, seeds, strict=True):
            if end in active:
                give(end, Placeholder(seed, recorder))
        for equation in reversed(program.equations):
            gs = [grads.get(out) for out in equation.outs]
            if all(g is None for g in gs) or not equation.graded:
                continue
            outs = tuple(Placeholder(out, recorder) for out in equation.outs)
            args = [Placeholder(a, recorder) if isinstance(a, Var) else a for a in equation.args]
            g, out = (tuple(gs), outs) if equation.several else (gs[0], outs[0])
            for i, a in enumerate(equation.args):
                rule = equation.primitive.rule_of(i) if isinstance(a, Var) and a in active else None
                share = None if rule is None else rule(g, out, *args, **equation.params)
                if share is not None:
                    give(a, share)

    equations, same = _each_once(recorder.equations, program.equations)

    def found(var: Var, asked: bool = True) -> Any:
        if not asked or var not in grads:
            return None
        g = recorder.lift(grads[var])
        return same.get(g, g)

    count = len(program.new_states)
    return Backward(
        equations,
        [var for var, _ in recorder.captured.values()],
        [value for _, value in recorder.captured.values()],
        seeds[:count],
        seeds[count:],
        [found(v) for v in program.states],
        [found(v, v in wanted) for v in program.xs],
        [found(v, v in wanted) for v in program.captured],
        {same.get(g.var, g.var): v for v, g in grads.items() if isinstance(g, Placeholder)},
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
    left = [replace(e, args=tuple(same.get(a, a) if isinstance(a, Var) else a for a in e.args)) for e in ordered]
    return left, same


def _key(e: Equation, same: dict[Var, Var]) -> Any:
    """Equal for equations that do the same to the same values."""
    floating = e.outs[0].dtype.kind == "f"  # then 1 is 1.0

    def part(a: Any) -> Any:
        if isinstance(a, Var):
            return same.get(a, a)
        return frozen(float(a) if floating and type(a) is int else a)

    return e.primitive, tuple(map(part, e.args)), frozen(e.params)
