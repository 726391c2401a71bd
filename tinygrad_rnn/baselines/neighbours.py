"""The nearest neighbour: what was right for the input that is most alike."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.baselines.bag import Bag
from tinygrad_rnn.baselines.baseline import Baseline


class NearestNeighbour(Baseline):
    """The output of the input that has the largest cosine with the one that is asked for, of equal ones the first:
    between counts of n-grams, each times log(N / how many of the N inputs have it) (Spärck Jones 1972). A translation
    memory. An input is a sequence of words or a text of characters, and an output anything.

    Args:
        order: how many symbols an n-gram has at most.

    Example:
        >>> method = baselines.NearestNeighbour()
        >>> method.fit(["guten tag", "danke"], ["good day", "thanks"]).predict(["tag"])
        ['good day']
    """

    def __init__(self, order: int = 3) -> None:
        self.order = order

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        self.outputs, self.bag = outputs, Bag(inputs, self.order)
        rows, columns, counts = self.bag.counts(inputs)
        self.rarity = np.log(len(inputs) / np.maximum(np.bincount(columns, minlength=len(self.bag)), 1))
        weights = counts * self.rarity[columns]
        norms = np.sqrt(np.bincount(rows, weights**2, len(inputs)))
        by_column = np.argsort(columns, kind="stable")
        self.rows, weights = rows[by_column], weights[by_column]
        self.weights = weights / np.maximum(norms[self.rows], 1e-300)  # an input of nothing rare is like no other
        self.begins = np.searchsorted(columns[by_column], np.arange(len(self.bag) + 1))

    def _answer(self, inputs: list[Any]) -> list[Any]:
        rows, columns, counts = self.bag.counts(inputs)
        cuts = np.searchsorted(rows, np.arange(len(inputs) + 1))
        return [self.outputs[self._nearest(columns[a:b], counts[a:b])] for a, b in pairwise(cuts)]

    def _nearest(self, columns: HostArray, counts: HostArray) -> int:
        """The number of the input that is most like one with these n-grams."""
        parts = [slice(self.begins[column], self.begins[column + 1]) for column in columns]
        if not parts:
            return 0
        alike = [self.weights[part] * (n * self.rarity[c]) for part, n, c in zip(parts, counts, columns, strict=True)]
        there = np.concatenate([self.rows[part] for part in parts])
        return int(np.bincount(there, np.concatenate(alike), len(self.outputs)).argmax())
