"""Texts from files, folders and standard input."""

from __future__ import annotations

import codecs
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import BinaryIO

from tinygrad_rnn.data.csv_rows import csv_rows, index_of_column, need_no_more
from tinygrad_rnn.data.messages import Note, TextError

STANDARD_INPUT = "-"
"""What stands for standard input where a file is asked for."""
BYTES_AT_A_TIME = 1 << 20
"""Bytes of a file that is read bit by bit, at a time."""


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    r"""The text of a file, or of standard input, with or without a byte order mark, unpacked where it is packed by
    gzip; line ends become \n.

    Args:
        path: of the file; "-" is standard input.
        encoding: as Python knows it.

    Raises:
        TextError: the file is missing, empty, binary or in another encoding.
    """
    name = shown_name(path)
    text = text_of(name, b"".join(_chunks(path)), encoding)
    if not text.strip():
        raise _nothing_in(name)
    return text


def read_lines(path: str | os.PathLike[str], encoding: str = "utf-8", *, empty: bool = False) -> Iterator[str]:
    """The lines of what `read_text` reads, without their ends, one by one: of a file of any size about a megabyte is in
    memory, or its longest line. A file in UTF-16 and the like is read whole.

    Args:
        path, encoding: as in `read_text`.
        empty: allows that there are none.

    Raises:
        TextError: as `read_text` does, where it comes upon the fault.
    """
    for part in read_parts(path, encoding, empty=empty):
        lines = part.split("\n")
        yield from lines if lines[-1] else lines[:-1]


def read_parts(path: str | os.PathLike[str], encoding: str = "utf-8", *, empty: bool = False) -> Iterator[str]:
    """What `read_text` reads, in parts of whole lines, of which one is in memory; see `read_lines`."""
    _need_encoding(encoding)
    name, chunks = shown_name(path), _unpacked(shown_name(path), _chunks(path))
    # In such an encoding no other character has the byte of a newline, so that lines can be decoded apart.
    apart = "a\n".encode(encoding, "ignore") == b"a\n"
    said, bytes_before, lines_before = False, 0, 0
    for block in _whole_lines(chunks) if apart else [b"".join(chunks)]:
        part = _decoded(name, block, encoding, bytes_before, lines_before)
        said = said or not (not part or part.isspace())
        yield part
        bytes_before, lines_before = bytes_before + len(block), lines_before + block.count(b"\n")
    if not said and not empty:
        raise _nothing_in(name)


def shown_name(path: str | os.PathLike[str]) -> str:
    """What messages call a file."""
    return "standard input" if os.fspath(path) == STANDARD_INPUT else os.fspath(path)


def _nothing_in(name: str) -> TextError:
    return TextError(f"{name}: some text was expected, got an empty file")


def read_texts(names: Sequence[str], encoding: str = "utf-8", note: Note | None = None) -> list[tuple[str, str]]:
    """The names and the texts of several files, as `read_text` reads each. Of a folder all files are read that lie in
    it and below, in the order of their paths, but for hidden files and folders, whose names begin with a dot; `note` is
    told which. Raises TextError."""
    return [(file, read_text(file, encoding)) for file in all_files(names, note)]


def all_files(names: Sequence[str], note: Note | None = None) -> list[str]:
    """The files of all these names, as `read_texts` reads them. Raises TextError."""
    return [file for name in names for file in files_named(name, note)]


def files_named(path: str | os.PathLike[str], note: Note | None = None) -> list[str]:
    """The file of this name, or the files of the folder, as `read_texts` reads them. Raises TextError."""
    name = os.fspath(path)
    files, sentence = _files_of(name) if os.path.isdir(name) else ([name], "")
    if name == STANDARD_INPUT and sys.stdin is not None and sys.stdin.isatty():
        sentence = "The text is read from standard input, as you type it; Ctrl-D at the beginning of a line ends it."
    if note is not None and sentence:
        note(sentence)
    return files


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
    return _standard_input().read()


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise TextError("standard input: a text was expected, and it is closed")
    return sys.stdin.buffer


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
    _need_encoding(encoding)
    return _decoded(name, b"".join(_unpacked(name, [raw])), encoding)


