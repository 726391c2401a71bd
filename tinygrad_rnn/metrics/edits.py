"""Metrics of sequences: translations, transcripts, whatever has symbols in an order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.metrics.pairs import paired

Symbols = Sequence[Any] | HostArray
"""What can be compared one by one: a text, a list, an array of ids."""


def edit_distance(one: Symbols, other: Symbols) -> int:
    """The least number of symbols to insert, leave out or replace that make the one sequence the other (Levenshtein
    1966), by the table of distances between their beginnings (Wagner & Fischer 1974).

    Example:
        >>> metrics.edit_distance("kitten", "sitting")
        3
    """
    columns = list(other)
    row = list(range(len(columns) + 1))
    for i, symbol in enumerate(one, 1):
        diagonal, left = row[0], i
        row[0] = i
        for j, column in enumerate(columns, 1):
            above = row[j]
            if symbol != column:  # comparisons, since min() takes as long as all the rest
                diagonal = 1 + (diagonal if diagonal < above else above)
                diagonal = diagonal if diagonal <= left else left + 1
            row[j] = left = diagonal
            diagonal = above
    return row[-1]


def label_error_rate(gold: Iterable[Symbols], said: Iterable[Symbols]) -> float:
    """The edits that make what was said right, per symbol that is right (Graves et al. 2006, equation 2); above 1 where
    far too much was said. Raises ValueError where `gold` has no symbol.

    Example:
        >>> metrics.label_error_rate(["abc", "de"], ["abc", "df"])
        0.2
    """
    pairs = paired(gold, said)
    total = sum(len(right) for right, _ in pairs)
    if not total:
        raise ValueError("gold must have a symbol, got empty sequences alone")
    return sum(edit_distance(right, found) for right, found in pairs) / total


def exact_match(gold: Iterable[Symbols], said: Iterable[Symbols]) -> float:
    """The part of the sequences that are right from beginning to end.

    Example:
        >>> metrics.exact_match(["abc", "de"], ["abc", "df"])
        0.5
    """
    pairs = paired(gold, said)
    return sum(list(right) == list(found) for right, found in pairs) / len(pairs)
