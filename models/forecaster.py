"""Forecaster: the values of a series that come after a window, and how sure they are."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell
from tinygrad_rnn.models.layers import Dropout, Linear
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tensor import Tensor, as_tensor


class Forecaster(Module):
    """A recurrent stack reads a window of a series, and a linear layer says from its last output how far the next
    values lie above the window's last one, in each of Q quantiles: for `quantile_loss`. Only how far the values of the
    window lie above its last one is read, so that a series that moves as a whole moves its forecasts.

    Args:
        hidden_size: H.
        horizon: how many values are said.
        quantiles: Q.
        num_layers: of the stack.
        cell: a class made with `Cell`.
        dropout: while training, between the layers and before the output.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        options: go to `Recurrent` and the cell.

    Raises:
        ValueError, TypeError: sizes and options do not fit.

    Example:
        >>> model = models.Forecaster(hidden_size=8, horizon=3, quantiles=2)
        >>> model(np.ones((20, 5), np.float32)).shape  # (T,B) -> (B,horizon,Q)
        (5, 3, 2)
    """

    def __init__(
        self,
        hidden_size: int,
        horizon: int,
        quantiles: int = 1,
        num_layers: int = 1,
        cell: type[Cell] = GRUCell,
        dropout: float = 0.0,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        rng, self.horizon, self.quantiles = init.generator(rng), horizon, quantiles
        self.recurrent = Recurrent(cell, 1, hidden_size, num_layers, dtype=dtype, rng=rng, **options)
        self.recurrent.dropout = init.rate("dropout", dropout)  # of a single layer it is no mistake here
        self.output = Linear(self.recurrent.output_size, horizon * quantiles, dtype=dtype, rng=rng)
        self.dropout = Dropout(dropout)

    def __call__(self, xs: Any, rng: np.random.Generator | None = None) -> Tensor:
        """Windows (T,B) -> quantiles of the values after them (B,horizon,Q)."""
        window = as_tensor(xs)
        last = window[-1]
        outputs, _ = self.recurrent((window - last).reshape((*window.shape, 1)), rng=rng)
        ahead = self.output(self.dropout(outputs[-1], rng)).reshape((-1, self.horizon, self.quantiles))
        return ahead + last.reshape((-1, 1, 1))


def quantile_loss(forecast: Tensor, target: Any, quantiles: Any) -> Tensor:
    """The summed quantile loss (Koenker & Bassett 1978), which is least where a part q of the targets lies below each
    forecast: (q - [target < forecast]) * (target - forecast). For the median it is half of the absolute error.

    Args:
        forecast: (...,Q).
        target: (...); one that is NaN, unknown, adds nothing.
        quantiles: (Q,), between 0 and 1.

    Returns:
        A scalar.

    Example:
        >>> models.quantile_loss(Tensor([[1.0], [5.0]]), [3.0, 4.0], [0.5]).item()
        1.5
    """
    lib, dtype = forecast.xp, forecast.dtype
    levels = lib.asarray(np.asarray(quantiles, dtype=dtype))
    values = lib.asarray(target, dtype=dtype)[..., None]
    known = ~lib.isnan(values)
    above = (Tensor(lib.where(known, values, 0)) - forecast) * known.astype(dtype)
    return ops.sum(ops.maximum(above * levels, above * (levels - 1)))
