"""Reductions over axes. `axis` is None (all), a number or a tuple, negative ones counted from the end.

With `where`, booleans that broadcast to the shape of `x`, entries count where it is True. What stands in the others, be
it infinite or no number, reaches neither a value nor a gradient: they are replaced before anything is computed. With
`initial`, a number, the reduction has one more entry, and nothing that counts gives just that.
"""

from __future__ import annotations

import builtins
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.libraries import highest
from tinygrad_rnn.ops.arithmetic import maximum, minimum, square, where
from tinygrad_rnn.ops.comparisons import not_equal
from tinygrad_rnn.ops.elementary import exp, floating
from tinygrad_rnn.ops.shapes import concatenate, flip, moveaxis
from tinygrad_rnn.sums import accumulated, accumulator, total
from tinygrad_rnn.tape import Box, astype, broadcast_to, primitive

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


def _stretched(x: Any, shape: tuple[int, ...], what: str) -> Any:
    """`x` broadcast to a shape. Raises ValueError, in a sentence that begins with `what`, where it does not fit."""
    given = tuple(x.shape)
    if len(given) > len(shape) or any(n not in (1, m) for n, m in zip(given[::-1], shape[::-1], strict=False)):
        raise ValueError(f"{what} must broadcast to the shape {shape}, got {given}")
    return broadcast_to(x, shape)


def _mask(name: str, x: Any, mask: Any) -> Any:
    """Booleans of the shape of `x`. Raises ValueError for a shape that does not broadcast to it."""
    if not hasattr(mask, "dtype"):
        mask = (x.xp if isinstance(x, Box) else xp(x)).asarray(mask)
    return _stretched(mask if mask.dtype.kind == "b" else not_equal(mask, 0), tuple(x.shape), f"{name}: where")


def _masked(name: str, x: Any, mask: Any, neutral: Any) -> Any:
    """`x` with `neutral` in place of what does not count."""
    return where(_mask(name, x, mask), x, neutral)


@primitive
def _sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return total(x, _over(x, axis), keepdims)


_sum.vjp(lambda g, out, x, axis, keepdims: broadcast_to(g.reshape(_kept(x, axis)), x.shape))


