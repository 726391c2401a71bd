"""Word for word: each word of the source as it is translated most often, in the order of the source."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.baselines.baseline import Baseline

PAIRS_LOOKED_AT = 4_000_000
"""Of a source word and a target word in one example: a round of EM takes less than a second for so many."""


class WordForWord(Baseline):
    """Of each source word the likeliest translation by model 1 of Brown et al. (1993); none where the word stands for
    less than half a target word on average, and the word itself where it was never seen. Inputs and outputs are
    sequences of words, or of characters; an answer is a list. Of very many examples it learns from the first.

    Args:
        rounds: of its EM.

    Example:
        >>> sentences, translations = [["das", "haus"], ["das"]], [["the", "house"], ["the"]]
        >>> baselines.WordForWord().fit(sentences, translations).predict([["haus"]])
        [['house']]
    """

    def __init__(self, rounds: int = 8) -> None:
        self.rounds = rounds

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        pairs = np.cumsum([(1 + len(x)) * len(y) for x, y in zip(inputs, outputs, strict=True)])
        some = slice(max(int(np.searchsorted(pairs, PAIRS_LOOKED_AT, "right")), 1))
        sources, targets = _numbered(inputs[some]), _numbered(outputs[some])
        x = [np.array([0, *(sources[word] for word in row)]) for row in inputs[some]]  # 0: a word that is not there
        y = [np.array([targets[word] for word in row], dtype=np.int64) for row in outputs[some]]
        source, target, place = _beside(x, y)
        width = len(targets) + 1
        keys, pair = np.unique(source * width + target, return_inverse=True)
        of_source = keys // width
        expected: HostArray = np.ones(len(keys))
        for _ in range(self.rounds):
            likelihood = (expected / np.bincount(of_source, expected)[of_source])[pair]  # of the target, by the source
            expected = np.bincount(pair, likelihood / np.bincount(place, likelihood)[place], len(keys))
        order = np.argsort(expected, kind="stable")
        best = np.zeros(len(sources) + 1, dtype=np.int64)
        best[of_source[order]] = keys[order] % width  # the last that is put there stays
        stands_for = np.bincount(of_source, expected, len(best)) / np.bincount(np.concatenate(x), minlength=len(best))
        names = ["", *targets]
        self.translations = {
            word: [names[best[number]]] if stands_for[number] >= 0.5 else [] for word, number in sources.items()
        }

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return [[said for word in words for said in self.translations.get(word, [word])] for words in inputs]


def _numbered(rows: list[Any]) -> dict[Any, int]:
    """The different words of rows, numbered from 1 on."""
    return {word: number for number, word in enumerate(dict.fromkeys(word for row in rows for word in row), 1)}


def _beside(x: list[HostArray], y: list[HostArray]) -> tuple[HostArray, HostArray, HostArray]:
    """Every source word beside every target word of its example, and a number for the place of the latter."""
    source = np.concatenate([np.tile(a, len(b)) for a, b in zip(x, y, strict=True)])
    target = np.concatenate([np.repeat(b, len(a)) for a, b in zip(x, y, strict=True)])
    place = np.repeat(np.arange(sum(map(len, y))), np.repeat([len(a) for a in x], [len(b) for b in y]))
    return source, target, place
