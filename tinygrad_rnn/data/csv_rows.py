"""The rows of a CSV file from its lines, as strictly as that can be told."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from tinygrad_rnn.data.messages import TextError

_MARK = "\0"
TOO_MANY = " (a text with the mark that stands between columns needs quotation marks)"
"""Why a row has more columns than the first one."""


def csv_rows(
    name: str, lines: Iterable[str], *, delimiter: str | None = None, skip_initial_space: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file called `name`, each with the number of the line that ends it; empty lines are left out. The
    `delimiter` between columns is a comma unless told, or, where the first row has none, the semicolon or the tab that
    it has.

    A field in quotation marks may stand after spaces and reach over lines; one without keeps the spaces that it begins
    with, unless they are to be skipped. Raises TextError where there is no row, and for quotation marks that do not
    match."""
    lines = iter(lines)
    begun = list(_until_text(lines))
    delimiter = _delimiter_of(begun[-1] if begun else "") if delimiter is None else delimiter
    # A mark before such spaces makes them a part of the field; no text has this character. Within quotation marks
    # there are marks too, and nothing is lost by them.
    own_spaces = re.compile(rf'(^|{re.escape(delimiter)})(?= +[^" ])')
    ended = (f"{line}\n" for line in chain(begun, lines))
    marked = ended if skip_initial_space else (own_spaces.sub(rf"\1{_MARK}", line) for line in ended)
    reader = csv.reader(marked, delimiter=delimiter, skipinitialspace=True, strict=True)
    some = False
    while True:
        limit = csv.field_size_limit(2**31 - 1)  # a field may be a whole article; the module's default is 128 KiB
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise TextError(f"{name}, line {reader.line_num:,}: CSV was expected: {error}") from None
        finally:
            csv.field_size_limit(limit)
        if row is None:
            break
        if row:
            some = True
            yield reader.line_num, [field.replace(_MARK, "") for field in row]
    if not some:
        raise TextError(f"{name}: rows were expected, got empty lines")


def _until_text(lines: Iterator[str]) -> Iterator[str]:
    """The lines up to the first that is not blank."""
    for line in lines:
        yield line
        if line.strip():
            return


def _delimiter_of(row: str) -> str:
    return next((each for each in ",;\t" if each in row), ",")


def need_no_more(name: str, line: int, row: Sequence[str], columns: int) -> None:
    """Raises TextError for a row that has more columns than the first, unless they are empty: with a text cut at a
    comma, or a number at its decimal comma, what is read would be another."""
    if any(field.strip() for field in row[columns:]):
        raise TextError(
            f"{name}, line {line:,}: {columns} columns were expected, as in the first row, got {len(row)}{TOO_MANY}"
        )


def index_of_column(name: str, header: Sequence[str], column: str | int) -> int:
    """Where a column stands that is named by its header, or by its index from 0 as a number or a string; a name wins.
    Raises TextError."""
    if (named := str(column)) in header:
        return header.index(named)
    if named.isdecimal() and int(named) < len(header):
        return int(named)
    raise TextError(
        f"{name}: there is no column {named!r}; its {len(header)} columns are {', '.join(map(repr, header))}"
    )
