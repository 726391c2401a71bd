"""Which library an array belongs to, moving arrays, and what is said where there is no GPU. `test_gpu.py` has what is
computed there."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from stand_in import DeviceArray, device

from tinygrad_rnn import backend
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.training import engine


def to_stand_in(x: Any) -> Any:
    return DeviceArray(np.array(x))


def test_a_namespace_is_found_by_the_array_itself() -> None:
    assert backend.xp(to_stand_in([1.0])) is device
    assert all(backend.xp(x) is np for x in (np.ones(2), np.float32(1), 2.0, [1.0]))
    assert backend.device_of(np.ones(2)) == "cpu" and backend.device_of(to_stand_in([1.0])) == "cuda"


def test_to_host_copies_from_a_device_and_shares_on_the_host() -> None:
    x, y = np.ones(2), to_stand_in([1.0, 2.0])
    assert backend.to_host(x) is x and backend.to_device(x, "cpu") is x
    assert isinstance(backend.to_host(y), np.ndarray) and isinstance(backend.to_device(y, "cpu"), np.ndarray)
    assert isinstance(Tensor(y).numpy(), np.ndarray)
    assert repr(Tensor(y)).startswith("Tensor([1., 2.]")


class RuntimeFailure(Exception):
    pass


def fake_cupy(count: Any) -> Any:
    cupy: Any = ModuleType("cupy")
    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.runtime = ModuleType("cupy.cuda.runtime")
    cupy.cuda.runtime.CUDARuntimeError = RuntimeFailure
    cupy.cuda.runtime.getDeviceCount = count
    return cupy


def failing() -> int:
    raise RuntimeFailure("cudaErrorInsufficientDriver")


@pytest.mark.parametrize(
    ("cupy", "message"),
    [
        (None, r"needs CuPy, which is not installed: pip install"),
        (fake_cupy(failing), r"needs an NVIDIA GPU and its driver: cudaErrorInsufficientDriver"),
        (fake_cupy(lambda: 0), r"needs an NVIDIA GPU, and CuPy finds none"),
    ],
    ids=["no CuPy", "no driver", "no GPU"],
)
def test_a_missing_device_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, cupy: Any, message: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(backend.DeviceUnavailable, match=message) as caught:
        backend.to_device(np.ones(2), "cuda")
    assert "\n" not in str(caught.value)


def test_each_rank_of_a_machine_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy, used = fake_cupy(lambda: 2), list[int]()

    class Device:
        def __init__(self, number: int) -> None:
            self.number = number

        def use(self) -> None:
            used.append(self.number)

    cupy.cuda.Device = Device
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for place in range(3):
        ranks = Ranks()
        ranks.place, ranks.size = place, 3
        monkeypatch.setattr(engine, "everyone", lambda ranks=ranks: ranks)
        engine.take_gpu("cpu")
        engine.take_gpu("cuda")
    assert used == [0, 1, 0]
    monkeypatch.setattr(engine, "everyone", lambda: ONE_PROCESS)
    engine.take_gpu("cuda")
    assert used == [0, 1, 0]


def test_an_unknown_device_is_told() -> None:
    with pytest.raises(ValueError, match='device must be "cpu" or "cuda", got \'tpu\''):
        backend.to_device(np.ones(2), "tpu")
