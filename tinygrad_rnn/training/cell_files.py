"""A cell by the name that a run has for it: one that comes with the package, or the user's own."""

from __future__ import annotations

import inspect
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.training.cell_names import name_and_options
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_files import run_file
from tinygrad_rnn.training.own_sources import OwnSources


@dataclass(frozen=True)
class FoundCell:
    """A class made with `Cell`; the files that it comes from, None for one that comes with the package; and options
    for its `setup`, where they are not to be the class's own."""

    cell: type[Cell]
    sources: OwnSources | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any] | None:
        """What a checkpoint says of a class from a file, as JSON values. Options that are none of these are told by
        the name of the cell alone."""
        if self.sources is None:
            return None
        given = {name: value for name, value in self.options.items() if _is_simple(value)}
        return self.sources.record(self.cell) | {"options": default_options(self.cell) | given}


def open_cell(name: str, sources: OwnSources | None = None) -> FoundCell:
    """The cell called so, with the options in its name; the file of one of the user's own is run, from `sources` where
    it has been read already. Raises OptionError where there is none, or it has no such option."""
    bare, options = name_and_options(name)
    if is_shipped(name):
        found = FoundCell(CELLS[bare.lower()], options=options)
    else:
        found = FoundCell(*run_file("cell", bare, Cell, CELLS, sources), options=options)
    _check_options(name, found)
    return found


def _check_options(name: str, found: FoundCell) -> None:
    taken = inspect.signature(found.cell.setup).parameters
    names = [*taken][1:]
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return
    if unknown := [each for each in found.options if each not in names]:
        has = f"it has {', '.join(names)}" if names else "it has none"
        raise OptionError(f"cell {name!r}: {found.cell.__name__} has no option {unknown[0]!r}; {has}")


def cell_of_class(cell: type[Cell], lasting: bool = True) -> tuple[str, FoundCell]:
    """The name that a run has for a class made with `Cell`, from wherever it is imported, and what `open_cell` gives of
    it. Raises OptionError for one that is in no file, such as a notebook's: a checkpoint could not name it, if that is
    to be `lasting`."""
    for name, shipped in CELLS.items():
        if cell is shipped:
            return name, FoundCell(cell)
    place = getattr(sys.modules.get(cell.__module__), "__file__", None)
    if place is None or Path(place).suffix != ".py":
        if not lasting:
            return cell.__name__, FoundCell(cell)
        raise OptionError(f"cell must be a class from a file, which a checkpoint can name, got {cell.__name__}")
    return f"{place}:{cell.__name__}", FoundCell(cell, OwnSources.read(Path(place), "cell"))


def is_shipped(name: str) -> bool:
    """Whether a cell of that name, options or none, comes with the package."""
    return name_and_options(name)[0].lower() in CELLS


def default_options(cell: type[Cell]) -> dict[str, Any]:
    """The options of a cell's `setup` and what they are unless told, those that JSON can hold."""
    values = {name: each.default for name, each in inspect.signature(cell.setup).parameters.items()}
    return {name: value for name, value in values.items() if _is_simple(value)}


def _is_simple(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
