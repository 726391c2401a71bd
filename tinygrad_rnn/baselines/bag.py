"""Sequences as bags of n-grams: what is in them, without where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import TextError


class Bag:
    """The n-grams of some sequences, each with a number. A sequence is a list of words, say, or a text, whose symbols
    are characters.

    Args:
        sequences: in which n-grams are found.
        order: how many symbols an n-gram has at most.

    Example:
        >>> rows, columns, counts = baselines.Bag(["aba"]).counts(["aa", "ba"])
        >>> rows, columns, counts
        (array([0, 1, 1]), array([0, 1, 0]), array([2, 1, 1]))
    """

    def __init__(self, sequences: Iterable[Sequence[Any]], order: int = 1) -> None:
        if order < 1:
            raise TextError(f"the order of n-grams must be at least 1, got {order}")
        self.order = order
        found = dict.fromkeys(ngram for sequence in sequences for ngram in self._ngrams(sequence))
        self._numbers = {ngram: number for number, ngram in enumerate(found)}

    def __len__(self) -> int:
        return len(self._numbers)

    def counts(self, sequences: Iterable[Sequence[Any]]) -> tuple[HostArray, HostArray, HostArray]:
        """How often which sequence has which n-gram: the entries that are not 0 of a table as rows, columns and counts,
        each (entries,). N-grams that have no number are left out."""
        entries = [
            (row, self._numbers[ngram], count)
            for row, sequence in enumerate(sequences)
            for ngram, count in Counter(self._ngrams(sequence)).items()
            if ngram in self._numbers
        ]
        rows, columns, counts = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        return rows, columns, counts

    def _ngrams(self, sequence: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        for n in range(1, self.order + 1):
            yield from zip(*(sequence[i:] for i in range(n)), strict=False)
