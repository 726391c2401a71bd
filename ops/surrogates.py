"""Ops whose gradient is not their derivative, but one that is declared in its place."""

from __future__ import annotations

from typing import Any

from tinygrad_rnn.backend import Array, as_array
from tinygrad_rnn.tape import Box, astype, primitive


@primitive
def _straight_through(hard: Array, soft: Array) -> Array:
    return hard


_straight_through.vjp(None, lambda g, out, hard, soft: g)


def straight_through(hard: Any, soft: Any) -> Any:
    """`hard`, of any dtype, with the gradient of `soft`, of the same shape: a spike with that of a sigmoid, a rounded
    number with that of the number itself (Bengio et al. 2013, section 4; Neftci et al. 2019). Raises ValueError where
    the shapes differ.

    Example:
        >>> spike = lambda x: ops.straight_through(x > 0, ops.sigmoid(x))
        >>> spike(Tensor(0.0)).item(), tg.grad(spike)(0.0).item()
        (0.0, 0.25)
    """
    hard, soft = (x if isinstance(x, Box) else as_array(x) for x in (hard, soft))
    if hard.shape != soft.shape:
        raise ValueError(f"straight_through: hard must have the shape {soft.shape} of soft, got {hard.shape}")
    return _straight_through(hard if hard.dtype == soft.dtype else astype(hard, soft.dtype), soft)
