"""Two files of as many lines, where each line of the one belongs to that line of the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, zip_longest

from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.readers import STANDARD_INPUT, read_lines, shown_name


def read_parallel(
    source: str | os.PathLike[str], target: str | os.PathLike[str], encoding: str = "utf-8", *, empty: bool = False
) -> Iterator[tuple[str, str]]:
    """The lines of two files in pairs, a sentence and its translation, say. A pair of empty lines is left out.

    Args:
        source, target, encoding: both files are read as `read_lines` reads them.
        empty: allows an empty line beside one that is not.

    Raises:
        TextError: for files of different numbers of lines, but for empty ones at the end, and for an empty line beside
            one that is not.
    """
    names = shown_name(source), shown_name(target)
    if os.fspath(source) == os.fspath(target) == STANDARD_INPUT:
        raise TextError("of two parallel files only one can be standard input")
    one, other = read_lines(source, encoding), read_lines(target, encoding)
    counts = [0, 0]
    for number, pair in enumerate(zip_longest(one, other), 1):
        counts = [count + (line is not None) for count, line in zip(counts, pair, strict=True)]
        said = [bool(line and line.strip()) for line in pair]
        if None in pair and any(said):
            counts[said.index(True)] += sum(1 for _ in chain(one, other))
            there = " and ".join(f"{name} has {count:,} lines" for name, count in zip(names, counts, strict=True))
            raise TextError(f"{there}: parallel files have as many")
        if any(said) and not (empty or all(said)):
            with_text, without = names[said.index(True)], names[said.index(False)]
            raise TextError(
                f"{without}, line {number:,}: a text was expected beside that of {with_text}, got an empty line"
            )
        if any(said):
            yield pair
