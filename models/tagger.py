"""Tagger: a tag for each word of a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array, HostArray, to_host, xp
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import LSTMCell
from tinygrad_rnn.models.crf import CRF
from tinygrad_rnn.models.embedding import Embedding
from tinygrad_rnn.models.layers import Dropout, Linear
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.pooling import last
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tensor import Tensor

LETTER_SIZE, SPELLING_SIZE = 16, 24
"""Of a letter's vector, and of what is read of a word's spelling in each direction."""
NO_TAG = -1
"""In the place of a tag that does not count."""


class Tagger(Module):
    """A recurrent stack in both directions over words, and a linear layer to the scores of K tags.

    Args:
        vocab_size, num_tags, embedding_size, hidden_size: V, K, E and H.
        num_layers: of the stack.
        cell: a class made with `Cell`.
        dropout: while training, on the embeddings, between the layers and before the output (Zaremba et al. 2014).
        num_letters: where there are so many letters, a word is also a vector that a smaller layer reads from its
            letters in both directions (Ling et al. 2015).
        crf: the score of a sentence's tags has that of each tag after the one before it, too (Lafferty et al. 2001;
            Huang et al. 2015).
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        options: go to `Recurrent` and the cell.

    Example:
        >>> model = models.Tagger(vocab_size=10, num_tags=3, embedding_size=4, hidden_size=8, crf=True)
        >>> scores = model(np.array([[1, 2], [3, 4], [5, 0]]), lengths=[3, 2])
        >>> scores.shape, [len(tags) for tags in model.best(scores, [3, 2])]
        ((3, 2, 3), [3, 2])
    """

    def __init__(
        self,
        vocab_size: int,
        num_tags: int,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: type[Cell] = LSTMCell,
        dropout: float = 0.0,
        *,
        num_letters: int | None = None,
        crf: bool = False,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        rng = init.generator(rng)
        made: dict[str, Any] = {"bidirectional": True, "dtype": dtype, "rng": rng, **options}
        self.words = Embedding(vocab_size, embedding_size, dtype=dtype, rng=rng)
        self.letters = self.spelling = None
        inputs = embedding_size
        if num_letters is not None:
            self.letters = Embedding(num_letters, LETTER_SIZE, dtype=dtype, rng=rng)
            self.spelling = Recurrent(cell, LETTER_SIZE, SPELLING_SIZE, **made)
            inputs += self.spelling.output_size
        self.recurrent = Recurrent(cell, inputs, hidden_size, num_layers, **made)
        self.recurrent.dropout = init.rate("dropout", dropout)  # of a single layer it is no mistake here
        self.output = Linear(self.recurrent.output_size, num_tags, dtype=dtype, rng=rng)
        self.dropout = Dropout(dropout)
        self.crf = CRF(num_tags, dtype=dtype) if crf else None

    def __call__(self, ids: Any, lengths: Any, spelled: Any = None, rng: np.random.Generator | None = None) -> Tensor:
        """The scores of the tags of words.

        Args:
            ids: words (T,B).
            lengths: (B,), of the sentences.
            spelled: the letters (L,N) of the N different forms of words, how many each has (N,), and which form each
                word has (T,B).
            rng: a generator makes the model train: it draws dropout.

        Returns:
            (T,B,K).

        Raises:
            ValueError: letters are missing, or nothing reads them.
        """
        if (spelled is None) != (self.spelling is None):
            raise ValueError(f"a tagger {'without' if spelled is None else 'with'} num_letters was expected")
        inputs = self.words(ids)
        if self.letters is not None and self.spelling is not None:
            letters, sizes, forms = spelled
            read, _ = self.spelling(self.letters(letters), lengths=sizes)
            inputs = ops.concatenate([inputs, ops.take(last(read, sizes, directions=2), forms)], axis=-1)
        outputs, _ = self.recurrent(self.dropout(inputs, rng), lengths=lengths, rng=rng)
        return self.output(self.dropout(outputs, rng))

    def loss(self, scores: Tensor, tags: Array, lengths: Any) -> Tensor:
        """The summed nats of the tags (T,B) by scores (T,B,K); those that are NO_TAG, padding among them, do not count.
        With a CRF, which scores whole sentences, they are taken for tag 0."""
        if self.crf is None:
            return ops.softmax_cross_entropy(scores, tags, ignore_index=NO_TAG, reduction="sum")
        return self.crf(scores, xp(tags).maximum(tags, 0), lengths, reduction="sum")

    def best(self, scores: Tensor, lengths: Any) -> list[HostArray]:
        """The likeliest tags of each row, word by word or, with a CRF, of the whole sentence (Viterbi 1967)."""
        found = to_host(scores.data).argmax(-1) if self.crf is None else self.crf.best(scores, lengths)[0]
        return [found[:length, row] for row, length in enumerate(to_host(lengths))]
