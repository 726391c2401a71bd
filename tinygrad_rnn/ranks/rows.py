"""Row-sparse gradients of all ranks, added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import device_of, to_device, to_host, xp
from tinygrad_rnn.ranks.processes import Carrier, Ranks
from tinygrad_rnn.rowsparse import RowSparse


def sum_of_rows(
    ranks: Ranks, own: RowSparse | None, counts: Sequence[int], data: Any, carrier: Carrier | None = None
) -> tuple[Any, int]:
    """The sum of the gradients of one parameter, whose array is `data`, and the bytes that this rank gave away for it.
    They travel as rows, which are merged in the order of the ranks, or as the whole array, whichever is less.

    Args:
        ranks: those that take part.
        own: of this rank; None for no rows.
        counts: how many rows each rank has.
        data: (V, ...).
        carrier: what carries arrays from where `data` is; None by way of the host.

    Returns:
        A RowSparse, or an array, on the device of `data`; and bytes.
    """
    dtype = summed_in(data)
    width = int(np.prod(data.shape[1:], dtype=np.int64)) * dtype.itemsize
    row = np.dtype(np.int64).itemsize + width
    carries, lib, place = carrier or ranks, xp(data) if carrier else np, "cpu" if carrier else device_of(data)
    rows, values = lib.zeros(0, np.int64), lib.zeros((0, *data.shape[1:]), dtype)
    if own is not None:
        rows, values = (x if carrier else to_host(x) for x in (own.rows, own.values))
    if sum(counts) * row <= 2 * data.shape[0] * width:  # an array is sent about twice: added up, and given out
        rows = carries.allgather_rows(rows.astype(np.int64, copy=False), counts)
        values = carries.allgather_rows(values.astype(dtype, copy=False), counts)
        found = RowSparse.from_indices(rows, _at(place, values), data.shape)
        return found.astype(data.dtype, copy=False), counts[ranks.rank] * row
    dense = lib.zeros(data.shape, dtype)
    dense[rows] = values
    carries.begin_allreduce(dense).wait()
    return _at(place, dense.astype(data.dtype, copy=False)), dense.size * dtype.itemsize


def _at(place: str, x: Any) -> Any:
    """What came by way of the host where it belongs; anything else as it is."""
    return x if place == "cpu" else to_device(x, place)


def summed_in(data: Any) -> np.dtype[Any]:
    """The dtype in which the gradients of an array are added up: MPI has no half floats."""
    return np.dtype(np.float32) if data.dtype.itemsize < np.dtype(np.float32).itemsize else np.dtype(data.dtype)
