"""Texts from files."""

from __future__ import annotations

import csv
import io
import os

from tinygrad_rnn.data.messages import TextError


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, with or without a byte order mark; line ends become \\n.

    Raises TextError for a file that is missing, empty, binary or in another encoding."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise TextError(f"{name}: cannot be read: {error.strerror or error}") from None
    bad, what = raw.find(b"\0"), "a NUL byte"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if bad < 0 or error.start < bad:
            bad, what = error.start, f"the byte 0x{raw[error.start]:02x} (a file in another encoding?)"
    if bad >= 0:
        line = raw.count(b"\n", 0, bad) + 1
        raise TextError(f"{name}: UTF-8 text was expected, got {what} at byte {bad:,}, line {line:,}")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise TextError(f"{name}: some text was expected, got an empty file")
    return text


def read_csv(path: str | os.PathLike[str], column: str | int = 0) -> list[str]:
    """The texts in a column of a CSV file whose first row names the columns; empty fields are left out.

    `column` is a name, or an index from 0 as a number or a string; a name wins. Raises TextError."""
    name = os.fspath(path)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True, strict=True)
    limit = csv.field_size_limit(2**31 - 1)  # a field may be a whole article; the module's default is 128 KiB
    try:
        header = [field.strip() for field in next(row for row in reader if row)]
        index = _column(name, header, str(column))
        texts = []
        for row in reader:
            if row and len(row) <= index:
                raise TextError(
                    f"{name}, line {reader.line_num:,}: column {header[index]!r} (number {index}) was expected, got "
                    f"only {len(row)} columns"
                )
            if row and row[index].strip():
                texts.append(row[index])
    except csv.Error as error:
        raise TextError(f"{name}, line {reader.line_num:,}: CSV was expected: {error}") from None
    finally:
        csv.field_size_limit(limit)
    if not texts:
        raise TextError(f"{name}: texts below the header {header[index]!r} were expected, got none")
    return texts


def _column(name: str, header: list[str], column: str) -> int:
    if column in header:
        return header.index(column)
    if column.isdecimal() and int(column) < len(header):
        return int(column)
    raise TextError(
        f"{name}: there is no column {column!r}; its {len(header)} columns are {', '.join(map(repr, header))}"
    )
