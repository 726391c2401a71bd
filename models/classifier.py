"""Classifier: one of several classes, of a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell
from tinygrad_rnn.models.embedding import Embedding
from tinygrad_rnn.models.layers import Dropout, Linear
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.padding import checked_lengths
from tinygrad_rnn.models.pooling import AttentionPooling, last, masked_max, masked_mean
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tensor import Tensor, as_tensor

POOLINGS = ("last", "mean", "max", "attention")
"""How the outputs of all steps become one vector."""


class Classifier(Module):
    """Embedding (V,E), a recurrent stack, its outputs pooled over each row's own steps, and a linear layer to the
    logits of C classes.

    Args:
        vocab_size, num_classes, embedding_size, hidden_size: V, C, E and H.
        num_layers: of the stack.
        cell: a class made with `Cell`.
        pooling: "last", "mean", "max" or "attention" (`AttentionPooling`).
        dropout: while training, on the embeddings, between the layers and before the output (Zaremba et al. 2014).
        bidirectional: the stack reads in both directions.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        options: go to `Recurrent` and the cell.

    Raises:
        ValueError, TypeError: sizes and options do not fit.

    Example:
        >>> model = models.Classifier(vocab_size=10, num_classes=2, embedding_size=4, hidden_size=8)
        >>> model(np.array([[1, 2], [3, 4], [5, 0]]), lengths=[3, 2]).shape  # (T,B) -> (B,C)
        (2, 2)
    """

    def __init__(
        self,
        vocab_size: int,
        num_classes: int,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: type[Cell] = GRUCell,
        pooling: str = "mean",
        dropout: float = 0.0,
        *,
        bidirectional: bool = True,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        rng, self.pooling = init.generator(rng), pooling
        self.embedding = Embedding(vocab_size, embedding_size, dtype=dtype, rng=rng)
        self.recurrent = Recurrent(
            cell, embedding_size, hidden_size, num_layers, bidirectional=bidirectional, dtype=dtype, rng=rng, **options
        )
        self.recurrent.dropout = init.rate("dropout", dropout)  # of a single layer it is no mistake here
        if pooling == "attention":
            self.attention = AttentionPooling(self.recurrent.output_size, dtype=dtype)
        self.output = Linear(self.recurrent.output_size, num_classes, dtype=dtype, rng=rng)
        self.dropout = Dropout(dropout)

    def __call__(self, ids: Any, lengths: Any, rng: np.random.Generator | None = None) -> Tensor:
        """ids (T,B), of which row b has lengths[b] -> logits (B,C). Raises ValueError for lengths that do not fit."""
        return self.output(self.dropout(self._pooled(self._read(ids, lengths, rng), lengths), rng))

    def attention_weights(self, ids: Any, lengths: Any) -> Tensor:
        """How much each step counts, where the pooling is attention: ids (T,B) -> (B,T). Raises ValueError for another
        pooling, and for lengths that do not fit."""
        if self.pooling != "attention":
            raise ValueError(f"weights are those of attention, and the pooling is {self.pooling}")
        return self.attention(self._read(ids, lengths), lengths)[1]

    def _read(self, ids: Any, lengths: Any, rng: np.random.Generator | None = None) -> Tensor:
        checked_lengths(ids, lengths)
        outputs, _ = self.recurrent(self.dropout(self.embedding(ids), rng), lengths=lengths, rng=rng)
        return as_tensor(outputs)

    def _pooled(self, outputs: Tensor, lengths: Any) -> Tensor:
        if self.pooling == "attention":
            return self.attention(outputs, lengths)[0]
        if self.pooling == "last":
            return last(outputs, lengths, self.recurrent.directions)
        return (masked_mean if self.pooling == "mean" else masked_max)(outputs, lengths)
