"""Buffers for what lives within a step: each is used again as soon as what lies in it is dead, so that all of them
stay in cache.

    a = exp(x)       a in s0
    b = tanh(a)      b in s0 too: nobody reads a afterwards, and tanh may write where it reads
    c = b @ W        c in s1: a product may not
    d = c + y        d in s1

Slices of a stack live in the stack's buffer, and all of it is kept as long as any of them is alive.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.kernels import writes, writes_where_it_reads
from tinygrad_rnn.loops.places import Home, Place
from tinygrad_rnn.loops.products import sum_of_products
from tinygrad_rnn.loops.program import Equation, Var


class ScratchBuffer(NamedTuple):
    """An array that a loop has for the time that it runs."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(eq=False)
class Scratch:
    """What lies in which buffer."""

    buffers: list[ScratchBuffer] = field(default_factory=list)
    """All that a loop needs."""
    buffer_of: dict[Var, ScratchBuffer] = field(default_factory=dict)
    """By the value that lies in it: a stack, or a value that lies in none."""
    workplaces: dict[Equation, ScratchBuffer | Var] = field(default_factory=dict)
    """Where a function works that needs room for more than its result: a buffer, or where a value lies."""


def allocate_scratch(equations: list[Equation], home: Home, bound: set[Var]) -> Scratch:
    """A buffer for everything that the equations of a step make, but for what lies somewhere already (`bound`) and for
    what comes in a new array of its own. `home` tells which values lie in a stack."""
    return _Allocation(equations, home, bound).scratch


def last_uses(equations: list[Equation]) -> dict[Var, int]:
    """For every value the number of the last equation that makes or reads it. Who reads what may be a view of a value
    (the result of an op that is not told where to write, such as a reshape) reads that value too."""
    last: dict[Var, int] = {}
    for at, equation in enumerate(equations):
        for v in (*equation.reads, *equation.outs):
            last[v] = at
    for equation in reversed(equations):
        if not writes(equation):
            for v in equation.reads:
                last[v] = max(last[v], *(last[out] for out in equation.outs))
    return last


class _Allocation:
    """Goes through the equations once, taking buffers for what they make and giving back those of what dies there."""

    def __init__(self, equations: list[Equation], home: Home, bound: set[Var]) -> None:
        self.home, self.bound = home, bound
        self.stacks = {place.stack for place in home.values()}
        self.last = last_uses(equations)
        self.end: dict[Var, int] = {}
        """The last use of what a buffer holds: a stack's is that of any of its slices."""
        for v, at in self.last.items():
            holder = self._holder(v)
            self.end[holder] = max(self.end.get(holder, 0), at)
        self.scratch = Scratch()
        self.free: dict[tuple[tuple[int, ...], np.dtype[Any]], list[ScratchBuffer]] = {}
        for at, equation in enumerate(equations):
            self._place(equation, at)

    def _holder(self, v: Var) -> Var:
        """What must be kept for a value to be there: the stack that it lies in, or itself."""
        return self.home[v].stack if v in self.home and v not in self.bound else v

    def _place(self, equation: Equation, at: int) -> None:
        """Finds places for what equation number `at` makes, and for what it needs."""
        buffer_of, workplaces = self.scratch.buffer_of, self.scratch.workplaces
        dying = {self._holder(v) for v in equation.reads}
        dying = {holder for holder in dying if holder in buffer_of and self.end[holder] == at}
        early = writes_where_it_reads(equation)
        if early:
            self._give_back(dying)
        if equation.primitive is sum_of_products:  # the products, before they are summed
            a, b = equation.args
            products = self._take((*a.shape[:-1], b.shape[-1]), equation.outs[0].dtype)
            workplaces[equation] = products
            self._free(products)
        for out in map(self._holder, equation.outs):
            if out not in self.bound and out not in buffer_of and (writes(equation) or out in self.stacks):
                buffer_of[out] = self._take(out.shape, out.dtype)
        if not early:
            self._give_back(dying)
        if equation.primitive is ops.sigmoid:
            (x,), (out,) = equation.reads, equation.outs
            if x.dtype == out.dtype and self._is_worn(x, at) and self._buffer(x) is not self._buffer(out):
                workplaces[equation] = x  # works where its argument lies, near, if nobody reads that again
            else:
                workplaces[equation] = apart = self._take(out.shape, out.dtype)
                self._free(apart)

    def _buffer(self, v: Var) -> ScratchBuffer | None:
        """In which buffer a value lies, if in any."""
        return self.scratch.buffer_of.get(self._holder(v))

    def _is_worn(self, x: Var, at: int) -> bool:
        """Whether a value lies in a buffer, and nothing that lies there too is read after equation number `at`."""
        place = self._place_of(x)
        others = (v for v in self.last if self._place_of(v).overlaps(place))
        return self._holder(x) in self.scratch.buffer_of and all(self.last[v] <= at for v in others)

    def _place_of(self, v: Var) -> Place:
        """Where it lies: what is in no stack is all of itself, as a stack is."""
        return self.home.get(v, Place(v, 0, sys.maxsize))

    # --- Buffers ---

    def _take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ScratchBuffer:
        """One that is free, the last that became so, or a new one."""
        waiting = self.free.get((shape, dtype))
        if waiting:
            return waiting.pop()
        buffer = ScratchBuffer(f"s{len(self.scratch.buffers)}", shape, dtype)
        self.scratch.buffers.append(buffer)
        return buffer

    def _free(self, buffer: ScratchBuffer) -> None:
        self.free.setdefault((buffer.shape, buffer.dtype), []).append(buffer)

    def _give_back(self, dying: Iterable[Var]) -> None:
        for v in sorted(dying, key=lambda v: v.number):
            self._free(self.scratch.buffer_of[v])
