"""Whether the user's files that a checkpoint names may be run, of its cell or its task: a checkpoint runs no file that
its user did not name."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.training.cell_files import FoundCell, default_options, is_shipped, open_cell
from tinygrad_rnn.training.cell_names import name_and_options
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_files import file_and_class
from tinygrad_rnn.training.own_sources import OwnSources
from tinygrad_rnn.training.places import candidates


@dataclass(frozen=True)
class Permit:
    """What the user allows: `cell` is the cell to use, "FILE.py:Class", whatever the checkpoint names, and `task` the
    task; `trust` allows the files that the checkpoint names, if they are still those whose hashes it has. Nothing of it
    is needed for what comes with the package."""

    cell: str | None = None
    trust: bool = False
    task: str | None = None


NOTHING_PERMITTED = Permit()


class FileNotRun(OptionError):
    """A model's cell, or its task (`kind`), is in a file that its user did not allow to run. `name` is what to name:
    "FILE.py:Class"."""

    def __init__(self, message: str, kind: str, name: str) -> None:
        super().__init__(message)
        self.kind, self.name = kind, name


def permitted_cell(
    path: Path, name: str, record: Mapping[str, Any] | None, permit: Permit, note: Note, reserved: Collection[str] = ()
) -> FoundCell:
    """The cell that the checkpoint at `path` calls by `name`, with its record of it (None in older ones). Options of
    the names in `reserved` are the model's and not the cell's. Raises FileNotRun where it is in a file that `permit`
    does not allow to run, OptionError where the cell named is of no use. `note` is told where it is not the cell that
    the model was trained with."""
    bare, options = name_and_options(name)
    named, others = (None, {}) if permit.cell is None else name_and_options(permit.cell)
    if is_shipped(name):
        if named is not None and (named.lower(), others or options) != (bare.lower(), options):
            raise OptionError(f"{path}: the model's cell is {name}, got {permit.cell!r}")
        return open_cell(name)
    if named is not None and is_shipped(named):
        raise OptionError(f"{path}: the model's cell is {name}, got {permit.cell!r}")
    if named is None:
        found = open_cell(*trusted("cell", path, bare, record, permit.trust, CELLS))
    else:
        found = open_cell(named)
    options = options | others
    if record is None or found.sources is None:
        return replace(found, options=options)
    tell_changes("cell", record, found.sources, found.cell, note)
    return replace(found, options=_kept_options(record, found, reserved) | options)


def cell_not_run(path: Path, name: str, record: Mapping[str, Any] | None) -> FileNotRun | None:
    """Why the cell of a checkpoint is not run unless its user says so; None for one that comes with the package."""
    if is_shipped(name):
        return None
    try:
        trusted("cell", path, name_and_options(name)[0], record, False, CELLS)
    except FileNotRun as error:
        return error
    return None


def tell_changes(kind: str, record: Mapping[str, Any], sources: OwnSources, found: type, note: Note) -> None:
    """Says where the files, or the class in them, are not those with which the model was trained."""
    if record["class"] != found.__name__:
        note(f"the model was saved with the {kind} {record['class']}, and this is {found.__name__}")
    if changed := _changed_files(record, sources):
        note(f"the {kind} has changed since the model was saved: {changed}; its numbers may be others")


def trusted(
    kind: str, path: Path, name: str, record: Mapping[str, Any] | None, trust: bool, shipped: Collection[str]
) -> tuple[str, OwnSources]:
    """The "FILE.py:Class" of a `kind` ("cell", "task") that a checkpoint names, and what is in its files: where the
    user trusts it and they are as they were when it was saved. Nothing is run. Raises FileNotRun otherwise."""
    file, attribute = file_and_class(kind, name, shipped)
    known = None if record is None else str(record["file"])
    there = [OwnSources.read(Path(each), kind) for each in candidates(file, path, known)]
    same = [each for each in there if record is not None and not _changed_files(record, each)]
    file = str(next((each.path for each in (*same, *there)), known or file))
    found, begin = f"{file}:{attribute}", f"{path}: the model's {kind} is {attribute} in {file}"
    if not there:
        raise FileNotRun(f"{begin}, and there is no file {file}", kind, f"FILE.py:{attribute}")
    if record is None and trust:
        raise FileNotRun(f"{begin}, and the checkpoint has no hash by which to trust it", kind, found)
    if record is not None and not same and not Path(str(known)).is_file():
        raise FileNotRun(
            f"{path}: the model's {kind} is {attribute} in {known}, where there is no file any more; "
            f"{there[0].path} is another",
            kind,
            f"FILE.py:{attribute}",
        )
    if record is not None and not same:
        changed = _changed_files(record, there[0])
        raise FileNotRun(f"{begin}, which has changed since the model was saved ({changed})", kind, found)
    if not trust:
        trusting = "" if record is None else " or say --trust"
        raise FileNotRun(f"{begin}, which is run only where you name it{trusting}", kind, found)
    return found, same[0]


def _changed_files(record: Mapping[str, Any], sources: OwnSources) -> str:
    """The files that are not what they were when the model was saved; empty where all are."""
    beside = sorted({*record["beside"].items()} ^ {*sources.beside.items()})
    names = [sources.path.name] if sources.sha256 != record["sha256"] else []
    return ", ".join([*names, *dict.fromkeys(f"{name} beside it" for name, _ in beside)])


def _kept_options(record: Mapping[str, Any], found: FoundCell, reserved: Collection[str]) -> dict[str, Any]:
    """The options that the model was trained with, where the class has another value for them now."""
    now = default_options(found.cell)
    layer = {*inspect.signature(Recurrent.__init__).parameters, *reserved}
    return {
        name: value
        for name, value in record["options"].items()
        if name in now and now[name] != value and name not in layer
    }
