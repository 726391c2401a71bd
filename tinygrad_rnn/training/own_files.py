"""A class of the user's own, a cell or a task, from the file that they name, and which line an error comes from."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tinygrad_rnn.frames import USER_FILE
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_sources import OwnSources, main_of


def file_and_class(kind: str, name: str, shipped: Collection[str]) -> tuple[str, str]:
    """The two parts of "FILE.py:Class", the name of a `kind` ("cell", "task") that is none of those `shipped`. Raises
    OptionError where it has not the two."""
    path, colon, attribute = name.rpartition(":")
    if not colon or not attribute:
        file, meant = name.removesuffix(":"), difflib.get_close_matches(name.lower(), shipped, 1, 0.7)
        if file.endswith(".py"):
            raise OptionError(f"{kind} must be FILE.py:Class with the name of the class in {file}, got {name!r}")
        if meant:
            raise OptionError(f"there is no {kind} {name!r}: did you mean {meant[0]}?")
        raise OptionError(f"{kind} must be {', '.join(shipped)} or FILE.py:Class, got {name!r}")
    return path, attribute


def run_file(
    kind: str, name: str, base: type, shipped: Collection[str], sources: OwnSources | None = None
) -> tuple[type, OwnSources]:
    """The class called "FILE.py:Class", a subclass of `base`: the file is run, from `sources` where it has been read
    already. Raises OptionError where there is none."""
    path, attribute = file_and_class(kind, name, shipped)
    if not Path(path).is_file():
        raise OptionError(f"{kind} {name!r}: there is no file {path}")
    if Path(path).suffix != ".py":
        raise OptionError(f"{kind} {name!r}: {path} is not a Python file")
    sources = OwnSources.read(Path(path), kind) if sources is None else sources
    try:
        module = sources.run()
    except (Exception, SystemExit) as error:
        found = blame(error)
        what = found[1] if found and not isinstance(error, SyntaxError) else f"{type(error).__name__}: {error}"
        raise OptionError(f"{kind} {name!r}: {path} cannot be imported: {what}") from error
    made = getattr(module, attribute, None)
    if not (isinstance(made, type) and issubclass(made, base)):
        there = [each for each, value in vars(module).items() if _is_own(value, base, module.__name__)]
        has = f": it has {', '.join(there)}" if there else ""
        raise OptionError(f"{kind} {name!r}: {path} has no class {attribute} made with {base.__name__}{has}")
    return made, sources


def _is_own(value: Any, base: type, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value.__module__ == module


def blame(error: BaseException) -> tuple[str, str] | None:
    """("cell", "FILE.py, line N: TypeError: ...") where the error comes from within a cell of the user's own, and the
    like for a task; None otherwise."""
    found: tuple[str, str] | None = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if (main := main_of(frame)) is not None and frame.f_code.co_filename != "<string>":  # what dataclasses write
            kind = main.removeprefix(USER_FILE).partition("_")[0]
            found = kind, f"{frame.f_code.co_filename}, line {line}: {type(error).__name__}: {error}"
    return found
