"""Reductions over axes. `axis` is None (all), a number or a tuple, negative ones counted from the end."""

from __future__ import annotations

import builtins
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.ops.arithmetic import square, where
from tinygrad_rnn.ops.elementary import exp, floating
from tinygrad_rnn.ops.shapes import concatenate, flip, moveaxis
from tinygrad_rnn.sums import accumulated, accumulator, total
from tinygrad_rnn.tape import astype, broadcast_to, primitive

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor

Axis = int | tuple[int, ...] | None

LARGEST_OF_FLOAT16 = 65504


def _axes(x: Any, axis: Axis) -> tuple[int, ...]:
    """The axes as non-negative numbers, in order. A number has none, and is its own reduction over 0 or -1."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -x.ndim <= a < x.ndim and (x.ndim or a not in (0, -1)):
            raise np.exceptions.AxisError(a, x.ndim)
    return tuple(sorted(a % x.ndim for a in axes)) if x.ndim else ()


def _over(x: Array, axis: Axis) -> Axis:
    """The axis as NumPy takes it: of a number, most of its functions take none."""
    return axis if x.ndim else _axes(x, axis)


def _kept(x: Any, axis: Axis) -> tuple[int, ...]:
    """The shape of a reduction of `x` with keepdims=True: what a gradient must have to broadcast back."""
    axes = _axes(x, axis)
    return tuple(1 if i in axes else n for i, n in enumerate(x.shape))


def _count(x: Any, axis: Axis) -> int:
    return math.prod(x.shape[a] for a in _axes(x, axis))


def _divided(x: Any, count: int) -> Any:
    """x / count, also where a count is beyond what the dtype of x can hold."""
    return x / count if count <= LARGEST_OF_FLOAT16 else x * (1 / count)


@primitive
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum over `axis`, in blocks where it is long."""
    return total(x, _over(x, axis), keepdims)


sum.vjp(lambda g, out, x, axis, keepdims: broadcast_to(g.reshape(_kept(x, axis)), x.shape))


@primitive
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean over `axis`."""
    if x.dtype.kind != "f" or not x.size:
        return xp(x).mean(x, axis=_over(x, axis), keepdims=keepdims)
    return (accumulated(x, _over(x, axis), keepdims) / _count(x, axis)).astype(x.dtype, copy=False)


mean.vjp(
    lambda g, out, x, axis, keepdims: broadcast_to(
        _divided(g.reshape(_kept(x, axis)), builtins.max(_count(x, axis), 1)), x.shape
    )
)


def _share_of_extreme(g: Any, out: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    kept = _kept(x, axis)
    chosen = astype(x == out.reshape(kept), accumulator(x.dtype, 1))  # which can count them
    return g.reshape(kept) * (chosen / chosen.sum(axis=axis, keepdims=True))


@primitive
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest value over `axis`; ties share the gradient equally."""
    return xp(x).max(x, axis=_over(x, axis), keepdims=keepdims)


max.vjp(_share_of_extreme)


@primitive
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The smallest value over `axis`; ties share the gradient equally."""
    return xp(x).min(x, axis=_over(x, axis), keepdims=keepdims)


min.vjp(_share_of_extreme)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over `axis`, as a tree of pairwise products: no quotient, so that zeros need no special case
    in any derivative. Small integers and booleans become long ones, as in `sum`."""
    if x.dtype.kind != "f":
        x = astype(x, np.sum(np.empty(0, x.dtype)).dtype)
    axes, kept = _axes(x, axis), _kept(x, axis)
    rest = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    flat = moveaxis(x, axes, tuple(range(len(axes)))).reshape((_count(x, axis), *rest))
    if len(flat) == 0:
        flat = flat.sum(axis=0, keepdims=True) + 1  # the product of nothing
    while len(flat) > 1:
        half = len(flat) // 2
        pairs = flat[:half] * flat[half : 2 * half]
        flat = pairs if len(flat) == 2 * half else concatenate([pairs, flat[2 * half :]], axis=0)
    return flat.reshape(kept if keepdims else rest)


