"""What all metrics ask of the two lists that they compare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

_Entry = TypeVar("_Entry")


def paired(gold: Iterable[_Entry], said: Iterable[_Entry]) -> list[tuple[_Entry, _Entry]]:
    """The entries in pairs. Raises ValueError for none, and for lists of different lengths."""
    right, found = list(gold), list(said)
    if len(right) != len(found):
        raise ValueError(f"gold and said must have as many entries, got {len(right):,} and {len(found):,}")
    if not right:
        raise ValueError("gold and said must have an entry, got none")
    return list(zip(right, found, strict=True))
