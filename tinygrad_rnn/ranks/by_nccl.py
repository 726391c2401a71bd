"""Gradients that lie on GPUs, one of each rank, added up without the host: by NCCL, through CuPy."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Sequence
from typing import Any

from tinygrad_rnn.backend import Array, cuda_namespace
from tinygrad_rnn.ranks.processes import Carrier, Pending, Ranks


def nccl_carrier(ranks: Ranks) -> Carrier | None:
    """What carries arrays between the GPUs that the ranks use; None where CuPy has no NCCL on some rank, or two share a
    GPU, between which NCCL carries nothing. All ranks call it."""
    cupy: Any = cuda_namespace()
    try:
        with warnings.catch_warnings(action="ignore"):  # that it is not there is no news
            import cupyx.distributed as distributed  # noqa: PLC0415  (optional)
            from cupy.cuda import nccl  # noqa: PLC0415

        available = bool(nccl.available)
    except ImportError:
        available = False
    gpu = socket.gethostname(), cupy.cuda.runtime.deviceGetPCIBusId(cupy.cuda.Device().id)
    found = ranks.allgather((available, gpu))
    if not all(each for each, _ in found) or len({gpu for _, gpu in found}) < ranks.size:
        return None
    # Who they are travels by MPI's world, of which these ranks are all.
    return NcclCarrier(cupy, distributed.init_process_group(ranks.size, ranks.rank, use_mpi=True))


class NcclCarrier(Carrier):
    """A communicator of NCCL's, with a stream of its own: sums go on beside the backward pass, and the host waits for
    none of them."""

    def __init__(self, cupy: Any, communicator: Any) -> None:
        self._cupy, self._communicator = cupy, communicator
        self._stream = cupy.cuda.Stream(non_blocking=True)

    def begin_allreduce(self, numbers: Array) -> Pending:
        self._after_what_was_asked()
        self._communicator.all_reduce(numbers, numbers, "sum", self._stream)
        return _Begun(self._cupy, self._stream.record())

    def _after_what_was_asked(self) -> None:
        self._stream.wait_event(self._cupy.cuda.get_current_stream().record())

    def allgather_rows(self, rows: Array, counts: Sequence[int]) -> Array:
        # NCCL takes as many of each: the shorter ones are filled up.
        most, lib = max(counts), self._cupy
        own = lib.zeros((most, *rows.shape[1:]), rows.dtype)
        own[: len(rows)] = rows
        found = lib.empty((len(counts), *own.shape), rows.dtype)
        if own.size:
            self._after_what_was_asked()
            self._communicator.all_gather(own, found, own.size, self._stream)
            _Begun(self._cupy, self._stream.record()).wait()
        return lib.concatenate([each[:count] for each, count in zip(found, counts, strict=True)])


class _Begun:
    """What a stream does until an event."""

    def __init__(self, cupy: Any, event: Any) -> None:
        self._cupy, self._event = cupy, event

    def test(self) -> bool:
        return bool(self._event.done)

    def wait(self) -> None:
        self._cupy.cuda.get_current_stream().wait_event(self._event)