def var(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The variance over `axis`, with the divisor n - ddof. Where that is 0 or less, it is infinite, and NaN where all
    entries are equal; its gradient is NaN."""
    centred = x - mean(x, axis=axis, keepdims=True)
    squares, count = mean(square(centred), axis=axis, keepdims=keepdims), _count(x, axis)
    return squares * (count / (count - ddof)) if count > ddof else _over_nothing(squares)


@primitive
def _over_nothing(x: Array) -> Array:
    return xp(x).where(x > 0, math.inf, math.nan).astype(x.dtype)


_over_nothing.vjp(lambda g, out, x: g * math.nan)


@primitive
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, for numbers of any size; nothing and all -inf give -inf, with gradient 0, and one
    +inf gives inf, with gradient NaN for it and 0 for the others. Integers become float64."""
    x, axis = floating(x), _over(x, axis)
    top = xp(x).max(x, axis=axis, keepdims=True, initial=-math.inf)
    top = xp(x).where(xp(x).isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):
        out = xp(x).log(accumulated(xp(x).exp(x - top), axis, keepdims=True)).astype(x.dtype, copy=False) + top
    return out if keepdims else out.reshape(tuple(n for i, n in enumerate(x.shape) if i not in _axes(x, axis)))


def _logsumexp_rule(g: Any, out: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    kept = _kept(x, axis)
    with np.errstate(over="ignore", invalid="ignore"):
        shares = exp(x - where(out == -math.inf, 0.0, out).reshape(kept))
    total = shares.sum(axis=axis, keepdims=True)  # 1 but for rounding, which is all there is of `out` if x is large
    return g.reshape(kept) * (shares / where(total > 0, total, 1.0))  # 0 if all are -inf, NaN if one is inf


logsumexp.vjp(_logsumexp_rule)


@primitive
def cumsum(x: Array, axis: int | None = None) -> Array:
    """The running sum along `axis` (None: of the flattened array)."""
    if x.dtype.kind != "f":
        return xp(x).cumsum(x, axis=axis)
    return xp(x).cumsum(x, axis=axis, dtype=accumulator(x.dtype, x.size)).astype(x.dtype, copy=False)


def _cumsum_rule(g: Any, out: Any, x: Any, axis: int | None) -> Any:
    along = 0 if axis is None else axis
    return flip(cumsum(flip(g, along), along), along).reshape(x.shape)


cumsum.vjp(_cumsum_rule)


@primitive
def norm(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The Euclidean norm over `axis`; its gradient at the zero vector is 0, and its second derivative NaN there."""
    axis = _over(x, axis)
    if not x.size:
        return xp(x).sqrt(xp(x).sum(x * x, axis=axis, keepdims=keepdims))
    top = xp(x).max(xp(x).abs(x), axis=axis, keepdims=True)  # squares of x / top neither overflow nor vanish
    top = xp(x).where(xp(x).isfinite(top) & (top > 0), top, 1)
    out = top * xp(x).sqrt(accumulated(xp(x).square(x / top), axis, keepdims=True))
    out = out.astype((x / top).dtype, copy=False)
    return out if keepdims else out.reshape(tuple(n for i, n in enumerate(x.shape) if i not in _axes(x, axis)))


@primitive
def _step_along(x: Array, length: Array, step: Array) -> Array:
    """step * x / length, and 0 where the length is 0. It is not continuous there, so that its derivatives are NaN."""
    return x * (step / xp(x).where(length == 0, 1, length))


_step_along.vjp(
    lambda g, out, x, length, step: where(length == 0, math.nan, g * (step / where(length == 0, 1.0, length))),
    lambda g, out, x, length, step: where(length == 0, math.nan, -g * out / where(length == 0, 1.0, length)),
    lambda g, out, x, length, step: g * (x / where(length == 0, 1.0, length)),
)


def _norm_rule(g: Any, out: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    kept = _kept(x, axis)
    return _step_along(x, out.reshape(kept), g.reshape(kept))


norm.vjp(_norm_rule)
