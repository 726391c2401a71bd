"""Sums that stay right over many rows.

One rule for every sum of this package, gradients of tables and biases included: float16 adds up in float32, and
float32 in blocks whose sums are added up in turn, so that no summand is ever small beside what it is added to. NumPy
does so along the last axis alone; over any other it adds row after row, and a float32 bias that gets 0.1 from each of
10^6 rows would be 1 % off, a float16 sum of ones would stop at 2048.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.libraries import pairwise_sums

SUMMED_AT_ONCE = 256
"""Summands that are added up one after the other: 10^6 equal ones in float32 then come out right to 4e-6."""

SUMMED_ON_DEVICE = 16 * SUMMED_AT_ONCE
"""The same of CuPy, which has 16 threads or more add up one sum."""

MULTIPLIED_AT_ONCE = 512
"""Rows of a product with a vector: BLAS adds up several of them side by side."""


def accumulator(dtype: np.dtype[Any], count: int) -> np.dtype[Any]:
    """The dtype in which `count` summands may be added up one after the other."""
    if dtype.char not in "ef" or (dtype.char == "f" and count <= SUMMED_AT_ONCE):
        return dtype
    return np.dtype(np.float32 if count <= SUMMED_AT_ONCE else np.float64)


def accumulated(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum over `axis` (a number, a tuple, None for all) in the dtype in which it was added up: float32 for
    float16, otherwise what NumPy's sum has."""
    if x.dtype.char == "e":
        x = x.astype(np.float32)
    if is_added_up_well(x, axis):
        return xp(x).sum(x, axis=axis, keepdims=keepdims)
    axes = _numbered(axis, x.ndim)
    return xp(x).sum(_partial_sums(x, axes), axis=axes, keepdims=keepdims)


def is_added_up_well(x: Array, axis: Any) -> bool:
    """Whether the array library's own sum over `axis` does not add up long columns one after the other."""
    kind: str = x.dtype.char
    if kind != "f" or x.size <= SUMMED_AT_ONCE:
        return kind != "e"
    if not isinstance(x, np.ndarray):
        count: int = math.prod(x.shape[a] for a in _numbered(axis, x.ndim))
        return count <= SUMMED_ON_DEVICE
    if x.flags.c_contiguous and (axis is None or axis == -1):  # as NumPy does itself
        return True
    axes = _numbered(axis, x.ndim)
    if math.prod(x.shape[a] for a in axes) <= SUMMED_AT_ONCE:
        return True
    return bool(x.flags.c_contiguous) and sorted(axes) == [*range(x.ndim - len(axes), x.ndim)]


def _numbered(axis: Any, ndim: int) -> tuple[int, ...]:
    return np.lib.array_utils.normalize_axis_tuple(range(ndim) if axis is None else axis, ndim)


def total(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum over `axis` in the dtype that NumPy's sum has: that of `x`, for narrow integers a wider one."""
    sums = accumulated(x, axis, keepdims)
    return sums.astype(np.float16) if x.dtype.char == "e" else sums


def _partial_sums(x: Array, axes: tuple[int, ...]) -> Array:
    """Sums over parts of `axes`, so few that what is left of these may be added up one after the other."""
    while math.prod(x.shape[a] for a in axes) > SUMMED_AT_ONCE:
        axis = max(axes, key=lambda a: x.shape[a])
        before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
        if n <= SUMMED_AT_ONCE:
            x = x.sum(axis=axis, keepdims=True)
            continue
        whole, rest = n - n % SUMMED_AT_ONCE, (slice(None),) * axis
        sums = x[(*rest, slice(whole))].reshape(*before, -1, SUMMED_AT_ONCE, *after).sum(axis=axis + 1)
        if whole < n:
            sums = xp(x).concatenate([sums, x[(*rest, slice(whole, None))].sum(axis=axis, keepdims=True)], axis)
        x = sums
    return x


def weighted_sum(weights: Array, rows: Array) -> Array:
    """Σ weights[n] * rows[n] of (N,) and (N,K), as products of few rows each: BLAS too adds one after the other."""
    if len(rows) <= MULTIPLIED_AT_ONCE:
        return weights @ rows
    whole = len(rows) - len(rows) % MULTIPLIED_AT_ONCE
    parts = weights[:whole].reshape(-1, 1, MULTIPLIED_AT_ONCE) @ rows[:whole].reshape(
        -1, MULTIPLIED_AT_ONCE, rows.shape[1]
    )
    return total(parts, (0, 1)) + weights[whole:] @ rows[whole:]


def group_sums(values: Array, starts: Array) -> Array:
    """The sum of each group of consecutive rows of `values` (N,...), group k beginning at row starts[k], numbers that
    may lie on the host."""
    if not values.size:
        return xp(values).take(values, xp(values).asarray(starts), axis=0)
    if values.dtype.char == "e":
        return group_sums(values.astype(np.float32), starts).astype(np.float16)
    if not isinstance(values, np.ndarray):
        return pairwise_sums(values, starts)
    if values.dtype.char != "f" or len(values) <= SUMMED_AT_ONCE:
        return _consecutive(values, starts)
    sizes = np.diff(starts, append=len(values))
    if int(sizes.max()) > SUMMED_AT_ONCE:
        pieces = -(-sizes // SUMMED_AT_ONCE)
        first = np.cumsum(pieces) - pieces  # of each group's pieces
        number = np.arange(int(pieces.sum())) - np.repeat(first, pieces)
        return group_sums(_consecutive(values, np.repeat(starts, pieces) + SUMMED_AT_ONCE * number), first)
    return _consecutive(values, starts)


def _consecutive(values: Array, starts: Array) -> Array:
    """The same, row after row."""
    # NumPy walks down one column at a time: two columns seen as one of complex numbers take half the time, for the
    # same sums.
    if values.ndim > 1 and values.shape[-1] % 2 == 0 and values.dtype.char in "fd":
        pairs = np.add.reduceat(values.view(values.dtype.char.upper()), starts, axis=0)
        return pairs.view(values.dtype)
    return np.add.reduceat(values, starts, axis=0)
