"""Arithmetic, powers and choices between two values. Every op broadcasts as NumPy does; the walk sums a
gradient back to the shape of its argument."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tinygrad_rnn.backend import DEFAULT_DTYPE, Array, xp
from tinygrad_rnn.libraries import library_of, remainder, rounded_quotient
from tinygrad_rnn.ops.comparisons import equal, greater, greater_equal, less, logical_and
from tinygrad_rnn.ops.elementary import log
from tinygrad_rnn.tape import primitive

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor


@primitive
def neg(x: Array) -> Array:
    """-x."""
    return -x


neg.vjp(lambda g, out, x: -g)


@primitive
def add(x: Array, y: Array) -> Array:
    """x + y."""
    return x + y


add.vjp(lambda g, out, x, y: g, lambda g, out, x, y: g)


@primitive
def sub(x: Array, y: Array) -> Array:
    """x - y."""
    return x - y


sub.vjp(lambda g, out, x, y: g, lambda g, out, x, y: -g)


@primitive
def mul(x: Array, y: Array) -> Array:
    """x * y."""
    return x * y


mul.vjp(lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)


@primitive
def div(x: Array, y: Array) -> Array:
    """x / y."""
    return x / y


div.vjp(lambda g, out, x, y: g / y, lambda g, out, x, y: -g * out / y)


@primitive
def pow(x: Array, y: Array) -> Array:
    """x ** y. The gradient of the exponent is NaN where the base is negative. Where that is 0, it is 0 for y >= 0 and
    -inf for y < 0."""
    return x**y


def _pow_base(g: Array, out: Array, x: Array, y: Array) -> Array:
    if isinstance(y, int | float):
        return g * (y * x ** (y - 1)) if y != 0 else zeros_like(x)
    return where(y == 0, 0.0, g * y * x ** where(y == 0, 1.0, y - 1))  # 0 ** 0 is the constant 1 as far as x goes


def _pow_exponent(g: Array, out: Array, x: Array, y: Array) -> Array:
    flat = logical_and(
        equal(x, 0), greater_equal(y, 0)
    )  # the limit of 0 ** y * log 0 is 0 for y > 0, and is taken at 0
    return g * out * log(where(flat, 1.0, x))


pow.vjp(_pow_base, _pow_exponent)


@primitive
def square(x: Array) -> Array:
    """x * x."""
    return xp(x).square(x)


square.vjp(lambda g, out, x: g * (2 * x))


@primitive
def sqrt(x: Array) -> Array:
    """The square root. Its gradient at 0 is infinite; `norm` is the op whose gradient is 0 there."""
    return xp(x).sqrt(x)


sqrt.vjp(lambda g, out, x: g * (0.5 / out))


@primitive
def reciprocal(x: Array) -> Array:
    """1 / x."""
    return 1 / x


reciprocal.vjp(lambda g, out, x: -g * out * out)


@primitive
def zeros_like(x: Array) -> Array:
    """Zeros of the shape and dtype of `x`, where `x` lives."""
    return xp(x).zeros_like(x)


zeros_like.vjp(None)


@primitive
def sign(x: Array) -> Array:
    """-1, 0 or 1; flat almost everywhere, so its gradient is 0."""
    return xp(x).sign(x)


sign.vjp(lambda g, out, x: zeros_like(x))


@primitive
def floor(x: Array) -> Array:
    """The largest whole number that is not above x; flat almost everywhere, so its gradient is 0."""
    return xp(x).floor(x)


floor.vjp(lambda g, out, x: zeros_like(x))


@primitive
def floor_divide(x: Array, y: Array) -> Array:
    """x // y: the quotient rounded down, of floats and integers, as NumPy has it; flat almost everywhere, so its
    gradients are 0."""
    return rounded_quotient(x, y)


floor_divide.vjp(lambda g, out, x, y: zeros_like(x), lambda g, out, x, y: zeros_like(y))


@primitive
def mod(x: Array, y: Array) -> Array:
    """x % y = x - y * (x // y), which has the sign of y. Its jumps have no gradient: that of x is 1, that of y is
    -(x // y)."""
    return remainder(x, y)


mod.vjp(lambda g, out, x, y: g, lambda g, out, x, y: -g * floor_divide(x, y))


@primitive
def abs(x: Array) -> Array:
    """|x|; the gradient at 0 is 0."""
    return xp(x).abs(x)


abs.vjp(lambda g, out, x: g * sign(x))


@primitive
def where(condition: Array, x: Array, y: Array) -> Array:
    """`x` where `condition` holds, `y` elsewhere. The one that was not chosen gets gradient 0, even where its
    own value is NaN or infinite."""
    if type(condition) is bool:  # CuPy takes an array
        lib = library_of(x, y)
        return lib.where(lib.asarray(condition), x, y)
    return xp(condition).where(condition, x, y)


where.vjp(
    None,
    lambda g, out, condition, x, y: where(condition, g, 0.0),
    lambda g, out, condition, x, y: where(condition, 0.0, g),
)


@primitive
def maximum(x: Array, y: Array) -> Array:
    """The larger of two; a tie shares its gradient equally."""
    return xp(x).maximum(x, y)


maximum.vjp(
    lambda g, out, x, y: where(greater(x, y), g, where(equal(x, y), 0.5 * g, 0.0)),
    lambda g, out, x, y: where(greater(y, x), g, where(equal(x, y), 0.5 * g, 0.0)),
)


@primitive
def minimum(x: Array, y: Array) -> Array:
    """The smaller of two; a tie shares its gradient equally."""
    return xp(x).minimum(x, y)


minimum.vjp(
    lambda g, out, x, y: where(less(x, y), g, where(equal(x, y), 0.5 * g, 0.0)),
    lambda g, out, x, y: where(less(y, x), g, where(equal(x, y), 0.5 * g, 0.0)),
)


@primitive
def _clip(x: Array, a_min: Array, a_max: Array) -> Array:
    return xp(x).clip(x, a_min, a_max)


_clip.vjp(
    lambda g, out, x, a_min, a_max: where(less(x, a_min), 0.0, where(greater(x, a_max), 0.0, g)),
    lambda g, out, x, a_min, a_max: where(less(x, a_min), where(equal(out, a_min), g, 0.0), 0.0),
    lambda g, out, x, a_min, a_max: where(
        less(x, a_min), where(equal(out, a_min), 0.0, g), where(greater(x, a_max), g, 0.0)
    ),
)


def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Tensor:
    """`x` held between two bounds (None: no bound). The gradient goes to `x` from the bounds inwards (bounds
    included), and to a bound beyond it."""
    if getattr(x, "dtype", DEFAULT_DTYPE).kind == "f":  # integers carry no gradient, and would become floats
        a_min = -math.inf if a_min is None else a_min
        a_max = math.inf if a_max is None else a_max
    return _clip(x, a_min, a_max)
