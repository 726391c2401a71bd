"""Randomness, always from a generator that the caller names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.ops.arithmetic import mul
from tinygrad_rnn.ops.elementary import floating
from tinygrad_rnn.tape import Box

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor


def dropout_mask(shape: tuple[int, ...], rate: float, rng: np.random.Generator, like: Any) -> Array:
    """0 with probability `rate`, otherwise 1/(1-rate), as an array beside `like` (of its dtype and library).

    Raises ValueError for a rate outside [0, 1) and TypeError where `rng` is no numpy.random.Generator."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be at least 0 and below 1, got {rate!r}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"dropout: rng must be a numpy.random.Generator, got {type(rng).__name__}")
    array = like.data if isinstance(like, Box) else like
    kept = rng.random(shape, dtype=np.float32) >= rate
    return xp(array).asarray(kept.astype(array.dtype) / array.dtype.type(1 - rate))


def dropout(x: Any, rate: float, rng: np.random.Generator) -> Tensor:
    """Each entry 0 with probability `rate`, the others scaled by 1/(1-rate) so that the mean stays (Srivastava et al.
    2014, inverted). Raises ValueError for a rate outside [0, 1), TypeError for what is no generator.

    Example:
        >>> ops.dropout(Tensor(np.ones(6)), 0.5, rng).numpy()
        array([2., 2., 2., 0., 0., 0.])
    """
    x = floating(x)
    mask = dropout_mask(tuple(x.shape), rate, rng, x)
    return mul(x, mask)
