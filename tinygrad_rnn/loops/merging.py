"""Fewer, larger operations, the same function.

Products with one left operand become one: `h @ W_i`, `h @ W_f`, ... are the slices of `h @ stack([W_i, W_f, ...])`.
A sum of products becomes one: `dz_i @ V_i + dz_f @ V_f + ...`. And what is then done entry by entry to neighbouring
slices is done to all of them at once. A slice is a view of the stacked array: nothing is copied to put values beside
each other, since whoever makes one writes it in its place. The stack is on a leading axis, so that each slice is in
one piece of memory: entry by entry, columns of a wide matrix take three times as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array
from tinygrad_rnn.loops.batching import ELEMENTWISE
from tinygrad_rnn.loops.products import affine, stacked, sum_of_products
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.splitting import Parts


class Place(NamedTuple):
    """Where a value lies: `stack[lo]`, or `stack[lo:hi]` where `hi` is given (not counting the time axis)."""

    stack: Var
    lo: int
    hi: int | None = None

    def of(self, stack: Array, timed: bool) -> Array:
        """The view of it."""
        index = self.lo if self.hi is None else slice(self.lo, self.hi)
        return stack[:, index] if timed else stack[index]


Home = dict[Var, Place]


def merge(
    parts: Parts,
    ends: Iterable[Var],
    moving: Iterable[Var],
    kept: Iterable[Var],
    known: Home,
    numbers: Iterator[int],
) -> Home:
    """Merges within each part, in place, and returns which values lie in which stack. `ends` are made apart (the loop
    hands them on); `moving` are the carry and what differs from step to step; `kept` are wanted afterwards, of all
    steps; `known` lie in stacks from before; `numbers` are for new Vars."""
    late = {out for e in parts.after for out in e.outs}
    kept = {*kept, *(a for e in parts.after for a in e.reads if a not in late)}
    merging = _Merging(parts, set(ends), set(moving), kept, known, numbers)
    for part in (parts.before, parts.loop, parts.after):
        merging.products(part)
        merging.sums(part)
        merging.neighbours(part)
    return merging.home


class _Merging:
    def __init__(
        self, parts: Parts, ends: set[Var], moving: set[Var], kept: set[Var], known: Home, numbers: Iterator[int]
    ) -> None:
        self.parts, self.ends, self.kept, self.numbers = parts, ends, kept, numbers
        self.made = {out for part in (parts.before, parts.loop, parts.after) for e in part for out in e.outs}
        self.looped = {out for e in parts.loop for out in e.outs}
        self.moving = moving | self.made
        self.home: Home = dict(known)
        self.stacks: dict[tuple[Any, ...], Var] = {}
        self.sources = {e.outs[0]: e.reads[0] for e in parts.once if e.reads}

    def _new(self, shape: tuple[int, ...], like: Var) -> Var:
        return Var(next(self.numbers), shape, like.dtype)

    def _stacked(self, constants: list[Var], rank: int) -> Var:
        """Values that do not change, stacked before anything else is done, to be used beside values of `rank` axes."""
        key = (rank, *constants)
        if key not in self.stacks:
            first = constants[0]
            shape = (len(constants), *(1,) * (rank - len(first.shape)), *first.shape)
            stack = self._new(shape, first)
            self.parts.once.append(Equation(stacked, tuple(constants), {"shape": shape}, (stack,)))
            self.stacks[key] = stack
        return self.stacks[key]

    def _settle(self, values: list[Var]) -> Var:
        """A new stack in which these lie."""
        stack = self._new((len(values), *values[0].shape), values[0])
        for i, v in enumerate(values):
            self.home[v] = Place(stack, i)
        self.moving.add(stack)
        if values[0] in self.looped:
            self.looped.add(stack)
        return stack

    def _run(self, values: list[Var]) -> Var | None:
        """The value of which these are the neighbouring slices, in order; None where they are not."""
        places = [self.home.get(v) for v in values]
        first = places[0]
        if first is None or first.hi is not None:
            return None
        if any(place != Place(first.stack, first.lo + i) for i, place in enumerate(places)):
            return None
        if len(values) == first.stack.shape[0]:
            return first.stack
        place = Place(first.stack, first.lo, first.lo + len(values))
        for v, other in self.home.items():
            if other == place:
                return v
        run = self._new((len(values), *first.stack.shape[1:]), first.stack)
        self.home[run] = place
        return run

    def _free(self, v: Var) -> bool:
        return v in self.made and v not in self.home and v not in self.ends

    # --- One left operand ---

    def products(self, part: list[Equation]) -> None:
        groups: dict[Any, list[Equation]] = {}
        for e in part:
            out = e.outs[0]
            if e.primitive in (ops.matmul, affine) and self._by_constant(e) and self._free(out):
                # What is kept and what is not are stored apart: no step's value is saved for its neighbour's sake.
                kinds = [(a.shape, a.dtype) for a in e.args]
                groups.setdefault((e.primitive, e.args[0], *kinds, out in self.kept), []).append(e)
        for group in groups.values():
            if len(group) > 1:
                left, *columns = zip(*(e.args for e in group), strict=True)
                args = (left[0], *(self._stacked([*column], 2) for column in columns))
                stack = self._settle([e.outs[0] for e in group])
                part[part.index(group[0])] = Equation(group[0].primitive, args, {}, (stack,))
                part[:] = [e for e in part if e not in group]

    def _by_constant(self, e: Equation) -> bool:
        a, b, *_ = e.args
        return b not in self.moving and len(b.shape) == 2 and len(a.shape) == 2

    # --- A sum of products ---

    def sums(self, part: list[Equation]) -> None:
        uses = Counter(a for p in (self.parts.before, self.parts.loop, self.parts.after) for e in p for a in e.reads)
        uses.update(self.kept | self.ends)
        makers = {e.outs[0]: e for e in part}

        def inner(v: Any) -> bool:  # a sum within a sum
            return v in makers and uses[v] == 1 and makers[v].primitive is ops.add and v not in self.ends

        nested = {a for e in part if e.primitive is ops.add for a in e.reads if inner(a) and a.shape == e.outs[0].shape}
        for root in [e for e in part if e.primitive is ops.add and e.outs[0] not in nested]:
            terms, adds = self._terms(root, makers, nested)
            products = [
                makers[t]
                for t in terms
                if t in makers
                and makers[t].primitive is ops.matmul
                and uses[t] == 1
                and t not in self.home
                and t.shape == root.outs[0].shape
                and self._by_constant(makers[t])
            ]
            products.sort(key=lambda e: self.sources.get(e.args[1], e.args[1]).number)
            lefts = [e.args[0] for e in products]
            if len(set(lefts)) < 2 or len({(*e.args[1].shape, *(a.dtype for a in e.args)) for e in products}) > 1:
                continue
            # Only the loop writes results where it is told.
            together = all(self._free(v) and v in self.looped for v in lefts) and len(set(lefts)) == len(lefts)
            stack = self._settle(lefts) if together else self._run(lefts)
            if stack is None:
                continue
            right = self._stacked([e.args[1] for e in products], 2)
            summed = {e.outs[0] for e in products}
            out = root.outs[0]
            rest = [t for t in terms if t not in summed]
            total = self._new(out.shape, out) if rest else out
            new = [Equation(sum_of_products, (stack, right), {}, (total,))]
            for i, t in enumerate(rest):
                following = out if i == len(rest) - 1 else self._new(out.shape, out)
                new.append(Equation(ops.add, (total, t), {}, (following,)))
                total = following
            self.made.update(e.outs[0] for e in new)
            self.moving.update(e.outs[0] for e in new)
            at = part.index(root)
            part[at : at + 1] = new
            part[:] = [e for e in part if e in new or not (e in adds or e in products)]

    def _terms(self, root: Equation, makers: dict[Var, Equation], nested: set[Var]) -> tuple[list[Any], list[Equation]]:
        terms: list[Any] = []
        adds = [root]
        stack = list(root.args[::-1])
        while stack:
            a = stack.pop()
            if a in nested:
                adds.append(makers[a])
                stack.extend(makers[a].args[::-1])
            else:
                terms.append(a)
        return terms, adds

    # --- Neighbouring slices ---

    def neighbours(self, part: list[Equation]) -> None:
        at, order = 0, _Order(part, self.home)
        while at < len(part):
            group = self._alike(part, at, order)
            if len(group) > 1:
                first = group[0]
                args = tuple(
                    self._joined(column, first.outs[0]) for column in zip(*(e.args for e in group), strict=True)
                )
                outs = [e.outs[0] for e in group]
                out = self._run(outs) or self._settle(outs)
                _replace(part, group, Equation(first.primitive, args, first.params, (out,)), order)
                order = _Order(part, self.home)
            else:
                at += 1

    def _alike(self, part: list[Equation], at: int, order: _Order) -> list[Equation]:
        """The equations that do the same as number `at` to slices that follow one another."""
        first = part[at]
        places = [self.home.get(v) for v in (*first.reads, first.outs[0])]
        if first.primitive not in ELEMENTWISE or not any(place and place.hi is None for place in places):
            return [first]
        candidates = [
            e
            for e in part[at + 1 :]
            if e.primitive is first.primitive
            and len(e.args) == len(first.args)
            and e.params == first.params
            and (e.outs[0].shape, e.outs[0].dtype) == (first.outs[0].shape, first.outs[0].dtype)
            and (e.outs[0] in self.kept) == (first.outs[0] in self.kept)
        ]
        group = [first]
        extended = True
        while extended:
            extended = False
            for e in candidates:
                if e in group or any(order.waits(e, m) or order.waits(m, e) for m in group):
                    continue
                for longer in ([*group, e], [e, *group]):
                    if self._fit(longer):
                        group, extended = longer, True
                        break
        return group

    def _fit(self, group: list[Equation]) -> bool:
        outs = [e.outs[0] for e in group]
        if not (all(map(self._free, outs)) or self._neighbouring(outs)):
            return False
        columns = [*zip(*(e.args for e in group), strict=True)]
        pinned = self._neighbouring(outs) or any(self._neighbouring(column) for column in columns)
        # A value has one place: two columns cannot both settle it.
        apart = [v for column in columns if len({*map(id, column)}) > 1 for v in column if isinstance(v, Var)]
        settled = [v for v in apart if v in self.moving and v not in self.home]
        if not pinned or len(set(settled)) < len(settled):
            return False
        return all(self._joinable(column, group[0].outs[0]) for column in columns)

    def _neighbouring(self, values: Any) -> bool:
        if not all(isinstance(v, Var) for v in values):
            return False
        places = [self.home.get(v) for v in values]
        first = places[0]
        return (
            first is not None
            and first.hi is None
            and all(place == Place(first.stack, first.lo + i) for i, place in enumerate(places))
        )

    def _joinable(self, column: Any, out: Var) -> bool:
        """Whether one argument of a group can be had as one value that broadcasts against a stack of results."""
        first = column[0]
        if not isinstance(first, Var):
            return all(not isinstance(v, Var) and type(v) is type(first) and v == first for v in column)
        if all(v is first for v in column):
            return True
        if not all(isinstance(v, Var) and v.shape == first.shape and v.dtype == first.dtype for v in column):
            return False
        if self._neighbouring(column):
            return first.shape == out.shape
        if all(v not in self.moving for v in column):
            return True
        apart = len(set(column)) == len(column)
        return apart and first.shape == out.shape and all(self._free(v) and v in self.looped for v in column)

    def _joined(self, column: Any, out: Var) -> Any:
        first = column[0]
        if not isinstance(first, Var) or all(v is first for v in column):
            return first
        if first not in self.moving:
            return self._stacked(list(column), len(out.shape))
        return self._run(list(column)) or self._settle(list(column))


class _Order:
    """Which equations of a part must wait for which."""

    def __init__(self, part: list[Equation], home: Home) -> None:
        self.home = home
        self.index = {e: i for i, e in enumerate(part)}
        self.before: list[int] = []  # for each equation, a bit for every one that must have run
        writers: dict[Var, list[tuple[int, int, int]]] = {}
        for i, e in enumerate(part):
            mask = 0
            for v in e.reads:
                stack, lo, hi = self._span(v)
                for start, end, writer in writers.get(stack, ()):
                    if start < hi and lo < end:
                        mask |= 1 << writer | self.before[writer]
            self.before.append(mask)
            for v in e.outs:
                stack, lo, hi = self._span(v)
                writers.setdefault(stack, []).append((lo, hi, i))

    def _span(self, v: Var) -> tuple[Var, int, int]:
        if v not in self.home:
            return v, 0, 1 << 60
        stack, lo, hi = self.home[v]
        return stack, lo, lo + 1 if hi is None else hi

    def waits(self, e: Equation, other: Equation) -> bool:
        """Whether `e` needs, perhaps by way of others, what `other` makes."""
        return bool(self.before[self.index[e]] >> self.index[other] & 1)


def _replace(part: list[Equation], group: list[Equation], merged: Equation, order: _Order) -> None:
    """Puts `merged` in the place of the group: where its last member stood, before all that reads a result of it."""
    at = max(order.index[e] for e in group)
    others = [e for e in part[:at] if e not in group]
    late = [e for e in others if any(order.waits(e, member) for member in group)]
    early = [e for e in others if e not in late]
    part[:] = [*early, merged, *late, *part[at + 1 :]]
