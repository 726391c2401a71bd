"""Captioner: a text about a vector."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell
from tinygrad_rnn.models.decoding import Decoded, decode
from tinygrad_rnn.models.embedding import Embedding
from tinygrad_rnn.models.layers import Dropout, Linear
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tensor import Tensor, as_tensor


class Captioner(Module):
    """A recurrent stack reads at every step the word before and a layer's view of the vector (F,), and a softmax over
    the vocabulary says the next word: one to many (Vinyals et al. 2015 show the vector at the first step alone).

    Args:
        features, vocab_size, embedding_size, hidden_size: F, V, E and H.
        num_layers: of the stack.
        cell: a class made with `Cell`.
        dropout: while training, on what the stack reads, between the layers and before the output.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        options: go to `Recurrent` and the cell.

    Example:
        >>> model = models.Captioner(features=6, vocab_size=10, embedding_size=4, hidden_size=8)
        >>> vectors = np.ones((2, 6), np.float32)  # (B,F)
        >>> model(np.array([[1, 1], [3, 4], [5, 6]]), vectors).shape  # (T,B) -> (T,B,V)
        (3, 2, 10)
        >>> len(model.write(vectors, start=1, end=2).sequences)
        2
    """

    def __init__(
        self,
        features: int,
        vocab_size: int,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: type[Cell] = GRUCell,
        dropout: float = 0.0,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        rng = init.generator(rng)
        self.view = Linear(features, hidden_size, dtype=dtype, rng=rng)
        self.embedding = Embedding(vocab_size, embedding_size, dtype=dtype, rng=rng)
        inputs = embedding_size + hidden_size
        self.recurrent = Recurrent(cell, inputs, hidden_size, num_layers, dtype=dtype, rng=rng, **options)
        self.recurrent.dropout = init.rate("dropout", dropout)  # of a single layer it is no mistake here
        self.output = Linear(self.recurrent.output_size, vocab_size, dtype=dtype, rng=rng)
        self.dropout = Dropout(dropout)

    def __call__(self, ids: Any, vectors: Any, rng: np.random.Generator | None = None) -> Tensor:
        """The words before (T,B) and vectors (B,F) -> logits of the next word (T,B,V)."""
        return self._read(ids, ops.tanh(self.view(as_tensor(vectors))), None, rng)[0]

    def _read(self, ids: Any, seen: Tensor, state: Any, rng: np.random.Generator | None) -> tuple[Tensor, Any]:
        words = self.embedding(ids)
        inputs = ops.concatenate([words, ops.broadcast_to(seen, (words.shape[0], *seen.shape))], axis=-1)
        outputs, state = self.recurrent(self.dropout(inputs, rng), state, rng=rng)
        return self.output(self.dropout(outputs, rng)), state

    def write(self, vectors: Any, start: int, end: int, beam: int | None = None, max_length: int = 40) -> Decoded:
        """A text for each of vectors (B,F).

        Args:
            vectors: (B,F).
            start, end: the ids before and after a text.
            beam: the width of a search; without it the likeliest word is taken each time.
            max_length: in ids.

        Returns:
            What `decode` does.
        """
        seen = ops.tanh(self.view(as_tensor(vectors)))

        def step(state: Any, ids: Any) -> tuple[Any, Tensor]:
            (carried, view) = state
            logits, carried = self._read(ids.reshape((1, -1)), view, carried, None)
            return (carried, view), logits[0]

        # Of no step at all the state is the one to begin with.
        first = self._read(np.zeros((0, seen.shape[0]), np.int64), seen, None, None)[1]
        axes = (self.recurrent.batch_axes, 0)
        how: Any = {"how": "greedy"} if beam is None else {"how": "beam", "beam": beam}
        return decode(step, (first, seen), start, end, max_length=max_length, batch_axis=axes, **how)
