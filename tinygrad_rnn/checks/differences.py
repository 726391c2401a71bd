"""Gradients of a cell against finite differences.

A user's cell is checked wherever its weights and inputs happen to be. There, finite differences may be at fault
themselves, in three ways, and each has its rule: they round (`without_noise`), their step may be too long
(`the_nearer`), and the function may have a kink (`is_at_a_kink`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.checks.derivatives import GradientError, compare_gradients, numerical_gradient, worst_entry
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.transforms import grad

LONG, SHORT = 1e-3, 1e-4
"""Steps of finite differences, relative to max(1, |x|)."""


class KinkError(GradientError):
    """Gradient and finite differences disagree where the function has a kink."""


@dataclass(frozen=True)
class Point:
    """Where a function of arrays is looked at, and its value there."""

    f: Callable[..., float]
    arrays: list[Any]
    value: float

    def differences(self, i: int, step: float) -> Array:
        """The numerical gradient by array number `i`."""
        return numerical_gradient(self.f, self.arrays, i, step)

    def slope(self, i: int, entry: tuple[int, ...], h: float) -> float:
        """By one entry of array number `i`, from one side: to the right of it, or with a negative h to the left."""
        moved = self.arrays[i].copy()
        moved[entry] += h
        return (self.f(*self.arrays[:i], moved, *self.arrays[i + 1 :]) - self.value) / h


def compare_with_differences(
    f: Callable[..., Tensor],
    named: dict[str, Array],
    tolerance: float,
    which: str,
    declared: Callable[..., Tensor] | None = None,
) -> str:
    """Every entry of the gradient of `f`, at the arrays that are `named`, against finite differences of `f`, or of the
    function that the gradient is `declared` to be of: the figure for the row of the table. `which` is how messages
    begin ("the derivative"). Raises GradientError, which names all inputs by which a derivative is wrong; it is a
    KinkError where each of them is wrong at a kink."""
    arrays = list(named.values())
    of = f if declared is None else declared

    def value(*xs: Any) -> float:
        return float(of(*map(Tensor, xs)).item())

    point = Point(value, arrays, value(*arrays))
    gradient = grad(f, tuple(range(len(arrays))))(*map(Tensor, arrays))
    worst, wrong = 0.0, {}
    for i, (name, by_name) in enumerate(zip(named, gradient, strict=True)):
        try:
            worst = max(worst, _compare_one(point, i, by_name.numpy(), tolerance, f"{which} by {name}"))
        except GradientError as error:
            wrong[name] = error
    if wrong:
        raise _one_error(wrong)
    entries = f"{sum(a.size for a in arrays)} entries"
    return f"{f'{worst:.1e} at most' if worst else 'equal but for rounding'}, allowed {tolerance:.0e}; {entries}"


def _compare_one(point: Point, i: int, analytic: Array, tolerance: float, what: str) -> float:
    """The gradient by array number `i`: the largest relative error. The rules, in their order."""
    noise = rounding_noise(point.value)
    numeric = without_noise(point.differences(i, LONG), analytic, noise)
    try:
        return compare_gradients(analytic, numeric, tolerance, what)
    except GradientError:
        pass
    numeric = without_noise(the_nearer(point.differences(i, SHORT), numeric, analytic), analytic, noise)
    try:
        return compare_gradients(analytic, numeric, tolerance, what)
    except GradientError as error:
        if is_at_a_kink(point, i, np.abs(numeric - analytic)):
            raise KinkError(str(error)) from None
        raise


# --- Noise -----------------------------------------------------------------------------------------------------


def rounding_noise(value: float) -> float:
    """What rounding may add to a finite difference: some units in the last place of the function's value (or of 1: a
    small value is a sum of larger parts), divided by the step. With the short step rounding adds ten times as much;
    that is not allowed for, so that the short step can excuse no more than the long one."""
    return 64 * float(np.finfo(np.float64).eps) * max(1.0, abs(value)) / LONG


def without_noise(numeric: Array, analytic: Array, noise: float) -> Array:
    """Finite differences, those set equal to the gradient that rounding explains. A derivative that is small beside
    the function's value has few digits in a finite difference, or none: its relative error would say nothing. For
    every entry, with either step."""
    return np.where(np.abs(numeric - analytic) <= noise, analytic, numeric)


# --- Step size -------------------------------------------------------------------------------------------------


def the_nearer(short: Array, long: Array, analytic: Array) -> Array:
    """Entry by entry, the finite difference with the short step where that is nearer to the gradient, or where the long
    one ran into a pole. The long step rounds less; it is too long where the function bends so much that an error of
    order h**4 shows, or where a kink lies beside the point. Only for an input which fails with the long step: a wrong
    gradient is near to neither."""
    return np.where((np.abs(short - analytic) < np.abs(long - analytic)) | ~np.isfinite(long), short, long)


# --- Kinks -----------------------------------------------------------------------------------------------------


def is_at_a_kink(point: Point, i: int, gaps: Array) -> bool:
    """Whether a kink explains the largest of the `gaps` between gradient and finite differences. At a kink there is no
    derivative: the rules give the slope of one side, finite differences a mean of both. So an entry is excused only
    where the slopes from both sides differ, and by no more than they do. Only after both steps have failed; and it is
    an excuse for this point alone: others are tried then."""
    entry = worst_entry(gaps)
    right, left = (point.slope(i, entry, h) for h in (SHORT, -SHORT))
    return bool(gaps[entry] <= abs(right - left))


def _one_error(wrong: dict[str, GradientError]) -> GradientError:
    """One error for all inputs by which a derivative is wrong. A Parameter comes first, since inputs and states are
    wrong with it: they reach the output through it."""
    first = min(wrong, key=lambda name: not name.startswith("parameter "))
    others = [name for name in wrong if name != first]
    kind = KinkError if all(isinstance(error, KinkError) for error in wrong.values()) else GradientError
    return kind(f"{wrong[first]}" + (f"; so is that by {', '.join(others)}" if others else ""))
