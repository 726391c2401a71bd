"""Products of arrays by our own function, and its place in memory."""

from __future__ import annotations

import ctypes
import threading
from typing import Any, NamedTuple

import numpy as np

from tinygrad_rnn.backend import Array, address
from tinygrad_rnn.machine.object_files import object_code_of
from tinygrad_rnn.machine.product import DIRECT, PACK, PACKED, product_code, room_size
from tinygrad_rnn.machine.target import Linked, MadeOnce, known_as


class ProductFunctions(NamedTuple):
    """Those of `product.py` for a dtype: linked, and what is called from here."""

    linked: Linked
    pack: Any
    direct: Any


@MadeOnce
def product_functions(dtype: np.dtype[Any]) -> ProductFunctions:
    """Of a dtype; loops call `PACKED` by its name."""
    linked = Linked(object_code_of(f"product {dtype}", lambda: product_code(dtype)))
    name = PACKED.format(dtype.char)
    known_as(name, linked.address(name))

    def called(name: str, numbers: int) -> Any:
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * numbers)
        return kind(linked.address(name.format(dtype.char)))

    return ProductFunctions(linked, called(PACK, 6), called(DIRECT, 13))


class _Room(threading.local):
    """Where a thread packs."""

    def __init__(self) -> None:
        self.of: dict[str, Array] = {}

    def address(self, dtype: np.dtype[Any]) -> int:
        found = self.of.get(dtype.char)
        if found is None:
            found = self.of[dtype.char] = np.empty(room_size(dtype) + 64 // dtype.itemsize, dtype)
        start = address(found)
        return start + -start % 64


_room = _Room()


def multiply(a: Array, b: Array, out: Array, adds: bool = False) -> None:
    """out = a @ b, or with `adds` out += a @ b, of matrices of one dtype (float32 or float64), by our own function.
    Columns of `out` must lie side by side; the others may lie in any way."""
    (M, K), N, dtype = a.shape, b.shape[1], a.dtype
    product_functions(dtype).direct(
        *(M, N, K, address(a), *a.strides, address(b), *b.strides),
        *(address(out), out.strides[0], adds, _room.address(dtype)),
    )


def pack(W: Array, to: int) -> None:
    """A matrix (K,N) as `PACKED` takes it, to an address from which there is room for `packed_size` entries."""
    start = address(W if W.flags.c_contiguous else W.T)  # of most that lie otherwise it is asked in no time
    product_functions(W.dtype).pack(*W.shape, start, *W.strides, to)
