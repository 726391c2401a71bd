"""The sources of the standard library of the reader's own Python, which everybody has: what is made of them is kept in
the user's cache folder, and depends on nothing else."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tinygrad_rnn.cache import cache_folder, keep, kept
from tinygrad_rnn.data.messages import Note

NOT_THE_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


def library_text(
    name: str,
    made: Callable[[Path], str],
    cache: str | os.PathLike[str] | None = None,
    note: Note | None = None,
    called: str = "What was read",
) -> str:
    """The text that `made` makes of the folder of this Python's standard library. It is made once, and then kept in the
    folder `cache` (by default the user's own cache folder) under `name`, which must change whenever the rules of `made`
    do. `note` is told where it cannot be kept, and what it is `called`. Raises what `made` raises."""
    folder, library = cache_folder() if cache is None else Path(cache), Path(sysconfig.get_path("stdlib"))
    # Two Pythons of one version may come with different parts of the library.
    place = hashlib.sha256(os.fsencode(library)).hexdigest()[:8]
    file = f"standard-library-{platform.python_version()}-{name}-{place}.txt"
    if folder is not None and (content := kept(folder, file)) is not None:
        return content.decode()
    text = made(library)
    try:
        if folder is None:
            raise OSError("there is no cache folder")
        keep(folder, file, text.encode())
    except OSError as error:
        if note is not None:
            note(f"{called} could not be kept for the next time: {error}.")
    return text


def library_files(library: Path, *folders: str) -> Iterator[Path]:
    """The modules in the folder of the library, or in some of its folders, without its tests and what is installed, in
    the order of their paths."""
    places = [library / each for each in folders] or [library]
    found = [path for place in places for path in place.rglob("*.py")]
    for path in sorted(found, key=lambda path: path.relative_to(library).parts):
        if NOT_THE_LIBRARY.isdisjoint(path.relative_to(library).parts):
            yield path


def parsed(path: Path) -> ast.Module | None:
    """The tree of a module; None where it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of old code's escape sequences
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):  # the library keeps some broken files for its tests
        return None


def statements_of(tree: ast.Module) -> Iterator[ast.AST]:
    """The module, all its statements, and what holds statements within one. Expressions, which are most of the tree and
    cannot hold a definition, are passed by."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        yield (node := nodes.pop())
        nodes += [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt | ast.excepthandler | ast.match_case)]
