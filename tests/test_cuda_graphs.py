"""Loops that are captured once and replayed on other arrays: with a device that captures and replays on the host."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from host_cuda import COMPILER, HostDevice, multiply, on_host, start_kernel, switched

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops.cuda import device
from tinygrad_rnn.loops.cuda.device import Blas, CupyDevice, PlacedProduct
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.tensor import Tensor

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no g++")


class Stream:
    """While it captures nothing runs."""

    ptr = 0

    def __init__(self) -> None:
        self.captured: list[Callable[[], None]] | None = None
        self.graphs = 0

    def begin_capture(self) -> None:
        self.captured = []

    def add(self, call: Callable[[], None]) -> None:
        assert self.captured is not None, "it is asked for outside of a graph"
        self.captured.append(call)

    def end_capture(self) -> Any:
        calls, self.captured = self.captured or [], None
        self.graphs += 1
        return SimpleNamespace(launch=lambda stream: [call() for call in calls])

    def synchronize(self) -> None:
        pass

    def wait_event(self, event: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class HostBlas(Blas):
    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.alike: list[int] = []

    def multiply(self, products: list[PlacedProduct]) -> None:
        """Of some that are alike only the first one's places are given to cuBLAS, and how far it is to the next."""
        self.alike.append(len(products))
        first, last = products[0], products[-1]
        between = max(1, len(products) - 1)
        rights, outs = (last.right - first.right) // between, (last.out - first.out) // between
        for i in range(len(products)):
            places = first.left, first.right + i * rights, first.out + i * outs
            self.stream.add(partial(multiply, first.part, *places))


class Captures(CupyDevice):
    """What CuPy offers for a graph, done by the host."""

    address = HostDevice.address

    def __init__(self) -> None:
        self.stream = Stream()
        self.capturing = threading.Lock()
        runtime = SimpleNamespace(memcpyAsync=lambda to, at, size, *_: ctypes.memmove(to, at, size))
        self.cupy = SimpleNamespace(
            empty=lambda shape, dtype: Own(np.full(shape, 0xFF, dtype)),
            asarray=Own,
            int64=np.int64,
            uint8=np.uint8,
            cuda=SimpleNamespace(
                get_current_stream=lambda: self.stream,
                runtime=runtime,
                Event=lambda disable_timing: SimpleNamespace(record=lambda stream: None),
            ),
        )
        self.blas: Any = HostBlas(self.stream)

    def compiled(self, source: str, count: int) -> list[Any]:
        def starter(kernel: Any) -> Any:
            def start(blocks: Any, threads: Any, given: Any) -> None:
                table, number = given
                if self.stream.captured is None:  # a loop that is one kernel
                    HostDevice().start(kernel, blocks[0], threads[0], table.inside, int(number))
                else:
                    self.stream.add(lambda: start_kernel(kernel, blocks[0], table.inside, int(number)))

            return start

        return [starter(kernel) for kernel in HostDevice().compiled(source, count)]


class Own(SimpleNamespace):
    """An array of the device's own."""

    def __init__(self, inside: Any) -> None:
        super().__init__(inside=inside)

    def set(self, numbers: Any) -> None:
        self.inside[...] = numbers


def numbers(layer: Recurrent, xs: Any, state: Any, way: Any) -> list[Any]:
    inputs = Tensor(xs, requires_grad=True)
    for p in layer.parameters():
        p.grad = None
    with on_host(way) if isinstance(way, Captures) else tg.compiled(way):
        outputs, last = layer(inputs, state)
        sum((s.sum() for s in last), (outputs * outputs).sum()).backward()
    return [outputs.numpy(), *(s.numpy() for s in last), *(p.grad for p in (inputs, *layer.parameters()))]


@pytest.mark.parametrize(
    "name",
    ["rnn", "lstm", *(pytest.param(n, marks=pytest.mark.slow) for n in ("gru", "layernorm-lstm", "deltanet", "mamba"))],
)
def test_a_loop_is_captured_once_and_replayed_on_whatever_arrays_come(name: str) -> None:
    rng, captures, held = np.random.default_rng(0), Captures(), []
    layer = Recurrent(CELLS[name], 3, 6, dtype=np.float64, rng=rng)
    state = layer.initial_state(4)
    for turn in range(4):
        xs = rng.standard_normal((5, 4, 3)) if turn % 2 else rng.standard_normal((9, 4, 3))[2:7]
        found, expected = (numbers(layer, xs, state, way) for way in (captures, "numpy"))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        held += [xs, found]  # so that the next ones lie elsewhere
        for p in layer.parameters():
            new = p.data + 0.1 * rng.standard_normal(p.shape)
            p.data = np.concatenate([new, new[:1]])[:-1] if turn == 2 else new  # a part of a larger array
        if turn:
            state = tuple(Tensor(found[1 + i] * 0.5) for i in range(len(state)))
    if name == "mamba":
        assert captures.stream.graphs == 0, "a loop that is one kernel needs none"
    else:
        assert 2 <= captures.stream.graphs <= 4, "one forward and one backward, and those of weights in larger arrays"


