"""Comparisons and logic: boolean results, which carry no gradient."""

from __future__ import annotations

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.tape import undifferentiable


@undifferentiable
def equal(x: Array, y: Array) -> Array:
    """x == y."""
    return x == y


@undifferentiable
def not_equal(x: Array, y: Array) -> Array:
    """x != y."""
    return x != y


@undifferentiable
def less(x: Array, y: Array) -> Array:
    """x < y."""
    return x < y


@undifferentiable
def less_equal(x: Array, y: Array) -> Array:
    """x <= y."""
    return x <= y


@undifferentiable
def greater(x: Array, y: Array) -> Array:
    """x > y."""
    return x > y


@undifferentiable
def greater_equal(x: Array, y: Array) -> Array:
    """x >= y."""
    return x >= y


@undifferentiable
def logical_and(x: Array, y: Array) -> Array:
    """Both."""
    return xp(x).logical_and(x, y)


@undifferentiable
def logical_or(x: Array, y: Array) -> Array:
    """Either."""
    return xp(x).logical_or(x, y)


@undifferentiable
def logical_not(x: Array) -> Array:
    """Not."""
    return xp(x).logical_not(x)


@undifferentiable
def argmax(x: Array, axis: int | None = None) -> Array:
    """The index of the largest value along `axis`, the first among equals (None: in the flattened array)."""
    return xp(x).argmax(x, axis=axis)
