"""gradcheck: every entry of a gradient against finite differences, to second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray, as_array, to_host, xp
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tape import Box
from tinygrad_rnn.tensor import Tensor, as_tensor
from tinygrad_rnn.transforms import grad

STEP = 1e-3
"""h relative to max(1, |x|). Strategies that draw test points keep them 4h away from kinks."""


class GradientError(AssertionError):
    """A gradient disagrees with finite differences; the message names the input, the entry and both values."""


def numerical_gradient(
    f: Callable[..., float], inputs: list[HostArray], position: int, step: float = STEP
) -> HostArray:
    """The gradient of a scalar function by one of its inputs, entry by entry: Richardson's extrapolation
    (4 D(h) - D(2h)) / 3 of central differences D, whose error is of order h**4, with h = `step` max(1, |x|)."""
    x = inputs[position]
    result = np.empty(x.shape)
    moved = x.copy()
    arguments = [*inputs[:position], moved, *inputs[position + 1 :]]

    def central(index: tuple[int, ...], h: float) -> float:
        values = []
        for at in (x[index] + h, x[index] - h):
            moved[index] = at
            values.append((f(*arguments), at))
        moved[index] = x[index]
        (up, right), (down, left) = values
        slope: float = (up - down) / (right - left)
        return slope

    for index in np.ndindex(x.shape):
        h = step * max(1.0, abs(float(x[index])))
        result[index] = (4 * central(index, h) - central(index, 2 * h)) / 3
    return result


def compare_gradients(analytic: HostArray, numeric: HostArray, tolerance: float, what: str) -> float:
    """The largest relative error |a - n| / max(|a|, |n|, 1e-3 of the largest entry, 1e-6); the last is for
    derivatives that are 0 but for rounding. Raises GradientError where it is above `tolerance`, and for every NaN:
    a NaN never passes."""
    largest = max(np.abs(a[np.isfinite(a)]).max(initial=0.0) for a in (analytic, numeric))
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), max(largest * 1e-3, 1e-6))
    with np.errstate(invalid="ignore"):
        error = np.abs(analytic - numeric) / scale
    wrong = ~(error <= tolerance)
    if wrong.any():
        index = worst_entry(error)
        raise GradientError(
            f"{what}, entry {list(index)}: the rules give {analytic[index]:.10g}, finite differences give "
            f"{numeric[index]:.10g}, relative error {error[index]:.3g} (allowed {tolerance:.3g}); "
            f"{int(wrong.sum())} of {error.size} entries are wrong"
        )
    return float(error.max(initial=0.0))


def worst_entry(errors: HostArray) -> tuple[int, ...]:
    """The index of the largest; a NaN is the largest of all."""
    worst = np.where(np.isnan(errors), np.inf, errors)
    return tuple(int(i) for i in np.unravel_index(np.argmax(worst), errors.shape))


def weighed_sum(values: Sequence[Tensor], weights: Sequence[HostArray]) -> Tensor:
    """One number of several arrays, in which each entry takes part with a weight of its own."""
    parts: list[Tensor] = [(v * xp(v.data).asarray(w)).sum() for v, w in zip(values, weights, strict=True)]
    return sum(parts[1:], parts[0])


def curvatures(values: Sequence[Tensor]) -> list[HostArray]:
    """For `curved`: of each entry 1/4, or less where it is large, so that no slope is far from 1."""
    sizes = (np.abs(np.nan_to_num(to_host(v.data), posinf=0, neginf=0)) for v in values)
    return [0.25 / np.maximum(1.0, size) for size in sizes]


def curved(values: Sequence[Tensor], curvatures: Sequence[HostArray]) -> list[Tensor]:
    """y + c y² of each entry y: a sum of these has a gradient by y that depends on y. Under a linear one, the cotangent
    of the last op is a constant, and how its rule depends on the cotangent would not be seen by a second derivative."""
    return [v + v * v * xp(v.data).asarray(c) for v, c in zip(values, curvatures, strict=True)]


def gradient_along(f: Callable[..., Tensor], directions: Sequence[HostArray]) -> Callable[..., Tensor]:
    """The gradient of `f` by all its inputs, times `directions`: a number, and a function of the inputs again. The
    gradient of that is a product with the Hessian."""
    positions = tuple(range(len(directions)))

    def along(*xs: Tensor) -> Tensor:
        return weighed_sum(grad(f, positions)(*xs), directions)

    return along


def gradcheck(f: Callable[..., Any], *inputs: Any, order: int = 1, tolerance: float = 1e-6, seed: int = 0) -> bool:
    """Compares derivatives with finite differences, entry by entry.

    The step is h = 1e-3 max(1, |x|): inputs must lie several h away from kinks and poles. Derivatives below 1e-6 are
    compared with 1e-6.

    Args:
        f: returns one Tensor or several, of any shape; they are reduced to a number by a random projection, in which
            every output takes part.
        inputs: its arguments, Tensors or arrays, taken as float64.
        order: 2 also checks the gradient of a random projection of the gradient, that is, products with the Hessian, of
            a projection of the outputs that is slightly curved, so that rules are seen to depend rightly on their
            cotangent too.
        tolerance: of the relative error.
        seed: of the projections.

    Returns:
        True.

    Raises:
        GradientError: one disagrees (an AssertionError); it names the input, the entry, both values and the relative
            error.
        TypeError: an input is not floating-point, or `f` computes in a lower precision.
        ValueError: another `order`, or `f` gives another result when called twice.

    Example:
        >>> tg.gradcheck(ops.tanh, np.linspace(-1, 1, 5), order=2)
        True
    """
    if not inputs:
        raise ValueError("gradcheck: at least one input was expected, got none")
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order must be 1 or 2, got {order!r}")
    arrays = [_float64(x, i) for i, x in enumerate(inputs)]
    rng = np.random.default_rng(seed)
    with no_grad():
        first, second = (_outputs(f(*map(Tensor, arrays))) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        if a.dtype != np.float64:
            raise TypeError(f"gradcheck: f must compute in float64 throughout, but returns {a.dtype}")
        if not np.array_equal(a.numpy(), b.numpy(), equal_nan=True):
            raise ValueError("gradcheck: f must be a function, but gave two results for the same inputs")
    weights = [_projection(rng, out.shape) for out in first]

    def scalar(*xs: Tensor) -> Tensor:
        return weighed_sum(_outputs(f(*xs)), weights)

    _check_gradient(scalar, arrays, tolerance, "first derivative")
    if order == 2:
        bends = curvatures(first)

        def bent(*xs: Tensor) -> Tensor:
            return weighed_sum(curved(_outputs(f(*xs)), bends), weights)

        along = gradient_along(bent, [_projection(rng, x.shape) for x in arrays])
        _check_gradient(along, arrays, tolerance, "second derivative")
    return True


def _check_gradient(scalar: Callable[..., Tensor], arrays: list[Any], tolerance: float, what: str) -> None:
    analytic = grad(scalar, tuple(range(len(arrays))))(*map(Tensor, arrays))

    def value(*xs: Any) -> float:
        return float(scalar(*map(Tensor, xs)))

    for i, a in enumerate(analytic):
        compare_gradients(a.numpy(), numerical_gradient(value, arrays, i), tolerance, f"{what} by input {i}")


def _float64(x: Any, position: int) -> Any:
    array = as_array(x.data if isinstance(x, Box) else x)
    if array.dtype.kind != "f":
        raise TypeError(f"gradcheck: input {position} must hold floating-point numbers, got dtype {array.dtype}")
    return xp(array).array(array, dtype=np.float64)


def _outputs(result: Any) -> list[Tensor]:
    return [as_tensor(r) for r in result] if isinstance(result, tuple | list) else [as_tensor(result)]


def _projection(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
    """Weights between 0.5 and 1.5 in size, of either sign: no entry is drowned."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))