def test_a_capture_that_fails_is_over_and_the_next_one_works() -> None:
    rng, captures = np.random.default_rng(0), Captures()
    layer, multiply = Recurrent(CELLS["rnn"], 3, 6, dtype=np.float64, rng=rng), captures.blas.multiply
    xs = rng.standard_normal((5, 4, 3))

    def failing(products: Any) -> None:
        if len(captures.stream.captured or ()) > 3:
            raise RuntimeError("cuBLAS failed with status 14")
        multiply(products)

    captures.blas.multiply = failing
    with pytest.raises(RuntimeError, match="status 14"):
        numbers(layer, xs, None, captures)
    assert captures.stream.captured is None and not captures.capturing.locked()
    captures.blas.multiply = multiply
    for a, b in zip(*(numbers(layer, xs, None, way) for way in (captures, "numpy")), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_states_of_which_none_is_kept_change_places_in_a_graph_too() -> None:
    rng, captures = np.random.default_rng(0), Captures()
    W = Tensor(rng.standard_normal((6, 6)) / 3)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new = ops.tanh(h @ W + x)
        return new, new.sum(axis=1)

    for steps in (4, 5, 4, 5):
        start, xs = Tensor(rng.standard_normal((4, 6))), Tensor(rng.standard_normal((steps, 4, 6)))
        expected = tg.scan(step, start, xs)
        with on_host(captures):
            found = tg.scan(step, start, xs)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10)
    assert captures.stream.graphs == 2


def test_the_products_of_all_gates_with_a_state_are_made_at_once() -> None:
    captures, layer = Captures(), Recurrent(CELLS["lstm"], 3, 6)
    with tg.no_grad(), on_host(captures):
        layer(Tensor(np.ones((2, 4, 3), np.float32)))
    assert captures.blas.alike == [4, 4]


def test_the_memory_of_an_array_is_from_its_lowest_entry_on() -> None:
    x = np.zeros((4, 3))
    at = x.ctypes.data
    assert device._range_of(x, at) == (at, 96) and device._range_of(x[::-1], at + 72) == (at, 96)
    assert device._range_of(x[1:3, ::2], at + 24) == (at + 24, 24 + 16 + 8)


def test_two_threads_do_not_write_into_one_graph_s_arrays() -> None:
    captures, layer = Captures(), Recurrent(CELLS["rnn"], 3, 6, dtype=np.float64)
    inputs = [np.random.default_rng(i).standard_normal((4, 5, 3)) for i in range(2)]
    with tg.no_grad():
        expected = [layer(Tensor(xs))[0].numpy() for xs in inputs]
    together, wrong = threading.Barrier(2), list[float]()

    def run(i: int) -> None:
        with tg.no_grad(), switched():
            together.wait()
            for _ in range(20):
                wrong.append(np.abs(layer(Tensor(inputs[i]))[0].numpy() - expected[i]).max())

    with on_host(captures), tg.no_grad():
        layer(Tensor(inputs[0]))
        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
    assert len(wrong) == 40 and max(wrong) < 1e-12


def test_other_numbers_of_steps_have_their_own_graphs_and_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "GRAPHS", 2)
    captures, rng = Captures(), np.random.default_rng(0)
    layer = Recurrent(CELLS["gru"], 3, 6, dtype=np.float64, rng=rng)
    made = []
    for steps in (1, 2, 1, 3, 1, 2):
        xs = rng.standard_normal((steps, 4, 3))
        found, expected = (numbers(layer, xs, None, way) for way in (captures, "numpy"))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        made.append(captures.stream.graphs)
    assert made == [2, 4, 4, 6, 6, 8]


class Recording:
    """A library of C that notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> int:
            self.calls.append((name, *args))
            return 0

        return call


@pytest.mark.parametrize(("told", "asked"), [(None, []), ("0", []), ("1", [3])])
def test_tf32_is_allowed_where_cupy_is_told_so(monkeypatch: Any, told: str | None, asked: list[int]) -> None:
    blas, nothing = Recording(), SimpleNamespace(get_cublas_handle=lambda: 0)
    monkeypatch.setattr(device, "_path_of", lambda name: name)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: blas)
    monkeypatch.delenv("CUPY_TF32", raising=False)
    if told is not None:
        monkeypatch.setenv("CUPY_TF32", told)
    memory = SimpleNamespace(data=SimpleNamespace(ptr=8))
    cupy = SimpleNamespace(cuda=SimpleNamespace(device=nothing), empty=lambda *_: memory, uint8=np.uint8)
    Blas(cupy, SimpleNamespace(ptr=4))
    assert [call[2].value for call in blas.calls if call[0] == "cublasSetMathMode"] == asked
    assert [call[0] for call in blas.calls][:1] == ["cublasCreate_v2"]
