"""Ranks that MPI has started (Message Passing Interface Forum 2021, version 4.0), through mpi4py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.ranks.by_nccl import nccl_carrier
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Carrier, Pending, Ranks

INSTALL_MPI = "pip install 'tinygrad-rnn[mpi]'"
"""What brings mpi4py."""

_NAMED = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),  # MVAPICH
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI, Microsoft MPI, and srun --mpi=pmi2
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),  # srun --mpi=pmix
)
"""What those who start processes call their numbers and how many they are."""


class RanksError(ValueError):
    """Processes that were started together and cannot work together; the message says why, in a sentence."""


def launched(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """The number of this process, from 0, and of how many it is, as whoever started them says: known before MPI is
    asked; (0, 1) where nobody says."""
    told = os.environ if environment is None else environment
    for rank, size in _NAMED:
        try:
            found = int(told[rank]), int(told[size])
        except (KeyError, ValueError):
            continue
        if 0 <= found[0] < found[1]:
            return found
    return 0, 1


@cache
def everyone() -> Ranks:
    """All that were started together with this process, or this one by itself. Raises RanksError."""
    _, size = launched()
    if size == 1:
        return ONE_PROCESS
    try:
        from mpi4py import MPI  # noqa: PLC0415  # optional, and it begins MPI
    except ImportError as error:
        raise RanksError(
            f"{size} processes were started to work together, which needs mpi4py ({error}): {INSTALL_MPI}"
        ) from None
    if size != MPI.COMM_WORLD.size:
        library = MPI.Get_library_version().split("\n")[0].strip(" \0")
        raise RanksError(
            f"{size} processes were started together, and mpi4py sees {MPI.COMM_WORLD.size}: it is of another MPI "
            f"({library}) than the mpiexec that started them"
        )
    return MpiRanks(MPI)


class MpiRanks(Ranks):
    """The processes of MPI's world."""

    def __init__(self, mpi: Any) -> None:
        self._mpi = mpi
        self._all, self._failing = mpi.COMM_WORLD.Dup(), mpi.COMM_WORLD.Dup()
        self.rank, self.size = self._all.rank, self._all.size
        self._asked = False
        self._carrier: Carrier | None = None
        of_machine = self._all.Split_type(mpi.COMM_TYPE_SHARED)
        self.place = of_machine.rank
        self.beside = of_machine.allgather(_own_processors()).count(_own_processors())

    def allgather(self, value: Any) -> list[Any]:
        found: list[Any] = self._all.allgather(value)
        return found

    def allgather_numbers(self, numbers: Sequence[float]) -> HostArray:
        own = np.array(numbers, dtype=np.float64)
        found = np.empty((self.size, len(own)))
        self._all.Allgather(own, found)
        return found

    def allgather_rows(self, rows: HostArray, counts: Sequence[int]) -> HostArray:
        found = np.empty((sum(counts), *rows.shape[1:]), rows.dtype)
        width = int(np.prod(rows.shape[1:], dtype=np.int64))
        self._all.Allgatherv(np.ascontiguousarray(rows), [found, [count * width for count in counts]])
        return found

    def broadcast(self, value: Any) -> Any:
        return self._all.bcast(value)

    def begin_allreduce(self, numbers: HostArray) -> Pending:
        return _Request(self._all.Iallreduce(self._mpi.IN_PLACE, numbers))

    def between_gpus(self) -> Carrier | None:
        if not self._asked:
            self._asked, self._carrier = True, nccl_carrier(self)
        return self._carrier

    def all_failed(self, seconds: float) -> bool:
        return _done_within(seconds, self._failing.Ibarrier().Test)

    def abort(self, code: int) -> None:
        self._all.Abort(code)


class _Request:
    """A request of MPI's."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def test(self) -> bool:
        return bool(self._request.Test())

    def wait(self) -> None:
        self._request.Wait()


def _done_within(seconds: float, done: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not (found := done()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def _own_processors() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
