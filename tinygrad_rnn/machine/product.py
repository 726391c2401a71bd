"""The product of matrices, C (M,N) = A (M,K) @ B (K,N), or C += that: one kernel for all sizes.

The right matrix is packed first: a panel of so many columns as a few registers hold (24 float32 in three of 8), row
after row, then the next panel, the last one filled up with zeros. So all that is read lies in the order in which it is
read, in the nearest cache:

    B (K, 60)      panel 0         panel 1          panel 2
                   columns 0..23   columns 24..47   columns 48..59, 0, 0, ...

    C    for each panel, for each `TALL` rows: TALL x 3 registers hold the sums, while k goes from 0 to K - 1:
         one row of the panel is loaded, and one number of each row of A is multiplied by it and added

An entry of C is the sum over k in order, whatever the sizes: which rows are asked for together changes no bit.

Three functions are made of it: `PACK`, `PACKED` for a matrix that was packed before and serves many products, and
`DIRECT`, which packs as it goes, A in the same way: so many rows of B at a time that one panel of these fits into the
nearest cache, and so many rows of A that these fit into the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir

from tinygrad_rnn.machine.blocks import function, loop
from tinygrad_rnn.machine.functions import fma
from tinygrad_rnn.machine.lanes import (
    I1,
    Value,
    entry_address,
    first_lanes,
    in_all_lanes,
    integer,
    load_lanes,
    load_one,
    scalar_type,
    splat,
    store_lanes,
    store_one,
)
from tinygrad_rnn.machine.target import register_bytes, registers

PACK, PACKED, DIRECT = (f"tinygrad_rnn_{name}_{{}}" for name in ("pack", "packed_product", "direct_product"))
"""What the functions of a dtype are called in machine code."""

TALL = 4
"""Rows whose sums are in registers at once."""

DEEP, ROWS_AT_ONCE = 256, 128

_TURNED = 4  # rows and columns that are turned over at once


def vectors() -> int:
    """Registers side by side in a panel: with the sums of `TALL` rows, a row of the panel and one number, as many as
    there are."""
    return 4 if registers() == 32 else 3


def panel_columns(dtype: np.dtype[Any]) -> int:
    """The columns of a panel."""
    return vectors() * register_bytes() // dtype.itemsize


def packed_size(K: int, N: int, dtype: np.dtype[Any]) -> int:
    """The entries of a packed matrix."""
    columns = panel_columns(dtype)
    return -(-N // columns) * columns * K


def room_size(dtype: np.dtype[Any]) -> int:
    """The entries that `DIRECT` needs to pack into."""
    return DEEP * (ROWS_AT_ONCE + broad(dtype))


def broad(dtype: np.dtype[Any]) -> int:
    """The columns of B that `DIRECT` packs at once: whole panels, in about 2 MB."""
    return 2_000_000 // (DEEP * dtype.itemsize) // panel_columns(dtype) * panel_columns(dtype)


def product_code(dtype: np.dtype[Any]) -> ir.Module:
    """The module with these functions, whose arguments `_pack`, `packed` and `direct` name."""
    module = ir.Module("product")
    code = _ProductCode(module, dtype)
    code.packed()
    code.direct()
    return module


class _ProductCode:
    """Writes the functions. Distances between rows and columns count bytes."""

    def __init__(self, module: ir.Module, dtype: np.dtype[Any]) -> None:
        self.module, self.dtype, self.size = module, dtype, dtype.itemsize
        self.width = register_bytes() // self.size
        self.columns = panel_columns(dtype)
        self.zero = in_all_lanes(0, ir.VectorType(scalar_type(dtype), self.width))
        self.kernels = [self._kernel("tall", TALL), self._kernel("flat", 1)]
        self.broad = broad(dtype)
        self.pack_columns = self._pack(PACK.format(dtype.char), self.columns, seen=True)
        self.pack_rows = self._pack("pack_rows", TALL)

    @contextmanager
    def _function(self, name: str, arguments: int, pointers: list[int], seen: bool = False) -> Iterator[ir.IRBuilder]:
        b = function(self.module, name, arguments, pointers)
        b.function.linkage = "" if seen else "internal"
        yield b
        b.ret_void()

    def packed(self) -> None:
        """M, N, K, A, from row to row, from column to column, packed B, C, from row to row, 1 where C is added to."""
        with self._function(PACKED.format(self.dtype.char), 10, [3, 6, 7], seen=True) as b:
            M, N, K, A, a_row, a_column, B, C, c_row, adds = b.function.args
            with loop(b, 0, N, self.columns) as column:
                panel, to = self._at(b, B, b.mul(column.i, K)), self._at(b, C, column.i)
                whole = b.and_(M, integer(-TALL))
                for kernel, start, stop, rows in zip(self.kernels, (0, whole), (whole, M), (TALL, 1), strict=True):
                    with loop(b, start, stop, rows) as row:
                        a, c = _moved(b, A, b.mul(row.i, a_row)), _moved(b, to, b.mul(row.i, c_row))
                        b.call(kernel, [K, a, a_row, a_column, panel, c, c_row, b.sub(N, column.i), adds])

    def direct(self) -> None:
        """M, N, K, A, from row to row, from column to column, B and the same, C, from row to row, 1 where C is added
        to, and room for `room_size` entries."""
        with self._function(DIRECT.format(self.dtype.char), 13, [3, 6, 9, 12], seen=True) as b:
            M, N, K, A, a_row, a_column, B, b_row, b_column, C, c_row, adds, of_a = b.function.args
            of_b = self._at(b, of_a, integer(DEEP * ROWS_AT_ONCE))
            along = integer(TALL * self.size)  # of what was packed: from one column of A to the next
            with loop(b, 0, K, DEEP) as k, loop(b, 0, N, self.broad) as column:
                depth, breadth = _least(b, b.sub(K, k.i), DEEP), _least(b, b.sub(N, column.i), self.broad)
                source = _moved(b, _moved(b, B, b.mul(k.i, b_row)), b.mul(column.i, b_column))
                b.call(self.pack_columns, [depth, breadth, source, b_row, b_column, of_b])
                later = b.select(b.icmp_signed(">", k.i, integer(0)), integer(1), adds)
                with loop(b, 0, M, ROWS_AT_ONCE) as row:
                    height = _least(b, b.sub(M, row.i), ROWS_AT_ONCE)
                    source = _moved(b, _moved(b, A, b.mul(row.i, a_row)), b.mul(k.i, a_column))
                    b.call(self.pack_rows, [depth, height, source, a_column, a_row, of_a])
                    with loop(b, 0, breadth, self.columns) as n:
                        panel = self._at(b, of_b, b.mul(n.i, depth))
                        to = self._at(b, _moved(b, C, b.mul(row.i, c_row)), b.add(column.i, n.i))
                        left = b.sub(breadth, n.i)
                        with loop(b, 0, height, TALL) as m:
                            a, c = self._at(b, of_a, b.mul(m.i, depth)), _moved(b, to, b.mul(m.i, c_row))
                            rows = b.sub(height, m.i)
                            given = [depth, a, integer(self.size), along, panel, c, c_row, left, later]
                            with b.if_else(b.icmp_signed(">=", rows, integer(TALL))) as (all_, some):
                                with all_:
                                    b.call(self.kernels[0], given)
                                with some, loop(b, 0, rows) as r:
                                    given[1], given[5] = self._at(b, a, r.i), _moved(b, c, b.mul(r.i, c_row))
                                    b.call(self.kernels[1], given)

    # --- The kernel ---

    def _kernel(self, name: str, rows: int) -> ir.Function:
        """A few rows of a panel, of which `left` columns count."""
        with self._function(name, 9, [1, 4, 5]) as b:
            K, A, a_row, a_column, panel, C, c_row, left, adds = b.function.args
            starts = [_moved(b, A, b.mul(integer(r), a_row)) for r in range(rows)]
            with loop(b, 0, K, 1, [self.zero] * (rows * vectors())) as k:
                line = self._at(b, panel, b.mul(k.i, integer(self.columns)))
                weights = [self._load(b, self._at(b, line, integer(j * self.width)), None) for j in range(vectors())]
                so_far = iter(k.values)
                for start in starts:
                    x = splat(b, load_one(b, _moved(b, start, b.mul(k.i, a_column)), self.dtype), self.width)
                    k.next += [fma(b, x, w, next(so_far)) for w in weights]
            with b.if_else(b.icmp_signed(">=", left, integer(self.columns))) as (full, part):
                with full:
                    self._put(b, k.values, C, c_row, adds, [None] * vectors())
                with part:
                    self._put(b, k.values, C, c_row, adds, [self._mask(b, left, j) for j in range(vectors())])
        return b.function

    def _put(
        self, b: ir.IRBuilder, sums: list[Value], C: Value, c_row: Value, adds: Value, masks: list[Value | None]
    ) -> None:
        added = b.trunc(adds, I1)
        for n, value in enumerate(sums):
            r, j = divmod(n, len(masks))
            to = self._at(b, _moved(b, C, b.mul(integer(r), c_row)), integer(j * self.width))
            before = b.select(added, self._load(b, to, masks[j]), self.zero)
            store_lanes(b, b.select(added, b.fadd(before, value), value), to, self.dtype, masks[j])

    def _mask(self, b: ir.IRBuilder, left: Value, j: int) -> Value:
        """Of register number `j` of a panel, the columns that count."""
        count = b.sub(left, integer(j * self.width))
        return first_lanes(b, b.select(b.icmp_signed("<", count, integer(0)), integer(0), count), self.width)

    # --- Packing ---

    def _pack(self, name: str, width: int, seen: bool = False) -> ir.Function:
        """`count` rows of A, or columns of B, in panels of `width`: what belongs to one k lies side by side, and then
        comes the next k. Of them, and from k to k, entries are so many bytes apart."""
        with self._function(name, 6, [2, 5], seen) as b:
            depth, count, source, from_k, apart, out = b.function.args
            whole = b.sub(count, b.urem(count, integer(width)))
            beside = b.icmp_signed("==", apart, integer(self.size))
            turns_over = ir.Constant(I1, int(width % _TURNED == 0))  # otherwise a panel ends within four columns
            in_a_row = b.and_(b.icmp_signed("==", from_k, integer(self.size)), turns_over)
            turned = b.sub(depth, b.urem(depth, integer(_TURNED)))
            with b.if_then(beside), loop(b, 0, depth) as k, loop(b, 0, whole, width) as panel:
                start = self._at(b, _moved(b, source, b.mul(k.i, from_k)), panel.i)
                to = self._packed_at(b, out, depth, panel.i, k.i, width)
                for j in range(0, width, step := min(width, self.width)):
                    lanes = load_lanes(b, self._at(b, start, integer(j)), self.dtype, step, None)
                    store_lanes(b, lanes, self._at(b, to, integer(j)), self.dtype, None)
            turns = b.and_(in_a_row, b.not_(beside))
            with b.if_then(turns), loop(b, 0, whole, width) as panel, loop(b, 0, turned, _TURNED) as k:
                line = self._packed_at(b, out, depth, panel.i, k.i, width)
                with loop(b, 0, width, _TURNED) as lane:
                    start = _moved(b, self._at(b, source, k.i), b.mul(b.add(panel.i, lane.i), apart))
                    self._turn(b, start, apart, self._at(b, line, lane.i), width)
            done = b.select(beside, depth, b.select(in_a_row, turned, integer(0)))
            with loop(b, 0, count) as n:  # what is left, one by one
                beginning = b.sub(n.i, b.urem(n.i, integer(width)))
                first = b.select(b.icmp_signed("<", n.i, whole), done, integer(0))
                with loop(b, first, depth) as k:
                    start = _moved(b, _moved(b, source, b.mul(n.i, apart)), b.mul(k.i, from_k))
                    to = self._at(b, self._packed_at(b, out, depth, beginning, k.i, width), b.sub(n.i, beginning))
                    store_one(b, load_one(b, start, self.dtype), to, self.dtype)
            rest = b.sub(count, whole)
            filled = b.select(b.icmp_signed(">", rest, integer(0)), integer(width), rest)
            with loop(b, rest, filled) as lane, loop(b, 0, depth) as k:
                to = self._at(b, self._packed_at(b, out, depth, whole, k.i, width), lane.i)
                store_one(b, ir.Constant(scalar_type(self.dtype), 0), to, self.dtype)
        return b.function

    def _packed_at(self, b: ir.IRBuilder, out: Value, depth: Value, panel: Value, k: Value, width: int) -> Value:
        return self._at(b, out, b.add(b.mul(panel, depth), b.mul(k, integer(width))))

    def _turn(self, b: ir.IRBuilder, source: Value, apart: Value, to: Value, width: int) -> None:
        """Four by four entries: rows become columns."""
        starts = [_moved(b, source, b.mul(integer(i), apart)) for i in range(_TURNED)]
        rows = [load_lanes(b, start, self.dtype, _TURNED, None) for start in starts]

        def mixed(x: Value, y: Value, lanes: list[int]) -> Value:
            return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), _TURNED), lanes))

        pairs = [mixed(rows[i], rows[i + 1], lanes) for i in (0, 2) for lanes in ([0, 4, 1, 5], [2, 6, 3, 7])]
        for i, lanes in enumerate([[0, 1, 4, 5], [2, 3, 6, 7]] * 2):
            column = mixed(pairs[i // 2], pairs[2 + i // 2], lanes)
            store_lanes(b, column, self._at(b, to, integer(i * width)), self.dtype, None)

    # --- Addresses ---

    def _load(self, b: ir.IRBuilder, pointer: Value, mask: Value | None) -> Value:
        return load_lanes(b, pointer, self.dtype, self.width, mask)

    def _at(self, b: ir.IRBuilder, pointer: Value, number: Value) -> Value:
        """An address so many entries on."""
        return entry_address(b, pointer, number, self.size)


def _least(b: ir.IRBuilder, x: Value, most: int) -> Value:
    return b.select(b.icmp_signed("<", x, integer(most)), x, integer(most))


def _moved(b: ir.IRBuilder, pointer: Value, size: Value) -> Value:
    """An address so many bytes on."""
    return entry_address(b, pointer, size, 1)
