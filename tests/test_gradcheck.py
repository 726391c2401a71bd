"""gradcheck finds rules that are broken on purpose, says where, and does not cry wolf."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import ops
from tinygrad_rnn.checks.derivatives import GradientError, compare_gradients, gradcheck, numerical_gradient
from tinygrad_rnn.tape import primitive
from tinygrad_rnn.tensor import Parameter, Tensor
from tinygrad_rnn.transforms import hvp

rng = np.random.default_rng(7)
X, Y = rng.uniform(0.3, 2, (2, 3, 3))


def broken(forward: Callable[..., Any], *rules: Any) -> Any:
    """A primitive with the rules given, under the name `broken`."""

    def function(*args: Any) -> Any:
        return forward(*args)

    made = primitive(function)
    made.name = "broken"
    made.vjp(*rules)
    return made


# --- What it must find -----------------------------------------------------------------------------------------


@given(st.integers(0, 1023), st.sampled_from([1.01, 0.99, 1 + 1e-5, -1.0, 0.0]))
def test_a_single_wrong_entry_among_1024_is_found_and_named(position: int, factor: float) -> None:
    row, column = divmod(position, 32)
    error = np.ones((32, 32))
    error[row, column] = factor
    x = np.random.default_rng(position).uniform(-2, 2, (32, 32))
    # The numerical gradient of sum(w * sin(x)) in closed form: 4096 evaluations for each example would add nothing.
    exact = np.cos(x) * 1.5
    pattern = rf"entry \[{row}, {column}\]: .*; 1 of 1024 entries are wrong"
    with pytest.raises(GradientError, match=pattern):
        compare_gradients(exact * error + (exact == 0), exact, 1e-6, "first derivative by input 0")


@pytest.mark.parametrize("position", [0, 1, 31, 32, 500, 511, 777, 1023])
def test_a_rule_that_is_wrong_by_one_per_cent_in_one_entry_of_1024_fails(position: int) -> None:
    error = np.ones(1024)
    error[position] = 1.01
    sine = broken(np.sin, lambda g, out, x: g * ops.cos(x) * error.reshape(x.shape))
    x = np.random.default_rng(position).uniform(-2, 2, (32, 32))
    x.flat[position] = 1.0
    with pytest.raises(GradientError, match=rf"entry \[{position // 32}, {position % 32}\]"):
        gradcheck(sine, x)


BROKEN_RULES = {
    "sign": (broken(np.cos, lambda g, out, x: g * ops.sin(x)), (X,)),
    "missing factor": (broken(np.square, lambda g, out, x: g * x), (X,)),
    "factor of the other argument": (
        broken(np.multiply, lambda g, out, x, y: g * x, lambda g, out, x, y: g * y),
        (X, Y),
    ),
    "transposed": (broken(lambda x: x.T * 1.0, lambda g, out, x: g), (X,)),
    "wrong axis": (
        broken(lambda x: x.sum(axis=0), lambda g, out, x: ops.broadcast_to(g.reshape((3, 1)), (3, 3))),
        (X,),
    ),
    "no gradient at all": (broken(np.sin, lambda g, out, x: None), (X,)),
    "nothing but zeros": (broken(np.sin, lambda g, out, x: g * 0.0), (X,)),
    "NaN": (broken(np.sin, lambda g, out, x: g * np.nan), (X,)),
    "infinite": (broken(np.sin, lambda g, out, x: g * np.inf), (X,)),
    "cotangent left out": (broken(np.sin, lambda g, out, x: ops.cos(x)), (X,)),
    "mean over the broadcast axis instead of the sum": (
        broken(lambda x, b: x + b, lambda g, out, x, b: g, lambda g, out, x, b: g.mean(axis=0)),
        (X, Y[0]),
    ),
    "argument where the result was meant": (broken(np.tanh, lambda g, out, x: g * (1 - x * x)), (X,)),
    "the order of matrix factors": (
        broken(np.matmul, lambda g, out, a, b: g @ b, lambda g, out, a, b: ops.transpose(a) @ g),
        (X, Y),
    ),
    "one repeated index counted once": (
        broken(lambda x: x[[0, 0, 1]], lambda g, out, x: ops.scatter(g, [0, 1, 2], x.shape)),
        (X,),
    ),
}


@pytest.mark.parametrize("mistake", BROKEN_RULES)
def test_a_broken_rule_is_found(mistake: str) -> None:
    op, inputs = BROKEN_RULES[mistake]
    with np.errstate(invalid="ignore"), pytest.raises(GradientError):
        gradcheck(op, *inputs)


def test_a_gradient_that_cannot_be_summed_back_to_its_argument_names_the_op() -> None:
    not_summed = broken(lambda x: x.sum(axis=0), lambda g, out, x: g.reshape((3, 1, 1)) * ops.zeros_like(x)[:2])
    with pytest.raises(RuntimeError, match=r"rule of op 'broken'.*shape \(3, 2, 3\) for an argument of shape \(3, 3\)"):
        gradcheck(not_summed, X)


def test_a_rule_that_uses_a_value_from_another_call_is_found() -> None:
    seen: list[Any] = []

    def forward(x: Any) -> Any:
        seen.append(x.copy())
        return np.sin(x)

    stale = primitive(forward)
    stale.vjp(lambda g, out, x: g * np.cos(seen[0]))
    gradcheck(stale, X)  # with one and the same point nothing is stale
    with pytest.raises(GradientError):
        gradcheck(stale, Y)


def detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


SECOND_ORDER = {
    "the argument detached": broken(np.sin, lambda g, out, x: g * ops.cos(detached(x))),
    "the result detached": broken(np.exp, lambda g, out, x: g * detached(out)),
    "a wrong rule of the derivative": broken(
        np.sin, lambda g, out, x: g * broken(np.cos, lambda g, out, x: g * ops.sin(x))(x)
    ),
    "the cotangent detached": broken(lambda x: x * x * x, lambda g, out, x: detached(g) * 3 * x * x),
}


@pytest.mark.parametrize("mistake", SECOND_ORDER)
def test_a_rule_whose_own_derivative_is_wrong_passes_order_1_and_fails_order_2(mistake: str) -> None:
    def f(x: Any) -> Any:
        return ops.square(SECOND_ORDER[mistake](x))  # squared, so that the cotangent depends on x too

    assert gradcheck(f, X)
    with pytest.raises(GradientError, match="second derivative by input 0"):
        gradcheck(f, X, order=2)


TWICE_ITSELF = broken(lambda g: 2 * g, lambda g, out, x: 1.5 * g)
"""2 g, with the derivative 1.5."""


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_rule_that_is_wrong_by_its_cotangent_alone_passes_order_1_and_fails_order_2(scale: float) -> None:
    doubled = broken(lambda x: 2 * x, lambda g, out, x: TWICE_ITSELF(g))
    hessian = hvp(lambda x: ops.square(doubled(x)).sum(), Tensor(np.ones(1)), np.ones(1))
    assert hessian.item() == 6.0  # right: 8
    assert gradcheck(lambda x: doubled(x) * scale, X)
    with pytest.raises(GradientError, match="second derivative by input 0"):
        gradcheck(lambda x: doubled(x) * scale, X, order=2)


def test_so_it_is_where_the_outputs_are_several_and_one_is_right() -> None:
    doubled = broken(lambda x: 2 * x, lambda g, out, x: TWICE_ITSELF(g))
    with pytest.raises(GradientError, match="second derivative by input 1"):
        gradcheck(lambda x, y: (2 * x, doubled(y)), X, Y, order=2)


def test_the_second_of_several_outputs_is_checked_too() -> None:
    wrong = broken(np.sin, lambda g, out, x: g * 1.01 * ops.cos(x))
    with pytest.raises(GradientError):
        gradcheck(lambda x: (ops.sin(x), [wrong(x)][0]), X)


# --- What the message says -------------------------------------------------------------------------------------


def test_the_message_names_the_input_the_entry_both_values_and_the_relative_error() -> None:
    def rule(g: Any, out: Any, x: Any, y: Any) -> Any:
        factor = np.ones((3, 3))
        factor[1, 2] = 1.5
        return g * x * factor

    product = broken(np.multiply, lambda g, out, x, y: g * y, rule)
    with pytest.raises(GradientError) as caught:
        gradcheck(product, X, Y)
    message = str(caught.value)
    found = re.search(
        r"first derivative by input 1, entry \[1, 2\]: the rules give (\S+), finite differences give (\S+), "
        r"relative error (\S+) \(allowed 1e-06\); 1 of 9 entries are wrong",
        message,
    )
    assert found, message
    analytic, numeric, error = map(float, found.groups())
    assert analytic == pytest.approx(1.5 * numeric)
    assert error == pytest.approx(1 / 3, rel=1e-3)


def test_the_worst_entry_is_the_one_that_is_named_and_a_nan_is_the_worst() -> None:
    exact = np.ones(5)
    with pytest.raises(GradientError, match=r"entry \[3\].*3 of 5 entries"):
        compare_gradients(np.array([1, 1.1, 1, 9, 0.9]), exact, 1e-6, "gradient")
    with pytest.raises(GradientError, match=r"entry \[4\].*rules give nan"):
        compare_gradients(np.array([1, 1.1, 1, 9, np.nan]), exact, 1e-6, "gradient")
    with pytest.raises(GradientError):
        compare_gradients(np.array([np.inf]), np.array([np.inf]), 1e-6, "gradient")
    with pytest.raises(GradientError):
        compare_gradients(np.array([np.nan]), np.array([np.nan]), 1e-6, "gradient")


# --- What it refuses -------------------------------------------------------------------------------------------


def test_integer_inputs_are_refused_by_position() -> None:
    with pytest.raises(TypeError, match="input 1 must hold floating-point numbers, got dtype int64"):
        gradcheck(lambda x, n: x * n, X, np.arange(3))


def test_a_function_that_computes_in_a_lower_precision_is_refused() -> None:
    with pytest.raises(TypeError, match="float64 throughout, but returns float32"):
        gradcheck(lambda x: ops.sin(x).astype(np.float32), X)


def test_a_function_that_gives_two_results_for_one_input_is_refused() -> None:
    noise = np.random.default_rng(0)
    with pytest.raises(ValueError, match="two results"):
        gradcheck(lambda x: ops.dropout(x, 0.5, noise), X)


def test_another_order_is_refused() -> None:
    with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
        gradcheck(ops.sin, X, order=3)


# --- What it must not refuse -----------------------------------------------------------------------------------


def test_float32_inputs_are_checked_in_float64() -> None:
    assert gradcheck(ops.tanh, X.astype(np.float32), order=2)
    assert gradcheck(ops.tanh, Tensor(X.astype(np.float32), requires_grad=True))


def test_the_inputs_are_left_as_they_are() -> None:
    x = X.copy()
    gradcheck(ops.tanh, x, order=2)
    np.testing.assert_array_equal(x, X)


def test_entries_of_very_different_size_are_each_held_to_the_tolerance() -> None:
    assert gradcheck(lambda x: ops.exp(3 * x), np.linspace(-2, 2, 9), order=2)
    wrong = broken(np.exp, lambda g, out, x: g * out * np.where(np.arange(9) == 4, 1.01, 1.0))
    with pytest.raises(GradientError, match=r"entry \[4\]"):
        gradcheck(wrong, np.linspace(-2, 2, 9))


@pytest.mark.parametrize(
    "f",
    [
        ops.zeros_like,
        ops.norm,
        lambda x: ops.softmax(x, axis=0),
        lambda x: x - x,
        lambda x: x / ops.norm(x),
        lambda x: (x - x.mean()) / ops.sqrt(ops.var(x) + 1e-5),
    ],
    ids=["zeros", "norm", "softmax", "difference", "direction", "standardised"],
)
def test_derivatives_that_are_zero_but_for_rounding_pass(f: Any) -> None:
    assert gradcheck(f, np.array([0.37]), order=2)


def test_functions_of_nothing_and_inputs_without_effect_pass() -> None:
    assert gradcheck(ops.sin, np.zeros((0, 3)), order=2)
    assert gradcheck(lambda x, y: ops.sin(x), X, Y, order=2)
    assert gradcheck(lambda x: Tensor(Y), X, order=2)


def test_closing_over_a_parameter_is_allowed_and_leaves_its_gradient_alone() -> None:
    p = Parameter(Y)
    assert gradcheck(lambda x: ops.tanh(x * p), X, order=2)
    assert p.grad is None


def test_the_numerical_gradient_is_exact_to_ten_digits() -> None:
    x = np.linspace(0.5, 2, 6)
    found = numerical_gradient(lambda x: float(np.sum(np.log(x) * np.arange(6))), [x], 0)
    np.testing.assert_allclose(found, np.arange(6) / x, rtol=1e-10, atol=1e-10)
