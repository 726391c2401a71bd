"""Ranks that are threads of one process: for tests of what ranks do together, without MPI."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from stand_in import DeviceArray

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Carrier, Pending, Ranks

T = TypeVar("T")


class _Meeting:
    """Where threads exchange values: each leaves its own, and takes those of all."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=60)
        self.slots: list[Any] = [None] * size

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.slots[rank] = value
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


class ThreadRanks(Ranks):
    """One of several threads; with `gpus` each has one of its own, whose arrays are the stand-in's."""

    def __init__(self, rank: int, size: int, meeting: _Meeting, gpus: bool = False) -> None:
        self.rank, self.size, self.beside, self.gpus = rank, size, size, gpus
        self.meeting = meeting
        self.calls: list[str] = []
        """What was called, in order: collective operations must be the same on all ranks."""
        self.begun: list[_Sum] = []

    def _exchange(self, name: str, value: Any) -> list[Any]:
        self.calls.append(name)
        found = self.meeting.exchange(self.rank, (name, value))
        assert {each for each, _ in found} == {name}, f"ranks called different operations: {[n for n, _ in found]}"
        return [each for _, each in found]

    def allgather(self, value: Any) -> list[Any]:
        return self._exchange("allgather", value)

    def allgather_numbers(self, numbers: Sequence[float]) -> HostArray:
        return np.array(self._exchange("allgather_numbers", list(numbers)), dtype=np.float64)

    def allgather_rows(self, rows: HostArray, counts: Sequence[int]) -> HostArray:
        found = self._exchange("allgather_rows", rows.copy())
        assert [len(each) for each in found] == list(counts)
        assert len({(each.dtype, each.shape[1:]) for each in found}) == 1
        return np.concatenate(found)

    def broadcast(self, value: Any) -> Any:
        return self._exchange("broadcast", value)[0]

    def begin_allreduce(self, numbers: HostArray) -> Pending:
        assert numbers.flags.c_contiguous
        self.calls.append(f"begin_allreduce {numbers.size}")
        begun = _Sum(self, numbers)
        self.begun.append(begun)
        return begun

    def between_gpus(self) -> Carrier | None:
        return ThreadCarrier(self) if self.gpus else None

    def all_failed(self, seconds: float) -> bool:
        return False

    def abort(self, code: int) -> None:
        self.meeting.barrier.abort()


class ThreadCarrier(Carrier):
    """Of the stand-in's arrays, from thread to thread."""

    def __init__(self, ranks: ThreadRanks) -> None:
        self.ranks = ranks

    def begin_allreduce(self, numbers: DeviceArray) -> Pending:
        return self.ranks.begin_allreduce(numbers.inside)

    def allgather_rows(self, rows: DeviceArray, counts: Sequence[int]) -> DeviceArray:
        return DeviceArray(self.ranks.allgather_rows(rows.inside, counts))


class _Sum:
    """A sum that is made when all ranks wait for it, of what was there when it was begun."""

    def __init__(self, ranks: ThreadRanks, numbers: HostArray) -> None:
        self.ranks, self.numbers, self.begun, self.done = ranks, numbers, numbers.copy(), False

    def test(self) -> bool:
        return self.done

    def wait(self) -> None:
        if self.done:
            return
        assert (self.numbers == self.begun).all() or not np.isfinite(self.begun).all(), "it was touched meanwhile"
        found = self.ranks._exchange("sum", self.begun)
        assert len({(each.dtype, each.shape) for each in found}) == 1
        total = found[0].copy()
        for each in found[1:]:
            total += each
        self.numbers[...] = total
        self.done = True


def on_ranks(size: int, work: Callable[[Ranks], T], gpus: bool = False) -> list[T]:
    """What `work` returns on each of so many ranks, which run at a time, if told with a GPU of its own for each. Raises
    the first error of any."""
    if size == 1:
        return [work(ONE_PROCESS)]
    meeting, found = _Meeting(size), dict[int, T]()
    errors: list[BaseException] = []
    made = [ThreadRanks(rank, size, meeting, gpus) for rank in range(size)]

    def one(ranks: ThreadRanks) -> None:
        try:
            found[ranks.rank] = work(ranks)
        except BaseException as error:
            errors.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=one, args=(ranks,)) for ranks in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    real = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    if errors:
        raise (real or errors)[0]
    assert all(ranks.calls == made[0].calls for ranks in made), "ranks made other collective calls"
    return [found[rank] for rank in range(size)]
