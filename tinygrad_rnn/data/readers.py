"""Texts from files, folders and standard input."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Sequence

from tinygrad_rnn.data.messages import Note, TextError

STANDARD_INPUT = "-"
"""What stands for standard input where a file is asked for."""

_MARK = "\0"
_PLAIN_SPACES = re.compile(r'(^|,)(?= +[^" ])', re.MULTILINE)
"""Where a field may begin whose spaces are its own; within quotation marks too, where nothing is lost by a mark."""


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """The text of a file, or of standard input where the path is "-", with or without a byte order mark, unpacked where
    it is packed by gzip; line ends become \\n.

    Raises TextError for a file that is missing, empty, binary or in another encoding."""
    name = os.fspath(path)
    if name == STANDARD_INPUT:
        name, raw = "standard input", standard_input()
    else:
        try:
            with open(name, "rb") as file:
                raw = file.read()
        except OSError as error:
            raise TextError(f"{name}: cannot be read: {error.strerror or error}") from None
    text = text_of(name, raw, encoding)
    if not text.strip():
        raise TextError(f"{name}: some text was expected, got an empty file")
    return text


def read_texts(names: Sequence[str], encoding: str = "utf-8", note: Note | None = None) -> list[tuple[str, str]]:
    """The names and the texts of several files, as `read_text` reads each. Of a folder all files are read that lie in
    it and below, in the order of their paths, but for hidden files and folders, whose names begin with a dot; `note` is
    told which. Raises TextError."""
    texts = []
    for name in names:
        files, sentence = _files_of(name) if os.path.isdir(name) else ([name], "")
        if name == STANDARD_INPUT and sys.stdin is not None and sys.stdin.isatty():
            sentence = (
                "The text is read from standard input, as you type it; Ctrl-D at the beginning of a line ends it."
            )
        if note is not None and sentence:
            note(sentence)
        texts += [(file, read_text(file, encoding)) for file in files]
    return texts


def _files_of(folder: str) -> tuple[list[str], str]:
    """The files in a folder and below, and a sentence that says which these are."""
    found, hidden = [], 0

    def refuse(error: OSError) -> None:
        raise TextError(f"{error.filename}: cannot be read: {error.strerror or error}")

    for place, folders, files in os.walk(folder, onerror=refuse):
        shown = [each for each in folders if not each.startswith(".")]
        paths = [os.path.join(place, each) for each in files if not each.startswith(".")]
        hidden += len(folders) - len(shown) + len(files) - len(paths)
        folders[:] = shown
        found += [path for path in paths if os.path.isfile(path)]
    if not found:
        raise TextError(f"{folder}: a folder of texts was expected, and it has no file that is not hidden")
    found.sort(key=lambda path: path.split(os.sep))
    ends = " to ".join(os.path.relpath(path, folder) for path in (found[0], found[-1]))
    passed = f", and {hidden:,} hidden passed by" if hidden else ""
    return found, f"{folder}: all files of this folder are read, {len(found):,} from {ends}{passed}."


def standard_input() -> bytes:
    """All of standard input. Raises TextError where it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise TextError("standard input: a text was expected, and it is closed")
    return sys.stdin.buffer.read()


def is_encoding(name: str) -> bool:
    """Whether Python knows a text encoding of this name."""
    try:
        codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: a name with characters that no name has
        return False
    try:
        b"some text.".decode(name)
    except LookupError:  # it makes other things than text
        return False
    except UnicodeError:
        return True
    return True


def text_of(name: str, raw: bytes, encoding: str = "utf-8") -> str:
    """The text in the bytes of a file called `name`: unpacked where they are packed by gzip, decoded, without a byte
    order mark, its line ends \\n. Raises TextError for bytes that are not such a text."""
    if not is_encoding(encoding):
        raise TextError(f"encoding must be one that Python knows, such as utf-8 or cp1252, got {encoding!r}")
    if raw.startswith(b"\x1f\x8b"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise TextError(f"{name}: a damaged gzip file: {error}") from None
    expected = f"{name}: {encoding.upper()} text was expected, got"
    # In UTF-16 and UTF-32 most characters have bytes that are 0.
    wide = len("a".encode(encoding, "ignore")) > 1
    bad, what = -1 if wide else raw.find(b"\0"), "a NUL byte"
    text = ""
    try:
        text = raw.decode(encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        if bad < 0 or start < bad:
            meant = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "cp1252"
            hint = f"a file in another encoding? --encoding {meant}, say"
            bad, what = start, f"the byte 0x{raw[start]:02x} ({hint})"
    if bad >= 0:
        line = raw.count(b"\n", 0, bad) + 1
        raise TextError(f"{expected} {what} at byte {bad:,}, line {line:,}")
    if wide and "\0" in text:
        raise TextError(f"{expected} a NUL character")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_csv(
    path: str | os.PathLike[str],
    column: str | int = 0,
    encoding: str = "utf-8",
    *,
    skip_initial_space: bool = False,
) -> list[str]:
    """The texts in a column of a CSV file whose first row names the columns; empty fields are left out.

    `column` is a name, or an index from 0 as a number or a string; a name wins. A field in quotation marks may stand
    after spaces; one without keeps the spaces that it begins with, unless they are to be skipped. Raises TextError."""
    name = os.fspath(path)
    text = read_text(path, encoding)
    # A mark before such spaces makes them a part of the field; no text has this character.
    marked = text if skip_initial_space else _PLAIN_SPACES.sub(r"\1" + _MARK, text)
    reader = csv.reader(io.StringIO(marked, newline=""), skipinitialspace=True, strict=True)
    limit = csv.field_size_limit(2**31 - 1)  # a field may be a whole article; the module's default is 128 KiB
    try:
        header = [field.replace(_MARK, "").strip() for field in next(row for row in reader if row)]
        index = _column(name, header, str(column))
        texts = []
        for row in reader:
            if row and len(row) <= index:
                raise TextError(
                    f"{name}, line {reader.line_num:,}: column {header[index]!r} (number {index}) was expected, got "
                    f"only {len(row)} columns"
                )
            if row and (field := row[index].replace(_MARK, "")).strip():
                texts.append(field)
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
