"""The nonlinearities of neural networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.libraries import highest
from tinygrad_rnn.ops.arithmetic import mul, square, where
from tinygrad_rnn.ops.elementary import exp, floating
from tinygrad_rnn.sums import accumulated
from tinygrad_rnn.tape import primitive

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor


def saturation(dtype: np.dtype[Any]) -> float:
    """A number of which the dtype holds the exponential, and beside that 1 is nothing."""
    return 11.0 if dtype.char == "e" else 88.0  # e: float16


@primitive
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), to the last digits (4 ulp) however small it is. Its derivative comes from the result, so that
    it is as exact where x < 0, and 0 where the result is 1."""
    # e / (1 + e) with e = exp(x) neither overflows nor cancels; (1 + tanh(x/2)) / 2 would be 0 in float32 at x = -20.
    np_ = xp(x)
    e = np_.asarray(np_.minimum(x, saturation(np_.asarray(x).dtype)))
    np_.exp(e, out=e)
    e /= e + 1
    return e


sigmoid.vjp(lambda g, out, x: g * (out * (1 - out)))


@primitive
def hard_sigmoid(x: Array) -> Array:
    """clip(0.2 x + 0.5, 0, 1), as in Theano and early Keras."""
    return xp(x).clip(x * 0.2 + 0.5, 0, 1)


hard_sigmoid.vjp(lambda g, out, x: where(out > 0, where(out < 1, 0.2 * g, 0.0), 0.0))


@primitive
def relu(x: Array) -> Array:
    """max(x, 0); the gradient at 0 is 0."""
    return xp(x).maximum(x, 0)


relu.vjp(lambda g, out, x: where(x > 0, g, 0.0))


@primitive
def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """x where positive, slope * x elsewhere (Maas et al. 2013)."""
    return xp(x).where(x > 0, x, slope * x)


leaky_relu.vjp(lambda g, out, x, slope: where(x > 0, g, slope * g))


@primitive
def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2016, eq. 14)."""
    return xp(x).where(x > 0, x, alpha * xp(x).expm1(xp(x).minimum(x, 0)))


elu.vjp(lambda g, out, x, alpha: where(x > 0, g, g * (alpha * exp(where(x > 0, 0.0, x)))))


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016, sect. 2): exact by default, or
    their tanh form with `approximate="tanh"`. Raises ValueError for another name."""
    x = floating(x)
    if approximate == "tanh":  # (1 + tanh(u)) / 2 is sigmoid(2 u), which does not cancel where u is far below 0
        return mul(x, sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if approximate != "none":
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return mul(x, _normal_distribution(x))


@primitive
def _normal_distribution(x: Array) -> Array:
    """Phi: how likely a standard normal number is below x; exact far below 0, where (1 + erf(x / sqrt(2))) / 2 is 0."""
    if xp(x).__name__ == "cupy":
        import cupyx.scipy.special  # noqa: PLC0415  (optional)

        return cupyx.scipy.special.ndtr(x).astype(x.dtype)
    return np.asarray(0.5 * _erfc(x.astype(np.float64) * -math.sqrt(0.5)), dtype=x.dtype)


_erfc = np.frompyfunc(math.erfc, 1, 1)  # as in erf

_normal_distribution.vjp(lambda g, out, x: g * (exp(-0.5 * square(x)) * (1 / math.sqrt(2 * math.pi))))


@primitive
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return xp(x).logaddexp(x, 0)


softplus.vjp(lambda g, out, x: g * sigmoid(x))


@primitive
def log_sigmoid(x: Array) -> Array:
    """log(sigmoid(x)), without overflow, and exact where the sigmoid is near 1 or less than a dtype holds. Integers
    become float64."""
    x, lib = floating(x), xp(x)
    out: Array = lib.minimum(x, 0) - lib.log1p(lib.exp(-lib.abs(x)))
    return out


log_sigmoid.vjp(lambda g, out, x: g * sigmoid(-x))


@primitive
def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) over its sum along `axis`. Integers become float64."""
    out = _below_the_largest(floating(x), axis)
    xp(out).exp(out, out=out)
    out /= accumulated(out, axis, keepdims=True)
    return out


def _below_the_largest(x: Array, axis: int) -> Array:
    with np.errstate(over="ignore"):  # the distance of two floats may be inf, and exp(-inf) is 0
        below: Array = xp(x).asarray(x - highest(x, axis))
    return below


softmax.vjp(lambda g, out, x, axis: out * (g - (g * out).sum(axis=axis, keepdims=True)))


@primitive
def log_softmax(x: Array, axis: int = -1) -> Array:
    """log(softmax(x)), without the loss of small probabilities. Integers become float64."""
    out = _below_the_largest(floating(x), axis)
    if out.size:
        out -= xp(out).log(accumulated(xp(out).exp(out), axis, keepdims=True))
    return out


log_softmax.vjp(lambda g, out, x, axis: g - exp(out) * g.sum(axis=axis, keepdims=True))
