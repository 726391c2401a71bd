"""Symbols by where they stand, for baselines that do not see that."""

from __future__ import annotations

from typing import Any

from tinygrad_rnn.baselines.baseline import Baseline


class AtPlaces(Baseline):
    """Another baseline, for which each symbol at each place is a symbol of its own: `AtPlaces(LogisticRegression())` is
    linear in which symbol stands where. It sees a sequence all at once, and has nothing to remember.

    Args:
        baseline: of sequences of symbols.

    Example:
        >>> method = baselines.AtPlaces(baselines.NaiveBayes())
        >>> method.fit(["ab", "ba", "ab", "ba"], [1, 2, 1, 2]).predict(["ba"])
        [2]
    """

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        self.baseline.fit([list(enumerate(symbols)) for symbols in inputs], outputs)

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return self.baseline.predict([list(enumerate(symbols)) for symbols in inputs])
