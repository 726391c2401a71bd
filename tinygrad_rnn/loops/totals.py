"""Gradients of what a step captures: sums over time, each as few products over all N = T B rows as there can be."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.blas import product
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.loops.contractions import Contraction, contractions
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.lookups import Lookup, lookup
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.sums import total


@dataclass(frozen=True, eq=False)
class Term:
    """One summand at each time step: `left.T @ right`, or with `left` None `right` itself; then summed to `shape`."""

    left: Var | None
    right: Var
    shape: tuple[int, ...]


Group = list[Term | Contraction | Lookup]
"""The summands of one gradient."""


def terms(var: Var, makers: dict[Var, Equation], moving: Container[Var]) -> Group:
    """A gradient at one step as a sum. Since the sum over time of `x.T @ dz` is one product of all the rows of x and
    dz, neither the sum nor the products need be computed at any step. `moving` is what differs from step to step."""
    found: Group = []
    waiting = [var]
    while waiting:
        v = waiting.pop()
        e = makers.get(v)
        if e is not None and e.primitive is ops.add and all(isinstance(a, Var) and a.shape == v.shape for a in e.args):
            waiting += e.args
        elif e is not None and e.primitive is ops.matmul and (x := _left(e, makers)) is not None:
            found.append(Term(x, e.args[1], var.shape))
        elif reading := lookup(e):
            found.append(reading)
        elif products := contractions(v, makers, moving, summed=True):
            found += products
        elif e is not None and e.primitive is ops.sum_to:
            found.append(Term(None, e.args[0], var.shape))
        else:
            found.append(Term(None, v, var.shape))
    return found


def _left(product: Equation, makers: dict[Var, Equation]) -> Var | None:
    """x where the product is that of the matrices x.T and another."""
    v, right = product.args
    e = makers.get(v)
    if (
        e is None
        or len(v.shape) != 2
        or len(right.shape) != 2
        or e.primitive is not ops.swapaxes
        or {a % 2 for a in e.args[1:3]} != {0, 1}
    ):
        return None
    x: Var = e.args[0]
    return x


class Totals:
    """The sums over time of what was asked for, each a list of terms."""

    def __init__(self, asked: list[Group | None], layout: Layout) -> None:
        self.asked, self.layout = asked, layout
        # What is asked of neighbouring slices is calculated at once: for each left operand and stack, lo and hi.
        self.runs: dict[tuple[Var | None, Var], tuple[int, int]] = {}
        places = {term: self._place(term) for group in asked for term in group or () if isinstance(term, Term)}
        for key, lo, hi in places.values():
            before = self.runs.get(key, (lo, hi))
            self.runs[key] = (min(before[0], lo), max(before[1], hi))
        self.slices = {term: (key, lo - self.runs[key][0]) for term, (key, lo, _) in places.items()}
        """Of each term, the key of its calculation, and which of the results is its own."""
        alike = [
            tuple(self.slices[term] if isinstance(term, Term) else term for term in group or ()) for group in asked
        ]
        self.again = [key in alike[:i] for i, key in enumerate(alike)]
        """Whether the same sum was asked for before."""

    def _place(self, term: Term) -> tuple[tuple[Var | None, Var], int, int]:
        """The key of a calculation, and the slice of its result."""
        place = self.layout.home.get(term.right)
        if place is None or place.hi is not None:
            return (term.left, term.right), 0, 1
        return (term.left, place.stack), place.lo, place.lo + 1

    def run(self, env: Env, steps: int) -> list[Array | None]:
        """The sums, in the order in which they were asked for; every array is new."""
        done: dict[tuple[Var | None, Var], Array] = {}
        results: list[Array | None] = []
        for group, again in zip(self.asked, self.again, strict=True):
            result = None if group is None else self._sum(group, env, steps, done)
            results.append(result.astype(result.dtype) if result is not None and again else result)  # a copy
        return results

    def _sum(self, group: Group, env: Env, steps: int, done: dict[tuple[Var | None, Var], Array]) -> Array:
        result: Array = None
        for term in group:
            if not isinstance(term, Term):
                value = term.over_time(env, self.layout.timed)
            else:
                key, number = self.slices[term]
                if key not in done:
                    done[key] = self._calculated(*key, env, steps)
                value = done[key][number]
                if term.left is None:
                    value = ops.sum_to.forward(value, term.shape)
            result = value if result is None else result + value
        return result

    def _calculated(self, left: Var | None, right: Var, env: Env, steps: int) -> Array:
        """The results for a run of slices, on a leading axis."""
        lo, hi = self.runs[left, right]
        timed, g = right in self.layout.timed, env[right]
        stacked = right in self.layout.stacks
        if stacked:
            g = g[:, lo:hi].swapaxes(0, 1) if timed else g[lo:hi]
        else:
            g = g[None]
        if left is None:
            return total(g, 1) if timed else g * steps
        x = env[left]
        if left in self.layout.timed and timed:
            rows = steps * left.shape[0]
            g = g.reshape(len(g), rows, g.shape[-1])
            out = empty_buffer((len(g), left.shape[-1], right.shape[-1]), right.dtype, xp(x))
            return product(x.reshape(rows, left.shape[-1]).T, g, out)
        if left in self.layout.timed:
            return total(x, 0).T @ g
        return x.T @ (total(g, 1) if timed else g * steps)


def operands(asked: list[Group | None]) -> set[Var]:
    """All that the terms are made of."""
    found: set[Var] = set()
    for term in (term for group in asked for term in group or ()):
        match term:
            case Contraction():
                found.update(v for v, _ in term.factors)
            case Lookup():
                found.update((term.numbers, term.values))
            case Term():
                found.update(v for v in (term.left, term.right) if v is not None)
    return found
