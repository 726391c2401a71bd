"""The pass over a block of logits that a softmax cross-entropy makes, fused: a row at a time, which lies in a near
cache. First its largest entry, and then e to the power of each, less that, and their sum."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from llvmlite import ir

from tinygrad_rnn.backend import Array, address
from tinygrad_rnn.machine.blocks import function, loop
from tinygrad_rnn.machine.functions import exp_lanes, extreme
from tinygrad_rnn.machine.lanes import (
    I64,
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
from tinygrad_rnn.machine.object_files import object_code_of
from tinygrad_rnn.machine.target import Linked, MadeOnce
from tinygrad_rnn.threads import in_threads, shares

NAME = "odds"

LANES = 16
"""Entries that are added up side by side, on any processor."""

STRETCH = 256 * LANES
"""Entries whose sum is in the dtype of the block; such sums are added up in float64."""

AN_ENTRY = 32
"""Multiplications that the pass over an entry is worth, about."""

_DOUBLE = np.dtype(np.float64)


def softmax_code(dtype: np.dtype[Any]) -> ir.Module:
    """The module with the function: rows and columns (V), the block, the bias, the labels, and for each row what the
    label's entry was less the largest, and the sum of the others, in float64. It leaves the block with e to the power
    of each entry less the largest, and 0 at the label."""
    module = ir.Module("softmax")
    b = function(module, NAME, 7, [2, 3, 4, 5, 6])
    rows, V, block, bias, labels, chosen, others = b.function.args
    size, kind = dtype.itemsize, ir.VectorType(scalar_type(dtype), LANES)
    lowest = in_all_lanes(-math.inf, kind)

    def larger(x: Value, y: Value) -> Value:
        return extreme(b, ">=", x, y)

    def shifted(row: Value, at: Value, mask: Value | None) -> tuple[Value, Value]:
        """Entries with the bias, and their address."""
        pointer = entry_address(b, row, at, size)
        x = load_lanes(b, pointer, dtype, LANES, mask)
        return b.fadd(x, load_lanes(b, entry_address(b, bias, at, size), dtype, LANES, mask)), pointer

    def odds(row: Value, at: Value, top: Value, mask: Value | None) -> Value:
        x, pointer = shifted(row, at, mask)
        e = exp_lanes(b, b.fsub(x, top))
        store_lanes(b, e, pointer, dtype, mask)
        return e if mask is None else b.select(mask, e, in_all_lanes(0, kind))

    whole = b.and_(V, integer(-LANES))
    mask = first_lanes(b, b.sub(V, whole), LANES)
    with loop(b, 0, rows) as n:
        row = entry_address(b, block, b.mul(n.i, V), size)
        with loop(b, 0, whole, LANES, [lowest]) as j:
            j.next = [larger(j.values[0], shifted(row, j.i, None)[0])]
        last = b.select(mask, shifted(row, whole, mask)[0], lowest)
        top = pairwise(b, larger(j.values[0], last), larger)
        tops = splat(b, top, LANES)
        label = b.load(entry_address(b, labels, n.i, 8), typ=I64, align=8)
        at_label = entry_address(b, row, label, size)
        answer = b.fadd(load_one(b, at_label, dtype), load_one(b, entry_address(b, bias, label, size), dtype))
        store_one(b, b.fsub(answer, top), entry_address(b, chosen, n.i, size), dtype)
        store_one(b, ir.Constant(scalar_type(dtype), -math.inf), at_label, dtype)
        wide = ir.VectorType(ir.DoubleType(), LANES)
        with loop(b, 0, whole, STRETCH, [in_all_lanes(0, wide)]) as part:
            end = b.add(part.i, integer(STRETCH))
            end = b.select(b.icmp_signed("<", end, whole), end, whole)
            with loop(b, part.i, end, LANES, [in_all_lanes(0, kind)]) as j:
                j.next = [b.fadd(j.values[0], odds(row, j.i, tops, None))]
            part.next = [b.fadd(part.values[0], cast(b, j.values[0], dtype, _DOUBLE))]
        rest = cast(b, odds(row, whole, tops, mask), dtype, _DOUBLE)
        total = pairwise(b, b.fadd(part.values[0], rest), b.fadd)
        store_one(b, total, entry_address(b, others, n.i, 8), _DOUBLE)
    b.ret_void()
    return module


@MadeOnce
def softmax_function(dtype: np.dtype[Any]) -> tuple[Linked, Any]:
    """The function of a dtype, linked and to be called."""
    linked = Linked(object_code_of(f"softmax {dtype}", lambda: softmax_code(dtype)))
    return linked, ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7)(linked.address(NAME))


def odds_in_place(block: Array, bias: Array, labels: Array) -> tuple[Array, Array]:
    """Turns logits without their bias, (N,V) in one piece, into e to the power of each with it, less the largest of the
    row, and 0 at the labels (N,). Returns the logarithm of what stood there, and the sum of the others, each (N,)."""
    (N, V), dtype = block.shape, block.dtype
    _, function_ = softmax_function(dtype)
    chosen, others = np.empty(N, dtype), np.empty(N)
    labels, bias = np.ascontiguousarray(labels, np.int64), np.ascontiguousarray(bias, dtype)
    at = [*map(address, (block, bias, labels, chosen, others))]

    def part(first: int, last: int) -> None:
        moved = (at[0] + first * V * dtype.itemsize, at[1], at[2] + 8 * first, at[3] + first * dtype.itemsize)
        function_(last - first, V, *moved, at[4] + 8 * first)

    parts = min(shares(AN_ENTRY * N * V), N)
    in_threads(parts, lambda i: part(N * i // parts, N * (i + 1) // parts))
    return chosen, others.astype(dtype)
