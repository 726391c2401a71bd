"""FrameLabeller: what is said in frames, none of which says where a symbol begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import LSTMCell
from tinygrad_rnn.models.layers import Dropout, Linear
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tensor import Tensor, as_tensor


class FrameLabeller(Module):
    """A recurrent stack in both directions over frames of F features, and a linear layer to the logits of each frame
    over C symbols and the blank, which is 0: for `ctc_loss` (Graves et al. 2006).

    Args:
        features, num_symbols, hidden_size: F, C and H.
        num_layers: of the stack.
        cell: a class made with `Cell`.
        dropout: while training, on the frames, between the layers and before the output.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        options: go to `Recurrent` and the cell.

    Raises:
        ValueError, TypeError: sizes and options do not fit.

    Example:
        >>> model = models.FrameLabeller(features=6, num_symbols=4, hidden_size=8)
        >>> logits = model(np.ones((20, 2, 6), np.float32), lengths=[20, 15])
        >>> logits.shape
        (20, 2, 5)
    """

    def __init__(
        self,
        features: int,
        num_symbols: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: type[Cell] = LSTMCell,
        dropout: float = 0.0,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        rng = init.generator(rng)
        self.recurrent = Recurrent(
            cell, features, hidden_size, num_layers, bidirectional=True, dtype=dtype, rng=rng, **options
        )
        self.recurrent.dropout = init.rate("dropout", dropout)  # of a single layer it is no mistake here
        self.output = Linear(self.recurrent.output_size, num_symbols + 1, dtype=dtype, rng=rng)
        self.dropout = Dropout(dropout)

    def __call__(self, frames: Any, lengths: Any, rng: np.random.Generator | None = None) -> Tensor:
        """Frames (T,B,F), of which row b has lengths[b] -> logits (T,B,C+1). Raises ValueError for lengths that do
        not fit."""
        outputs, _ = self.recurrent(self.dropout(as_tensor(frames), rng), lengths=lengths, rng=rng)
        return self.output(self.dropout(outputs, rng))
