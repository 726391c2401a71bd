"""A task by its name: one that comes with the package, or the user's own; and the task of a checkpoint."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.zoo import is_of_zoo
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.tasks.caption import Caption
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.tasks.forecast import Forecast
from tinygrad_rnn.tasks.language.saved import LANGUAGE
from tinygrad_rnn.tasks.language.task import Language
from tinygrad_rnn.tasks.memory import Memory
from tinygrad_rnn.tasks.names import ClassifyNames
from tinygrad_rnn.tasks.speech import Speech
from tinygrad_rnn.tasks.tag import Tag
from tinygrad_rnn.tasks.translate import Translate
from tinygrad_rnn.training.building import load_weights, model_of
from tinygrad_rnn.training.cell_files import FoundCell, open_cell
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_files import run_file
from tinygrad_rnn.training.own_sources import OwnSources
from tinygrad_rnn.training.permits import NOTHING_PERMITTED, FileNotRun, Permit, permitted_cell, tell_changes, trusted
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.saved_runs import load_run, refused, tables_from_json
from tinygrad_rnn.training.task import Task

TASKS: dict[str, type[Task]] = {
    LANGUAGE: Language,
    "classify": Classify,
    "tag": Tag,
    "translate": Translate,
    "caption": Caption,
    "speech": Speech,
    "forecast": Forecast,
    "memory": Memory,
    "names": ClassifyNames,
}
"""Those that come with the package, by name."""


@dataclass(frozen=True)
class FoundTask:
    """A class of tasks by the `name` that a run has for it, and the files that it comes from, None for one that comes
    with the package or from no file."""

    name: str
    task: type[Task]
    sources: OwnSources | None = None

    def new(self, options: Any, cell: FoundCell | None = None) -> Task:
        """A task with these options, whose cell is found unless it is given. Raises OptionError."""
        task = self.task(options, open_cell(options.cell) if cell is None else cell, self.name)
        if self.sources is not None:
            task.record = self.sources.record(self.task)
        return task


def find_task(name: str, sources: OwnSources | None = None) -> FoundTask:
    """A task by its name, and the files that it is from. A user's file is run.

    Args:
        name: "language", "classify", ... or "FILE.py:Class".
        sources: the file, where it has been read already.

    Raises:
        OptionError: there is none.

    Example:
        >>> tasks.find_task("classify").task is tasks.TASKS["classify"]
        True
    """
    if name in TASKS:
        return FoundTask(name, TASKS[name])
    found, sources = run_file("task", name, Task, TASKS, sources)
    return FoundTask(name, found, sources)


def task_of_class(task: type[Task]) -> FoundTask:
    """What `find_task` gives of a class, from wherever it is imported: a checkpoint names its file, if it has one."""
    for name, shipped in TASKS.items():
        if task is shipped:
            return FoundTask(name, task)
    place = getattr(sys.modules.get(task.__module__), "__file__", None)
    if place is None or Path(place).suffix != ".py":
        return FoundTask(task.__name__, task)
    return FoundTask(f"{place}:{task.__name__}", task, OwnSources.read(Path(place), "task"))


def permitted_task(path: Path, meta: Mapping[str, Any], permit: Permit, note: Note) -> FoundTask:
    """The task of a checkpoint at `path`, which says `meta`. Raises FileNotRun where it is in a file that `permit` does
    not allow to run, OptionError where the task named is another one."""
    name, record = str(meta["task"]), meta.get("task_file")
    if name in TASKS:
        if permit.task is not None and permit.task != name:
            raise OptionError(f"{path}: the model's task is {name}, got {permit.task!r}")
        return find_task(name)
    if permit.task is None:
        return find_task(*_trusted_task(path, name, record, permit.trust))
    if permit.task in TASKS:
        raise OptionError(f"{path}: the model's task is {name}, got {permit.task!r}")
    found = find_task(permit.task)
    if record is not None and found.sources is not None:
        tell_changes("task", record, found.sources, found.task, note)
    return found


def saved_task(
    path: Path, saved: checkpoint.Checkpoint, permit: Permit = NOTHING_PERMITTED, note: Note = warnings.warn
) -> Task:
    """The task that a checkpoint, loaded from `path`, describes: its options, tables and cell. Files of the user's own
    are run only where `permit` says so; `note` is told where they are not as they were. Raises CheckpointError,
    OptionError (FileNotRun)."""
    return fitted_task(path, saved, permitted_task(path, saved.meta, permit, note), permit, note)


def fitted_task(path: Path, saved: checkpoint.Checkpoint, found: FoundTask, permit: Permit, note: Note) -> Task:
    """What `saved_task` gives, of a class that has been found already."""
    meta, task = saved.meta, described_task(path, saved, found)
    task.cell = permitted_cell(path, task.options.cell, meta.get("cell"), permit, note, found.task.reserved)
    if permit.cell is not None:
        task.options = task.options.changed(cell=permit.cell)
    with refused(path, "the weights do not fit the model that it describes"):
        task.check_weights(saved.part("model"))
    return task


def described_task(path: Path, saved: checkpoint.Checkpoint, found: FoundTask) -> Task:
    """The task that a checkpoint describes, of the class `found`. Its cell is not looked for, so that nothing can be
    built with it. Raises CheckpointError."""
    meta = saved.meta
    with refused(path, "an incomplete or malformed checkpoint"):
        options = found.task.Options.from_json(meta["settings"])
        task = found.new(options, NO_CELL)
        task.tables = tables_from_json(meta["tables"])
        task.check_saved(meta)
    return task


def task_not_run(path: Path, meta: Mapping[str, Any]) -> FileNotRun | None:
    """Why the task of a checkpoint is not run unless its user says so; None for one that comes with the package."""
    if meta["task"] in TASKS:
        return None
    try:
        _trusted_task(path, str(meta["task"]), meta.get("task_file"), False)
    except FileNotRun as error:
        return error
    return None


def _trusted_task(path: Path, name: str, record: Mapping[str, Any] | None, trust: bool) -> tuple[str, OwnSources]:
    """See `trusted`."""
    if ":" not in name:
        message = f"{path}: the model's task is {name}, which was in no file"
        raise FileNotRun(message, "task", f"FILE.py:{name}")
    return trusted("task", path, name, record, trust, TASKS)


NO_CELL = open_cell("rnn")
"""In the place of one that is not needed."""


def with_weights(path: Path, saved: checkpoint.Checkpoint, task: Task, device: str = "cpu") -> Any:
    """The model of a task, with the weights of a checkpoint. Raises OptionError, CheckpointError."""
    model = model_of(path, saved, task)
    load_weights(path, saved, model)
    return model.to(device)


def resume_run(
    path: Path,
    note: Note,
    device: str = "cpu",
    permit: Permit = NOTHING_PERMITTED,
    ranks: Ranks = ONE_PROCESS,
    **changes: Any,
) -> Run:
    """The run that goes on from a checkpoint.

    Args:
        path: of the checkpoint.
        note: is told of changes.
        device: "cpu" or "cuda".
        permit: which files may be run.
        ranks: those that train it together.
        changes: as in `Run.resume`; it raises as that does, and as `load_model`.
    """
    saved = load_run(path)
    if is_of_zoo(path):
        begin = f"; --init-from {path} begins a new run with its weights" if saved.meta["task"] == LANGUAGE else ""
        raise OptionError(f"{path} cannot be gone on from: it has its weights, and not the state of its run{begin}")
    return Run.resume(path, saved, saved_task(path, saved, permit, note), note, device, ranks, **changes)
