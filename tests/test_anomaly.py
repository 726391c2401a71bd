"""detect_anomaly names the op, the place and the line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tinygrad_rnn import AnomalyError, Parameter, Tensor, compiled, detect_anomaly, ops
from tinygrad_rnn.models import LSTM


def message(work: Callable[[], object]) -> str:
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        work()
    return str(caught.value)


def test_the_first_op_that_makes_a_nan_is_named_with_the_line_that_called_it() -> None:
    x = Tensor(np.array([1.0, -1.0]), requires_grad=True)

    def work() -> Tensor:
        y = x * 2.0
        z = ops.log(y)  # the line to find
        return z.sum()

    text = message(work)
    assert text.startswith("log produced NaN in the forward pass")
    assert "test_anomaly.py" in text
    assert "the line to find" in text


def test_infinity_is_told_from_nan() -> None:
    x = Tensor(np.zeros(2), requires_grad=True)
    assert message(lambda: 1.0 / x).startswith("div produced Inf")


def test_an_op_whose_gradient_is_not_finite_is_named_with_the_line_of_its_forward_pass() -> None:
    x = Tensor(np.array([0.0, 1.0]), requires_grad=True)

    def work() -> None:
        y = ops.sqrt(x)  # whose gradient at 0 is infinite
        y.sum().backward()

    text = message(work)
    assert text.startswith("sqrt produced Inf in the gradient of its argument 0")
    assert "whose gradient at 0 is infinite" in text


def test_without_the_forward_pass_in_it_the_message_says_what_would_show_the_line() -> None:
    y = ops.sqrt(Tensor(np.zeros(1), requires_grad=True)).sum()
    assert "run the forward pass in detect_anomaly() too" in message(y.backward)


def test_layer_cell_time_step_and_gate_are_named() -> None:
    layer = LSTM(2, 3, num_layers=2)
    layer.cells[1].f.W.data[0, 0] = np.nan
    text = message(lambda: layer(np.ones((4, 1, 2), np.float32)))
    assert "matmul produced NaN" in text
    for place in ("layer 1", "cell LSTMCell", "step 0", "gate f"):
        assert place in text
    layer = LSTM(2, 3)
    xs = np.ones((4, 1, 2), np.float32)
    xs[2] = np.inf
    assert "step 2" in message(lambda: layer(xs))


@pytest.mark.parametrize("which", ["argument", "result"])
def test_an_array_that_the_tape_needs_and_that_was_changed_in_place_is_found(which: str) -> None:
    x = Parameter(np.ones(3))

    def work() -> None:
        y = ops.exp(x)
        z = (y * y).sum()
        (x.data if which == "argument" else y.data)[0] = 5.0
        z.backward()

    assert "changed in place after the forward pass" in message(work)


def test_rebinding_the_data_of_a_parameter_is_no_change_in_place() -> None:
    x = Parameter(np.ones(3))
    with detect_anomaly():
        y = ops.exp(x).sum()
        x.data = x.data + 1.0
        y.backward()
    np.testing.assert_allclose(x.grad, np.exp(np.ones(3)))


def test_what_is_right_passes_and_gives_the_same_numbers() -> None:
    layer = LSTM(2, 3)
    xs = np.ones((3, 2, 2), np.float32)
    with compiled(False):
        layer(xs)[0].sum().backward()
    plain = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    with detect_anomaly():
        layer(xs)[0].sum().backward()
    for a, p in zip(plain, layer.parameters(), strict=True):
        np.testing.assert_array_equal(a, p.grad)


def test_outside_of_it_nothing_is_watched() -> None:
    with detect_anomaly():
        pass
    with np.errstate(divide="ignore"):
        assert not np.isfinite(ops.log(Tensor(np.zeros(1))).numpy()).any()
