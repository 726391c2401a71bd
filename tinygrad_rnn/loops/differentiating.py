"""The backward step: the same rules as ever, run on the placeholders of the forward step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygrad_rnn import ops
from tinygrad_rnn.loops.recording import Equation, Placeholder, Program, Recorder, Var
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

    def found(var: Var, asked: bool = True) -> Any:
        return recorder.lift(grads[var]) if asked and var in grads else None

    count = len(program.new_states)
    return Backward(
        recorder.equations,
        [var for var, _ in recorder.captured.values()],
        [value for _, value in recorder.captured.values()],
        seeds[:count],
        seeds[count:],
        [found(v) for v in program.states],
        [found(v, v in wanted) for v in program.xs],
        [found(v, v in wanted) for v in program.captured],
        {g.var: v for v, g in grads.items() if isinstance(g, Placeholder)},
    )
