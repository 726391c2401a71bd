"""Matrix products as fast as NumPy's BLAS has them."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.engines import engine_in_force
from tinygrad_rnn.openblas import adds_product
from tinygrad_rnn.threads import numpys_blas, one_blas_thread, threads

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


WORTH_A_CALL = 1 << 17
"""Multiplications from which a product of two matrices is worth a call of our own."""


def machine_code(dtype: np.dtype[Any] | None = None) -> Any:
    """The functions of `machine/calls.py`, where machine code is in force in this thread, and for arrays of this dtype
    if one is given; otherwise None."""
    if engine_in_force() != "machine" or (dtype is not None and (dtype.char not in "fd" or not dtype.isnative)):
        return None
    return _calls()


@cache
def _calls() -> Any:
    """They, on a processor that has what they need."""
    from tinygrad_rnn.machine import calls  # noqa: PLC0415  (LLVM is optional, and large)

    return calls if calls.multiplies_and_adds() else None


def blas_held() -> AbstractContextManager[None]:
    """Within it BLAS has one thread where machine code is in force: its others would wait for work, going round and
    round, on the processors that threads of ours need."""
    return nullcontext() if threads() == 1 or machine_code() is None else one_blas_thread()


def product(a: Array, b: Array, out: Array) -> Array:
    """`matmul(a, b, out=out)`, a (...,M,K), b (...,K,C)."""
    if math.prod(a.shape[-2:]) * b.shape[-1] < min(WORTH_A_CALL, SMALL):  # most often, where overhead counts
        xp(a).matmul(a, b, out=out)
        return out
    if (code := _code_for(a, b, out)) is None:
        return _in_pieces(a, b, out)
    places = [*np.ndindex(out.shape[:-2])]
    code.shared_products([_as_rows(_matrix(a, place), _matrix(b, place), out[place]) for place in places])
    return out


def summed_product(a: Array, b: Array, out: Array) -> Array:
    """out = Σ_g a[g] @ b[g], a (G,M,K), b (G,K,C), out (M,C)."""
    if (code := _code_for(a, b, out)) is None:
        product(a[0], b[0], out)
        for left, right in zip(a[1:], b[1:], strict=True):
            add_product(left, right, out)
    else:
        code.summed_products([*zip(a, b, strict=True)], out)
    return out


def add_product(a: Array, b: Array, out: Array, spare: Array | None = None) -> Array:
    """out += a @ b, a (M,K), b (K,C). Where the product must be made apart, it is made in `spare` if that is given."""
    if (code := _code_for(a, b, out)) is not None:
        code.shared_products([_as_rows(a, b, out)], adds=True)
    elif not adds_product(a, b, out):
        out += _in_pieces(a, b, empty_buffer(out.shape, out.dtype, xp(out)) if spare is None else spare)
    return out


def _code_for(a: Array, b: Array, out: Array) -> Any:
    """Machine code, where it can make a product, and is worth calling."""
    large = math.prod(a.shape[-2:]) * b.shape[-1] >= WORTH_A_CALL
    if not large or not isinstance(out, np.ndarray) or out.itemsize not in out.strides[-2:]:
        return None
    return machine_code(out.dtype) if a.dtype == b.dtype == out.dtype else None


def _as_rows(a: Array, b: Array, out: Array) -> tuple[Array, Array, Array]:
    """A product whose result has its columns side by side: the other way round, where its rows are."""
    return (a, b, out) if out.strides[1] == out.itemsize else (b.T, a.T, out.T)


def _matrix(x: Array, place: tuple[int, ...]) -> Array:
    """One of a stack of matrices, that of a result's matrix."""
    own = place[len(place) - x.ndim + 2 :] if x.ndim > 2 else ()
    return x[tuple(0 if n == 1 else i for i, n in zip(own, x.shape[:-2], strict=True))]


def _in_pieces(a: Array, b: Array, out: Array) -> Array:
    """The product by the array library, some rows or columns at a time where that is faster: on one thread, since only
    a large product is divided among several."""
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
