"""Loops that are linear in what they carry, entry by entry, run in one pass over the whole sequence: c' = A c + b.

Of T = K L steps, K blocks of L,

    within   every block from zero, all blocks side by side      c[k, l] = A[k, l] c[k, l-1] + b[k, l]     L calls
    factors  and what becomes of that with which it begins       P[k, l] = A[k, l] P[k, l-1]               L calls
    across   from block to block                                 s[k+1] = P[k, L-1] s[k] + c[k, L-1]       K calls
    both     for all at once                                     c[k, l] + P[k, l] s[k]

so that 2 L + K calls stand for T of each op (Blelloch 1990, section 1.5; Martin & Cundy 2018 for such cells). It is
more arithmetic, and pays where a call costs more than what it calculates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.loops.emitting import Emitted
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.linear import is_linear_in
from tinygrad_rnn.loops.program import Equation, Var

STEPS_FROM = 512
"""Of a sequence that is worth blocks."""
ENTRIES_TO = 256
"""Of what is carried: with more of them a call costs what it calculates."""
CHANGING = 32
"""Entries up to which that holds of factors that are others at every step, whose products are of each block."""


def can_be_one_pass(equations: Sequence[Equation], carry: Sequence[Var]) -> bool:
    """Whether a loop of these equations is of this kind, sums of multiples of what is carried, of one shape, and
    small."""
    if len({c.shape for c in carry}) != 1 or sum(math.prod(c.shape) for c in carry) > ENTRIES_TO:
        return False
    moving: set[Var] = {*carry}
    for e in equations:
        read = [a for a in e.reads if a in moving]
        if e.primitive not in _RULES or len(e.outs) > 1 or e.outs[0].dtype.kind != "f":
            return False
        if not read or e.primitive is ops.zeros_like:
            continue
        if any(a.dtype != e.outs[0].dtype for a in read) or not (e.primitive is copy or is_linear_in(e, read)):
            return False
        moving.update(e.outs)
    return True


class InOnePass:
    """A loop that is linear. It runs step by step (`emitted`) where that is faster, and where a product of factors is
    no number."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.emitted = layout, Emitted(layout)
        self.source = self.emitted.source

    def run(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> None:
        """As `Emitted.run`."""
        order = slice(None, None, -1 if self.layout.reverse else 1)
        if steps < STEPS_FROM:
            self.emitted.run(steps, env, rings)
            return
        start = [rings[c][0] if c in rings else env[c][order][0] for c in self.layout.carry]
        values = _sums_over_time(self.layout, env, order)
        new = [values[n] for n in self.layout.next_carry]
        changing = any(getattr(f, "ndim", 0) and len(f) > 1 for each in new for f in each.factors.values())
        few = not changing or sum(math.prod(c.shape) for c in self.layout.carry) <= CHANGING
        found = _solved(steps, new, self.layout.carry, start) if few else None
        if found is None:
            self.emitted.run(steps, env, rings)
            return
        before = {}
        for c, n, begin, states in zip(self.layout.carry, self.layout.next_carry, start, found, strict=True):
            before[c] = xp(states).concatenate([begin[None], states[:-1]])
            if c in rings:
                rings[c][steps % 2][...] = states[-1]
            else:
                env[n][order] = states
        for v in self.layout.stored.intersection(values).difference(self.layout.next_carry):
            env[v][order] = values[v].over(before)


@dataclass(frozen=True)
class Sum:
    """A value at all steps: multiples of what is carried, and `rest`. Each factor, and the rest, is a number or an
    array with an axis for the steps, of 1 where it is the same at all of them."""

    factors: dict[Var, Any]
    rest: Any

    def times(self, factor: Any) -> Sum:
        """Its multiple."""
        return Sum({c: f * factor for c, f in self.factors.items()}, self.rest * factor)

    def plus(self, other: Sum) -> Sum:
        """The sum of two."""
        factors = dict(self.factors)
        for c, f in other.factors.items():
            factors[c] = factors[c] + f if c in factors else f
        return Sum(factors, self.rest + other.rest)

    def over(self, carried: dict[Var, Array]) -> Any:
        """What it is where that is carried."""
        return sum((f * carried[c] for c, f in self.factors.items()), self.rest)


def _sums_over_time(layout: Layout, env: Env, order: slice) -> dict[Var, Sum]:
    """Every value of the loop, the steps in the order of the loop."""
    rank = len(layout.carry[0].shape)
    found: dict[Var, Sum] = {c: Sum({c: 1.0}, 0.0) for c in layout.carry}

    def sum_of(a: Any) -> Sum:
        if not isinstance(a, Var):
            return Sum({}, a)
        if a not in found:
            x = env[a][order] if a in layout.timed else env[a][None]
            found[a] = Sum({}, x.reshape((len(x), *(1,) * (rank - len(a.shape)), *a.shape)))
        return found[a]

    for e in layout.equations:
        found[e.outs[0]] = _RULES[e.primitive](*map(sum_of, e.args))
    return found


def _product(a: Sum, b: Sum) -> Sum:
    return a.times(b.rest) if a.factors else b.times(a.rest)


def _choice(condition: Sum, a: Sum, b: Sum) -> Sum:
    chosen, lib = condition.rest, xp(condition.rest)
    factors = {c: lib.where(chosen, a.factors.get(c, 0.0), b.factors.get(c, 0.0)) for c in {*a.factors, *b.factors}}
    return Sum(factors, lib.where(chosen, a.rest, b.rest))


_RULES: dict[Any, Callable[..., Sum]] = {
    ops.add: Sum.plus,
    ops.sub: lambda a, b: a.plus(b.times(-1.0)),
    ops.neg: lambda a: a.times(-1.0),
    ops.mul: _product,
    ops.div: lambda a, b: Sum({c: f / b.rest for c, f in a.factors.items()}, a.rest / b.rest),
    ops.where: _choice,
    copy: lambda a: a,
    ops.zeros_like: lambda a: Sum({}, 0.0),
}


def _solved(steps: int, new: list[Sum], carry: list[Var], start: list[Array]) -> list[Array] | None:
    """Of each state its values after all steps; None where a product of factors is no number."""
    lib, length = xp(start[0]), math.isqrt(steps)
    blocks, shape, dtype = steps // length, start[0].shape, start[0].dtype
    whole = blocks * length

    def cut(x: Any) -> Any:
        """(T,...) -> (K,L,...) of the steps in whole blocks; (1,1,...) of what is the same at all steps."""
        x = lib.asarray(x, dtype)
        x = x.reshape((1,) * (len(shape) + 1)) if x.ndim == 0 else x
        return x[:whole].reshape((blocks, length, *x.shape[1:])) if len(x) > 1 else x[None]

    A = [{carry.index(c): cut(f) for c, f in each.factors.items()} for each in new]
    b = [cut(each.rest) for each in new]
    P = _products(lib, A, length)
    if not all(bool(lib.isfinite(p).all()) for row in P for p in row.values()):
        return None
    found = [lib.empty((steps, *shape), dtype) for _ in carry]
    cells = [x[:whole].reshape((blocks, length, *shape)) for x in found]
    for t in range(length):
        for cell, row, rest in zip(cells, A, b, strict=True):
            cell[:, t] = _at(rest, t)
            if t:
                for j, a in row.items():
                    cell[:, t] += _at(a, t) * cells[j][:, t - 1]
    states = [*start]
    begins = [lib.empty((blocks, *shape), dtype) for _ in carry]
    for k in range(blocks):
        for begin, state in zip(begins, states, strict=True):
            begin[k] = state
        ends = [cell[k, -1] for cell in cells]
        states = [
            end + sum(p[k if len(p) > 1 else 0, -1] * states[j] for j, p in row.items())
            for end, row in zip(ends, P, strict=True)
        ]
    for cell, row in zip(cells, P, strict=True):
        for j, p in row.items():
            lib.add(cell, p * begins[j][:, None], out=cell)
    for t in range(whole, steps):
        before = {c: x[t - 1] for c, x in zip(carry, found, strict=True)}
        for x, each in zip(found, new, strict=True):
            x[t] = Sum({c: _step(f, t) for c, f in each.factors.items()}, _step(each.rest, t)).over(before)
    return found


def _products(lib: Any, A: list[dict[int, Any]], length: int) -> list[dict[int, Any]]:
    """Of the factors of each block, (K,L,...), those of what it begins with: A[l] ... A[1] A[0], (K,L,...)."""
    rows = [{j: [_at(a, 0)] for j, a in row.items()} for row in A]
    for t in range(1, length):
        last = [{j: column[-1] for j, column in row.items()} for row in rows]
        for i, row in enumerate(A):
            made: dict[int, Any] = {}
            for m, a in row.items():
                for j, p in last[m].items():
                    made[j] = made[j] + _at(a, t) * p if j in made else _at(a, t) * p
            for j in {*made, *rows[i]}:
                zero = lib.zeros_like(next(iter(made.values()))) if made else 0.0
                rows[i].setdefault(j, [zero] * t).append(made.get(j, zero))
    return [{j: lib.stack(lib.broadcast_arrays(*column), axis=1) for j, column in row.items()} for row in rows]


def _at(x: Any, t: int) -> Any:
    """Of (K,L,...) the step t of every block."""
    return x[:, t if x.shape[1] > 1 else 0]


def _step(x: Any, t: int) -> Any:
    """Of (T,...) the step t; a number is the same at all."""
    return x if not hasattr(x, "ndim") or x.ndim == 0 else x[t if len(x) > 1 else 0]
