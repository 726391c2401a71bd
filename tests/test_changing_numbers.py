"""A Python number that changes from call to call is said to be part of the program, once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import ScanWarning, changing_numbers, compiling, scanning
from tinygrad_rnn.models import GRUCell, Recurrent
from tinygrad_rnn.tensor import Tensor

H, X = np.ones((2, 3), np.float32), np.ones((4, 2, 3), np.float32)


@pytest.fixture(autouse=True)
def nothing_was_seen_before() -> None:
    scanning._pure.clear()


def scaled(beta: Any) -> Callable[[Any, Any], Any]:
    def step(h: Any, x: Any) -> Any:
        h = ops.tanh(h + x)
        n = beta * h
        return n, n

    return step


def heard(run: Callable[[int], Any], calls: int) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(calls):
            run(i)
    assert all(w.category is ScanWarning and w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


def run_scaled(beta: Any, rows: int = 2) -> Any:
    return tg.scan(scaled(beta), Tensor(H[:1].repeat(rows, 0)), Tensor(X[:, :1].repeat(rows, 1)))


def test_a_number_that_is_another_on_every_call_is_named_with_its_line_once() -> None:
    (message,) = heard(lambda i: run_scaled(1.0 - i / 64), 60)
    assert message.startswith(
        "scan of scaled.<locals>.step: compiled anew 16 times, because a number in it was another"
    )
    assert f"(0.78125, now 0.765625), at {__file__}:" in message and "n = beta * h" in message
    assert message.endswith("a Python number is part of the program, and costs nothing as a Tensor of dtype float32")


def test_it_is_said_once_for_all_batch_sizes() -> None:
    assert len(heard(lambda i: run_scaled(1.0 - i / 64, 1 + i % 2), 60)) == 1


def test_as_a_tensor_it_costs_nothing_as_promised() -> None:
    compiling._cache.clear()
    assert heard(lambda i: run_scaled(Tensor(np.float32(1.0 - i / 64))), 40) == []
    assert len(compiling._cache) == 1
    by_number, by_tensor = (run_scaled(beta)[0] for beta in (0.3, Tensor(np.float32(0.3))))
    assert by_number.dtype == by_tensor.dtype == np.float32
    np.testing.assert_array_equal(by_number.numpy(), by_tensor.numpy())


UNSAID: dict[str, Callable[[int], Any]] = {
    "the same numbers again and again": lambda i: run_scaled(1.0 - (i % 12) / 64),
    "shapes that change": lambda i: run_scaled(0.5, 1 + i),
    "an option in whose place no Tensor can stand": lambda i: tg.scan(
        lambda h, x: ((n := ops.leaky_relu(h + x, 1.0 - i / 64)), n), Tensor(H), Tensor(X)
    ),
    "places in an array": lambda i: tg.scan(lambda h, x: (h + x, h[i % 2, i % 3]), Tensor(H), Tensor(X)),
}


@pytest.mark.parametrize("name", UNSAID)
def test_what_is_not_said(name: str) -> None:
    assert heard(UNSAID[name], 40) == []


def test_a_warning_that_is_an_error_is_raised_where_the_scan_was_called() -> None:
    with pytest.raises(ScanWarning, match="compiled anew"):
        for i in range(20):
            run_scaled(1.0 - i / 64)


class Annealed(GRUCell):
    temperature = 1.0

    def step(self, x: Any, h: Any) -> Any:
        return self.temperature * super().step(x, h)


def test_an_attribute_of_a_cell_that_is_annealed_is_named_too() -> None:
    layer = Recurrent(Annealed, 3, 4)

    def run(i: int) -> None:
        layer.cells[0].temperature = 1.0 - i / 64  # type: ignore[attr-defined]  # a Cell of this file
        layer(X)

    with pytest.warns(ScanWarning, match=r"scan of Annealed.step: .* self.temperature \* super"):
        for i in range(20):
            run(i)


def test_few_families_of_programs_are_remembered() -> None:
    for rows in range(1, 70):
        run_scaled(0.5, rows)
    assert len(changing_numbers._families) <= 64
