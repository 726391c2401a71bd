"""Files of examples, an example a record: TSV, CSV and JSON lines.

Each reader gives the examples one by one, as tuples, and keeps no more than one in memory. What does not fit is an
error that says the file and the line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NoReturn

from tinygrad_rnn.data.csv_rows import TOO_MANY, csv_rows, index_of_column
from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.data.readers import files_named, read_lines, shown_name


def read_tsv(
    path: str | os.PathLike[str],
    columns: int = 2,
    encoding: str = "utf-8",
    *,
    empty: bool = False,
    note: Note | None = None,
) -> Iterator[tuple[str, ...]]:
    r"""The lines of a file as tuples of texts with a tab between them: label TAB text, or source TAB target. Empty
    lines are left out; there is no header and there are no quotation marks (`read_csv_rows` with `delimiter="\t"`
    reads files that have them).

    Args:
        path, encoding: as in `read_lines`; of a folder the files are read one after the other.
        columns: how many; further tabs belong to the last.
        empty: allows a column without text.
        note: is told of the files of a folder.

    Raises:
        TextError: for a line of fewer columns and a column without text; it says the file and the line.
    """
    if columns < 1:
        raise TextError(f"columns must be at least 1, got {columns}")
    for file in files_named(path, note):
        name = shown_name(file)
        for number, line in enumerate(read_lines(file, encoding), 1):
            fields = tuple(line.split("\t", columns - 1))
            if len(fields) == 1 and not line.strip():
                continue
            if len(fields) < columns:
                expected = f"{columns} columns with tabs between them were expected"
                raise TextError(f"{name}, line {number:,}: {expected}, got {len(fields)}")
            if not empty:
                _need_texts(name, number, fields, range(1, columns + 1))
            yield fields


def read_csv_rows(
    path: str | os.PathLike[str],
    columns: Sequence[str | int] | None = None,
    encoding: str = "utf-8",
    *,
    header: bool = True,
    delimiter: str | None = None,
    skip_initial_space: bool = False,
    empty: bool = False,
    note: Note | None = None,
) -> Iterator[tuple[str, ...]]:
    """The rows of a CSV file as tuples of columns. Rows without any text are left out. For quotation marks and spaces
    see `read_csv`.

    Args:
        path, encoding, empty, note: as in `read_tsv`.
        columns: in this order, each named as in the header or by its index from 0; all of them by default.
        header: the first row names the columns; without it they have indices alone.
        delimiter: the character between columns: unless told a comma, or where the first row has none the semicolon or
            the tab that it has.
        skip_initial_space: as in `read_csv`.

    Raises:
        TextError: as `read_tsv` does, and for a row of more or fewer columns than the first.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '" \r\n\0'):
        raise TextError(f"delimiter must be one character and no quotation mark, space or line end, got {delimiter!r}")
    _need_list("columns", columns)
    for file in files_named(path, note):
        name, some = shown_name(file), False
        lines = read_lines(file, encoding)
        rows = csv_rows(name, lines, delimiter=delimiter, skip_initial_space=skip_initial_space)
        first = next(rows)
        titles = [field.strip() if header else str(index) for index, field in enumerate(first[1])]
        chosen = range(len(titles)) if columns is None else [index_of_column(name, titles, each) for each in columns]
        for number, row in rows if header else chain([first], rows):
            if not any(map(str.strip, row)):
                continue
            if len(row) != len(titles):
                expected = f"{len(titles)} columns were expected, as in the first row"
                hint = TOO_MANY if len(row) > len(titles) else ""
                raise TextError(f"{name}, line {number:,}: {expected}, got {len(row)}{hint}")
            fields = tuple(row[index] for index in chosen)
            if not empty:
                _need_texts(name, number, fields, [repr(titles[index]) for index in chosen])
            some = True
            yield fields
        if not some:
            raise TextError(f"{name}: rows below the header were expected, got none")


def read_jsonl(
    path: str | os.PathLike[str],
    fields: Sequence[str],
    encoding: str = "utf-8",
    *,
    empty: bool = False,
    texts: bool = False,
    note: Note | None = None,
) -> Iterator[tuple[Any, ...]]:
    """The lines of a file, each a JSON object, as tuples of the values of some fields. Empty lines are left out.

    Args:
        path, encoding, empty, note: as in `read_tsv`; a value null is an empty one.
        fields: in this order.
        texts: numbers, true and false become texts as JSON writes them, null "", and lists and objects are none.

    Raises:
        TextError: as `read_tsv` does, for a line that is no JSON object, with the column where it ceases to be one, and
            for a field that is not there, with those that are.
    """
    _need_list("fields", fields)
    for file in files_named(path, note):
        name = shown_name(file)
        for number, line in enumerate(read_lines(file, encoding), 1):
            if not line.strip():
                continue
            found = _json_object(name, number, line)
            for field in fields:
                if field not in found:
                    there = ", ".join(map(repr, found)) or "none"
                    raise TextError(f"{name}, line {number:,}: there is no field {field!r}; its fields are {there}")
            values = tuple(found[field] for field in fields)
            if not empty:
                _need_texts(name, number, values, map(repr, fields), what="field")
            yield tuple(_as_text(name, number, *pair) for pair in zip(fields, values, strict=True)) if texts else values


def _as_text(name: str, number: int, field: str, value: Any) -> str:
    if isinstance(value, list | dict):
        raise TextError(f"{name}, line {number:,}: field {field!r} must be a text, got {json.dumps(value)[:40]}")
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


_JSON = json.JSONDecoder(parse_constant=_no_number)


def _json_object(name: str, number: int, line: str) -> dict[str, Any]:
    try:
        found = _JSON.decode(line)
        if "\\ud" in line.lower():
            json.dumps(found, ensure_ascii=False).encode()  # half a character can be escaped, and not be written
    except json.JSONDecodeError as error:
        raise TextError(f"{name}, line {number:,}, column {error.colno:,}: JSON was expected: {error.msg}") from None
    except UnicodeEncodeError:
        raise TextError(f"{name}, line {number:,}: JSON was expected: \\u escapes half a character") from None
    except (ValueError, RecursionError) as error:
        raise TextError(f"{name}, line {number:,}: JSON was expected: {error}") from None
    if not isinstance(found, dict):
        raise TextError(f'{name}, line {number:,}: an object {{"name": value}} was expected, got {line.strip()[:40]!r}')
    return found


def _need_list(argument: str, names: object) -> None:
    if isinstance(names, str):
        raise TextError(f"{argument} must be a list of names, got {names!r}: [{names!r}] is one")


def _need_texts(name: str, number: int, values: Sequence[Any], titles: Any, what: str = "column") -> None:
    for value, title in zip(values, titles, strict=True):
        if value is None or (isinstance(value, str) and not value.strip()):
            raise TextError(f"{name}, line {number:,}: {what} {title} is empty")
