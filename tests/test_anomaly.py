"""detect_anomaly names the op, the place and the line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest

from tinygrad_rnn import AnomalyError, Parameter, Tensor, compiled, detect_anomaly, grad, no_grad, ops
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
    assert text.startswith("argument 'b' of matmul holds NaN already, first at [0, 0]: parameter f.W of shape (3, 3)")
    for place in ("layer 1", "cell LSTMCell", "step 0", "gate f"):
        assert place in text
    layer = LSTM(2, 3)
    xs = np.ones((4, 1, 2), np.float32)
    xs[2] = np.inf
    assert "step 2" in message(lambda: layer(xs))
    assert "first at [2, 0, 0]" in message(lambda: layer(Tensor(xs)))
    layer.cells[0].step = lambda x, h, c: (h * 1e30 / (c - c), c)
    text = message(lambda: layer(np.ones((4, 1, 2), np.float32)))
    assert text.startswith("div produced NaN in the forward pass (layer 0") and "step 0" in text


# --- Where it was in the data ----------------------------------------------------------------------------------

X = np.arange(6.0).reshape(2, 3)
BAD = np.where(X == 4, np.nan, X)

DATA: dict[str, tuple[Callable[[], object], str]] = {
    "a Tensor": (
        lambda: Tensor(BAD) @ Parameter(np.ones((3, 2))),
        "argument 'a' of matmul holds NaN already, first at [1, 1]: an array of shape (2, 3) that is no result",
    ),
    "an array": (
        lambda: Tensor(X, requires_grad=True) * BAD,
        "argument 'y' of mul holds NaN already, first at [1, 1]: an array of shape (2, 3) that is no result",
    ),
    "a leaf": (
        lambda: ops.exp(Tensor(-1 / np.arange(2.0)[::-1], requires_grad=True) * -1.0),
        "argument 'x' of mul holds Inf already, first at [1]: a leaf of shape (2,)",
    ),
    "a Parameter": (
        lambda: Tensor(X) + Parameter(BAD[1], name="b"),
        "argument 'y' of add holds NaN already, first at [1]: parameter b of shape (3,)",
    ),
    "a number": (lambda: Parameter(X) - float("nan"), "argument 'y' of sub is the number nan"),
    "one of many": (
        lambda: ops.concatenate([Parameter(X), Parameter(X), BAD]),
        "argument number 2 of concatenate holds NaN already, first at [1, 1]: an array of shape (2, 3)",
    ),
    "the variable of a derivative": (
        lambda: grad(lambda x: (x * x).sum())(Tensor(BAD)),
        "argument 'x' of mul holds NaN already, first at [1, 1]: an array of shape (2, 3) that is no result",
    ),
    "an operand of a joint rule": (
        lambda: ops.linear_cross_entropy(Parameter(np.ones((1, 2))), Parameter(BAD, name="W"), None, [0]),
        "argument 'W' of linear_cross_entropy_sum holds NaN already, first at [1, 1]: parameter W of shape (2, 3)",
    ),
    "a mask": (
        lambda: ops.where(np.array([True, False]), Parameter(np.ones(2)), np.nan),
        "argument 'y' of where is the number nan",
    ),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("kind", DATA)
def test_data_that_was_not_finite_is_named_and_not_the_op_that_passed_it_on(kind: str) -> None:
    work, expected = DATA[kind]
    text = message(work)
    assert text.startswith(expected), text
    assert "passed it on" in text and "produced" not in text and "test_anomaly.py" in text


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_result_from_before_is_named_with_its_op() -> None:
    early = ops.log(Tensor(np.array([1.0, 0.0]), requires_grad=True))
    part = ops.split(early, 2)[1]
    for bad, name in ((early, "log"), (part, "split")):
        text = message(lambda bad=bad: bad * 2.0)  # type: ignore[misc]  # of this turn of the loop
        assert f"the result of {name} from before detect_anomaly()" in text


def test_an_op_that_fails_on_finite_data_is_the_culprit_whatever_other_data_holds() -> None:
    other = Tensor(np.array([np.nan]), requires_grad=True)

    def work() -> None:
        ops.where(np.array([True]), 1.0, other)  # which is not chosen
        ops.log(Tensor(np.array([-1.0]), requires_grad=True))

    assert message(work).startswith("log produced NaN in the forward pass")


def test_a_gradient_that_was_given_and_is_not_finite_is_named() -> None:
    x = Tensor(X, requires_grad=True)

    def work() -> None:
        (x * 2.0).backward(BAD)  # the line to find

    text = message(work)
    assert text.startswith("the gradient that the backward pass was given holds NaN")
    assert "the line to find" in text


@pytest.mark.filterwarnings("ignore:overflow")
def test_finite_gradients_that_add_up_to_infinity_are_told_from_a_rule_that_fails() -> None:
    x = Tensor(np.ones(1, np.float32), requires_grad=True)

    def both(y: Tensor) -> Tensor:
        return ops.stack([y * 2e38, y * 3e38])

    text = message(lambda: both(x * 1.0).backward(np.ones((2, 1), np.float32)))
    assert text.startswith("the gradients by the uses of the result of mul, finite each, add up to Inf")


def test_a_gradient_that_fails_on_data_names_the_data_too() -> None:
    exponent = Tensor(np.array([-1.0]), requires_grad=True)
    text = message(lambda: (np.array([np.inf]) ** exponent).sum().backward())
    assert text.startswith("argument 'x' of pow holds Inf already, first at [0]: an array of shape (1,)")
    assert "pow produced NaN in the gradient of its argument 1" in text


@pytest.mark.parametrize("beginning", [np.full((2, 3), -np.inf), np.where(X > 3, -np.inf, 0.0)])
def test_an_infinity_that_was_given_is_none_and_a_nan_that_is_made_of_it_is(beginning: np.ndarray) -> None:
    x = Parameter(X, name="x")
    with detect_anomaly():
        largest = ops.maximum(Tensor(beginning), x)
        kept = ops.exp((Tensor(beginning) - largest) * 1.0)
        weights = ops.softmax(ops.where(X > 2, x, -np.inf).reshape(6), axis=0)
        (kept.sum() + weights[5]).backward()
    assert np.isfinite(x.grad).all()
    text = message(lambda: (Tensor(beginning) + x) * 0.0)
    assert text.startswith("argument 'x' of mul holds Inf already, first at")
    assert message(lambda: ops.exp(x * 1e3)).startswith("exp produced Inf")


@pytest.mark.parametrize("recorded", [True, False])
def test_an_infinity_among_data_or_weights_is_told(recorded: bool) -> None:
    data = np.where(X == 4, np.inf, X)
    for work in (lambda: Tensor(data) * Parameter(X), lambda: X * Parameter(data)):
        with nullcontext() if recorded else no_grad():
            assert "of mul holds Inf already, first at [1, 1]" in message(work)


def test_a_nan_behind_an_infinity_that_was_given_is_told_wherever_it_stands() -> None:
    mask = np.array([[-np.inf, 0.0], [-np.inf, -np.inf]])
    assert "NaN" in message(lambda: ops.unstack(Tensor(mask) * np.array([[1.0, 1.0], [0.0, 1.0]])))


# --- Changed in place ------------------------------------------------------------------------------------------


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
