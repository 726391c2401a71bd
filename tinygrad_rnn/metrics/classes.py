"""Metrics of labels: the classes of texts, the tags of words.

For the tags of sentences chain the sentences first: a tag is an entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from tinygrad_rnn.metrics.pairs import paired


@dataclass(frozen=True)
class Scores:
    """How well one label, or kind of span, was found.

    Attributes:
        correct: how often it was right.
        gold: how often it would have been.
        said: how often it was said.

    Example:
        >>> found = metrics.Scores(correct=2, gold=4, said=2)
        >>> found.precision, found.recall, round(found.f1, 3)
        (1.0, 0.5, 0.667)
    """

    correct: int
    gold: int
    said: int

    @property
    def precision(self) -> float:
        """The part of what was said that is right; 0 where nothing was said."""
        return self.correct / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        """The part of what is right that was said; 0 where there is nothing to say."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall (van Rijsbergen 1979); 0 where nothing is right."""
        return 2 * self.correct / (self.gold + self.said) if self.correct else 0.0


def accuracy(gold: Iterable[Hashable], said: Iterable[Hashable]) -> float:
    """The part of the labels that are right.

    Example:
        >>> metrics.accuracy("aabb", "aaba")
        0.75
    """
    pairs = paired(gold, said)
    return sum(right == found for right, found in pairs) / len(pairs)


def label_scores(gold: Iterable[Hashable], said: Iterable[Hashable]) -> dict[Hashable, Scores]:
    """The scores of every label that is right or was said anywhere, the most frequent in `gold` first.

    Example:
        >>> metrics.label_scores("aab", "abb")["a"].recall
        0.5
    """
    pairs = paired(gold, said)
    correct = Counter(right for right, found in pairs if right == found)
    wanted, heard = Counter(right for right, _ in pairs), Counter(found for _, found in pairs)
    names = dict.fromkeys([label for label, _ in wanted.most_common()] + list(heard))
    return {label: Scores(correct[label], wanted[label], heard[label]) for label in names}


def macro_f1(gold: Iterable[Hashable], said: Iterable[Hashable]) -> float:
    """The mean F1 of labels, each of which counts as much, however rare. A label that is right nowhere and was said
    counts 0; one that neither is right nor was said anywhere has no F1, and is left out.

    Example:
        >>> round(metrics.macro_f1("aab", "abb"), 3)
        0.667
    """
    found = label_scores(gold, said).values()
    return sum(scores.f1 for scores in found) / len(found)
