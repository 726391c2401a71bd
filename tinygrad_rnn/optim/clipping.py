"""Gradient clipping, by the norm of all gradients together or entry by entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from numbers import Real
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.blas import blas_held
from tinygrad_rnn.rowsparse import RowSparse

BLOCK = 1 << 16
"""Entries handled at a time, so that a block of each array taking part stays in one core's cache (L2)."""


class Trainable(Protocol):
    """What optimisers and clipping ask of a parameter: the array, and its gradient after `backward()`."""

    data: Any
    grad: Any


Parameters = Iterable[Trainable] | Iterable[tuple[str, Trainable]] | Mapping[str, Trainable]


def clip_by_norm(parameters: Parameters, max_norm: float) -> float:
    """Scale all gradients by max_norm / norm where their joint L2 norm is above `max_norm`.

    Pascanu, Mikolov & Bengio 2013, algorithm 1. Gradients are changed in place where nothing else shares their memory,
    otherwise `.grad` is bound to a new array.

    Args:
        parameters: as in `Optimizer`.
        max_norm: above 0; infinity only measures.

    Returns:
        The norm before. One that is NaN or infinite changes nothing, so that the optimiser's `step()` sees the
        gradients as they are, and skips.

    Raises:
        ValueError: `max_norm` is not above 0.

    Example:
        >>> w = Parameter([3.0, 4.0])
        >>> (w * w / 2).sum().backward()
        >>> optim.clip_by_norm([w], max_norm=1.0)
        5.0
        >>> w.grad
        array([0.6, 0.8], dtype=float32)
    """
    return clipped_by_norm(parameters, max_norm)()


def clipped_by_norm(parameters: Parameters, max_norm: float) -> Callable[[], float]:
    """`clip_by_norm`, whose result is there when it is asked for: on a GPU nobody waits for it before that."""
    if not (isinstance(max_norm, Real) and max_norm > 0):
        raise ValueError(f"max_norm must be a number above 0, got {max_norm!r}")
    held = with_gradient(parameters)
    entries = [_entries(grad) for _, grad in held]
    if entries and not any(isinstance(g, np.ndarray) for g in entries):
        return _clipped_on_device(held, entries, float(max_norm))
    with np.errstate(over="ignore", invalid="ignore"), blas_held():
        norm = math.hypot(*[norm_of(g) for g in entries])
    if math.isfinite(norm) and norm > max_norm:
        factor = float(max_norm) / norm

        def scale(g: Array, out: Array | None) -> Array:
            # A factor below the dtype's normal range would lose its digits before it is used.
            wide = np.float64 if factor < limits(g.dtype).smallest else g.dtype
            out = xp(g).empty_like(g) if out is None else out
            return xp(g).multiply(g, factor, out=out, dtype=wide, casting="same_kind")

        _change(held, scale)
    return lambda: norm


def _clipped_on_device(held: list[tuple[Trainable, Any]], entries: list[Array], bound: float) -> Callable[[], float]:
    norm = norm_on_device(entries)
    if bound < math.inf:
        lib = xp(norm)
        factor = lib.where(norm < math.inf, lib.minimum(bound / lib.where(norm > 0, norm, 1.0), 1.0), 1.0)

        def scale(g: Array, out: Array | None) -> Array:
            out = lib.empty_like(g) if out is None else out
            return lib.multiply(g, factor, out=out, casting="same_kind")  # in float64, as the factor is

        _change(held, scale)
    return lambda: float(norm)


def clip_by_value(parameters: Parameters, limit: float) -> None:
    """Bring every entry of every gradient into [-limit, limit]; NaN stays NaN.

    In place where nothing else shares the gradient's memory, otherwise `.grad` is bound to a new array.

    Args:
        parameters: as in `Optimizer`.
        limit: above 0.

    Raises:
        ValueError: `limit` is not above 0.

    Example:
        >>> w = Parameter([3.0, -4.0])
        >>> (w * w / 2).sum().backward()
        >>> optim.clip_by_value([w], limit=3.5)
        >>> w.grad
        array([ 3. , -3.5], dtype=float32)
    """
    if not (isinstance(limit, Real) and limit > 0):
        raise ValueError(f"limit must be a number above 0, got {limit!r}")
    bound = float(limit)
    _change(with_gradient(parameters), lambda g, out: xp(g).clip(g, -bound, bound, out=out))


def checked(name: str, value: float, low: float = 0.0, below: float = math.inf, *, strict: bool = False) -> float:
    """`value` as a float. Raises ValueError unless low <= value < below (low < value where `strict`)."""
    if isinstance(value, Real) and low <= value < below and not (strict and value == low):
        return float(value)
    above = f"{'above' if strict else 'of at least'} {low:g}"
    upto = "" if below == math.inf else f" and below {below:g}"
    raise ValueError(f"{name} must be a finite number {above}{upto}, got {value!r}")


def named(parameters: Parameters) -> dict[str, Trainable]:
    """The parameters by name: given names (a mapping, or pairs), otherwise "0", "1", ...; each object once.

    Raises ValueError for something that holds no `.data` and `.grad`.
    """
    if hasattr(parameters, "grad"):
        raise ValueError("parameters must be a list of parameters, got a single one")
    listed: Iterable[Any] = parameters.items() if isinstance(parameters, Mapping) else parameters
    found: dict[str, Trainable] = {}
    seen: set[int] = set()
    for item in listed:
        name, parameter = item if isinstance(item, tuple) else (str(len(found)), item)
        if not (hasattr(parameter, "data") and hasattr(parameter, "grad")):
            raise ValueError(f"parameters must have .data and .grad, got {type(parameter).__name__}")
        if id(parameter) not in seen:
            seen.add(id(parameter))
            found[name] = parameter
    return found


