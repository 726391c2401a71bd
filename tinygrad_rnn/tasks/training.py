"""Training a task from Python: in a script or a notebook."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.ranks.by_mpi import everyone
from tinygrad_rnn.ranks.ending import ending_together
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tasks.finding import find_task, fitted_task, saved_task, task_of_class, with_weights
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.building import load_weights
from tinygrad_rnn.training.cell_files import FoundCell, cell_of_class
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.engine import calculating_as, take_gpu, with_engine
from tinygrad_rnn.training.examples import moved
from tinygrad_rnn.training.fitting import Evaluation, Record
from tinygrad_rnn.training.folder import BEST, LOG, held, own_checkpoint, refuse_other_runs
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.measuring import answers
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.permits import Permit
from tinygrad_rnn.training.report import Reporter
from tinygrad_rnn.training.result_file import RESULT, write_result
from tinygrad_rnn.training.runs import Run, figures_of
from tinygrad_rnn.training.saved_runs import load_run
from tinygrad_rnn.training.task import Task


@dataclass(frozen=True)
class Answering:
    """A task and a trained model for it, on a device."""

    task: Task
    model: Any = field(repr=False)
    device: str = "cpu"

    @property
    def tables(self) -> dict[str, Any]:
        """What the task prepared from the training part: vocabularies, labels."""
        return self.task.tables

    def predict(self, inputs: Iterable[Any], **options: Any) -> list[Any]:
        """What the model answers to inputs, all in one batch.

        Args:
            inputs: as examples have them; a text is one as a line of the command `predict` is one.
            options: go to the task's `predict`.

        Raises:
            TextError: inputs are of no use.
        """
        examples = [(self.task.parse(each) if isinstance(each, str) else each, None) for each in inputs]
        if not examples:
            return []
        with no_grad():
            batch = moved(self.task.collate(examples), self.device)
            return answers(self.task, self.model, batch, len(examples), **options)


@dataclass(frozen=True, kw_only=True)
class Trained(Answering):
    """What training gave: the best model, and how it went.

    Attributes:
        task, model, device: as in `Answering`.
        history: an entry for each evaluation, with its step and figures.
        result: the evaluation of the best model on the part for the result, or where there is none on the one that
            validates.
        why: why training ended.
    """

    history: list[dict[str, Any]] = field(repr=False)
    result: Evaluation
    why: str


def load_model(
    path: str | Path, *, task: str | type[Task] | None = None, trust: bool = False, device: str = "cpu"
) -> Answering:
    """The model in a checkpoint of a run.

    Args:
        path: of the checkpoint, or its name in the zoo, "zoo:dates".
        task: a class or "FILE.py:Class", where its task is the user's own.
        trust: runs the files that the checkpoint names, of a task or a cell, if they are as they were.
        device: "cpu" or "cuda".

    Raises:
        CheckpointError: it cannot be read.
        OptionError: it needs a file that may not be run (FileNotRun).
    """
    place = Path(path)
    saved = load_run(place)
    if task is None or isinstance(task, str):
        found = saved_task(place, saved, Permit(trust=trust, task=task))
    else:
        found = fitted_task(place, saved, task_of_class(task), Permit(trust=trust), warnings.warn)
    return Answering(found, with_weights(place, saved, found, device), device)


def options_and_cell(
    task: type[Task], given: dict[str, Any], note: Note, lasting: bool = True
) -> tuple[Any, FoundCell]:
    """See `Task.options_and_cell`; the cell may be a class, whose file is not run again: see `cell_of_class`."""
    if not isinstance(given.get("cell"), type):
        return task.options_and_cell(given, False, note)
    name, cell = cell_of_class(given["cell"], lasting)
    return task.Options(**{**given, "cell": name}), cell


class _History(Listener):
    """Keeps the figures of all evaluations, and hands everything on."""

    def __init__(self, task: Task, listener: Listener) -> None:
        self.task, self.listener = task, listener
        self.evaluations: list[dict[str, Any]] = []

    def step(self, record: Record) -> None:
        self.listener.step(record)

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        self.evaluations.append({"step": record.step, "epoch": record.epoch + 1, **figures_of(self.task, found)})
        self.listener.evaluation(record, found, better)


def train(
    task: str | type[Task],
    *,
    out: str | Path | None = None,
    time_budget: float | None = None,
    device: str = "cpu",
    quiet: bool = True,
    note: Note | None = None,
    **options: Any,
) -> Trained:
    """Trains a task. It ends after `time_budget` seconds, or as the options `epochs` and `patience` say; one of the
    three must.

    Args:
        task: one by name ("classify"), the user's own as "FILE.py:Class", or a class.
        out: a folder for checkpoints and the log, in which there must be no run yet; without it nothing is kept but
            what is returned.
        time_budget: in seconds.
        device: "cpu" or "cuda".
        quiet: False prints evaluations.
        note: is told what one should know of the examples.
        options: those of the task, by the names of its fields (`epochs=3`, `data="reviews.tsv"`); `cell` may be a class
            made with `Cell` as well.

    Raises:
        OptionError, TextError, OSError: options, examples or the folder are of no use.

    Example:
        >>> found = tasks.train("memory", problem="anbn", epochs=1, hidden=8)
        >>> sorted(found.result.metrics)
        ['accuracy']
    """
    if not (isinstance(task, str) or (isinstance(task, type) and issubclass(task, Task))):
        raise OptionError(f"task must be a name, FILE.py:Class or a class made with Task, got {task!r}")
    if time_budget is not None and not (isinstance(time_budget, int | float) and 0 < time_budget < math.inf):
        raise OptionError(f"time_budget must be a number of seconds above 0, got {time_budget!r}")
    found = find_task(task) if isinstance(task, str) else task_of_class(task)
    tell = note or (lambda sentence: None)
    ranks = everyone()
    with ending_together(ranks), ExitStack() as stack:
        take_gpu(device)
        chosen, cell = options_and_cell(found.task, options, tell)
        chosen = with_engine(chosen, device, tell)
        if time_budget is None and chosen.epochs is None and not chosen.patience:
            raise OptionError("it would not end: time_budget, epochs or patience must say when it does")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()) if out is None else out)
        if not ranks.rank:
            stack.enter_context(held(folder, tell))
            refuse_other_runs(folder)
        stack.enter_context(calculating_as(chosen, device))
        run = new_run(found.new(chosen, cell), tell, device, ranks)
        for remark in run.task.warnings():
            tell(remark)
        reporter = Listener() if ranks.rank else Reporter(run, LogFile(folder / LOG, run), time_budget, quiet)
        if isinstance(reporter, Reporter):
            stack.callback(reporter.close)
        history = _History(run.task, reporter)
        why = train_run(run, folder, history, time_budget)
        _take_best(run, folder)
        part = "test" if len(run.data.test) else "validation"
        result = run.measured(run.data.test if part == "test" else run.data.valid)
        if isinstance(reporter, Reporter):
            write_result(folder / RESULT, run, result, part, reporter.spent, why)
    return Trained(run.task, run.model, device, history=history.evaluations, result=result, why=why)


def _take_best(run: Run, folder: Path) -> None:
    """Gives the model, of all ranks, the best weights that the run has kept."""
    if not run.ranks.rank and (best := own_checkpoint(folder / BEST, run)) is not None:
        load_weights(folder / BEST, best, run.model)
    if run.ranks.size > 1:
        run.model.load_state_dict(run.ranks.broadcast(run.model.state_dict()))
