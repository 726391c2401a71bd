"""The three rules by which finite differences are read, each where it is needed and where it must not help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import GradientError, Tensor, ops
from tinygrad_rnn.checks.differences import (
    LONG,
    SHORT,
    KinkError,
    Point,
    compare_with_differences,
    is_at_a_kink,
    rounding_noise,
    the_nearer,
    without_noise,
)


def compared(f: Any, *xs: float, tolerance: float = 1e-6) -> str:
    return compare_with_differences(f, {"the inputs": np.array(xs)}, tolerance, "the derivative")


def test_a_small_derivative_beside_a_large_value_is_equal_but_for_rounding() -> None:
    def f(x: Tensor) -> Tensor:
        return (1e-5 * ops.sin(x) + 1e4 * ops.cos(x * 0.0)).sum()

    assert compared(f, 0.3).startswith("equal but for rounding")


def test_noise_is_what_rounding_explains_and_no_more() -> None:
    noise = rounding_noise(100.0)
    assert noise == pytest.approx(100 * rounding_noise(0.5))
    analytic = np.array([0.0, 1.0, 2.0])
    numeric = analytic + np.array([0.9, 1.1, np.nan]) * noise
    np.testing.assert_array_equal(without_noise(numeric, analytic, noise), [0.0, numeric[1], np.nan])


def test_where_the_function_bends_much_the_short_step_is_believed() -> None:
    def f(x: Tensor) -> Tensor:
        return ops.sin(100.0 * x).sum()

    point = Point(lambda x: float(np.sin(100.0 * x).sum()), [np.array([0.3])], float(np.sin(30.0)))
    exact = 100 * np.cos(30.0)
    long, short = (point.differences(0, step) for step in (LONG, SHORT))
    assert abs(long - exact) > 1e-6 * abs(exact) > 10 * abs(short - exact)
    compared(f, 0.3)


def test_of_two_differences_the_nearer_is_taken_and_any_instead_of_a_pole() -> None:
    analytic = np.zeros(4)
    long, short = np.array([1.0, 2.0, np.nan, np.inf]), np.array([2.0, 1.0, 9.0, 9.0])
    np.testing.assert_array_equal(the_nearer(short, long, analytic), [1.0, 1.0, 9.0, 9.0])


@tg.primitive
def bent(x: Any) -> Any:
    return abs(x)


bent.vjp(lambda g, out, x: g * 0.5)  # within the slopes at 0, and wrong everywhere else


def test_a_wrong_entry_is_excused_at_a_kink_and_nowhere_else() -> None:
    def f(x: Tensor) -> Tensor:
        return bent(x).sum()

    with pytest.raises(KinkError, match=r"the derivative by the inputs, entry \[0\]"):
        compared(f, 0.0)
    with pytest.raises(GradientError) as caught:
        compared(f, 0.7)
    assert not isinstance(caught.value, KinkError)
    with pytest.raises(GradientError) as caught:  # the one at the kink is not the worst
        compare_with_differences(
            lambda x: (bent(x) * np.array([1.0, 3.0])).sum(), {"x": np.array([0.0, 0.7])}, 1e-6, ""
        )
    assert not isinstance(caught.value, KinkError)


def test_a_kink_excuses_no_more_than_its_slopes_differ() -> None:
    point = Point(lambda x: float(np.abs(x).sum()), [np.array([0.0])], 0.0)
    assert is_at_a_kink(point, 0, np.array([1.9]))
    assert not is_at_a_kink(point, 0, np.array([2.1]))
    assert not is_at_a_kink(point, 0, np.array([np.nan]))


def test_all_inputs_by_which_a_derivative_is_wrong_are_named_a_parameter_first() -> None:
    def f(x: Tensor, w: Tensor) -> Tensor:
        return bent(x + w).sum()

    named = {"the inputs": np.array([0.4]), "parameter W": np.array([0.3])}
    with pytest.raises(GradientError, match=r"^the derivative by parameter W, .*; so is that by the inputs$"):
        compare_with_differences(f, named, 1e-6, "the derivative")