def with_gradient(parameters: Parameters) -> list[tuple[Trainable, Any]]:
    """The parameters whose gradient is there, each once, and the gradients."""
    pairs = [(p, p.grad) for p in named(parameters).values()]
    return [pair for pair in pairs if pair[1] is not None]


class Limits(NamedTuple):
    """Of a floating dtype, as Python's numbers."""

    largest: float
    smallest: float
    """The smallest that has all its digits."""
    eps: float


@cache
def limits(dtype: np.dtype[Any]) -> Limits:
    """Those of a dtype; NumPy takes longer to tell them than to sum up a small gradient."""
    found = np.finfo(dtype)
    return Limits(float(found.max), float(found.tiny), float(found.eps))


def sum_of_squares(g: Array) -> float:
    """Σ g², in the dtype of `g` within a block, in float64 between blocks; inf or nan where it overflows, with NumPy's
    warning: `np.errstate` is the caller's, once for all arrays."""
    if g.dtype.itemsize < 4:
        g = g.astype(np.float32)
    flat = g.ravel(order="K" if isinstance(g, np.ndarray) else "A")  # not every CuPy has "K"
    if flat.size <= BLOCK or not isinstance(flat, np.ndarray):
        return float(flat.dot(flat))
    parts = (flat[i : i + BLOCK] for i in range(0, flat.size, BLOCK))
    return math.fsum(float(part.dot(part)) for part in parts)


def peak(g: Array) -> float:
    """The largest magnitude in `g`: 0 for an empty array, nan where there is a NaN."""
    return float(abs(g).max()) if g.size else 0.0


def norm_of(g: Array) -> float:
    """The L2 norm, also where the squares leave the range of the dtype."""
    total, range_ = sum_of_squares(g), limits(g.dtype)
    if math.isfinite(total) and total >= g.size * range_.smallest / range_.eps:
        return math.sqrt(total)
    top = peak(g)
    if top == 0 or not math.isfinite(top):
        return top
    return top * math.sqrt(sum_of_squares(g.astype(np.float64) / top))


def peaks_on_device(arrays: list[Array]) -> list[tuple[Array, np.dtype[Any], Array]]:
    """Of arrays on a device, for each dtype the entries of all in one axis, their dtype and their largest magnitude, a
    number that nobody has waited for; nan where there is a NaN."""
    lib, found = xp(arrays[0]), []
    for dtype in dict.fromkeys(g.dtype for g in arrays):
        flat = lib.concatenate([g.reshape(-1) for g in arrays if g.dtype == dtype])
        if flat.size:
            found.append((flat, dtype, abs(flat).max()))
    return found


def norm_on_device(arrays: list[Array]) -> Array:
    """The L2 norm of arrays on a device together, float64, which nobody has waited for."""
    lib = xp(arrays[0])
    norm = lib.zeros((), np.float64)
    for flat, dtype, top in peaks_on_device(arrays):
        wide = np.float64 if dtype == np.float64 else np.float32
        known = lib.where((top > 0) & (top < math.inf), top, 1).astype(wide)  # squares of shares stay in range
        shares = flat.astype(wide, copy=False) / known
        own = lib.where(top < math.inf, known.astype(np.float64) * lib.sqrt(shares.dot(shares).astype(np.float64)), top)
        norm = lib.hypot(norm, lib.where(top == 0, 0.0, own))
    return norm


def _entries(grad: Any) -> Array:
    """The array that holds the gradient's entries."""
    return grad.values if isinstance(grad, RowSparse) else grad


def _change(held: list[tuple[Trainable, Any]], function: Callable[[Array, Array | None], Array]) -> None:
    """Apply `function(g, out)` to every gradient; out is g itself where it may be overwritten, else None.

    Gradients may share memory: the two operands of a sum can have one array as their gradient, and a
    broadcast gradient repeats one number. New arrays come first, from entries that nothing has changed yet.
    """
    entries = [_entries(grad) for _, grad in held]
    free = _alone(entries)
    for (p, grad), g, ok in zip(held, entries, free, strict=True):
        if not ok:
            new = function(g, None)
            p.grad = RowSparse(grad.rows, new, grad.shape) if isinstance(grad, RowSparse) else new
    for g, ok in zip(entries, free, strict=True):
        if ok:
            function(g, g)


def _alone(arrays: list[Array]) -> list[bool]:
    """Which arrays may be overwritten: writeable, no entry repeated within, none shared with another one."""
    families: dict[int, list[Array]] = {}
    owners = [id(_owner(a)) for a in arrays]
    for owner, a in zip(owners, arrays, strict=True):
        families.setdefault(owner, []).append(a)

    def alone(a: Array, family: list[Array]) -> bool:
        if not getattr(a.flags, "writeable", True):  # CuPy arrays have no such flag
            return False
        if 0 in a.strides and any(stride == 0 and n > 1 for stride, n in zip(a.strides, a.shape, strict=True)):
            return False
        return len(family) == 1 or sum(_overlap(a, b) for b in family) <= 1  # itself

    return [alone(a, families[owner]) for owner, a in zip(owners, arrays, strict=True)]


def _overlap(a: Array, b: Array) -> bool:
    # The exact answer tells the columns of one array apart; CuPy's costs a sort of all addresses.
    exact = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return bool(a is b or (np.shares_memory(a, b) if exact else xp(a).may_share_memory(a, b)))


def _owner(a: Array) -> Any:
    while (base := getattr(a, "base", None)) is not None:
        a = base
    return a
