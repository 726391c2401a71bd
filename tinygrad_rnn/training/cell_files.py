"""A user's own cell, from the file that they name, and which line of it an error comes from."""

from __future__ import annotations

import difflib
import inspect
import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_rnn.frames import owner
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.language import CELLS
from tinygrad_rnn.training.cell_sources import CellSources
from tinygrad_rnn.training.settings import SettingsError


@dataclass(frozen=True)
class FoundCell:
    """A class made with `Cell`; the files that it comes from, None for one that comes with the package; and options
    for its `setup`, where they are not to be the class's own."""

    cell: type[Cell]
    sources: CellSources | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any] | None:
        """What a checkpoint says of a class from a file, as JSON values."""
        if self.sources is None:
            return None
        return {
            "file": str(self.sources.path),
            "class": self.cell.__name__,
            "sha256": self.sources.sha256,
            "beside": self.sources.beside,
            "options": default_options(self.cell) | self.options,
        }


def find_cell(name: str) -> type[Cell]:
    """The cell called "rnn", "gru", "lstm" or "FILE.py:Class". Raises SettingsError where there is none."""
    return open_cell(name).cell


def open_cell(name: str, sources: CellSources | None = None) -> FoundCell:
    """The cell called so; the file of one of the user's own is run, from `sources` where it has been read already.
    Raises SettingsError where there is none."""
    if is_shipped(name):
        return FoundCell(CELLS[name.lower()])
    path, attribute = file_and_class(name)
    if not Path(path).is_file():
        raise SettingsError(f"cell {name!r}: there is no file {path}")
    if Path(path).suffix != ".py":
        raise SettingsError(f"cell {name!r}: {path} is not a Python file")
    sources = CellSources.read(Path(path)) if sources is None else sources
    try:
        module = sources.run()
    except (Exception, SystemExit) as error:
        raise SettingsError(f"cell {name!r}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise SettingsError(f"cell {name!r}: {path} has no class {attribute} made with Cell")
    return FoundCell(found, sources)


def is_shipped(name: str) -> bool:
    """Whether a cell of that name comes with the package."""
    return name.lower() in CELLS


def file_and_class(name: str) -> tuple[str, str]:
    """The two parts of "FILE.py:Class". Raises SettingsError where it has not the two."""
    path, colon, attribute = name.rpartition(":")
    if not colon or not attribute:
        file, meant = name.removesuffix(":"), difflib.get_close_matches(name.lower(), CELLS, 1)
        if file.endswith(".py"):
            raise SettingsError(f"cell must be FILE.py:Class with the name of the class in {file}, got {name!r}")
        if meant:
            raise SettingsError(f"there is no cell {name!r}: did you mean {meant[0]}?")
        raise SettingsError(f"cell must be {', '.join(CELLS)} or FILE.py:Class, got {name!r}")
    return path, attribute


def default_options(cell: type[Cell]) -> dict[str, Any]:
    """The options of a cell's `setup` and what they are unless told, those that JSON can hold."""
    values = {name: each.default for name, each in inspect.signature(cell.setup).parameters.items()}
    return {
        name: value
        for name, value in values.items()
        if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    }


def blame(error: BaseException) -> str:
    """ "FILE.py, line N: TypeError: ..." where the error comes from within a user's own cell, and otherwise ""."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [f"{frame.f_code.co_filename}, line {line}" for frame, line in frames if owner(frame) == "cell file"]
    return f"{lines[-1]}: {type(error).__name__}: {error}" if lines else ""
