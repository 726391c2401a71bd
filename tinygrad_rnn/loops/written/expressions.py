"""Equations in single assignment become few lines: what is read once is written into the line that reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.tape import Primitive

WrittenValue = Any
"""A Var, which is called by its name, a `Call`, or a number or another option."""


_DEEPEST = 8
"""What is deeper than that gets a line of its own."""


def _kind(primitive: Primitive[Any]) -> str:
    """Of ops that are written side by side, what they make."""
    return {ops.add: "sum", ops.sub: "sum", ops.neg: "sum", ops.mul: "product"}.get(primitive, "")


@dataclass(frozen=True, eq=False)
class Call:
    """What a value is made by: an op and what it is given."""

    primitive: Primitive[Any]
    args: tuple[WrittenValue, ...]
    params: dict[str, Any]
    shape: tuple[int, ...]

    @cached_property
    def depth(self) -> int:
        """How often brackets stand in brackets, or nearly: a sum of sums is one sum."""
        kind = _kind(self.primitive)
        inner = [a.depth + (_kind(a.primitive) != kind or not kind) for a in self.args if isinstance(a, Call)]
        return max(inner, default=0)

    @property
    def values(self) -> Iterator[WrittenValue]:
        """The Vars and Calls among its arguments."""
        return (a for a in self.args if isinstance(a, Var | Call))


@dataclass(frozen=True, eq=False)
class EquationLine:
    """A value, or `several` that one op makes, and what makes them; `made` is a Var where a value has two names."""

    outs: tuple[Var, ...]
    made: WrittenValue
    several: bool = False


def lines_of(
    equations: Iterable[Equation], apart: Callable[[Var], bool], made: dict[Var, WrittenValue]
) -> list[EquationLine]:
    """A line for each value that stands `apart`, or is deep; the others are written into what reads them. `made` holds
    what is to be written in the place of values of earlier equations, and gets that of these."""
    lines = []
    for e in equations:
        args = tuple(made.get(a, a) if isinstance(a, Var) else a for a in e.args)
        call = Call(e.primitive, args, e.params, e.outs[0].shape)
        if e.several or apart(e.outs[0]) or call.depth > _DEEPEST:
            lines.append(EquationLine(e.outs, call, e.several))
        else:
            made[e.outs[0]] = call
    return lines


def leaves(value: WrittenValue) -> Iterator[Var]:
    """The Vars that it is made of, as often as they occur."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Var):
            yield found
        elif isinstance(found, Call):
            waiting += found.values


def substituted(value: WrittenValue, others: dict[Var, WrittenValue]) -> WrittenValue:
    """The value with others in the place of some Vars."""
    if isinstance(value, Var):
        return others.get(value, value)
    if not isinstance(value, Call) or others.keys().isdisjoint(leaves(value)):
        return value
    return replace(value, args=tuple(substituted(a, others) for a in value.args))


def uses(equations: Iterable[Equation]) -> Counter[Var]:
    """How often each value is read."""
    return Counter(a for e in equations for a in e.reads)


def needed(equations: Sequence[Equation], wanted: Iterable[Var]) -> list[Equation]:
    """The equations without those of which nothing that is wanted is made."""
    live, found = set(wanted), []
    for e in reversed(equations):
        if not live.isdisjoint(e.outs):
            live.update(e.reads)
            found.append(e)
    return found[::-1]


# --- As one would write it -------------------------------------------------------------------------------------

SignedTerm = tuple[bool, WrittenValue]
"""A part of a sum, and whether it is taken away."""


def signed_terms(value: WrittenValue) -> list[SignedTerm]:
    """The parts of a sum, in their order; a value that is none is its only part. What several of them begin with is
    written once: g a - g b is g (a - b)."""
    return _factored(_terms(value))


def _terms(value: WrittenValue) -> list[SignedTerm]:
    if isinstance(value, Call):
        if value.primitive is ops.add:
            return [*_terms(value.args[0]), *_terms(value.args[1])]
        if value.primitive is ops.sub:
            return [*_terms(value.args[0]), *((not minus, each) for minus, each in _terms(value.args[1]))]
        if value.primitive is ops.neg:
            return [(not minus, each) for minus, each in _terms(value.args[0])]
        if value.primitive is ops.mul:  # -a b is -(a b), and -a -b is a b
            signed = _signed_factors(value)
            if any(minus for minus, _ in signed):
                odd = sum(minus for minus, _ in signed) % 2 == 1
                return [(odd, _product([each for _, each in signed], value.shape))]
        if value.primitive is ops.matmul:
            signed = [_signed(a) for a in value.args]
            if any(minus for minus, _ in signed):
                whole = replace(value, args=tuple(a for _, a in signed))
                return [(signed[0][0] ^ signed[1][0], whole)]
    return [(False, value)]


def factors(value: WrittenValue) -> list[WrittenValue]:
    """The factors of a product entry by entry; a value that is none is its only factor."""
    if isinstance(value, Call):
        if value.primitive is ops.mul:
            return [each for a in value.args for each in factors(a)]
        if value.primitive in (ops.add, ops.sub):
            ((minus, whole), *others) = signed_terms(value)
            if not minus and not others:
                return factors(whole)
    return [value]


def _signed_factors(value: WrittenValue) -> list[SignedTerm]:
    """The factors of a product, each with whether it was taken away; no number among them is below 0."""
    found: list[SignedTerm] = []
    for each in factors(value):
        minus, inner = _signed(each)
        if minus:
            first, *rest = factors(inner)
            found += [(True, first), *((False, factor) for factor in rest)]
        elif isinstance(each, int | float) and each < 0:
            found.append((True, -each))
        else:
            found.append((False, each))
    return found


def _signed(value: WrittenValue) -> SignedTerm:
    """What is taken away as that, and anything else as it is."""
    found = signed_terms(value) if isinstance(value, Call) and value.primitive is ops.neg else []
    return found[0] if len(found) == 1 else (False, value)


def _product(parts: Sequence[WrittenValue], shape: tuple[int, ...]) -> WrittenValue:
    product = parts[0]
    for each in parts[1:]:
        product = Call(ops.mul, (product, each), {}, shape)
    return product


def _sum(parts: Sequence[SignedTerm], shape: tuple[int, ...]) -> WrittenValue:
    minus, total = parts[0]
    if minus:
        total = Call(ops.neg, (total,), {}, shape)
    for minus, each in parts[1:]:
        total = Call(ops.sub if minus else ops.add, (total, each), {}, shape)
    return total


def _factored(parts: list[SignedTerm]) -> list[SignedTerm]:
    """Products that begin with the same Var, as one product by a sum."""
    groups: dict[Any, list[SignedTerm]] = {}
    for i, (minus, value) in enumerate(parts):
        found = factors(value)
        key = (found[0], value.shape) if len(found) > 1 and isinstance(found[0], Var) else i
        groups.setdefault(key, []).append((minus, value))
    result: list[SignedTerm] = []
    for key, group in groups.items():
        if len(group) == 1:
            result += group
            continue
        first, shape = key
        rest = [(minus, _product(factors(value)[1:], shape)) for minus, value in group]
        rest.sort(key=lambda term: term[0])  # what is taken away comes last
        minus = rest[0][0]
        rest = [(sign ^ minus, value) for sign, value in rest]
        result.append((minus, Call(ops.mul, (first, _sum(rest, shape)), {}, shape)))
    return sorted(result, key=lambda term: term[0]) if result[0][0] else result
