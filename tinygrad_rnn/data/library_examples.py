"""Examples with labels that every reader has: from the sources of their own Python's standard library."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from tinygrad_rnn.data.corpus import docstrings
from tinygrad_rnn.data.library import library_files, library_text, parsed, statements_of
from tinygrad_rnn.data.messages import TextError

PACKAGES = "asyncio email idlelib importlib tkinter unittest".split()
KINDS = "class constant function parameter".split()


def package_docstrings() -> list[tuple[str, str]]:
    """The docstrings in PACKAGES of at least 3 words, each once and on one line, and the package that each is from.
    They are read in a second, once. Raises TextError where this Python comes without their sources."""
    return _pairs("docstrings-1", PACKAGES, _docstrings)


def library_identifiers(rng: np.random.Generator, most: int = 1500) -> list[tuple[str, str]]:
    """Names in the code of the library and which of KINDS they name, of each kind as many as `rng` draws, `most` at
    most: those of at least 3 letters that never name another kind, in small letters, since capitals would tell it, and
    without underscores at their ends. They are read in some seconds, once. Raises TextError where this Python comes
    without the sources of its library."""
    pairs = _pairs("identifiers-1", KINDS, _named)
    drawn = [pairs[i] for i in rng.permutation(len(pairs))]
    return [pair for kind in KINDS for pair in [each for each in drawn if each[1] == kind][:most]]


def _pairs(name: str, labels: Iterable[str], read: Callable[[Path], dict[str, str]]) -> list[tuple[str, str]]:
    """Texts and their labels, from the cache, where each is a line of both."""

    def made(library: Path) -> str:
        found = read(library)
        there = {*found.values()}
        if missing := [label for label in labels if label not in there]:
            lost = ", ".join(missing) if labels is PACKAGES and there else "its standard library"
            here = f"{library}: this Python comes without the sources of {lost}"
            raise TextError(f"{here}: name a file of examples with --data instead")
        return "\n".join(f"{label}\t{text}" for text, label in found.items())

    lines = library_text(name, made).split("\n")
    return [(text, label) for label, _, text in (line.partition("\t") for line in lines)]


def _docstrings(library: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in library_files(library, *PACKAGES):
        for text in docstrings(path):
            words = text.encode("utf-8", "replace").decode().split()
            if len(words) > 2:
                found.setdefault(" ".join(words), path.relative_to(library).parts[0])
    return found


def _named(library: Path) -> dict[str, str]:
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for tree in map(parsed, library_files(library)):
        for node in () if tree is None else statements_of(tree):
            for name, kind in _names_in(node):
                kinds[name.strip("_").lower()].add(kind)
    return {name: kind for name, (kind, *others) in kinds.items() if not others and len(name) > 2}


def _names_in(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that a statement gives, and to what."""
    if isinstance(node, ast.ClassDef):
        yield node.name, "class"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name, "function"
        given = node.args
        for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
            if each is not None:
                yield each.arg, "parameter"
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id.isupper():
                yield target.id, "constant"
