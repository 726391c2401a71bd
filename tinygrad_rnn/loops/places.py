"""Where values lie: beside each other in a stack, or each by itself.

A stack is one array of several values of one shape, on a leading axis. A slice of it is a view: nothing is copied to
put values beside each other, since whoever makes one writes it in its place. Of three gates in a stack z

    home[i], home[f], home[o] = Place(z, 0), Place(z, 1), Place(z, 2)       each (B, H), of z (3, B, H)
    home[i f]                 = Place(z, 0, 2)                              a run of two: (2, B, H)

The axis is a leading one, so that each slice is in one piece of memory: entry by entry, columns of a wide matrix take
three times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tinygrad_rnn.backend import Array
from tinygrad_rnn.loops.products import stacked
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.splitting import Parts


class Place(NamedTuple):
    """Where a value lies: `stack[lo]`, or `stack[lo:hi]` where `hi` is given (not counting the time axis)."""

    stack: Var
    lo: int
    hi: int | None = None

    @property
    def end(self) -> int:
        """The number of the slice that follows."""
        return self.lo + 1 if self.hi is None else self.hi

    def overlaps(self, other: Place) -> bool:
        """Whether some slice lies in both."""
        return self.stack is other.stack and self.lo < other.end and other.lo < self.end

    def of(self, stack: Array, timed: bool) -> Array:
        """The view of it."""
        index = self.lo if self.hi is None else slice(self.lo, self.hi)
        return stack[:, index] if timed else stack[index]


Home = dict[Var, Place]


class Places:
    """Which values lie in which stack (`home`), and which ones may still be put into one.

    `ends` are made apart: the loop hands them on. `moving` are the carry and what differs from step to step. `known`
    lie in stacks from before. `numbers` are for new Vars."""

    def __init__(
        self, parts: Parts, ends: Iterable[Var], moving: Iterable[Var], known: Home, numbers: Iterator[int]
    ) -> None:
        self.once, self.ends, self.numbers = parts.once, set(ends), numbers
        self.made = {out for part in (parts.before, parts.loop, parts.after) for e in part for out in e.outs}
        self.looped = {out for e in parts.loop for out in e.outs}
        self.moving = set(moving) | self.made
        self.home: Home = dict(known)
        self._of_constants: dict[tuple[Any, ...], Var] = {}

    def new(self, shape: tuple[int, ...], like: Var) -> Var:
        """A value that is not there yet, with the dtype of another."""
        return Var(next(self.numbers), shape, like.dtype)

    def note(self, equations: list[Equation]) -> None:
        """New equations make values, which may be put into stacks as others may."""
        outs = [out for e in equations for out in e.outs]
        self.made.update(outs)
        self.moving.update(outs)

    def is_free(self, v: Var) -> bool:
        """Whether it may still be given a place: who makes it can be told where, and it has none yet."""
        return v in self.made and v not in self.home and v not in self.ends

    # --- Stacks that are there ---

    def span(self, values: Sequence[Any]) -> Place | None:
        """The place that neighbouring slices make up, in order: of f and o above Place(z, 1, 3). None where these are
        no neighbours."""
        if not all(isinstance(v, Var) for v in values):
            return None
        places = [self.home.get(v) for v in values]
        first = places[0]
        if first is None or first.hi is not None:
            return None
        if any(place != Place(first.stack, first.lo + i) for i, place in enumerate(places)):
            return None
        return Place(first.stack, first.lo, first.lo + len(values))

    def run(self, values: Sequence[Any]) -> Var | None:
        """The value of which these are the neighbouring slices, in order: the stack itself where they are all of it,
        otherwise a part of it. None where they are no neighbours."""
        span = self.span(values)
        if span is None:
            return None
        if len(values) == span.stack.shape[0]:
            return span.stack
        for v, place in self.home.items():
            if place == span:
                return v
        run = self.new((len(values), *span.stack.shape[1:]), span.stack)
        self.home[run] = span
        return run

    # --- New stacks ---

    def can_settle(self, values: Sequence[Var]) -> bool:
        """Whether these may be put into a new stack: each once, and only what the loop makes, since only the loop
        writes results where it is told."""
        return len(set(values)) == len(values) and all(self.is_free(v) and v in self.looped for v in values)

    def settle(self, values: Sequence[Var]) -> Var:
        """A new stack in which these lie."""
        stack = self.new((len(values), *values[0].shape), values[0])
        for i, v in enumerate(values):
            self.home[v] = Place(stack, i)
        self.moving.add(stack)
        if values[0] in self.looped:
            self.looped.add(stack)
        return stack

    def constants(self, values: Sequence[Var], rank: int) -> Var:
        """A stack of values that do not change, such as weights: it is made before anything else is done, to be used
        beside values of `rank` axes."""
        key = (rank, *values)
        if key not in self._of_constants:
            first = values[0]
            shape = (len(values), *(1,) * (rank - len(first.shape)), *first.shape)
            stack = self.new(shape, first)
            self.once.append(Equation(stacked, tuple(values), {"shape": shape}, (stack,)))
            self._of_constants[key] = stack
        return self._of_constants[key]
