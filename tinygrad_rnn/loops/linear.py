"""Steps that are linear in their states, entry by entry: h' = a h + b, with a and b from the input alone (Martin &
Cundy 2018). No product of matrices is left in their loop, and none of its steps need wait for the one before it.

    minGRU    h' = (1 - z) h + z n
    LRU       re' = a re - b im + p, im' = b re + a im + q     two that go into each other
    QRNN      c' = f c + (1 - f) n, where f and n read the input before: what is carried of that is known beforehand
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Equation, Program, Var


@dataclass(frozen=True, eq=False)
class LinearRecurrence:
    """Of a program's states those that are `known` as soon as the inputs are, since what a step hands on as them is
    made of its input and of others that are known; and the others, each with the states of which its next value is a
    sum of multiples."""

    known: list[Var]
    linear: dict[Var, frozenset[Var]]


Sums = frozenset[Var] | None
"""The states of whose multiples a value is a sum, beside what is of the input alone; None for a value that is no such
sum."""

_ALONE: frozenset[Var] = frozenset()


def linear_recurrence(program: Program) -> LinearRecurrence | None:
    """How a step is linear in its states; None where it is not, and where all of them are known beforehand."""
    pairs = list(zip(program.states, program.new_states, strict=True))
    known: set[Var] = set()
    while True:
        sums = _sums_of_all(program, known)
        more = {old for old, new in pairs if sums[new] == _ALONE} - known
        if not more:
            break
        known |= more
    linear: dict[Var, frozenset[Var]] = {}
    for old, new in pairs:
        found = sums[new]
        if found is None:
            return None
        if old not in known:
            linear[old] = found
    return LinearRecurrence([old for old, _ in pairs if old in known], linear) if linear else None


def _sums_of_all(program: Program, known: set[Var]) -> dict[Var, Sums]:
    """Of every value that the equations come to."""
    sums: dict[Var, Sums] = dict.fromkeys((*program.captured, *program.xs), _ALONE)
    sums |= {s: _ALONE if s in known else frozenset({s}) for s in program.states}
    for e in program.equations:
        found = _sum_of(e, [sums[a] for a in e.reads])
        sums |= dict.fromkeys(e.outs, found)
    return sums


def _sum_of(e: Equation, parts: Sequence[Sums]) -> Sums:
    """Of the result of an op, of whose arguments these are the sums."""
    moving = [a for a, part in zip(e.reads, parts, strict=True) if part != _ALONE]
    if not moving:
        return _ALONE
    if any(part is None for part in parts) or not is_linear_in(e, moving):
        return None
    return _ALONE.union(*(part for part in parts if part is not None))


def is_linear_in(e: Equation, moving: Sequence[Var]) -> bool:
    """Whether the result of an op is a sum of multiples of these of its arguments, entry by entry."""
    if any(a.shape != e.outs[0].shape for a in moving):
        return False  # an entry that goes to another place is none of this kind
    once = len(moving) == 1
    return (
        e.primitive in (ops.add, ops.sub, ops.neg)
        or (e.primitive is ops.mul and once)
        or (e.primitive is ops.div and once and moving[0] is e.args[0])
        or (e.primitive is ops.where and e.args[0] not in moving)
    )
