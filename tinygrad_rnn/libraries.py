"""What NumPy has and CuPy has not, or has and does in another way: one function for each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, to_host, xp


def highest(x: Array, axis: int | tuple[int, ...] | None) -> Array:
    """The largest of the floats over `axis`, which stays as an axis of 1; -inf where there are none. CuPy's `max` takes
    no `initial`."""
    if isinstance(x, np.ndarray):
        return np.max(x, axis=axis, keepdims=True, initial=-math.inf)
    lib = xp(x)
    if x.size:
        return lib.max(x, axis=axis, keepdims=True)
    axes = np.lib.array_utils.normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    return lib.full(tuple(1 if i in axes else n for i, n in enumerate(x.shape)), -math.inf, dtype=x.dtype)


def library_of(x: Any, y: Any) -> Any:
    """The library of two operands, of which one may be a number."""
    lib = xp(x)
    return xp(y) if lib is np else lib


def remainder(x: Array, y: Array) -> Array:
    """x % y. CuPy's is x - y * floor(x / y), of which little is left where the quotient is large, and nothing beside
    infinity; NumPy's is exact."""
    lib = library_of(x, y)
    if lib is np or (rest := lib.fmod(x, y)).dtype.kind != "f":
        return x % y
    return lib.where(rest == 0, lib.copysign(rest, y), lib.where((rest < 0) == (y < 0), rest, rest + y))


def rounded_quotient(x: Array, y: Array) -> Array:
    """x // y, which is rounded down from the quotient itself: 1 // 0.1 is 9, since 0.1 is a little more than a tenth.
    CuPy rounds down what x / y was rounded to."""
    lib = library_of(x, y)
    if lib is np or (rest := lib.fmod(x, y)).dtype.kind != "f":
        return x // y
    whole, quotient = lib.rint((x - rest) / y), x / y
    whole = lib.where((rest != 0) & ((rest < 0) != (y < 0)), whole - 1, whole)
    return lib.where(lib.equal(y, 0), quotient, lib.where(whole == 0, lib.copysign(whole, quotient), whole))


def add_at(out: Array, index: Any, updates: Array) -> None:
    """out[index] += updates, where an entry that is named twice receives both. On a GPU floats are added in any order,
    so that their last digits may differ from run to run. Of integers, CuPy adds those of a few types."""
    lib = xp(out)
    if lib is np or out.dtype.kind == "f":
        lib.add.at(out, index, updates)
        return
    sums = lib.zeros(out.shape, dtype=np.uint64)  # which wrap around as all integers do
    lib.add.at(sums, index, updates.astype(np.uint64))
    out += sums.astype(out.dtype)


def pairwise_sums(values: Array, starts: Array) -> Array:
    """The sum of each group of consecutive rows of `values` (N,...), group k beginning at row starts[k]: neighbours are
    added until one row of each group is left, so that every run gives the same numbers, nothing is small beside what it
    is added to, and what is infinite stays in its group. CuPy's `add.reduceat` takes differences of running sums."""
    lib, begins = xp(values), to_host(starts)
    while len(values) > len(begins):
        sizes = np.diff(begins, append=len(values))
        halves = (sizes + 1) // 2
        ends = np.cumsum(halves)
        group = np.repeat(np.arange(len(begins)), halves)
        place = 2 * (np.arange(ends[-1]) - (ends - halves)[group])
        first, paired = begins[group] + place, np.flatnonzero(place + 1 < sizes[group])
        sums = lib.take(values, lib.asarray(first), axis=0)
        sums[lib.asarray(paired)] += lib.take(values, lib.asarray(first[paired] + 1), axis=0)
        values, begins = sums, ends - halves
    return values