def sum(x: Any, axis: Axis = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
    """The sum over `axis`, in blocks where it is long, and of `initial`. Raises ValueError for a `where` of another
    shape."""
    found = _sum(x if where is None else _masked("sum", x, where, 0), axis, keepdims)
    return found if initial is None else found + initial


@primitive
def _mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    if x.dtype.kind != "f" or not x.size:
        return xp(x).mean(x, axis=_over(x, axis), keepdims=keepdims)
    return (accumulated(x, _over(x, axis), keepdims) / _count(x, axis)).astype(x.dtype, copy=False)


_mean.vjp(
    lambda g, out, x, axis, keepdims: broadcast_to(
        _divided(g.reshape(_kept(x, axis)), builtins.max(_count(x, axis), 1)), x.shape
    )
)


def mean(x: Any, axis: Axis = None, keepdims: bool = False, *, where: Any = None) -> Tensor:
    """The mean over `axis`. That of nothing that counts by `where` is NaN, with gradient 0. Raises ValueError for a
    `where` of another shape."""
    if where is None:
        return _mean(x, axis, keepdims)
    return _masked_mean("mean", floating(x), axis, keepdims, where)


def _masked_mean(name: str, x: Any, axis: Axis, keepdims: bool, mask: Any) -> Tensor:
    mask, wide = _mask(name, x, mask), accumulator(x.dtype, 1)  # wide: a sum may be beyond what a mean is
    count = astype(_sum(mask, axis, keepdims), wide)
    found = _sum(astype(where(mask, x, 0), wide), axis, keepdims) / maximum(count, 1)
    return astype(where(count > 0, found, math.nan), x.dtype)


def _share_of_extreme(g: Any, out: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    kept = _kept(x, axis)
    ties = astype(x == out.reshape(kept), accumulator(x.dtype, 1))  # which can count them
    return g.reshape(kept) * (ties / ties.sum(axis=axis, keepdims=True))


@primitive
def _max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return xp(x).max(x, axis=_over(x, axis), keepdims=keepdims)


@primitive
def _min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return xp(x).min(x, axis=_over(x, axis), keepdims=keepdims)


_max.vjp(_share_of_extreme)
_min.vjp(_share_of_extreme)


def max(x: Any, axis: Axis = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
    """The largest value over `axis`, and not below `initial`; ties share the gradient equally, and of a tie `initial`
    takes half. Raises ValueError for a `where` of another shape, or without `initial`."""
    found = _extreme("max", _max, -math.inf, x, axis, keepdims, initial, where)
    return found if initial is None else maximum(found, initial)


def min(x: Any, axis: Axis = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
    """The smallest value over `axis`, and not above `initial`; ties share the gradient equally, and of a tie `initial`
    takes half. Raises ValueError for a `where` of another shape, or without `initial`."""
    found = _extreme("min", _min, math.inf, x, axis, keepdims, initial, where)
    return found if initial is None else minimum(found, initial)


def _extreme(name: str, op: Any, end: float, x: Any, axis: Axis, keepdims: bool, initial: Any, mask: Any) -> Any:
    """The extreme of what counts; where nothing does, what `initial` comes before: the `end` of all floats."""
    end = end if x.dtype.kind == "f" else initial
    if mask is not None:
        if initial is None:
            raise ValueError(f"{name}: where needs an initial, the result where nothing counts, got None")
        x = _masked(name, x, mask, end)
    if initial is None or _count(x, axis):
        return op(x, axis, keepdims)
    return astype(_sum(x, axis, keepdims), x.dtype) + end


def prod(x: Any, axis: Axis = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
    """The product over `axis`, and by `initial`, as a tree of pairwise products: no quotient, so that zeros need no
    special case in any derivative. Small integers and booleans become long ones, as in `sum`. Raises ValueError for a
    `where` of another shape."""
    x = x if where is None else _masked("prod", x, where, 1)
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
    found = flat.reshape(kept if keepdims else rest)
    return found if initial is None else found * initial


def var(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False, *, where: Any = None) -> Tensor:
    """The variance over `axis`, with the divisor n - ddof. Where that is 0 or less, it is infinite, and NaN where all
    entries are equal; its gradient is NaN. Raises ValueError for a `where` of another shape."""
    if where is not None:
        return _masked_var(floating(x), axis, ddof, keepdims, where)
    centred = x - mean(x, axis=axis, keepdims=True)
    squares, count = mean(square(centred), axis=axis, keepdims=keepdims), _count(x, axis)
    return squares * (count / (count - ddof)) if count > ddof else _over_nothing(squares)


def _masked_var(x: Any, axis: Axis, ddof: int, keepdims: bool, mask: Any) -> Tensor:
    mask = _mask("var", x, mask)
    centred = where(mask, where(mask, x, 0) - _masked_mean("var", x, axis, True, mask), 0)
    squares, count = _masked_mean("var", square(centred), axis, keepdims, mask), _sum(mask, axis, keepdims)
    free = count > ddof
    factor = astype(count / where(free, count - ddof, 1), x.dtype)
    # What is infinite or no number is made where it is chosen alone, and sends no NaN back to the others.
    return where(free, squares * factor, _over_nothing(where(free, 1.0, squares)))


@primitive
def _over_nothing(x: Array) -> Array:
    return xp(x).where(x > 0, math.inf, math.nan).astype(x.dtype)


_over_nothing.vjp(lambda g, out, x: g * math.nan)


@primitive
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, for numbers of any size; nothing and all -inf give -inf, with gradient 0, and one
    +inf gives inf, with gradient NaN for it and 0 for the others. Integers become float64."""
    x, axis = floating(x), _over(x, axis)
    top = highest(x, axis)
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
    """The running sum along `axis`, of the shape of `x` (None: of the flattened array)."""
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
