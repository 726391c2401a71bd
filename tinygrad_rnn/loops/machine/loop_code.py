"""A schedule as LLVM's code: one function, `loop(steps, first, last, table)`, which runs all time steps for the rows of
the batch from `first` up to `last`.

The table holds two numbers for each piece in memory, an address and a stride in bytes: at step t it lies at the address
+ t strides, and a ring's, of which there are two, at every other step (t & 1). After these come the addresses of the
packed matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.machine.entrywise import entrywise
from tinygrad_rnn.loops.machine.lines import Line, Product
from tinygrad_rnn.loops.machine.schedule import LoopSchedule, Pass
from tinygrad_rnn.loops.machine.views import Further, Piece, StridedView
from tinygrad_rnn.machine.blocks import function, loop
from tinygrad_rnn.machine.lanes import (
    I64,
    POINTER,
    VOID,
    Value,
    cast,
    entry_address,
    first_lanes,
    in_all_lanes,
    integer,
    load_lanes,
    load_one,
    pairwise,
    scalar_type,
    splat,
    store_lanes,
    store_one,
)
from tinygrad_rnn.machine.product import PACKED, packed_size
from tinygrad_rnn.sums import SUMMED_AT_ONCE

LANES_OF_A_SUM = 16
"""Along an axis, every 16th entry is added up, and then these sums in pairs: on any processor."""


def loop_code(schedule: LoopSchedule, ringed: set[Piece], register: int) -> ir.Module:
    """The module in which the function is; `ringed` pieces are in two places in turn. A register has so many bytes."""
    module = ir.Module("loop")
    b = function(module, "loop", 4, [3])
    steps, first, last, table = b.function.args
    rows = (integer(0), integer(schedule.rows or 1)) if schedule.rows is None else (first, last)
    with loop(b, 0, steps) as step:
        addresses = _Addresses(b, schedule, ringed, step.i, table)
        for part in schedule.parts:
            if isinstance(part, Product):
                _multiply(b, part, addresses, rows, schedule.rows)
            else:
                _PassCode(b, part, addresses, rows, register).write()
    b.ret_void()
    return module


class _Addresses:
    """Where everything is at a time step, read from the table."""

    def __init__(self, b: ir.IRBuilder, schedule: LoopSchedule, ringed: set[Piece], t: Value, table: Value) -> None:
        self.b, self.table = b, table
        self.of: dict[Piece, Value] = {}
        odd = b.and_(t, integer(1))
        for n, piece in enumerate(schedule.memory):
            base, stride = self._number(2 * n, POINTER), self._number(2 * n + 1, I64)
            self.of[piece] = b.gep(base, [b.mul(stride, odd if piece in ringed else t)], source_etype=ir.IntType(8))
        self.packed = {
            rights: self._number(2 * len(schedule.memory) + n, POINTER) for n, rights in enumerate(schedule.rights)
        }

    def _number(self, n: int, kind: ir.Type) -> Value:
        return self.b.load(self.b.gep(self.table, [integer(n)], source_etype=I64), typ=kind)


def _multiply(
    b: ir.IRBuilder, part: Product, addresses: _Addresses, rows: tuple[Value, Value], batch: int | None
) -> None:
    """Calls the product of matrices for the rows in question: with the first of the left operands, and then adding to
    that with the others."""
    dtype = part.out.piece.dtype
    size = dtype.itemsize
    name = PACKED.format(dtype.char)
    called = b.module.globals.get(name)
    if called is None:
        kinds = [I64] * 3 + [POINTER, I64, I64] + [POINTER, POINTER, I64, I64]
        called = ir.Function(b.module, ir.FunctionType(VOID, kinds), name)
    each = part.out.shape[0] // (batch or 1)  # rows of the matrix for each of the batch
    first, last = (b.mul(n, integer(each)) for n in rows)
    (K, N), packed = part.rights[0].shape, addresses.packed[part.rights]
    out = entry_address(b, addresses.of[part.out.piece], first, part.out.strides[0] * size)
    out = entry_address(b, out, integer(part.out.offset), size)
    for g, left in enumerate(part.lefts):
        a = entry_address(b, addresses.of[left.piece], first, left.strides[0] * size)
        a = entry_address(b, a, integer(left.offset), size)
        right = entry_address(b, packed, integer(g * packed_size(K, N, dtype)), size)
        strides = [integer(s * size) for s in (*left.strides, part.out.strides[0])]
        sizes = [b.sub(last, first), integer(N), integer(K)]
        b.call(called, [*sizes, a, *strides[:2], right, out, strides[2], integer(int(g > 0))])


@dataclass
class _Axis:
    """An axis of a pass: neighbouring ones that run through memory as one are made one."""

    size: int
    strides: dict[StridedView, int]
    is_folded: bool
    is_of_rows: bool
    each: int = 1
    """How many of its entries belong to one row of the batch."""
    index: Value = None


class _PassCode:
    """Writes a pass: loops over its axes, the innermost of them, or the last of those that it keeps, by lanes."""

    def __init__(
        self, b: ir.IRBuilder, part: Pass, addresses: _Addresses, rows: tuple[Value, Value], register: int
    ) -> None:
        self.b, self.part, self.addresses, self.rows = b, part, addresses, rows
        self.folds = [line for line in part.lines if line.folded]
        made = {line.out.piece for line in part.lines}
        self.loaded = [*dict.fromkeys(v for line in part.lines for v in line.reads if v.piece not in made)]
        self.stored = [line for line in part.lines if line.out.piece in part.kept]
        touched = [*self.loaded, *(line.out for line in self.stored)]
        axes = self._joined(touched)
        self.kept = [axis for axis in axes if not axis.is_folded]
        self.over = [axis for axis in axes if axis.is_folded]
        self.along = self._by_lanes()
        self.sums_lanes = self.along.is_folded
        widest = max((d.itemsize for line in part.lines for d in line.dtypes), default=8)
        self.width = LANES_OF_A_SUM if self.sums_lanes else register // widest

    # --- The axes ---

    def _joined(self, touched: Sequence[StridedView]) -> list[_Axis]:
        axes: list[_Axis] = []
        for i, n in enumerate(self.part.shape):
            strides = {view: view.strides[i] for view in touched}
            new = _Axis(n, strides, i in self.part.folded, i == self.part.rows)
            if axes and self._run_on(axes[-1], new):
                new = _Axis(axes[-1].size * n, strides, new.is_folded, axes[-1].is_of_rows, axes[-1].each * n)
                axes.pop()
            axes.append(new)
        return axes

    def _run_on(self, outer: _Axis, inner: _Axis) -> bool:
        if inner.is_of_rows or outer.is_folded != inner.is_folded:
            return False
        return all(outer.strides[view] == inner.strides[view] * inner.size for view in outer.strides)

    def _by_lanes(self) -> _Axis:
        """The axis along which lanes lie: that along which fewest views have their entries apart."""
        candidates = [group[-1] for group in (self.kept, self.over) if group]
        if not candidates:
            only = _Axis(1, {}, False, False)
            self.kept = [only]
            return only
        return min(candidates, key=lambda axis: sum(s not in (0, 1) for s in axis.strides.values()))

    # --- The loops ---

    def write(self) -> None:
        """All of it."""
        outer = [axis for axis in self.kept if axis is not self.along]
        self._outer(outer)

    def _outer(self, axes: list[_Axis]) -> None:
        if axes:
            start, stop = self._range(axes[0])
            with loop(self.b, start, stop) as here:
                axes[0].index = here.i
                self._outer(axes[1:])
        elif self.sums_lanes:
            found = self._over([axis for axis in self.over if axis is not self.along], self._first_sums(), {}, None)
            for line, lanes in zip(self.folds, found, strict=True):
                self._store_sum(line, lanes)
        else:
            self._along(lambda mask, _: self._sum_up(mask), [])

    def _range(self, axis: _Axis) -> tuple[Value, Value]:
        if not axis.is_of_rows:
            return integer(0), integer(axis.size)
        first, last = (self.b.mul(row, integer(axis.each)) for row in self.rows)
        return first, last

    def _along(self, body: Callable[[Value | None, list[Value]], list[Value]], carried: list[Value]) -> list[Value]:
        """Along the axis by lanes, `width` at a time: `body(mask, carried)` returns what is carried on. The last lanes
        are masked where they are not all needed."""
        b, axis, width = self.b, self.along, self.width
        start, stop = self._range(axis)
        fits = (axis.each if axis.is_of_rows else axis.size) % width == 0
        whole = stop if fits else b.sub(stop, b.and_(b.sub(stop, start), integer(width - 1)))
        with loop(b, start, whole, width, carried) as here:
            axis.index = here.i
            here.next = body(None, here.values)
        if fits:
            return here.values
        axis.index = whole
        return body(first_lanes(b, b.sub(stop, whole), width), here.values)

    def _sum_up(self, mask: Value | None) -> list[Value]:
        """Where lanes are kept: over the folded axes, each lane for itself, and what comes of it to memory."""
        found = self._over(self.over, self._first_sums(), self._loaded_before(self.over, mask), mask)
        for line, lanes in zip(self.folds, found, strict=True):
            self._store(line.out, cast(self.b, lanes, self._sum_dtype(line), line.out.piece.dtype), mask)
        return []

    def _over(
        self, axes: list[_Axis], sums: list[Value], found: dict[StridedView, Value], mask: Value | None
    ) -> list[Value]:
        """Loops over folded axes, within which the lines are; what these add up is carried from round to round."""
        if axes:
            with loop(self.b, 0, axes[0].size, 1, sums) as here:
                axes[0].index = here.i
                here.next = self._over(axes[1:], here.values, found, mask)
            return here.values
        if self.sums_lanes:
            found = self._loaded_before([self.along], None)
            return self._along(lambda mask, values: self._lines(values, found, mask), sums)
        return self._lines(sums, found, mask)

    # --- The lines ---

    def _loaded_before(self, axes: list[_Axis], mask: Value | None) -> dict[StridedView, Value]:
        """What is the same all along these axes is loaded once, before them."""
        return {
            view: self._load(view, mask)
            for view in self.loaded
            if axes and all(axis.strides[view] == 0 for axis in axes)
        }

    def _lines(self, sums: list[Value], found: dict[StridedView, Value], mask: Value | None) -> list[Value]:
        """All lines, for the lanes at hand; returns what they add up."""
        b, lanes = self.b, dict(found)
        added = iter(sums)
        totals: list[Value] = []
        for line in self.part.lines:
            args = [self._arg(a, dtype, lanes, mask) for a, dtype in zip(line.args, line.dtypes, strict=True)]
            if line.folded:
                totals.append(self._added(line, next(added), args[0], mask))
                continue
            dtype = line.dtypes[-1] if line.dtypes else line.out.piece.dtype
            value = entrywise(line.primitive, b, args, dtype)
            lanes[line.out] = value
            if line in self.stored:
                self._store(line.out, value, mask)
        return totals

    def _arg(self, a: Any, dtype: np.dtype[Any], lanes: dict[StridedView, Value], mask: Value | None) -> Value:
        if not isinstance(a, StridedView):
            return in_all_lanes(a, ir.VectorType(scalar_type(dtype), self.width))
        if a not in lanes:
            lanes[a] = self._load(a, mask)
        return cast(self.b, lanes[a], a.piece.dtype, dtype)

    # --- Sums ---

    def _sum_dtype(self, line: Line) -> np.dtype[Any]:
        """In which a line adds up: many float32 in float64."""
        dtype = line.out.piece.dtype
        count = math.prod(axis.size for axis in self.over)
        return np.dtype(np.float64) if dtype.char == "f" and count > SUMMED_AT_ONCE else dtype

    def _neutral(self, line: Line) -> Value:
        dtype = self._sum_dtype(line)
        neutral: float = 0
        if line.primitive is not ops.add:
            highest = math.inf if dtype.kind == "f" else np.iinfo(dtype).max
            lowest = -math.inf if dtype.kind == "f" else np.iinfo(dtype).min
            neutral = lowest if line.primitive is ops.maximum else highest
        return in_all_lanes(neutral, ir.VectorType(scalar_type(dtype), self.width))

    def _first_sums(self) -> list[Value]:
        return [self._neutral(line) for line in self.folds]

    def _added(self, line: Line, total: Value, value: Value, mask: Value | None) -> Value:
        dtype = self._sum_dtype(line)
        value = cast(self.b, value, line.dtypes[0], dtype)
        if mask is not None and self.sums_lanes:
            value = self.b.select(mask, value, self._neutral(line))
        return entrywise(line.primitive, self.b, [total, value], dtype)

    def _store_sum(self, line: Line, lanes: Value) -> None:
        """Of all lanes one number to memory."""
        b, dtype = self.b, self._sum_dtype(line)
        total = pairwise(b, lanes, lambda x, y: entrywise(line.primitive, b, [x, y], dtype))
        total = cast(b, splat(b, total, 1), dtype, line.out.piece.dtype)
        store_one(b, b.extract_element(total, integer(0)), self._address(line.out), line.out.piece.dtype)

    # --- Memory ---

    def _address(self, view: StridedView) -> Value:
        """Of the entry at which the loops are."""
        b, at = self.b, integer(view.offset)
        for axis in (*self.kept, *self.over):
            if stride := axis.strides.get(view, 0):
                at = b.add(at, b.mul(axis.index, integer(stride)))
        if view.further is not None:
            at = b.add(at, b.mul(self._number(view.further), integer(view.further.stride)))
        return entry_address(b, self.addresses.of[view.piece], at, view.piece.dtype.itemsize)

    def _number(self, further: Further) -> Value:
        """That of a row, as it lies in memory."""
        b, dtype = self.b, further.piece.dtype
        where = entry_address(b, self.addresses.of[further.piece], integer(further.at), dtype.itemsize)
        return b.extract_element(cast(b, splat(b, load_one(b, where, dtype), 1), dtype, np.dtype(np.int64)), integer(0))

    def _load(self, view: StridedView, mask: Value | None) -> Value:
        b, dtype, pointer = self.b, view.piece.dtype, self._address(view)
        stride = self.along.strides.get(view, 0)
        if stride == 1:
            return load_lanes(b, pointer, dtype, self.width, mask)
        if stride == 0:
            return splat(b, load_one(b, pointer, dtype), self.width)
        out = ir.Constant(ir.VectorType(scalar_type(dtype), self.width), ir.Undefined)
        for lane in range(self.width):
            at = integer(lane * stride)
            if mask is not None:  # a lane that is not needed reads the first one's
                at = b.select(b.extract_element(mask, integer(lane)), at, integer(0))
            one = load_one(b, entry_address(b, pointer, at, dtype.itemsize), dtype)
            out = b.insert_element(out, one, integer(lane))
        return out

    def _store(self, view: StridedView, value: Value, mask: Value | None) -> None:
        b, dtype, pointer = self.b, view.piece.dtype, self._address(view)
        stride = self.along.strides.get(view, 0)
        if stride == 1:
            store_lanes(b, value, pointer, dtype, mask)
            return
        for lane in range(self.width):
            one = b.extract_element(value, integer(lane))
            at = entry_address(b, pointer, integer(lane * stride), dtype.itemsize)
            if mask is None:
                store_one(b, one, at, dtype)
            else:
                with b.if_then(b.extract_element(mask, integer(lane))):
                    store_one(b, one, at, dtype)
