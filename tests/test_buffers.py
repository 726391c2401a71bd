"""Memory that is used again belongs to one holder at a time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import buffers, ops, value_and_grad
from tinygrad_rnn.backend import address
from tinygrad_rnn.buffers import empty_buffer

F4 = np.dtype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def nothing_to_free() -> None:
    """What others left is freed now, and not while a test counts; once, since to look through a whole suite takes
    a second."""
    gc.collect()


@pytest.fixture(autouse=True)
def nothing_idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(buffers, "_idle", {})
    monkeypatch.setattr(buffers, "_bytes", 0)
    yield
    assert buffers._bytes == sum(capacity * len(waiting) for capacity, waiting in buffers._idle.items())


sizes = st.lists(st.tuples(st.integers(0, 200_000), st.sampled_from(["f2", "f4", "f8"])), max_size=5)


@given(sizes, sizes)
def test_arrays_that_are_held_at_the_same_time_have_different_memory(
    first: list[tuple[int, str]], second: list[tuple[int, str]]
) -> None:
    for wanted in (first, second):  # the second round gets the memory of the first
        held = [empty_buffer((size,), np.dtype(dtype)) for size, dtype in wanted]
        for number, (array, (size, dtype)) in enumerate(zip(held, wanted, strict=True)):
            assert array.shape == (size,) and array.dtype == dtype
            array[...] = number
        assert all((array == number).all() for number, array in enumerate(held))


def test_memory_comes_back_when_the_last_view_of_it_is_gone() -> None:
    first = empty_buffer((1000, 100), F4)
    view = first[3:5].T[::2]
    address = first.ctypes.data
    del first
    assert empty_buffer((1000, 100), F4).ctypes.data != address
    del view
    assert address in {empty_buffer((1000, 100), F4).ctypes.data, empty_buffer((1000, 100), F4).ctypes.data} | {
        array.ctypes.data for array in [empty_buffer((1000, 100), F4) for _ in range(2)]
    }


def test_memory_lies_on_cache_lines() -> None:
    assert empty_buffer((999, 101), F4).ctypes.data % 64 == 0


def test_what_lies_idle_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "LIMIT", 1 << 20)
    for size in range(100_000, 1_000_000, 50_000):
        empty_buffer((size,), F4)
        assert buffers._bytes <= max(1 << 20, 5 * size)


def test_losses_of_many_threads_are_those_of_one() -> None:
    rng = np.random.default_rng(0)
    cases = [
        (rng.standard_normal((40 + n, 8)), rng.standard_normal((8, 300)), rng.integers(0, 300, 40 + n))
        for n in range(8)
    ]

    def run(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[np.ndarray]:
        h, W, targets = case
        value, found = value_and_grad(lambda h, W: ops.linear_cross_entropy(h, W, None, targets), (0, 1))(h, W)
        return [x.numpy() for x in (value, *found)]

    alone = [run(case) for case in cases]
    with ThreadPoolExecutor(8) as pool:
        together = [*pool.map(run, cases * 20)]
    for found, expected in zip(together, alone * 20, strict=True):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_address_is_that_of_the_first_entry_however_an_array_lies() -> None:
    x = np.arange(12.0).reshape(3, 4)
    locked = x.copy()
    locked.flags.writeable = False
    for each in (x, x.T, x[1:], x[::2, 1:], x[::-1], x[:0], x[1, 2, ...], locked, locked[1:], x.astype(">f4"), x > 1):
        assert address(each) == each.ctypes.data
