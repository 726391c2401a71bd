"""Sums over time of products that are larger than their factors: one batched product, and no product at any step.

A step that attends to `enc` (S,B,H) with weights w (S,B) and makes of it Σ_s w[s,b] enc[s,b,h] gives enc the gradient
w[s,b] g[b,h], of S B H entries, at every step. Over time that is

    Σ_t w[t,s,b] g[t,b,h]  =  for each b a product of matrices, (S,T) @ (T,H)

However a step writes it (einsum, stacks of matrices, `(w[..., None] * enc).sum(0)`), what the rules record is
a product of two values, between changes of shape: each axis of a factor is an axis of the gradient, or is summed over.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.ops.indexing import _getitem
from tinygrad_rnn.ops.products import _einsum
from tinygrad_rnn.ops.reductions import _mean, _sum
from tinygrad_rnn.sums import total
from tinygrad_rnn.tape import primitive

if TYPE_CHECKING:  # splitting needs batching, and batching this
    from tinygrad_rnn.loops.splitting import Parts

AxisNumbers = tuple[int | None, ...]
"""A number for each axis; None for one of size 1, which has no part in it. Equal numbers are one axis."""

TIME = -1

SUMS = frozenset({_sum, _mean, ops.sum_to})

Operand = tuple[Array, tuple[int, ...]]
"""An array, and the numbers of its axes."""


@dataclass(frozen=True, eq=False)
class Contraction:
    """At each time step `scale` times the product of two factors, or one alone, summed over all axes that the result
    does not have, and repeated along those that only the result has; then summed over time."""

    factors: tuple[tuple[Var, AxisNumbers], ...]
    axes: AxisNumbers
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float = 1.0

    def over_time(self, env: dict[Var, Array], timed: set[Var]) -> Array:
        """The sum, a new array of `shape`. One factor at least is made of a gradient, which has a time axis."""
        of_all = all(v in timed for v, _ in self.factors)
        operands = []
        for v, axes in self.factors:
            value = env[v]
            if v in timed and not of_all:
                value = total(value, 0)
            operands.append(_squeezed(value, (TIME, *axes) if v in timed and of_all else axes))
        return self._of(operands, ())

    def at_each_step(self, values: Sequence[Array], timed: Sequence[bool], steps: int) -> Array:
        """The products of all time steps, (T, *shape), not summed over these."""
        with_time = [(TIME, *axes) if late else axes for (_, axes), late in zip(self.factors, timed, strict=True)]
        return self._of([_squeezed(value, axes) for value, axes in zip(values, with_time, strict=True)], (steps,))

    def _of(self, operands: list[Operand], steps: tuple[int, ...]) -> Array:
        left, right = operands if len(operands) == 2 else (operands[0], (xp(operands[0][0]).ones((), self.dtype), ()))
        axes, shape = ((TIME, *self.axes), (*steps, *self.shape)) if steps else (self.axes, self.shape)
        wanted = [n for n in axes if n is not None]
        kept = [n for n in wanted if n in left[1] or n in right[1]]
        result = _contracted(left, right, kept, self.dtype)
        if self.scale != 1.0:
            result *= result.dtype.type(self.scale)
        if len(kept) == len(wanted):
            return result.reshape(shape)
        spread = result.reshape(tuple(size if n in kept else 1 for n, size in zip(axes, shape, strict=True)))
        return xp(spread).broadcast_to(spread, shape).copy()


def contractions(
    v: Var, makers: dict[Var, Equation], timed: Container[Var], summed: bool = False
) -> list[Contraction] | None:
    """A value at one step as a sum of contractions; None where it is none, or where one is no larger than what it is
    made of. Of that only what is `timed` counts, what differs from step to step. Where the value is to be `summed` over
    time, its product with a matrix that does not differ is one whatever the sizes: the sum comes first, and then there
    is one product instead of T."""
    axes = tuple(i if n != 1 else None for i, n in enumerate(v.shape))
    return _Search(v, axes, makers, timed, summed).terms(v, axes, 1.0)


@primitive
def contracted(*factors: Array, contraction: Contraction) -> Array:
    """A contraction at each of all time steps, for which `batching` has the rule."""
    raise NotImplementedError


def contract(parts: Parts, moving: Iterable[Var], kept: set[Var]) -> None:
    """Of what is done for all time steps at once, in place: sums of products that nothing else reads become
    contractions, and the products, T times as large as at one step, are never there. `moving` are the carry and what
    differs from step to step, `kept` what is wanted afterwards."""
    if not any(e.primitive in SUMS for part in (parts.before, parts.after) for e in part):
        return
    late = [e for part in (parts.before, parts.loop, parts.after) for e in part]
    everything = [*parts.once, *late]
    timed = {*moving, *(out for e in late for out in e.outs)}
    uses = Counter(a for e in everything for a in e.reads)
    for part in (parts.before, parts.after):
        makers = {e.outs[0]: e for e in part if uses[e.outs[0]] == 1 and e.outs[0] not in kept}
        new: list[Equation] = []
        for e in part:
            found = contractions(e.outs[0], {**makers, e.outs[0]: e}, timed) if e.primitive in SUMS else None
            if found is not None and len(found) == 1 and len(found[0].factors) == 2:
                factors = tuple(v for v, _ in found[0].factors)
                e = Equation(contracted, factors, {"contraction": found[0]}, e.outs)  # noqa: PLW2901
            new.append(e)
        gone = {a for old, e in zip(part, new, strict=True) if old is not e for a in old.reads}
        part[:] = _without_unread(new, gone)


def _without_unread(part: list[Equation], unread: set[Var]) -> list[Equation]:
    """Without the equations that made what is no longer read, nor what they alone read."""
    left: list[Equation] = []
    read: set[Var] = set()
    for e in reversed(part):
        if e.outs[0] in unread and e.outs[0] not in read:
            unread = unread | {*e.reads}
            continue
        read.update(e.reads)
        left.append(e)
    return left[::-1]


class _Search:
    """Looks for what makes a value, back through changes of shape."""

    def __init__(
        self,
        result: Var,
        axes: AxisNumbers,
        makers: dict[Var, Equation],
        timed: Container[Var],
        summed: bool,
    ) -> None:
        self.result, self.axes, self.makers, self.timed, self.summed = result, axes, makers, timed, summed
        self.new = count(len(axes))

    def terms(self, v: Var, axes: AxisNumbers, scale: float) -> list[Contraction] | None:
        """The contractions that make `v`, of which these are the axes."""
        v, axes, scale = self.seen_through(v, axes, scale)
        e = self.makers.get(v)
        if e is None:
            return None
        if e.primitive is ops.add and len(e.reads) == 2:
            found = [self.terms(a, _aligned(a, axes), scale) if a.shape == v.shape else None for a in e.reads]
            return None if None in found else [term for each in found for term in each or ()]
        if e.primitive in SUMS:
            (x,) = e.reads
            if not math.prod(x.shape):
                return None
            if e.primitive is _mean:
                scale *= math.prod(v.shape) / math.prod(x.shape)
            axes = self._before_sum(x, axes if e.primitive is ops.sum_to else _with_summed(e, axes))
            v, axes, scale = self.seen_through(x, axes, scale)
            e = self.makers.get(v)
        factors = [(v, axes)] if e is None else self._factors(e, axes) or [(v, axes)]
        seen = [self.seen_through(a, of, 1.0) for a, of in factors]
        scale *= math.prod(s for _, _, s in seen)
        late = [math.prod(a.shape) for a, _, _ in seen if a in self.timed]
        once = self.summed and e is not None and e.primitive is ops.matmul and len(late) < len(seen)
        small = once or sum(late) < max(math.prod(v.shape), math.prod(self.result.shape))
        if not small or any(a.dtype != self.result.dtype for a, _, _ in seen):
            return None
        return [Contraction(tuple((a, of) for a, of, _ in seen), self.axes, self.result.shape, v.dtype, scale)]

    def seen_through(self, v: Var, axes: AxisNumbers, scale: float) -> tuple[Var, AxisNumbers, float]:
        """The value of which `v` is another view, its axes, and the number by which it is multiplied."""
        while (e := self.makers.get(v)) is not None:
            x = e.reads[0] if e.reads else v
            if e.primitive is ops.neg:
                scale = -scale
            elif e.primitive is ops.mul and len(e.reads) == 1:
                scale *= next(a for a in e.args if a is not x)
            elif e.primitive is ops.broadcast_to:
                axes = _aligned(x, axes)
            elif e.primitive is ops.swapaxes:
                order = list(range(len(axes)))
                i, j = _arguments(e, "axis1", "axis2")
                order[i], order[j] = order[j], order[i]
                axes = tuple(axes[i] for i in order)
            elif e.primitive is ops.transpose:
                (chosen,) = _arguments(e, "axes")
                order = [*range(len(axes))][::-1] if chosen is None else [a % len(axes) for a in chosen]
                axes = tuple(axes[order.index(i)] for i in range(len(axes)))
            elif _only_moves_axes_of_one(e):
                left = iter([n for n, size in zip(axes, v.shape, strict=True) if size != 1])
                axes = tuple(None if size == 1 else next(left) for size in x.shape)
            else:
                break
            v = x
        return v, axes, scale

    def _before_sum(self, x: Var, axes: AxisNumbers) -> AxisNumbers:
        """Of what was summed to something with these axes: new ones where it was summed."""
        extra = len(x.shape) - len(axes)
        old = (*(None for _ in range(extra)), *axes)
        return tuple(
            None if size == 1 else next(self.new) if n is None else n for n, size in zip(old, x.shape, strict=True)
        )

    def _factors(self, e: Equation, axes: AxisNumbers) -> list[tuple[Var, AxisNumbers]] | None:
        """Those of a product of which these are the axes."""
        if len(e.reads) != 2:
            return None
        if e.primitive is ops.mul:
            return [(a, _aligned(a, axes)) for a in e.reads]
        if e.primitive is ops.matmul and all(len(a.shape) >= 2 for a in e.reads):
            left, right = e.reads
            inner = None if left.shape[-1] == 1 else next(self.new)
            return [
                (left, (*_aligned_stack(left, axes), axes[-2], inner)),
                (right, (*_aligned_stack(right, axes), inner, axes[-1])),
            ]
        if e.primitive is _einsum and not e.params:
            inputs, _, result = e.args[0].partition("->")
            named: dict[str, int | None] = dict(zip(result, axes, strict=True))
            names = inputs.split(",")
            if any(len(set(term)) < len(term) for term in names):
                return None  # a diagonal
            for letter in inputs:
                if letter.isalpha() and letter not in named:
                    named[letter] = next(self.new)
            pairs = zip(names, e.reads, strict=True)
            return [
                (a, tuple(None if n == 1 else named[c] for c, n in zip(term, a.shape, strict=True)))
                for term, a in pairs
            ]
        return None


def _with_summed(e: Equation, axes: AxisNumbers) -> AxisNumbers:
    """The axes of a sum, and None for those that were summed and not kept."""
    axis, keepdims = _arguments(e, "axis", "keepdims")
    rank = len(e.reads[0].shape)
    if keepdims or not rank:  # a number has no axes, and is its own sum
        return axes
    summed = {a % rank for a in (range(rank) if axis is None else axis if isinstance(axis, tuple) else (axis,))}
    left = iter(axes)
    return tuple(None if i in summed else next(left) for i in range(rank))


def _aligned(x: Var, axes: AxisNumbers) -> AxisNumbers:
    """The axes of what is broadcast to something with these."""
    last = axes[len(axes) - len(x.shape) :]
    return tuple(None if size == 1 else n for n, size in zip(last, x.shape, strict=True))


def _aligned_stack(x: Var, axes: AxisNumbers) -> AxisNumbers:
    """The same of the leading axes of a stack of matrices."""
    lead = len(x.shape) - 2
    last = axes[len(axes) - 2 - lead : len(axes) - 2]
    return tuple(None if size == 1 else n for n, size in zip(last, x.shape[:-2], strict=True))


def _arguments(e: Equation, *names: str) -> list[Any]:
    """Options of an equation, however they were given."""
    given = dict(zip(names, e.args[1:], strict=False)) | e.params
    return [given.get(name) for name in names]


def _only_moves_axes_of_one(e: Equation) -> bool:
    """Whether an equation does nothing but put in, or take out, axes of size 1."""
    if e.primitive in (_getitem, ops.scatter):
        index = e.args[1] if isinstance(e.args[1], tuple) else (e.args[1],)
        if not all(part is None or part is Ellipsis or part == slice(None) for part in index):
            return False
    elif e.primitive not in (ops.reshape, ops.expand_dims, ops.squeeze):
        return False
    old, new = ([n for n in v.shape if n != 1] for v in (e.args[0], e.outs[0]))
    return old == new


def _squeezed(value: Array, axes: AxisNumbers) -> Operand:
    """Without the axes of size 1 that have no part in it."""
    shape = tuple(size for n, size in zip(axes, value.shape, strict=True) if n is not None)
    return value.reshape(shape), tuple(n for n in axes if n is not None)


def _contracted(left: Operand, right: Operand, kept: list[int], dtype: np.dtype[Any]) -> Array:
    """The product summed over all axes but these, in this order: a product of matrices for each index of those that
    both have."""
    (a, of_a), (b, of_b) = _summed(left, [*right[1], *kept]), _summed(right, [*left[1], *kept])
    sizes = dict(zip((*of_a, *of_b), (*a.shape, *b.shape), strict=True))
    stack = [n for n in kept if n in of_a and n in of_b]
    rows, columns = [n for n in kept if n not in of_b], [n for n in kept if n not in of_a]
    inner = [n for n in of_a if n not in kept]

    def matrices(x: Array, axes: Sequence[int], *groups: list[int]) -> Array:
        order = [axes.index(n) for n in (*stack, *groups[0], *groups[1])]
        lead = [sizes[n] for n in stack]
        return x.transpose(order).reshape(*lead, *(math.prod(sizes[n] for n in group) for group in groups))

    a, b = matrices(a, of_a, rows, inner), matrices(b, of_b, inner, columns)
    out = empty_buffer(tuple(sizes[n] for n in kept), dtype, xp(a))
    seen = out.transpose([kept.index(n) for n in (*stack, *rows, *columns)])
    if len(rows) == len(columns) == 1:
        xp(a).matmul(a, b, out=seen)
    else:
        seen[...] = (a @ b).reshape(seen.shape)
    return out


def _summed(x: Operand, elsewhere: Sequence[int]) -> Operand:
    """Summed over the axes that are nowhere else."""
    value, axes = x
    alone = tuple(i for i, n in enumerate(axes) if n not in elsewhere)
    return (value.sum(axis=alone), tuple(n for n in axes if n in elsewhere)) if alone else x
