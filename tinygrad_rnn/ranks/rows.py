"""Row-sparse gradients of all ranks, added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import device_of, to_device, to_host
from tinygrad_rnn.ranks.processes import Ranks
from tinygrad_rnn.rowsparse import RowSparse


def sum_of_rows(ranks: Ranks, own: RowSparse | None, counts: Sequence[int], data: Any) -> tuple[Any, int]:
    """The sum of the gradients of one parameter, whose array is `data`, and the bytes that this rank gave away for it.
    They travel as rows, which are merged in the order of the ranks, or as the whole array, whichever is less.

    Args:
        ranks: those that take part.
        own: of this rank; None for no rows.
        counts: how many rows each rank has.
        data: (V, ...).

    Returns:
        A RowSparse, or an array, on the device of `data`; and bytes.
    """
    dtype = summed_in(data)
    width = int(np.prod(data.shape[1:], dtype=np.int64)) * dtype.itemsize
    row = np.dtype(np.int64).itemsize + width
    device = device_of(data)
    if sum(counts) * row <= 2 * data.shape[0] * width:  # an array is sent about twice: added up, and given out
        rows = np.zeros(0, np.int64) if own is None else to_host(own.rows).astype(np.int64, copy=False)
        values = np.zeros((0, *data.shape[1:]), dtype) if own is None else to_host(own.values).astype(dtype, copy=False)
        rows, values = (ranks.allgather_rows(each, counts) for each in (rows, values))
        found = RowSparse.from_indices(to_device(rows, device), to_device(values, device), data.shape)
        return found.astype(data.dtype, copy=False), counts[ranks.rank] * row
    dense = np.zeros(data.shape, dtype)
    if own is not None:
        dense[to_host(own.rows)] = to_host(own.values)
    ranks.begin_allreduce(dense).wait()
    return to_device(dense.astype(data.dtype, copy=False), device), dense.nbytes


def summed_in(data: Any) -> np.dtype[Any]:
    """The dtype in which the gradients of an array are added up: MPI has no half floats."""
    return np.dtype(np.float32) if data.dtype.itemsize < np.dtype(np.float32).itemsize else np.dtype(data.dtype)
