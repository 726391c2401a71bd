"""Naive Bayes: the label under which the symbols of an input are most probable, each taken by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.baselines.bag import Bag
from tinygrad_rnn.baselines.baseline import Baseline


class NaiveBayes(Baseline):
    """The multinomial model of McCallum & Nigam (1998) over n-grams, with their smoothing by 1:

        p(c | x) ~ p(c) prod_w p(w | c)^n(w, x)
        p(w | c) = (1 + n(w, c)) / (V + sum_v n(v, c))

    An input is a sequence of words or a text of characters, and an output a label.

    Args:
        order: how many symbols an n-gram has at most.

    Example:
        >>> texts = ["good film".split(), "bad film".split()]
        >>> baselines.NaiveBayes().fit(texts, ["+", "-"]).predict([["good"], ["bad", "bad"]])
        ['+', '-']
    """

    def __init__(self, order: int = 1) -> None:
        self.order = order

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        self.labels = list(dict.fromkeys(outputs))
        self.bag = Bag(inputs, self.order)
        number = {label: i for i, label in enumerate(self.labels)}
        of_row = np.array([number[label] for label in outputs])
        self.log_prior = np.log(np.bincount(of_row) / len(outputs))  # (L,)
        rows, columns, counts = self.bag.counts(inputs)
        shape = len(self.labels), len(self.bag)
        n = np.bincount(of_row[rows] * shape[1] + columns, counts, shape[0] * shape[1]).reshape(shape)
        self.log_likelihood = np.log((1 + n) / (shape[1] + n.sum(axis=1, keepdims=True)))  # (L,F)

    def _answer(self, inputs: list[Any]) -> list[Any]:
        rows, columns, counts = self.bag.counts(inputs)
        scores = [
            prior + np.bincount(rows, counts * likelihood[columns], len(inputs))
            for prior, likelihood in zip(self.log_prior, self.log_likelihood, strict=True)
        ]
        return [self.labels[i] for i in np.argmax(scores, axis=0)]
