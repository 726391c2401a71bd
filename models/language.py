"""LanguageModel: the next token's distribution, given all before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.embedding import Embedding
from tinygrad_rnn.models.layer_steps import State
from tinygrad_rnn.models.layers import Dropout
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.padding import steps_within
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.models.softmaxes import SOFTMAXES, FullSoftmax, Softmax
from tinygrad_rnn.ops.rows import Reduction
from tinygrad_rnn.tensor import Parameter, Tensor


def _cell_called(cell: Any) -> Any:
    """The class that is called so; what is no name as it is. Raises ValueError."""
    if isinstance(cell, str) and cell not in CELLS:
        raise ValueError(f"cell must be rnn, gru, lstm, one of models.variants or a class made with Cell, got {cell!r}")
    return CELLS[cell] if isinstance(cell, str) else cell


class LanguageModel(Module):
    """Embedding (V,E), a recurrent stack, and a softmax over the vocabulary (Mikolov et al. 2010), for words or
    characters alike.

    Args:
        vocab_size, embedding_size, hidden_size: V, E and H; a list of H, one per layer.
        num_layers: 1, or as many as the lists have.
        cell: "rnn", "gru", "lstm", a name of `models.variants.VARIANTS`, or a class made with `Cell`; or a list, one
            per layer.
        tied: uses the embedding table for the output of a full softmax too (Press & Wolf 2017), which needs E = H; None
            does so where that is so.
        dropout: while training, on the embeddings, between the layers and before the output (Zaremba et al. 2014).
        softmax: "full", "adaptive" or "two-level" (`FullSoftmax`, `AdaptiveSoftmax`, `TwoLevelSoftmax`); the last two
            are for many tokens, of which the common ones have low ids.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        options: go to `Recurrent` and the cell.

    Raises:
        ValueError, TypeError: sizes and options do not fit.

    Example:
        >>> model = models.LanguageModel(vocab_size=10, embedding_size=4, hidden_size=8, cell="lstm")
        >>> ids = np.array([[1], [2], [3]])  # (T,B)
        >>> logits, (h, c) = model(ids)
        >>> logits.shape
        (3, 1, 10)
        >>> nats, state = model.loss(ids[:-1], ids[1:])
        >>> nats.shape
        ()
    """

    output_bias: Parameter
    """That of a full softmax, which alone has it."""

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int | None = None,
        cell: str | type[Cell] | Sequence[str | type[Cell]] = "gru",
        tied: bool | None = False,
        dropout: float = 0.0,
        *,
        softmax: str = "full",
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        cells = [_cell_called(each) for each in cell] if isinstance(cell, list | tuple) else _cell_called(cell)
        if softmax not in SOFTMAXES:
            raise ValueError(f"softmax must be {', '.join(SOFTMAXES)}, got {softmax!r}")
        if tied and softmax != "full":
            raise ValueError(f"tied=True needs a full softmax, whose columns are the tokens, got {softmax!r}")
        if options.get("bidirectional"):
            raise ValueError("a language model cannot be bidirectional: it would see the word that it is to predict")
        rng, vocab_size = init.generator(rng), init.size("vocab_size", vocab_size)
        self.embedding = Embedding(vocab_size, embedding_size, dtype=dtype, rng=rng)
        self.recurrent = Recurrent(cells, embedding_size, hidden_size, num_layers, dtype=dtype, rng=rng, **options)
        self.recurrent.dropout = init.rate("dropout", dropout)  # of a single layer it is no mistake here
        if tied is None:
            tied = self.recurrent.output_size == embedding_size and softmax == "full"
        if tied and self.recurrent.output_size != embedding_size:
            raise ValueError(
                f"tied=True needs embedding_size == hidden_size, got {embedding_size} and {self.recurrent.output_size}"
            )
        shape = (self.recurrent.output_size, vocab_size)
        self.output_weight: Parameter | None = None
        self.output: Softmax | None = None
        if softmax != "full":
            self.output = SOFTMAXES[softmax](*shape, dtype=dtype, rng=rng)
        else:
            self.output_weight = None if tied else Parameter(init.glorot(rng, shape), dtype=dtype)
            self.output_bias = Parameter(np.zeros(vocab_size), dtype=dtype)
        self.dropout = Dropout(dropout)

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.embedding.weight.shape[0]

    @property
    def tied(self) -> bool:
        """Whether the embedding table is used for the output too."""
        return self.output is None and self.output_weight is None

    def hidden(
        self,
        ids: Any,
        state: State | None = None,
        lengths: Any = None,
        rng: np.random.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """ids (T,B) -> what the output layer sees (T,B,H), and the state to carry on from."""
        vectors = self.dropout(self.embedding(ids), rng)
        if vectors.ndim != 3:
            raise ValueError(f"LanguageModel: ids must have the shape (T, B), got {vectors.shape[:-1]}")
        outputs, state = self.recurrent(vectors, state, lengths, rng)
        return self.dropout(outputs, rng), state

    def softmax(self) -> Softmax:
        """What makes a distribution of each row of `hidden`."""
        if self.output is not None:
            return self.output
        return FullSoftmax.of(self.output_matrix(), self.output_bias)

    def output_matrix(self) -> Tensor:
        """The output weight (H,V) of a full softmax."""
        return self.embedding.weight.T if self.output_weight is None else self.output_weight

    def __call__(
        self,
        ids: Any,
        state: State | None = None,
        lengths: Any = None,
        rng: np.random.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """The logits of the token after each.

        Args:
            ids: (T,B).
            state: what an earlier call returned, to carry on from.
            lengths: (B,), where rows end at different steps.
            rng: a generator makes the model train: it draws dropout.

        Returns:
            (T,B,V) (log-probabilities, unless the softmax is full), and the state.

        Raises:
            IndexError: ids are outside the vocabulary.
        """
        outputs, state = self.hidden(ids, state, lengths, rng)
        return self.softmax().scores(outputs), state

    def loss(
        self,
        ids: Any,
        targets: Any,
        weights: Any = None,
        state: State | None = None,
        lengths: Any = None,
        rng: np.random.Generator | None = None,
        reduction: Reduction = "mean",
    ) -> tuple[Tensor, State]:
        """Teacher forcing: the model reads ids (T,B) and is asked for targets (T,B) at every step. The (T,B,V) logits
        never exist.

        Args:
            ids, targets: (T,B).
            weights: (T,B), how much each target weighs; unless told, 1 within `lengths`.
            state, lengths, rng: as in the call.
            reduction: "mean" over what has weight, "sum", or "none".

        Returns:
            Nats per token, a scalar unless the reduction is "none", and the state.
        """
        outputs, state = self.hidden(ids, state, lengths, rng)
        if weights is None and lengths is not None:
            weights = steps_within(outputs, lengths)
        return self.softmax().loss(outputs, targets, weights, reduction=reduction), state

    def batch_loss(
        self,
        batch: Any,
        rng: np.random.Generator | None = None,
        state: State | None = None,
        reduction: Reduction = "sum",
    ) -> tuple[Tensor, int, State]:
        """What `loss` gives of a batch as the room `data` makes them, and between the two how many tokens count."""
        loss, state = self.loss(batch.inputs, batch.targets, batch.weights, state, batch.lengths, rng, reduction)
        return loss, batch.tokens, state


def perplexity(nats: float) -> float:
    """exp of the mean nats per token: the number of equally likely tokens that would be as hard to guess.

    Example:
        >>> round(models.perplexity(np.log(50)), 6)
        50.0
    """
    return math.exp(min(nats, 700.0))
