"""Which labels are taken for which."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.metrics.pairs import paired

_TITLE = "gold \\ said"
_NAME = 24
"""Characters of a label that a table shows."""


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """How often each label was right and which was said. Printed, it is a table of at most 80 columns.

    Attributes:
        labels: L of them.
        counts: (L,L), a row for each label that is right, a column for each that was said.
    """

    labels: tuple[Any, ...]
    counts: HostArray

    def table(self, width: int = 80) -> str:
        """A line for each label that is right, in which column n is the n-th label. Where they are too many for lines
        of `width` characters, the rarest are one, the others. Raises ValueError where not even two columns fit."""
        names = [_shortened(" ".join(str(label).split())) for label in self.labels]
        head = max(len(_TITLE), *(len(f"{number} {name}") for number, name in enumerate(names, 1)))
        cell = 2 + max(len(str(self.counts.max())), len(str(len(names))))
        if head + len(names) * cell > width:
            cell = 2 + max(len(str(self.counts.sum())), len("others"))
            head = max(head, len(f"others {len(names)} labels"))
        fit = (width - head) // cell
        if fit < min(2, len(names)):
            raise ValueError(f"a table of a confusion matrix needs a width of {head + 2 * cell}, got {width}")
        counts, titles = self.counts, [str(number) for number in range(1, len(names) + 1)]
        if fit < len(names):
            frequent = np.sort(np.argsort(-(counts.sum(0) + counts.sum(1)), kind="stable")[: fit - 1])
            rare = np.setdiff1d(np.arange(len(names)), frequent)
            counts = _with_last_joined(_with_last_joined(counts, frequent, rare).T, frequent, rare).T
            names, titles = [names[i] for i in frequent], [titles[i] for i in frequent]
            names, titles = [*names, f"{len(rare)} labels"], [*titles, "others"]
        lines = [_TITLE.ljust(head) + "".join(title.rjust(cell) for title in titles)]
        for name, title, row in zip(names, titles, counts.tolist(), strict=True):
            lines.append(f"{title} {name}".ljust(head) + "".join(str(count).rjust(cell) for count in row))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


def confusion_matrix(
    gold: Iterable[Hashable], said: Iterable[Hashable], labels: Iterable[Hashable] | None = None
) -> ConfusionMatrix:
    """How often each label was right and which was said.

    Args:
        gold, said: labels.
        labels: those of the matrix, in their order; unless told those that occur, sorted.

    Raises:
        ValueError: one occurs that is none of the labels.

    Example:
        >>> metrics.confusion_matrix("aab", "abb").counts
        array([[1, 1], [0, 1]])
    """
    pairs = paired(gold, said)
    names = tuple(_sorted({label for pair in pairs for label in pair}) if labels is None else labels)
    number = {label: i for i, label in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for pair in pairs:
        for label in pair:
            if label not in number:
                raise ValueError(f"each entry must be one of the {len(names)} labels, got {label!r}")
        counts[number[pair[0]], number[pair[1]]] += 1
    return ConfusionMatrix(names, counts)


def _sorted(labels: set[Any]) -> list[Any]:
    try:
        return sorted(labels)
    except TypeError:  # of several types
        return sorted(labels, key=lambda label: (type(label).__name__, str(label)))


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."


def _with_last_joined(counts: HostArray, frequent: HostArray, rare: HostArray) -> HostArray:
    return np.concatenate((counts[frequent], counts[rare].sum(axis=0, keepdims=True)))
