"""What NumPy's OpenBLAS can do and NumPy does not ask it for: to add a product of matrices to what is there."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tinygrad_rnn.backend import Array, address
from tinygrad_rnn.threads import numpys_blas

_IN_ROWS, _AS_IT_IS, _TRANSPOSED = 101, 111, 112
"""Numbers of the C interface of BLAS (Blackford et al. 2002, appendix B)."""

_NUMBERS = {"f": ("cblas_sgemm", ctypes.c_float), "d": ("cblas_dgemm", ctypes.c_double)}


@cache
def _product_function(char: str) -> Any:
    """`C = alpha A B + beta C` for a dtype, from the library that NumPy itself calls; None where there is none."""
    library = numpys_blas()
    name, number = _NUMBERS.get(char, ("", None))
    if library is None or number is None:
        return None
    found, config = (_symbol(library, each) for each in (name, "openblas_get_config"))
    if found is None or config is None:
        return None
    config.restype = ctypes.c_char_p
    size = ctypes.c_int64 if b"USE64BITINT" in config() else ctypes.c_int32
    choice, at = ctypes.c_int, ctypes.c_void_p
    kind = ctypes.CFUNCTYPE(None, *[choice] * 3, *[size] * 3, number, at, size, at, size, number, at, size)
    return kind(ctypes.cast(found, at).value or 0)


def _symbol(library: Any, name: str) -> Any:
    """A function of the library, which NumPy's wheels have under longer names."""
    tried = (f"{before}{name}{after}" for before in ("", "scipy_") for after in ("", "64_", "_64"))
    return next((getattr(library.dynlib, each) for each in tried if hasattr(library.dynlib, each)), None)


class _Operand(NamedTuple):
    """How a matrix lies: row after row (`order` as it is) or column after column (transposed), and how many entries the
    beginnings of these are apart."""

    order: int
    apart: int


def _operand(x: Array) -> _Operand | None:
    """None where it lies in neither way."""
    for order, (count, width), (stride, within) in (
        (_AS_IT_IS, x.shape, x.strides),
        (_TRANSPOSED, x.shape[::-1], x.strides[::-1]),
    ):
        apart, rest = divmod(stride, x.itemsize)
        if (within == x.itemsize or width == 1) and ((not rest and apart >= width) or count == 1):
            return _Operand(order, max(apart, width) if not rest else width)
    return None


def adds_product(a: Array, b: Array, out: Array) -> bool:
    """out += a @ b, of matrices (M,K), (K,N) of one dtype, which share no memory with `out`. False, and nothing is
    done, where that cannot be: NumPy has another BLAS, the dtype is neither float32 nor float64, or a matrix lies
    neither row after row nor column after column."""
    function = _product_function(out.dtype.char) if isinstance(out, np.ndarray) and out.dtype.isnative else None
    if function is None or not (a.dtype == b.dtype == out.dtype) or not (out.size and a.shape[1]):
        return False
    left, right, into = map(_operand, (a, b, out))
    if left is None or right is None or into is None:
        return False
    if into.order == _TRANSPOSED:
        return adds_product(b.T, a.T, out.T)
    (M, K), N = a.shape, b.shape[1]
    function(
        *(_IN_ROWS, left.order, right.order, M, N, K),
        *(1.0, address(a), left.apart, address(b), right.apart),
        *(1.0, address(out), into.apart),
    )
    return True
