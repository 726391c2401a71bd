"""What is done entry by entry to neighbouring slices is done to all of them at once.

    i = sigmoid(z_i)                                       z_i, z_f and z_o lie beside each other in a stack z:
    f = sigmoid(z_f)      become  [i f o] = sigmoid(z)     a group of three. i, f and o now lie in a stack as well,
    o = sigmoid(z_o)                                       and what is done to them may be the next group.

A group may be made of equations only where none of them waits for another, and where each of their arguments, taken
together, can be had as one value. It runs where its last member stood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_rnn.loops.batching import ELEMENTWISE
from tinygrad_rnn.loops.places import Home, Place, Places
from tinygrad_rnn.loops.program import Equation, Var


def merge_neighbours(part: list[Equation], places: Places, kept: set[Var]) -> None:
    """Merges in place. `kept` are wanted afterwards, of all steps."""
    at, order = 0, _Order(part, places.home)
    while at < len(part):
        group = _group(part, at, order, places, kept)
        if len(group) > 1:
            _replace(part, group, _merged(group, places), order)
            order = _Order(part, places.home)
        else:
            at += 1


def _merged(group: list[Equation], places: Places) -> Equation:
    """One equation instead of several."""
    first, outs = group[0], [e.outs[0] for e in group]
    args = tuple(_joined(column, first.outs[0], places) for column in _columns(group))
    out = places.run(outs) or places.settle(outs)
    return Equation(first.primitive, args, first.params, (out,))


def _replace(part: list[Equation], group: list[Equation], merged: Equation, order: _Order) -> None:
    """Puts `merged` in the place of the group: where its last member stood, before all that reads a result of it."""
    at = max(order.index[e] for e in group)
    others = [e for e in part[:at] if e not in group]
    late = [e for e in others if any(order.waits(e, member) for member in group)]
    early = [e for e in others if e not in late]
    part[:] = [*early, merged, *late, *part[at + 1 :]]


# --- Which equations make a group ------------------------------------------------------------------------------


def _group(part: list[Equation], at: int, order: _Order, places: Places, kept: set[Var]) -> list[Equation]:
    """The equations that do the same as number `at` to slices that follow one another, in the order of the slices;
    that one alone where there are no others."""
    first = part[at]
    group = [first]
    if first.primitive not in ELEMENTWISE or not _touches_a_slice(first, places.home):
        return group
    candidates = [e for e in part[at + 1 :] if _does_the_same(e, first, kept)]
    extended = True
    while extended:
        extended = False
        for e in candidates:
            if e in group or any(order.waits(e, member) or order.waits(member, e) for member in group):
                continue
            for longer in ([*group, e], [e, *group]):
                if _fit(longer, places):
                    group, extended = longer, True
                    break
    return group


def _touches_a_slice(e: Equation, home: Home) -> bool:
    """Whether it reads or makes one slice of a stack: only such a value has neighbours."""
    return any(v in home and home[v].hi is None for v in (*e.reads, e.outs[0]))


def _does_the_same(e: Equation, first: Equation, kept: set[Var]) -> bool:
    """Whether two equations differ in their values alone. What is kept for later and what is not are never merged: no
    step's value is saved for its neighbour's sake."""
    out, other = e.outs[0], first.outs[0]
    return (
        e.primitive is first.primitive
        and len(e.args) == len(first.args)
        and e.params == first.params
        and (out.shape, out.dtype) == (other.shape, other.dtype)
        and (out in kept) == (other in kept)
    )


def _columns(group: list[Equation]) -> list[tuple[Any, ...]]:
    """Of the group `z_i * a`, `z_f * b`: (z_i, z_f) and (a, b)."""
    return [*zip(*(e.args for e in group), strict=True)]


def _fit(group: list[Equation], places: Places) -> bool:
    """Whether a group, in this order, can be one equation."""
    columns, outs = _columns(group), [e.outs[0] for e in group]
    beside = places.span(outs) is not None
    if not beside and not all(map(places.is_free, outs)):
        return False
    # Some of it must lie side by side already: what can lie anywhere is left for a group that needs it so.
    if not beside and all(places.span(column) is None for column in columns):
        return False
    return _settle_once(columns, places) and all(_joining(column, outs[0], places) for column in columns)


def _settle_once(columns: list[tuple[Any, ...]], places: Places) -> bool:
    """Whether no value would be put into two stacks, or twice into one: `p * q` and `q * p` are not merged."""
    apart = [v for column in columns if not _is_one(column) for v in column if isinstance(v, Var)]
    settled = [v for v in apart if v in places.moving and v not in places.home]
    return len(set(settled)) == len(settled)


def _is_one(column: Sequence[Any]) -> bool:
    return all(v is column[0] for v in column)


def _joining(column: Sequence[Any], out: Var, places: Places) -> Callable[[], Any] | None:
    """How one argument of a group is had as one value, which broadcasts against a stack of results like `out`: what
    makes it so, or None where it cannot be."""
    first = column[0]
    if not isinstance(first, Var):
        equal = all(not isinstance(v, Var) and type(v) is type(first) and v == first for v in column)
        return (lambda: first) if equal else None
    if _is_one(column):  # it broadcasts
        return lambda: first
    if not all(isinstance(v, Var) and v.shape == first.shape and v.dtype == first.dtype for v in column):
        return None
    # A stack of slices broadcasts only if they are shaped like the results: (3, H) does not against (3, B, H).
    if places.span(column) is not None:
        return (lambda: places.run(column)) if first.shape == out.shape else None
    if places.moving.isdisjoint(column):
        return lambda: places.constants(column, len(out.shape))
    if places.can_settle(column) and first.shape == out.shape:
        return lambda: places.settle(column)
    return None


def _joined(column: Sequence[Any], out: Var, places: Places) -> Any:
    join = _joining(column, out, places)
    if join is None:
        raise RuntimeError(f"a group holds arguments that cannot be had as one value: {column}")
    return join()


# --- What must wait for what -----------------------------------------------------------------------------------


class _Order:
    """Which equations of a part must wait for which: who reads a value, or a stack or run in which it lies, waits for
    whoever makes it. There is nothing else to wait for, since every value is made once."""

    def __init__(self, part: list[Equation], home: Home) -> None:
        self.index = {e: i for i, e in enumerate(part)}
        self.before: list[int] = []
        """For each equation, a bit for every one that must have run."""
        makers: dict[Var, list[tuple[Place | None, int]]] = {}  # of a stack: which place of it (None: all), and who
        for i, e in enumerate(part):
            mask = 0
            for v in e.reads:
                place = home.get(v)
                for made, maker in makers.get(v if place is None else place.stack, ()):
                    if made is None or place is None or made.overlaps(place):
                        mask |= 1 << maker | self.before[maker]
            self.before.append(mask)
            for v in e.outs:
                place = home.get(v)
                makers.setdefault(v if place is None else place.stack, []).append((place, i))

    def waits(self, e: Equation, other: Equation) -> bool:
        """Whether `e` needs, perhaps by way of others, what `other` makes."""
        return bool(self.before[self.index[e]] >> self.index[other] & 1)
