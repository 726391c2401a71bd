"""Which results of a step a gradient comes to: the plain loop visits no others, and neither must the compiled one. A
zero that is sent down instead of nothing meets the infinite slope of a value that overflowed, and 0 * inf is NaN.

What a step hands on gets a gradient from the steps that follow it. Going back from the last step, that may take several
steps to settle: a state that the output of the next step reads has none yet at the last. Of a step with states h, c and
output y, where only y was asked for,

    at the last step           y
    at the one before it       y h              the step after it reads h for y
    at those before that       y h c            and c for h
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.ops.indexing import _add_along_axis, _getitem
from tinygrad_rnn.ops.reductions import _mean, _sum
from tinygrad_rnn.ops.shapes import _concatenate, _split, _stack, _unstack
from tinygrad_rnn.tape import _astype

Pattern = tuple[bool, ...]
"""Of each new state, and then of each output, whether a gradient comes to it."""


def active_values(program: Program, wanted: set[Var]) -> set[Var]:
    """The values through which a gradient goes to what is wanted, at their own step or at an earlier one."""
    active = set(wanted)
    flows = [(e.reads, [out for out in e.outs if out.dtype.kind == "f"]) for e in program.equations if e.graded]
    pairs = [pair for pair in zip(program.states, program.new_states, strict=True) if pair[0].dtype.kind == "f"]
    more: list[Var] | None = None
    while more is None or more:
        for reads, outs in flows:
            if not active.isdisjoint(reads):
                active.update(outs)
        more = [old for old, new in pairs if new in active and old not in active]
        active.update(more)
    return active


@dataclass(frozen=True)
class Plan:
    """The patterns of the steps, from the last one on; they go round from number `again` on."""

    patterns: tuple[Pattern, ...]
    again: int
    reached: frozenset[Var] = frozenset()
    """The captured operands that a gradient comes to at any step. The others get none, and no zeros: what they were
    made of need not be gone back through."""

    def segments(self, steps: int) -> Iterator[tuple[Pattern, slice]]:
        """Steps that follow each other and have one pattern, the last ones first."""
        period = len(self.patterns) - self.again
        numbers = (i if i < self.again else self.again + (i - self.again) % period for i in range(steps))
        end = steps
        for pattern, group in groupby(self.patterns[i] for i in numbers):
            start = end - sum(1 for _ in group)
            yield pattern, slice(start, end)
            end = start


def planned(program: Program, active: set[Var], given: Pattern) -> Plan:
    """Which patterns the steps have where `given` is what comes to the last states and to the outputs."""
    cut = len(program.new_states)
    carried, of_ys = given[:cut], given[cut:]
    met: list[Pattern] = []
    patterns: list[Pattern] = []
    ever: set[Var] = set()
    while carried not in met:
        met.append(carried)
        reached = _reached(program, active, carried + of_ys)
        ever |= reached
        patterns.append(_completed(program, active, carried + of_ys, reached))
        carried = tuple(state in reached for state in program.states)
    return Plan(tuple(patterns), met.index(carried), frozenset(ever.intersection(program.captured)))


def _reached(program: Program, active: set[Var], pattern: Pattern) -> set[Var]:
    """The values that a gradient comes to at a step."""
    ends = [*program.new_states, *program.ys]
    reached = {end for end, has in zip(ends, pattern, strict=True) if has and end in active}
    for equation in reversed(program.equations):
        if equation.graded and not reached.isdisjoint(equation.outs):
            for i, a in enumerate(equation.args):
                if isinstance(a, Var) and a in active and equation.primitive.rule_of(i) is not None:
                    reached.add(a)
    return reached


def _completed(program: Program, active: set[Var], pattern: Pattern, reached: set[Var]) -> Pattern:
    """With those ends added to which a zero may be given as well: it leads to nothing, or through nothing but rules
    that make zeros of it, whatever the values, to where a gradient comes anyway. So that most steps have one pattern,
    and the program of it serves all of them."""
    quiet = reached | {*program.captured, *program.xs}
    for equation in program.equations:
        if _keeps_zeros(equation) and all(a in quiet or a not in active for a in equation.reads):
            quiet.update(equation.outs)
    ends = [*program.new_states, *program.ys]
    return tuple(has or end in quiet or end not in active for end, has in zip(ends, pattern, strict=True))


_KEEPING = frozenset(
    getattr(ops, name)
    for name in "neg add sub floor floor_divide where relu reshape transpose swapaxes moveaxis expand_dims "
    "squeeze flip broadcast_to sum_to cumsum scatter take_along_axis".split()
) | {_sum, _mean, _getitem, _add_along_axis, _stack, _concatenate, _split, _unstack, _astype}
"""Ops whose rules make zeros of zeros, whatever the values."""


def _keeps_zeros(equation: Equation) -> bool:
    if equation.primitive in (ops.mul, ops.div):
        left, right = map(_is_finite_number, equation.args)
        return right or (left and equation.primitive is ops.mul)
    return equation.primitive in _KEEPING


def _is_finite_number(a: Any) -> bool:
    return isinstance(a, int | float) and isfinite(a) and a != 0
