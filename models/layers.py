"""Layers without time: Linear, Dropout, LayerNorm and RMSNorm."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.tensor import Parameter, Tensor


class Linear(Module):
    """x @ weight + bias: (...,I) -> (...,O), with weight (I,O) Glorot uniform and bias (O,) zero.

    Args:
        input_size, output_size: I and O.
        bias: False leaves it out.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).

    Raises:
        ValueError: a size is below 1; called, the last axis is not I.

    Example:
        >>> layer = models.Linear(3, 2)
        >>> layer(Tensor(np.ones((5, 3), np.float32))).shape, layer.weight.shape
        ((5, 2), (3, 2))
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        shape = (init.size("input_size", input_size), init.size("output_size", output_size))
        self.weight = Parameter(init.glorot(init.generator(rng), shape), dtype=dtype)
        self.bias = Parameter(np.zeros(output_size), dtype=dtype) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """(...,I) -> (...,O). Raises ValueError where the last axis is not I."""
        if x.shape[-1:] != self.weight.shape[:1]:
            raise ValueError(f"Linear: x must have {self.weight.shape[0]} features in its last axis, got {x.shape}")
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class Dropout(Module):
    """Zeroes entries with probability `rate` where a generator is given, scales the others so that the mean stays, and
    does nothing otherwise.

    Args:
        rate: from 0 up to, not including, 1.

    Example:
        >>> drop, x = models.Dropout(0.5), Tensor(np.ones(6))
        >>> drop(x, rng).numpy()
        array([2., 2., 2., 0., 0., 0.])
        >>> drop(x) is x
        True
    """

    def __init__(self, rate: float) -> None:
        self.rate = init.rate("rate", rate)

    def __call__(self, x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Any shape. `rng` is given while training."""
        return x if rng is None or not self.rate else ops.dropout(x, self.rate, rng)


class LayerNorm(Module):
    """Subtracts the mean over the last axis, divides by the standard deviation, then scales and shifts (Ba et al. 2016,
    eq. 3): (...,H) -> (...,H), with gain (H,) one and bias (H,) zero.

    Args:
        size: H.
        eps: is added to the variance.
        dtype: of the weights.

    Raises:
        ValueError: called, the last axis is not H.

    Example:
        >>> models.LayerNorm(2)(Tensor([[1.0, 3.0], [10.0, 30.0]]))
        Tensor([[-1.,  1.], [-1.,  1.]], shape=(2, 2), dtype=float32, on the tape: add)
    """

    def __init__(self, size: int, eps: float = 1e-5, *, dtype: Any = np.float32) -> None:
        self.gain = Parameter(np.ones(init.size("size", size)), dtype=dtype)
        self.bias = Parameter(np.zeros(size), dtype=dtype)
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        """Raises ValueError where the last axis is not H."""
        if x.shape[-1:] != self.gain.shape:
            raise ValueError(f"LayerNorm: x must have {self.gain.shape[0]} features in its last axis, got {x.shape}")
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = ops.sqrt(ops.square(centred).mean(axis=-1, keepdims=True) + self.eps)
        return centred / deviation * self.gain + self.bias


class RMSNorm(Module):
    """Divides by the root of the mean square over the last axis, then scales (Zhang & Sennrich 2019, eq. 4): (...,H) ->
    (...,H), with gain (H,) one.

    Args:
        size: H.
        eps: is added to the mean square.
        dtype: of the gain.

    Raises:
        ValueError: called, the last axis is not H.

    Example:
        >>> models.RMSNorm(2)(Tensor([[1.0, 7.0]]))
        Tensor([[0.2, 1.4]], shape=(1, 2), dtype=float32, on the tape: mul)
    """

    def __init__(self, size: int, eps: float = 1e-6, *, dtype: Any = np.float32) -> None:
        self.gain = Parameter(np.ones(init.size("size", size)), dtype=dtype)
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        """Raises ValueError where the last axis is not H."""
        if x.shape[-1:] != self.gain.shape:
            raise ValueError(f"RMSNorm: x must have {self.gain.shape[0]} features in its last axis, got {x.shape}")
        return x / ops.sqrt(ops.square(x).mean(axis=-1, keepdims=True) + self.eps) * self.gain