def _need_encoding(encoding: str) -> None:
    if not is_encoding(encoding):
        raise TextError(f"encoding must be one that Python knows, such as utf-8 or cp1252, got {encoding!r}")


def _decoded(name: str, raw: bytes, encoding: str, bytes_before: int = 0, lines_before: int = 0) -> str:
    """The text in the bytes of a file, or of whole lines of it that stand after so many."""
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
        line = lines_before + raw.count(b"\n", 0, bad) + 1
        raise TextError(f"{expected} {what} at byte {bytes_before + bad:,}, line {line:,}")
    if wide and "\0" in text:
        raise TextError(f"{expected} a NUL character")
    if not bytes_before:
        text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n")


# --- Bytes, bit by bit -----------------------------------------------------------------------------------------


def _chunks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The bytes of a file, or of standard input as they come. Raises TextError."""
    if os.fspath(path) == STANDARD_INPUT:
        yield from iter(lambda: _standard_input().read1(BYTES_AT_A_TIME), b"")  # type: ignore[attr-defined]  # BufferedIOBase
        return
    try:
        with open(path, "rb") as file:
            yield from iter(lambda: file.read(BYTES_AT_A_TIME), b"")
    except OSError as error:
        raise TextError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from None


def _whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, each part but the last up to the end of a line."""
    parts: list[bytes] = []
    for chunk in chunks:
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield b"".join((*parts, head, newline))
            parts = []
        parts.append(tail)
    if rest := b"".join(parts):
        yield rest


def _unpacked(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes; where they are packed by gzip, what is in all its members. Raises TextError."""
    chunks = iter(chunks)
    first = next(chunks, b"")
    if first == b"\x1f":  # a pipe may give the mark of gzip in two
        first += next(chunks, b"")
    if not first.startswith(b"\x1f\x8b"):
        yield first
        yield from chunks
        return
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: with the header and the checksum of gzip
    try:
        for chunk in chain([first], chunks):
            rest = chunk
            while rest := (rest.lstrip(b"\0") if member.eof else rest):  # zeros may stand after a member
                if member.eof:
                    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
                yield member.decompress(rest, BYTES_AT_A_TIME)
                rest = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as error:
        raise TextError(f"{name}: a damaged gzip file: {error}") from None
    if not member.eof:
        raise TextError(f"{name}: a damaged gzip file: it ends within what was packed")


# --- A column of a CSV file ------------------------------------------------------------------------------------


def read_csv(
    path: str | os.PathLike[str],
    column: str | int = 0,
    encoding: str = "utf-8",
    *,
    skip_initial_space: bool = False,
) -> list[str]:
    """The texts in a column of a CSV file whose first row names the columns; empty fields are left out. A field in
    quotation marks may stand after spaces.

    Args:
        path, encoding: as in `read_text`.
        column: a name, or an index from 0 as a number or a string; a name wins.
        skip_initial_space: of a field without quotation marks, too, which otherwise keeps the spaces that it begins
            with.

    Raises:
        TextError: as `read_text` does, and where the column is not there.
    """
    return list(csv_texts(path, column, encoding, skip_initial_space))


def csv_texts(
    path: str | os.PathLike[str], column: str | int, encoding: str, skip_initial_space: bool
) -> Iterator[str]:
    """What `read_csv` gives, one by one."""
    name = shown_name(path)
    rows = csv_rows(name, read_lines(path, encoding), skip_initial_space=skip_initial_space)
    header = [field.strip() for field in next(rows)[1]]
    index = index_of_column(name, header, column)
    some = False
    for line, row in rows:
        if len(row) <= index:
            raise TextError(
                f"{name}, line {line:,}: column {header[index]!r} (number {index}) was expected, got only "
                f"{len(row)} columns"
            )
        need_no_more(name, line, row, len(header))
        if row[index].strip():
            some = True
            yield row[index]
    if not some:
        raise TextError(f"{name}: texts below the header {header[index]!r} were expected, got none")
