"""Logistic regression: a weight for each symbol and label, fitted so that the right labels are the most probable."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.baselines.bag import Bag
from tinygrad_rnn.baselines.baseline import Baseline

_SLOPE = 1e-3
"""Where the gradient has become so small a part of what it was at first, the weights are fitted."""


class LogisticRegression(Baseline):
    """Multinomial logistic regression on which n-grams there are, not how often (Pang, Lee & Vaithyanathan 2002), as
    vectors of length 1. An input is a sequence of words or a text of characters, and an output a label.

    What it makes least is the sum of the nats of the labels and of `penalty` / 2 times the squared weights, by
    conjugate gradients (Polak & Ribiere 1969), scaled by about the curvature, from 0: nothing is drawn.

    Args:
        order: how many symbols an n-gram has at most.
        penalty: of squared weights.
        steps: of conjugate gradients, at most.

    Example:
        >>> texts = ["good film".split(), "bad film".split()]
        >>> baselines.LogisticRegression().fit(texts, ["+", "-"]).predict([["good"], ["bad", "bad"]])
        ['+', '-']
    """

    def __init__(self, order: int = 1, penalty: float = 0.1, steps: int = 100) -> None:
        self.order, self.penalty, self.steps = order, penalty, steps

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        self.labels = list(dict.fromkeys(outputs))
        self.bag = Bag(inputs, self.order)
        number = {label: i for i, label in enumerate(self.labels)}
        right = np.zeros((len(self.labels), len(inputs)))  # (L,N)
        right[[number[label] for label in outputs], np.arange(len(inputs))] = 1.0
        table = self._features(inputs)

        self.weights = np.zeros((len(self.labels), len(self.bag) + 1))  # (L,F+1)
        scores = np.zeros_like(right)
        _, columns, values = table
        # About the curvature along each weight: without it common words would hold back rare ones.
        curvature = self.penalty + 0.25 * np.bincount(columns, values**2, self.weights.shape[1])
        direction, before, scaled_before, first = np.zeros_like(self.weights), np.ones_like(self.weights), 1.0, 0.0
        for _ in range(self.steps):
            error = _softmax(scores) - right
            gradient = self.penalty * self.weights + _transposed(error, table, self.weights.shape[1])
            length = float(np.linalg.norm(gradient))
            first = first or length
            if length <= _SLOPE * first:
                break
            scaled = gradient / curvature
            direction *= max(float(np.vdot(scaled, gradient - before)) / scaled_before, 0.0)
            direction -= scaled
            before, scaled_before = gradient, float(np.vdot(scaled, gradient))
            along = _scores(direction, table, len(inputs))
            size = self._step(scores, along, right, direction)
            self.weights += size * direction
            scores += size * along

    def _step(self, scores: HostArray, along: HostArray, right: HostArray, direction: HostArray) -> float:
        """How far to go in this direction, along which scores change by so much: three of Newton's steps. Scores are
        linear in the weights, so that only they are needed."""
        size, tilt, bend = (
            0.0,
            self.penalty * np.vdot(self.weights, direction),
            self.penalty * np.vdot(direction, direction),
        )
        for _ in range(3):
            p = _softmax(scores + size * along)
            slope = np.vdot(p - right, along) + tilt + size * bend
            mean = (p * along).sum(axis=0)
            size -= float(slope / (np.vdot(p, (along - mean) ** 2) + bend))
        return size

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return [self.labels[i] for i in _scores(self.weights, self._features(inputs), len(inputs)).argmax(axis=0)]

    def _features(self, inputs: list[Any]) -> _Table:
        """A column for each n-gram, and a last one that is 1."""
        rows, columns, _ = self.bag.counts(inputs)
        lengths = np.sqrt(np.bincount(rows, minlength=len(inputs)))
        every = np.arange(len(inputs))
        return (
            np.concatenate((rows, every)),
            np.concatenate((columns, np.full_like(every, len(self.bag)))),
            np.concatenate((1 / lengths[rows], np.ones(len(inputs)))),
        )


_Table = tuple[HostArray, HostArray, HostArray]
"""The entries of a table (N,F) that are not 0: rows, columns and values."""


def _scores(weights: HostArray, table: _Table, inputs: int) -> HostArray:
    """The table times weights (L,F), as (L,N)."""
    rows, columns, values = table
    return np.stack([np.bincount(rows, values * w[columns], inputs) for w in weights])


def _transposed(error: HostArray, table: _Table, features: int) -> HostArray:
    """The transposed table times errors (L,N), as (L,F)."""
    rows, columns, values = table
    return np.stack([np.bincount(columns, values * e[rows], features) for e in error])


def _softmax(scores: HostArray) -> HostArray:
    p: HostArray = np.exp(scores - scores.max(axis=0))
    p /= p.sum(axis=0)
    return p
