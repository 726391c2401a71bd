"""Sums of rows on a GPU as one kernel: the gradient of a table, added up in one order on every run."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, xp

COLUMNS_AT_ONCE = 128
"""The threads of a block, which adds up one group."""

GROUPS_AT_ONCE = 65_535
"""The most blocks; they go round if there are more groups."""

SOURCE = """\
extern "C" __global__ void row_sums(const long long *table, long long groups) {
  const REAL *values = (const REAL *)table[0];
  const long long *order = (const long long *)table[1], *starts = (const long long *)table[2];
  REAL *sums = (REAL *)table[3];
  const long long rows = table[4], width = table[5];
  for (long long k = blockIdx.x; k < groups; k += gridDim.x) {
    const long long first = starts[k], last = k + 1 < groups ? starts[k + 1] : rows;
    for (long long i = threadIdx.x; i < width; i += blockDim.x) {
      double sum = 0;
      for (long long n = first; n < last; n++) sum += values[order[n] * width + i];
      sums[k * width + i] = (REAL)sum;
    }
  }
}
"""
"""A group is a run of `order`; REAL is float or double."""


def is_had(values: Array) -> bool:
    """Whether there is such a kernel for an array: it is CuPy's, of float32 or float64."""
    return values.dtype.char in "fd" and hasattr(xp(values), "RawKernel")


def row_sums(values: Array, order: np.ndarray, starts: np.ndarray) -> Array:
    """The sum of each group of rows of `values` (N,...), on a GPU: group k is of the rows order[starts[k]] up to
    order[starts[k + 1] - 1]. `order` (N,) and `starts` (K,) are whole numbers on the host, which waits for nothing."""
    lib: Any = xp(values)
    values = lib.ascontiguousarray(values)
    sums = lib.empty((len(starts), *values.shape[1:]), values.dtype)
    places = lib.asarray(order.astype(np.int64)), lib.asarray(starts.astype(np.int64))
    addresses = [x.data.ptr for x in (values, *places, sums)]
    table = lib.asarray(np.array([*addresses, len(order), values.size // len(values)], np.int64))
    _kernel(values.dtype.char)((min(len(starts), GROUPS_AT_ONCE),), (COLUMNS_AT_ONCE,), (table, np.int64(len(starts))))
    return sums


@cache
def _kernel(char: str) -> Any:
    import cupy  # noqa: PLC0415  (optional)

    return cupy.RawKernel(source_of(char), "row_sums")


def source_of(char: str) -> str:
    """That of the kernel, for "f" or "d"."""
    return SOURCE.replace("REAL", {"f": "float", "d": "double"}[char])
