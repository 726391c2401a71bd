"""Matrix products as fast as NumPy's BLAS has them."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.threads import numpys_blas

SMALL = 10**6
"""Multiplications (m n k) up to which OpenBLAS leaves the operands of a product as they lie, on some processors. A
larger product is repacked first; in pieces below this size it takes up to a quarter less time."""

WITH_SMALL_KERNELS = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})
"""OpenBLAS's names for these: x86 with AVX-512. On others, pieces would be repacked one by one."""

FEWEST, MOST = 4, 64  # rows of a piece: with fewer, registers stay idle; with more, nothing is gained
NARROWEST = 64  # columns of a piece
REMEMBERED = 4096  # sizes of products


@cache
def _with_small_kernels() -> Any:
    """NumPy's OpenBLAS, if it leaves the operands of small products as they lie."""
    library = numpys_blas()
    return library if library and library.architecture in WITH_SMALL_KERNELS else None


@lru_cache(REMEMBERED)
def rows_at_a_time(rows: int, inner: int, columns: int) -> int:
    """Of a product (rows,inner) @ (inner,columns): how many rows make a small product, 0 where all of them do, or
    where no number of them that divides `rows` would be of use."""
    if rows * inner * columns <= SMALL:
        return 0
    most = min(SMALL // (inner * columns), MOST)
    return max((n for n in range(FEWEST, most + 1) if rows % n == 0), default=0)


@lru_cache(REMEMBERED)
def columns_at_a_time(rows: int, inner: int, columns: int) -> int:
    """The same of columns, for a product of few rows and many columns."""
    if rows * inner * columns <= SMALL:
        return 0
    most = SMALL // (rows * inner)
    return max((n for n in range(NARROWEST, most + 1) if columns % n == 0), default=0)


def product(a: Array, b: Array, out: Array) -> Array:
    """`matmul(a, b, out=out)`, a (...,M,K), b (...,K,C), some rows or columns at a time where that is faster: on one
    thread, since only a large product is divided among several."""
    size = (*a.shape[-2:], b.shape[-1])
    rows, columns = (rows_at_a_time(*size), columns_at_a_time(*size)) if isinstance(out, np.ndarray) else (0, 0)
    if (
        (rows or columns)
        and b.strides[-1] == b.itemsize
        and (library := _with_small_kernels())
        and library.num_threads == 1
    ):
        if rows:
            pieces, into = (x.reshape(*x.shape[:-2], -1, rows, x.shape[-1]) for x in (a, out))
            np.matmul(pieces, b[..., None, :, :], out=into)
        else:
            pieces, into = (x.reshape(*x.shape[:-1], -1, columns).swapaxes(-2, -3) for x in (b, out))
            np.matmul(a[..., None, :, :], pieces, out=into)
        return out
    result: Array = xp(a).matmul(a, b, out=out)
    return result
