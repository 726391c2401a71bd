"""The identifiers in the code of the reader's own standard library: a corpus for models of characters."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from tinygrad_rnn.cache import text_digest
from tinygrad_rnn.data.corpus import Prose
from tinygrad_rnn.data.library import library_files, library_text, parsed
from tinygrad_rnn.data.messages import Note, TextError

_FORMAT = "names-1"
"""Changes whenever the rules below do, so that no cache of another version is read."""
_LEAST, _MOST = 3, 40
FEW = 1000


def library_names(cache: str | os.PathLike[str] | None = None, note: Note | None = None) -> Prose:
    """The identifiers of this Python's standard library, each once, about 25,000 of 3 to 40 ASCII characters: what its
    classes, functions, parameters, variables and attributes are called, in the order of their hashes, so that any part
    is a fair sample. `cache`, `note` and what is raised are those of `standard_library`."""

    def read(library: Path) -> str:
        if note is not None:
            note("The identifiers of the Python standard library are read, once, as the corpus.")
        found = {name for path in library_files(library) for name in names_in(path)}
        if len(found) < FEW:
            raise TextError(
                f"{library}: this Python has no sources of its standard library to read; name a text instead"
            )
        return "\n".join(sorted(found, key=lambda name: hashlib.sha256(name.encode()).digest()))

    text = library_text(_FORMAT, read, cache, note, called="The identifiers")
    name = f"identifiers of the Python {platform.python_version()} standard library"
    return Prose(text.split("\n"), name, text.count("\n") + 1, text_digest(text))


def names_in(path: Path) -> Iterator[str]:
    """The identifiers in a module that are of use, as often as they stand there; none where it cannot be read."""
    tree = parsed(path)
    for node in () if tree is None else ast.walk(tree):
        name = _name_of(node)
        if name is not None and name.isascii() and _LEAST <= len(name) <= _MOST:
            yield name


def _name_of(node: ast.AST) -> str | None:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return node.name
        case ast.arg():
            return node.arg
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
    return None
