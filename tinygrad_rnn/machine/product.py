"""The product of matrices, C (M,N) = A (M,K) @ W (K,N), or C += that: one function for all sizes.

The matrix W is packed first: a panel of so many columns as a few registers hold (24 float32 in three of 8), row after
row, then the next panel, the last one filled up with zeros. So all that is read lies in the order in which it is read:

    W (K, 60)      panel 0         panel 1          panel 2
                   columns 0..23   columns 24..47   columns 48..59, 0, 0, ...

    C    for each panel, for each `TALL` rows: TALL x 3 registers hold the sums, while k goes from 0 to K - 1:
         one row of the panel is loaded, and one number of each row of A is multiplied by it and added

An entry of C is the sum over k in order, whatever the sizes: which rows are asked for together changes no bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from tinygrad_rnn.backend import Array
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
)
from tinygrad_rnn.machine.target import register_bytes, registers

NAME = "tinygrad_rnn_product_{}"
"""What the function of a dtype is called in machine code."""

TALL = 4
"""Rows whose sums are in registers at once."""

WIDE_OF_ONE_ROW = 3
"""Panels that a single row goes through at once: its sums wait for each other less."""


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


def pack(W: Array, out: Array) -> None:
    """A matrix (K,N) into `out`, which has `packed_size` entries."""
    (K, N), columns = W.shape, panel_columns(W.dtype)
    panels = out.reshape(-1, K, columns)
    whole = N // columns
    panels[:whole] = W[:, : whole * columns].reshape(K, whole, columns).swapaxes(0, 1)
    if rest := N % columns:
        panels[whole, :, :rest] = W[:, whole * columns :]
        panels[whole, :, rest:] = 0


def product_code(dtype: np.dtype[Any]) -> ir.Module:
    """The module with the function. It takes M, N and K; A, and in bytes from row to row and from column to column; the
    packed W; C, and in bytes from row to row; and 1 where C is added to, otherwise 0."""
    module = ir.Module("product")
    b = function(module, NAME.format(dtype.char), 10, [3, 6, 7])
    M, N, *_ = b.function.args
    whole = b.and_(M, integer(-TALL))
    columns = panel_columns(dtype)
    edge = b.sub(N, b.urem(N, integer(columns)))
    code = _ProductCode(b, dtype)
    with loop(b, 0, edge, columns) as column, loop(b, 0, whole, TALL) as row:
        code.kernel(row.i, column.i, TALL, None)
    with b.if_then(b.icmp_signed("<", edge, N)), loop(b, 0, whole, TALL) as row:
        code.kernel(row.i, edge, TALL, b.sub(N, edge))
    wide = WIDE_OF_ONE_ROW * columns
    many = b.sub(N, b.urem(N, integer(wide)))
    with loop(b, whole, M) as row:
        with loop(b, 0, many, wide) as column:
            code.kernel(row.i, column.i, 1, None, WIDE_OF_ONE_ROW)
        with loop(b, many, edge, columns) as column:
            code.kernel(row.i, column.i, 1, None)
        with b.if_then(b.icmp_signed("<", edge, N)):
            code.kernel(row.i, edge, 1, b.sub(N, edge))
    b.ret_void()
    return module


class _ProductCode:
    """Writes the kernels."""

    def __init__(self, b: ir.IRBuilder, dtype: np.dtype[Any]) -> None:
        self.b, self.dtype = b, dtype
        self.width = register_bytes() // dtype.itemsize
        _, _, self.K, self.A, self.from_row, self.from_column, self.W, self.C, self.c_row, accumulate = b.function.args
        self.adds = b.trunc(accumulate, I1)
        self.zero = in_all_lanes(0, ir.VectorType(scalar_type(dtype), self.width))

    def kernel(self, row: Value, column: Value, rows: int, left: Value | None, panels: int = 1) -> None:
        """A few rows of some panels, from `row` and `column` on. Of a last panel `left` columns count."""
        b, columns, places = self.b, panel_columns(self.dtype), range(panels * vectors())
        masks = [None if left is None else self._mask(left, j) for j in places]
        starts = [b.add(row, integer(r)) for r in range(rows)]
        from_a = [self._moved(self.A, b.mul(start, self.from_row)) for start in starts]
        from_w = [self._at(self.W, b.mul(b.add(column, integer(p * columns)), self.K)) for p in range(panels)]
        to = [
            [
                self._at(self._moved(self.C, b.mul(start, self.c_row)), b.add(column, integer(j * self.width)))
                for j in places
            ]
            for start in starts
        ]
        sums = [
            b.select(self.adds, self._load(pointer, mask), self.zero)
            for pointers in to
            for pointer, mask in zip(pointers, masks, strict=True)
        ]
        with loop(b, 0, self.K, 1, sums) as k:
            line = b.mul(k.i, integer(columns))
            weights = [
                self._load(self._at(panel, b.add(line, integer(j * self.width))), None)
                for panel in from_w
                for j in range(vectors())
            ]
            so_far = iter(k.values)
            for start in from_a:
                x = splat(b, load_one(b, self._moved(start, b.mul(k.i, self.from_column)), self.dtype), self.width)
                k.next += [fma(b, x, w, next(so_far)) for w in weights]
        for value, (pointer, mask) in zip(
            k.values, [pair for pointers in to for pair in zip(pointers, masks, strict=True)], strict=True
        ):
            store_lanes(b, value, pointer, self.dtype, mask)

    def _load(self, pointer: Value, mask: Value | None) -> Value:
        return load_lanes(self.b, pointer, self.dtype, self.width, mask)

    def _moved(self, pointer: Value, size: Value) -> Value:
        """An address so many bytes on."""
        return entry_address(self.b, pointer, size, 1)

    def _at(self, pointer: Value, number: Value) -> Value:
        """An address so many entries on."""
        return entry_address(self.b, pointer, number, self.dtype.itemsize)

    def _mask(self, left: Value, j: int) -> Value:
        """Of register number `j` of a panel, the columns that count."""
        b = self.b
        count = b.sub(left, integer(j * self.width))
        return first_lanes(b, b.select(b.icmp_signed("<", count, integer(0)), integer(0), count), self.width)
