"""Which values of both steps get a line of their own, as a person would give them one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from tinygrad_rnn.derivation.both_steps import BothSteps
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.written.expressions import (
    EquationLine,
    WrittenValue,
    leaves,
    lines_of,
    signed_terms,
    substituted,
    uses,
)
from tinygrad_rnn.loops.written.shown import made_in_a_moment
from tinygrad_rnn.loops.written.symbols import Symbol, SymbolOf, with_numbers


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of a step, and those of its backward step; apart those of the gradients that nothing else in the step
    reads: of x, and of weights, which are summed over time."""

    forward: list[EquationLine]
    backward: list[EquationLine]
    apart: list[EquationLine]
    saved: list[Var]
    """The values of the step that the backward step reads."""
    symbols: SymbolOf


def chosen_lines(both: BothSteps, functions_again: bool) -> Lines:
    """A line for what the step names, for what goes into its activations, and for the gradients of these; and for
    whatever else is read more than once, but for what is made of a single value in a moment, 1 - z or, where
    `functions_again` says so, tanh(c): that is written again."""
    shown = _shown(both, functions_again)
    written: dict[Var, WrittenValue] = {}
    forward = lines_of(both.equations, shown.__contains__, written)
    backward = _short_gradients(both, lines_of(both.backward_equations, shown.__contains__, written))
    weights = {g: i for i, g in enumerate(both.backward.g_captured) if g is not None}
    read = {v for line in backward for v in leaves(line.made)} | {*both.backward.g_states}
    last = {g for g in (*weights, *both.backward.g_xs) if g is not None and g not in read}
    apart = sorted((line for line in backward if line.outs[0] in last), key=lambda line: weights.get(line.outs[0], -1))
    kept = {v for line in backward for v in leaves(line.made)}
    step_s_own = {g: Symbol("", version=-g.number) for g in weights if g in read}  # the weight's name is for the sum
    readable = [*both.program.xs, *both.program.states, *(v for line in forward for v in line.outs)]
    return Lines(
        forward,
        [line for line in backward if line not in apart],
        apart,
        [v for v in readable if v in kept],
        with_numbers(both.symbols | step_s_own, (v for line in (*forward, *backward, *apart) for v in line.outs)),
    )


def _shown(both: BothSteps, functions_again: bool) -> set[Var]:
    """What gets a line."""
    program, backward = both.program, both.backward
    equations = [*both.equations, *both.backward_equations]
    is_small = made_in_a_moment(equations, {*both.told, *program.new_states}, functions_again)
    forward_uses, backward_uses = uses(both.equations), uses(both.backward_equations)
    of_step = {out for e in both.equations for out in e.outs}
    named = {v for v in of_step if v in both.told} | {*program.new_states, *program.ys}
    again = {v for v in of_step if (forward_uses[v] > 1 or backward_uses[v]) and not is_small(v)}
    shown = named | again | {v for v in (*backward.g_states, *backward.g_xs, *backward.g_captured) if v is not None}
    for e in both.backward_equations:
        for g in e.outs:
            v = backward.gradients.get(g)
            is_sum = v is not None and both.symbols[v].kind == "sum"
            if v in named or is_sum or (backward_uses[g] > 1 and not is_small(g)):
                shown.add(g)
                if v in of_step and not is_sum:
                    shown.add(v)  # or nobody could tell what it is a gradient of
    return shown


def _short_gradients(both: BothSteps, lines: list[EquationLine]) -> list[EquationLine]:
    """The lines of a backward step in which the gradient of z is written into what is made of it, that of the sum that
    goes into z, where it is one product and nothing else reads it."""
    counts = Counter(v for line in lines for v in leaves(line.made))
    kept = {*both.program.new_states, *both.program.ys}
    ends = {*both.backward.g_states, *both.backward.g_xs, *both.backward.g_captured}
    deltas = {v for line in lines if both.symbols[line.outs[0]].kind == "delta" for v in leaves(line.made)}
    short: dict[Var, WrittenValue] = {}
    found = []
    for line in lines:
        g, made = line.outs[0], substituted(line.made, short)
        of = both.backward.gradients.get(g)
        is_short = of is not None and of not in kept and g not in ends and counts[g] == 1 and g in deltas
        if is_short and not line.several and len(signed_terms(made)) == 1:
            short[g] = made
        else:
            found.append(replace(line, made=made))
    return found
