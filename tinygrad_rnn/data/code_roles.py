"""Tokens of the reader's own standard library, each with the role that Python's parser gives it: the same name is a
function in one place, a parameter in another, and an attribute in a third."""

from __future__ import annotations

import ast
import io
import json
import keyword
import tokenize
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinygrad_rnn.data.library import library_text
from tinygrad_rnn.data.messages import TextError

NAMELESS = ("KEYWORD", "OPERATOR", "NUMBER", "STRING")
"""Roles that a token's spelling alone tells."""
_LEAST, _MOST = 4, 40

Tagged = tuple[list[str], list[str]]
"""Tokens, and their roles."""


def code_roles(rng: np.random.Generator, count: int = 4000) -> list[Tagged]:
    """So many different logical lines, drawn by `rng`, of the modules that lie in the library's own folder: 4 to 40
    tokens, of which one or more are names; numbers and strings are written as 0 and \"\". Reading them takes some
    seconds, once; they are then kept in the user's cache folder. Raises TextError where this Python comes without the
    sources of its library."""
    lines = json.loads(library_text("roles-1", lambda library: json.dumps(_all_lines(library))))
    if len(lines) < count:
        raise TextError("this Python comes without the sources of its library: name a file with --data instead")
    return [(lines[i][0], lines[i][1]) for i in rng.permutation(len(lines))[:count]]


def _all_lines(library: Path) -> list[Tagged]:
    found: dict[str, Tagged] = {}
    for path in sorted(library.glob("*.py")):
        for words, roles in _lines_of(path):
            if _LEAST <= len(words) <= _MOST and not {*roles} <= {*NAMELESS}:
                found.setdefault(" ".join(words), (words, roles))
    return list(found.values())


def _lines_of(path: Path) -> Iterator[Tagged]:
    try:
        source = path.read_text(encoding="utf-8")
        if source.isascii():  # the parser counts bytes, and the tokenizer characters
            yield from tagged_lines(source)
    except (OSError, UnicodeDecodeError, SyntaxError, tokenize.TokenError):
        return


def tagged_lines(source: str) -> Iterator[Tagged]:
    """The logical lines of a source in ASCII. Raises SyntaxError."""
    places = _places(ast.parse(source))
    words: list[str] = []
    roles: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            yield words, roles
            words, roles = [], []
            continue
        role = _role(token, words, places)
        if role is not None:
            words.append({"NUMBER": "0", "STRING": '""'}.get(role, token.string))
            roles.append(role)


def _role(token: tokenize.TokenInfo, before: list[str], places: dict[tuple[int, int], str]) -> str | None:
    """The role of a token, None for one that is not shown, such as a comment."""
    simple = {tokenize.NUMBER: "NUMBER", tokenize.STRING: "STRING", tokenize.OP: "OPERATOR"}
    if token.type != tokenize.NAME:
        return simple.get(token.type)
    if keyword.iskeyword(token.string):
        return "KEYWORD"
    if before and before[-1] in ("def", "class"):
        return "FUNCTION" if before[-1] == "def" else "CLASS"
    imported = bool(before) and before[0] in ("import", "from")
    return places.get(token.start, "IMPORT" if imported else "OTHER")


def _places(tree: ast.AST) -> dict[tuple[int, int], str]:
    """The roles of names by line and column."""
    nodes = list(ast.walk(tree))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    found: dict[tuple[int, int], str] = {}
    for node in nodes:
        if isinstance(node, ast.Name):
            stored = "STORE" if isinstance(node.ctx, ast.Store) else "READ"
            found.setdefault((node.lineno, node.col_offset), "CALL" if id(node) in called else stored)
        elif isinstance(node, ast.arg):
            found.setdefault((node.lineno, node.col_offset), "PARAMETER")
        elif isinstance(node, ast.Attribute) and node.end_lineno is not None and node.end_col_offset is not None:
            place = node.end_lineno, node.end_col_offset - len(node.attr)
            found.setdefault(place, "METHOD" if id(node) in called else "ATTRIBUTE")
        elif isinstance(node, ast.keyword) and node.arg:
            found.setdefault((node.lineno, node.col_offset), "KEYWORD-ARGUMENT")
    return found
