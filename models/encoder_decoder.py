"""EncoderDecoder: from one sequence to another, of another length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops import scan
from tinygrad_rnn.models import init
from tinygrad_rnn.models.attention import AdditiveAttention, Attention, DotAttention, GeneralAttention
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell
from tinygrad_rnn.models.decoding import Decoded, decode
from tinygrad_rnn.models.embedding import Embedding
from tinygrad_rnn.models.layers import Dropout, Linear
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.padding import checked_lengths, within_lengths
from tinygrad_rnn.models.pooling import last
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.models.softmaxes import SOFTMAXES
from tinygrad_rnn.ops.noise import dropout_mask
from tinygrad_rnn.ops.rows import Reduction
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tensor import Tensor, as_tensor

ATTENTIONS = ("additive", "dot", "general", "none")
"""How a decoder looks back at what was read."""


class Encoded(NamedTuple):
    """What a decoder looks back at: outputs of the encoder (B,S,M), which of them count (B,S), and their keys where
    these are something else."""

    values: Tensor
    mask: Tensor
    keys: Tensor | None


class DecoderState(NamedTuple):
    """Where a decoder stands: for each layer the states of its cell, (B,...) each, and what it is fed from the step
    before, (B,H), if anything."""

    states: tuple[tuple[Tensor, ...], ...]
    fed: Tensor | None


class EncoderDecoder(Module):
    """A recurrent stack reads a sequence of ids, in both directions unless told, and another one writes a sequence (Cho
    et al. 2014, Sutskever et al. 2014).

    The second begins with states that are tanh of a linear layer, `bridge`, of what the first has read last, and at
    every step reads the id before the one that it is asked for. States of a cell that are no vectors, or that it lists
    in `kept`, begin as they always do.

    Attention, by its name:

    - "additive" (Bahdanau et al. 2015): the output of the step before attends to all outputs of the encoder, and what
      it finds is a part of the step's input.
    - "dot" and "general" (Luong et al. 2015): the step's own output attends, and what the softmax is made of, h~ =
      tanh([output; found] C), is a part of the next step's input (their section 3.3). "additive" has that h~ too,
      instead of a maxout.
    - "none" has nothing but the first states.

    Args:
        source_size, target_size: how many ids each side has.
        embedding_size, hidden_size: E of both sides, and H, of which each direction of the encoder has half.
        num_layers: of both stacks.
        cell: a class made with `Cell`.
        attention: "additive", "dot", "general" or "none".
        dropout: while training, on the embeddings, between the layers and before the softmax.
        softmax: as in `LanguageModel`.
        bidirectional: the encoder reads in both directions.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        options: go to the cell.

    Raises:
        ValueError, TypeError: sizes and options do not fit.

    Example:
        >>> model = models.EncoderDecoder(source_size=10, target_size=9, embedding_size=4, hidden_size=8)
        >>> source, lengths = np.array([[4, 5], [6, 7], [8, 0]]), [3, 2]  # (S,B), (B,)
        >>> nats = model.loss(source, lengths, inputs=[[1, 1], [3, 4]], targets=[[3, 4], [2, 2]])
        >>> said = model.decode(source, lengths, start=1, end=2, max_length=5)
        >>> nats.shape, len(said.sequences)
        ((), 2)
    """

    combined: Linear
    """C, of a decoder that attends."""

    def __init__(
        self,
        source_size: int,
        target_size: int,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: type[Cell] = GRUCell,
        attention: str = "additive",
        dropout: float = 0.0,
        *,
        softmax: str = "full",
        bidirectional: bool = True,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        for name, value, known in (("attention", attention, ATTENTIONS), ("softmax", softmax, tuple(SOFTMAXES))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if init.size("hidden_size", hidden_size) % 2 and bidirectional:
            raise ValueError(f"hidden_size must be even, half for each direction of the encoder, got {hidden_size}")
        given: dict[str, Any] = {"dtype": dtype, "rng": init.generator(rng)}
        self.source = Embedding(source_size, embedding_size, **given)
        self.target = Embedding(target_size, embedding_size, **given)
        half = hidden_size // 2 if bidirectional else hidden_size
        self.encoder = Recurrent(cell, embedding_size, half, num_layers, bidirectional, **given, **options)
        self.encoder.dropout = init.rate("dropout", dropout)  # of a single layer it is no mistake here
        self.dropout = Dropout(dropout)
        found, self.hidden_size = self.encoder.output_size, hidden_size
        size = embedding_size + {"none": 0, "additive": found}.get(attention, hidden_size)
        self.decoder: list[Cell] = []
        for _ in range(num_layers):
            self.decoder.append(cell(size, hidden_size, **given, **options))
            size = self.decoder[-1].output_size
        if not (total := sum(width for _, _, width in self._bridged())):
            raise ValueError(f"cell must have a state that can begin with what was read, a vector; got {cell.__name__}")
        self.bridge = Linear(found, total, **given)
        self.attention: Attention | None = None
        if attention == "additive":
            self.attention = AdditiveAttention(size, found, hidden_size, **given)
        elif attention != "none":
            self.attention = DotAttention() if attention == "dot" else GeneralAttention(size, found, **given)
        self.feeds = attention in ("dot", "general")
        if self.attention is not None:
            self.combined = Linear(size + found, hidden_size, **given)
            size = hidden_size
        self.output = SOFTMAXES[softmax](size, target_size, **given)

    def _bridged(self) -> list[tuple[int, int, int]]:
        """The states that begin with what was read: layer, number and size of each."""
        return [
            (layer, number, shape[0])
            for layer, cell in enumerate(self.decoder)
            for number, (name, shape) in enumerate(zip(cell.states, cell.state_shapes, strict=True))
            if len(shape) == 1 and name not in cell.kept.split()
        ]

    def encode(
        self, source: Any, lengths: Any, rng: np.random.Generator | None = None
    ) -> tuple[DecoderState, Encoded | None]:
        """source (S,B), of which row b has lengths[b] -> where a decoder begins, and what it looks back at, if it does.
        Raises ValueError for lengths that do not fit."""
        checked_lengths(source, lengths)
        outputs, _ = self.encoder(self.dropout(self.source(source), rng), lengths=lengths, rng=rng)
        first = ops.tanh(self.bridge(last(outputs, lengths, self.encoder.directions)))
        states, begin = [[*cell.beginning(len(first))] for cell in self.decoder], 0
        for layer, number, width in self._bridged():
            states[layer][number] = first[:, begin : begin + width]
            begin += width
        fed = Tensor(first.xp.zeros((len(first), self.hidden_size), first.dtype)) if self.feeds else None
        state = DecoderState(tuple(map(tuple, states)), fed)
        if self.attention is None:
            return state, None
        values = ops.swapaxes(outputs, 0, 1)
        keys = self.attention.keys(values)
        mask = as_tensor(within_lengths(outputs, lengths)[..., 0].T)
        return state, Encoded(values, mask, None if keys is values else keys)

    def step(
        self, state: DecoderState, y: Tensor, read: Encoded | None, masks: Sequence[Tensor] = ()
    ) -> tuple[DecoderState, Tensor, Tensor | None]:
        """One time step: y (B,E) -> where the decoder stands then, what the softmax is made of (B,H), and the weights
        of the attention (B,S), if there is one. `masks` (B,H) are of the dropout between layers."""
        if self.attention is None or read is None:
            states, h = self._advance(state.states, y, masks)
            return DecoderState(states, None), h, None
        if state.fed is None:
            query = self._query(state.states[-1])
            found, weights = self.attention(query, *read)
            states, h = self._advance(state.states, ops.concatenate([y, found], axis=-1), masks)
        else:
            states, h = self._advance(state.states, ops.concatenate([y, state.fed], axis=-1), masks)
            found, weights = self.attention(h, *read)
        seen = ops.tanh(self.combined(ops.concatenate([h, found], axis=-1)))
        return DecoderState(states, seen if self.feeds else None), seen, weights

    def _query(self, state: tuple[Tensor, ...]) -> Tensor:
        """What the last layer puts out of its state, before it reads. Where the output needs an input it is zeros, also
        for a whole step of a cell that returns its output."""
        cell = self.decoder[-1]
        nothing = Tensor(state[0].xp.zeros((len(state[0]), cell.input_size), state[0].dtype))
        y = None if callable(cell.output) else cell.stepped(nothing, state)[1]
        return cell.put_out(nothing, state, y)

    def _advance(self, states: Any, x: Tensor, masks: Sequence[Tensor]) -> tuple[Any, Tensor]:
        """The stack of cells in one time step: their new states, and the output of the last."""
        new = []
        for layer, (cell, state) in enumerate(zip(self.decoder, states, strict=True)):
            x = x * masks[layer - 1] if layer and masks else x
            after, y = cell.stepped(x, state)
            new.append(after)
            x = cell.put_out(x, after, y)
        return tuple(new), x

    def __call__(
        self, source: Any, lengths: Any, inputs: Any, rng: np.random.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the softmax is made of, and what was attended to.

        Args:
            source: (S,B).
            lengths: (B,), of the source.
            inputs: ids (T,B) that the decoder reads.
            rng: a generator makes the model train: it draws dropout.

        Returns:
            (T,B,H), and the weights of the attention (T,B,S), None without one.

        Raises:
            ValueError: shapes and lengths do not fit.
        """
        state, read = self.encode(source, lengths, rng)
        ys = self.dropout(self.target(inputs), rng)
        masks: tuple[Tensor, ...] = ()
        if rng is not None and self.dropout.rate:
            shapes = [(*ys.shape[:2], cell.output_size) for cell in self.decoder[:-1]]
            masks = tuple(Tensor(dropout_mask(shape, self.dropout.rate, rng, ys)) for shape in shapes)

        def decoder(state: DecoderState, given: tuple[Tensor, Any]) -> Any:
            state, seen, weights = self.step(state, given[0], read, given[1])
            return state, (seen, weights)

        _, (seen, weights) = scan(decoder, state, (ys, masks))
        return self.dropout(seen, rng), weights

    def loss(
        self,
        source: Any,
        lengths: Any,
        inputs: Any,
        targets: Any,
        ignore_index: int | None = None,
        rng: np.random.Generator | None = None,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """Teacher forcing: the decoder reads inputs and is asked for targets at every step.

        Args:
            source, lengths: (S,B) and (B,).
            inputs, targets: (T,B).
            ignore_index: targets that are this do not count.
            rng: a generator makes the model train: it draws dropout.
            reduction: "mean" over what counts, "sum", or "none".

        Returns:
            Nats, a scalar unless the reduction is "none".
        """
        seen, _ = self(source, lengths, inputs, rng)
        return self.output.loss(seen, targets, ignore_index=ignore_index, reduction=reduction)

    def decode(self, source: Any, lengths: Any, start: int, end: int, **options: Any) -> Decoded:
        """What the model writes of source (S,B), from `start` to `end`; for `options` see `models.decode`."""

        def scored(state: tuple[DecoderState, Encoded | None], ids: Any) -> Any:
            after, seen, _ = self.step(state[0], self.target(ids), state[1])
            return (after, state[1]), self.output.scores(seen)

        with no_grad():
            return decode(scored, self.encode(source, lengths), start, end, **options)
