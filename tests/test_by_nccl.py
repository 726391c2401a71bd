"""Arrays carried from GPU to GPU by NCCL, with a CuPy that writes down what is asked of which stream, and when."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import stand_in
from stand_in import DeviceArray

from tinygrad_rnn import backend
from tinygrad_rnn.ranks import by_nccl
from tinygrad_rnn.ranks.by_nccl import NcclCarrier, nccl_carrier
from tinygrad_rnn.ranks.processes import Ranks


class Stream:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def record(self) -> Any:
        self.log.append(f"{self.name}: mark")
        return SimpleNamespace(of=self.name, done=True)

    def wait_event(self, event: Any) -> None:
        self.log.append(f"{self.name}: after {event.of}")


class Communicator:
    """Of a rank beside another one, whose arrays are known."""

    def __init__(self, log: list[str], others: Any) -> None:
        self.log, self.others = log, others

    def all_reduce(self, given: DeviceArray, out: DeviceArray, op: str, stream: Stream) -> None:
        assert op == "sum" and given is out
        self.log.append(f"{stream.name}: sum")
        out.inside[...] += self.others

    def all_gather(self, given: DeviceArray, out: DeviceArray, count: int, stream: Stream) -> None:
        assert count == given.size and out.shape == (2, *given.shape)
        self.log.append(f"{stream.name}: gather")
        out.inside[0] = given.inside
        out.inside[1, : len(self.others)] = self.others


def carrier(others: Any) -> tuple[NcclCarrier, list[str]]:
    log: list[str] = []
    cuda = SimpleNamespace(
        Stream=lambda non_blocking: Stream("own", log), get_current_stream=lambda: Stream("step", log)
    )
    names = "zeros empty concatenate".split()
    cupy = SimpleNamespace(cuda=cuda, **{name: getattr(stand_in.device, name) for name in names})
    return NcclCarrier(cupy, Communicator(log, others)), log


def test_a_sum_comes_after_what_it_adds_up_and_before_what_reads_it() -> None:
    carries, log = carrier(np.array([10.0, 20.0]))
    numbers = DeviceArray([1.0, 2.0])
    begun = carries.begin_allreduce(numbers)
    assert log == ["step: mark", "own: after step", "own: sum", "own: mark"] and begun.test()
    begun.wait()
    assert log[4:] == ["step: after own"]
    np.testing.assert_array_equal(numbers.inside, [11, 22])


@pytest.mark.parametrize(("own", "others"), [(3, 1), (0, 2), (2, 0), (2, 2), (0, 0)])
def test_rows_of_any_numbers_are_gathered_in_the_order_of_the_ranks(own: int, others: int) -> None:
    theirs = -np.arange(others * 2.0).reshape(others, 2) - 1
    carries, log = carrier(theirs)
    rows = DeviceArray(np.arange(own * 2.0).reshape(own, 2))
    found = carries.allgather_rows(rows, [own, others])
    np.testing.assert_array_equal(found.inside, np.concatenate([rows.inside, theirs]))
    expected = ["step: mark", "own: after step", "own: gather", "own: mark", "step: after own"]
    assert log == (expected if own or others else [])


@pytest.mark.parametrize(
    ("there", "gpus", "carried"),
    [((True, True), "0 1", True), ((True, False), "0 1", False), ((True, True), "0 0", False), (None, "0 1", False)],
)
def test_nccl_carries_where_all_have_it_and_a_gpu_of_their_own(
    monkeypatch: pytest.MonkeyPatch, there: Any, gpus: str, carried: bool
) -> None:
    asked: list[Any] = []
    own, other = gpus.split()
    runtime = SimpleNamespace(deviceGetPCIBusId=lambda number: own)
    cuda: Any = ModuleType("cupy.cuda")
    cuda.runtime, cuda.Device, cuda.Stream = runtime, lambda: SimpleNamespace(id=0), lambda non_blocking: None
    cupy: Any = ModuleType("cupy")
    cupy.cuda = cuda
    distributed: Any = ModuleType("cupyx.distributed")
    distributed.init_process_group = lambda *args, **options: asked.append((args, options))
    cupyx: Any = ModuleType("cupyx")
    cupyx.distributed = distributed
    for module in (cupy, cuda, cupyx, distributed):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    if there is not None:
        cuda.nccl = SimpleNamespace(available=there[0])
    monkeypatch.setattr(by_nccl, "cuda_namespace", lambda: cupy)

    class Two(Ranks):
        rank, size = 1, 2

        def allgather(self, value: Any) -> list[Any]:
            available, (host, _) = value
            return [(there[1] if there else False, (host, other)), (available, (host, own))]

    found = nccl_carrier(Two())
    assert isinstance(found, NcclCarrier) if carried else found is None
    assert asked == ([((2, 1), {"use_mpi": True})] if carried else [])


def test_a_process_by_itself_carries_nothing() -> None:
    assert Ranks().between_gpus() is None and backend.device_of(np.ones(1)) == "cpu"
