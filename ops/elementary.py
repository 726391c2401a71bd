"""Elementary functions of one number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, as_array, xp
from tinygrad_rnn.tape import astype, primitive


def floating(x: Any) -> Any:
    """`x` as floating-point numbers: integers and booleans become float64, as in NumPy's mean and division. For what is
    computed from sums and differences, in which the numbers of a small or unsigned integer type would wrap around."""
    x = x if hasattr(x, "dtype") else as_array(x)
    return x if x.dtype.kind == "f" else astype(x, np.float64)


@primitive
def exp(x: Array) -> Array:
    """e ** x."""
    return xp(x).exp(x)


exp.vjp(lambda g, out, x: g * out)


@primitive
def expm1(x: Array) -> Array:
    """e ** x - 1, exact near 0."""
    return xp(x).expm1(x)


expm1.vjp(lambda g, out, x: g * exp(x))  # out + 1 would have lost it where out is near -1


@primitive
def log(x: Array) -> Array:
    """The natural logarithm."""
    return xp(x).log(x)


log.vjp(lambda g, out, x: g / x)


@primitive
def log1p(x: Array) -> Array:
    """log(1 + x), exact near 0."""
    return xp(x).log1p(x)


log1p.vjp(lambda g, out, x: g / (1 + x))


@primitive
def sin(x: Array) -> Array:
    """The sine of an angle in radians."""
    return xp(x).sin(x)


@primitive
def cos(x: Array) -> Array:
    """The cosine of an angle in radians."""
    return xp(x).cos(x)


sin.vjp(lambda g, out, x: g * cos(x))
cos.vjp(lambda g, out, x: -g * sin(x))


@primitive
def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return xp(x).tanh(x)


tanh.vjp(lambda g, out, x: g * (1 - out * out))


@primitive
def erf(x: Array) -> Array:
    """The error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x."""
    if xp(x).__name__ == "cupy":
        import cupyx.scipy.special  # noqa: PLC0415  (optional)

        return cupyx.scipy.special.erf(x).astype(np.result_type(x.dtype, np.float16), copy=False)
    # NumPy has no erf; the C library's, one number at a time, is exact and costs about 0.1 µs a number.
    return np.asarray(_erf(x), dtype=np.result_type(np.asarray(x), np.float16))


_erf = np.frompyfunc(math.erf, 1, 1)


def _erf_rule(g: Any, out: Any, x: Any) -> Any:
    with np.errstate(over="ignore"):  # exp(-inf) is 0
        return g * (2 / math.sqrt(math.pi) * exp(-x * x))


erf.vjp(_erf_rule)
