"""Whether the cell that a checkpoint names may be run: a checkpoint runs no file that its user did not name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.training.cell_files import FoundCell, default_options, file_and_class, is_shipped, open_cell
from tinygrad_rnn.training.cell_sources import CellSources
from tinygrad_rnn.training.places import candidates
from tinygrad_rnn.training.settings import Settings, SettingsError


@dataclass(frozen=True)
class CellPermit:
    """What the user allows: `named` is the cell to use, "FILE.py:Class", whatever the checkpoint names; `trust` allows
    the file that the checkpoint names, if it is still the one whose hash the checkpoint has; `ready` is a cell that is
    loaded already. Nothing of it is needed for the cells that come with the package."""

    named: str | None = None
    trust: bool = False
    ready: FoundCell | None = None


NOTHING_PERMITTED = CellPermit()


class CellNotRun(SettingsError):
    """A model's cell is in a file that its user did not allow to run. `cell` is what to name: "FILE.py:Class"."""

    def __init__(self, message: str, cell: str) -> None:
        super().__init__(message)
        self.cell = cell


def permitted_cell(
    path: Path, settings: Settings, record: Mapping[str, Any] | None, permit: CellPermit, note: Note
) -> FoundCell:
    """The cell of the checkpoint at `path`, whose settings and record of the cell (None in older ones) are given.
    Raises CellNotRun where it is in a file that `permit` does not allow to run, SettingsError where the cell named is
    of no use. `note` is told where it is not the cell that the model was trained with."""
    if permit.ready is not None:
        return permit.ready
    if is_shipped(settings.cell):
        if permit.named is not None and permit.named.lower() != settings.cell.lower():
            raise SettingsError(f"{path}: the model's cell is {settings.cell}, got {permit.named!r}")
        return open_cell(settings.cell)
    if permit.named is not None and is_shipped(permit.named):
        raise SettingsError(f"{path}: the model's cell is {settings.cell}, got {permit.named!r}")
    if permit.named is None:
        found = open_cell(*_trusted(path, settings, record, permit.trust))
    else:
        found = open_cell(permit.named)
    if record is None or found.sources is None:
        return found
    if changed := _changed_files(record, found.sources):
        note(f"the cell has changed since the model was saved: {changed}; its numbers may be others")
    return replace(found, options=_kept_options(record, found))


def not_run(path: Path, settings: Settings, record: Mapping[str, Any] | None) -> CellNotRun | None:
    """Why the cell of a checkpoint is not run unless its user says so; None for one that comes with the package."""
    if is_shipped(settings.cell):
        return None
    try:
        _trusted(path, settings, record, False)
    except CellNotRun as error:
        return error
    return None


def _trusted(path: Path, settings: Settings, record: Mapping[str, Any] | None, trust: bool) -> tuple[str, CellSources]:
    """The "FILE.py:Class" that a checkpoint names, and what is in its files: where the user trusts it and they are as
    they were when it was saved. Nothing is run. Raises CellNotRun otherwise."""
    file, attribute = file_and_class(settings.cell)
    known = None if record is None else str(record["file"])
    there = [CellSources.read(Path(each)) for each in candidates(file, path, known)]
    same = [each for each in there if record is not None and not _changed_files(record, each)]
    file = str(next((each.path for each in (*same, *there)), known or file))
    name, begin = f"{file}:{attribute}", f"{path}: the model's cell is {attribute} in {file}"
    if not there:
        raise CellNotRun(f"{begin}, and there is no file {file}", f"FILE.py:{attribute}")
    if record is None and trust:
        raise CellNotRun(f"{begin}, and the checkpoint has no hash by which to trust it", name)
    if record is not None and not same:
        changed = _changed_files(record, there[0])
        raise CellNotRun(f"{begin}, which has changed since the model was saved ({changed})", name)
    if not trust:
        trusting = "" if record is None else " or say --trust"
        raise CellNotRun(f"{begin}, which is run only where you name it{trusting}", name)
    return name, same[0]


def _changed_files(record: Mapping[str, Any], sources: CellSources) -> str:
    """The files that are not what they were when the model was saved; empty where all are."""
    beside = sorted({*record["beside"].items()} ^ {*sources.beside.items()})
    names = [sources.path.name] if sources.sha256 != record["sha256"] else []
    return ", ".join([*names, *dict.fromkeys(f"{name} beside it" for name, _ in beside)])


def _kept_options(record: Mapping[str, Any], found: FoundCell) -> dict[str, Any]:
    """The options that the model was trained with, where the class has another value for them now."""
    now = default_options(found.cell)
    layer = {*inspect.signature(Recurrent.__init__).parameters, *inspect.signature(LanguageModel.__init__).parameters}
    return {
        name: value
        for name, value in record["options"].items()
        if name in now and now[name] != value and name not in layer
    }
