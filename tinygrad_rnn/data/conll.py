"""Tagged words in columns, a word a line, as the shared tasks of CoNLL have them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.data.readers import files_named, read_lines, shown_name

_NO_WORD = re.compile(r"\d+[-.]\d+")
"""The number of a line of CoNLL-U that is about several words (1-2), or about none that is written (8.1)."""
_CONLL_U = 10
"""The columns of CoNLL-U, the first of which numbers the words."""


def read_conll(
    path: str | os.PathLike[str],
    columns: Sequence[int] = (0, -1),
    encoding: str = "utf-8",
    *,
    note: Note | None = None,
) -> Iterator[tuple[list[str], ...]]:
    """The sentences of a file that has a word a line and an empty line after each sentence: for each the words and the
    tags, as lists. A tab stands between columns, or spaces, as in the file's first row.

    Left out are the line -DOCSTART-; lines before a sentence that begin with # and have another number of columns than
    the words; and, where a file has the ten columns of CoNLL-U and the first is not chosen, its lines for several words
    or for none.

    Args:
        path, encoding, note: as in `read_tsv`.
        columns: which ones, by index from 0 or from the end; unless told the first and the last.

    Raises:
        TextError: for a line of more or fewer columns than the first, an empty column, and a file without a sentence;
            it says the file and the line.
    """
    for file in files_named(path, note):
        some, table = False, _Table(shown_name(file), columns)
        for block in _blocks(read_lines(file, encoding)):
            rows = table.rows(block)
            if rows and not (len(rows) == 1 and rows[0][0] == "-DOCSTART-"):
                some = True
                yield tuple([row[column] for row in rows] for column in columns)
        if not some:
            raise TextError(f"{table.name}: sentences were expected, a word a line, got none")


def _blocks(lines: Iterator[str]) -> Iterator[list[tuple[int, str]]]:
    """The lines between empty lines, with their numbers."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


@dataclass
class _Table:
    """What is known of a file's columns: nothing, until its first row."""

    name: str
    columns: Sequence[int]
    tabs: bool = False
    width: int = 0

    def rows(self, block: list[tuple[int, str]]) -> list[list[str]]:
        """The rows of a sentence, without comments and lines that are no words."""
        begin = next((i for i, (_, line) in enumerate(block) if not line.startswith("#") or "\t" in line), len(block))
        if not self.width and begin < len(block):
            self._learn(*block[begin])
        # A sentence may begin with the word #, which only the number of columns tells from a comment.
        block = [each for i, each in enumerate(block) if i >= begin or len(self._fields(each[1])) == self.width]
        rows = [self._row(number, line) for number, line in block]
        if self.width == _CONLL_U and not {0, -_CONLL_U} & set(self.columns):
            return [row for row in rows if not _NO_WORD.fullmatch(row[0])]
        return rows

    def _fields(self, line: str) -> list[str]:
        if self.tabs:
            return [field.strip(" ") for field in line.split("\t")]
        return [field for field in line.split(" ") if field]

    def _learn(self, number: int, line: str) -> None:
        self.tabs = "\t" in line
        self.width = len(self._fields(line))
        for column in self.columns:
            if not -self.width <= column < self.width:
                raise TextError(
                    f"{self.name}, line {number:,}: a column of index {column} was expected, got {self.width} columns"
                )

    def _row(self, number: int, line: str) -> list[str]:
        fields = self._fields(line)
        if len(fields) != self.width:
            between = "tabs" if self.tabs else "spaces"
            raise TextError(
                f"{self.name}, line {number:,}: {self.width} columns with {between} between them were expected, as in "
                f"the first row, got {len(fields)}"
            )
        for column in self.columns:
            if not fields[column]:
                raise TextError(f"{self.name}, line {number:,}: column {column % self.width} is empty")
        return fields
