"""What can be told of a task before it is trained: whether its methods take what they are given, and whether a first
batch goes through all of them."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.training.examples import TaskError, moved
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.measuring import answers, metrics_of
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_files import blame
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.task import Task

NEEDED = ("build", "collate", "loss")
CALLED = (*NEEDED, *"default read split prepare batches size predict score baselines parse write".split())
"""Methods that a task must have, and those that it may have: they are called with the arguments of `Task`'s own."""


def check_methods(task: Task) -> None:
    """Raises TaskError for a method that is missing, and for one that cannot be called as it will be."""
    for name in CALLED:
        method, usual = getattr(type(task), name), getattr(Task, name)
        given = list(inspect.signature(usual).parameters)[1:]
        if method is usual:
            if name in NEEDED:
                raise TaskError(f"{task.name} must have a method {name}(self, {', '.join(given)}){_meant(task, name)}")
            continue
        try:
            inspect.signature(getattr(task, name)).bind(*given)
        except TypeError as error:
            raise TaskError(
                f"{task.name}.{name} must take the arguments (self, {', '.join(given)}), which it does not: {error}"
            ) from None


def _meant(task: Task, name: str) -> str:
    """The name that was perhaps meant to be another one."""
    near = difflib.get_close_matches(name, [each for each in vars(type(task)) if each not in CALLED], 1)
    return f": it has {near[0]}" if near else ""


def try_first_batch(run: Run, note: Note) -> None:
    """Takes the first batch that validates through the task's methods. Raises TaskError for what does not fit, and what
    the task raises itself; `note` is told of what only seems to be wrong."""
    try:
        with no_grad():
            _try(run, note)
    except (OptionError, TextError, TaskError, MemoryError):
        raise
    except Exception as error:
        if blame(error):
            raise
        raise TaskError(
            f"{run.task.name}: the first batch does not go through its methods: {type(error).__name__}: {error}"
        ) from error


def _try(run: Run, note: Note) -> None:
    task, part = run.task, next(iter(run.task.batches(run.data.valid, run.options.batch_size, None)))
    batch = _batch(run, part)
    total, count, _ = task.batch_loss(run.model, batch, None, None, "sum")
    if not task.predicts:
        return
    said = answers(task, run.model, batch, len(part))
    task.value(Evaluation(0.0, 1, metrics_of(task, task.score([output for _, output in part], said))))
    for answer in answers(task, run.model, _without_outputs(run, part), len(part)):
        if not isinstance(line := task.write(answer), str):
            raise TaskError(f"{task.name}.write must give a text, got {type(line).__name__}")
    twice, both, _ = task.batch_loss(run.model, _batch(run, [*part, *part]), None, None, "sum")
    one, two = total.item(), twice.item()
    if both == 2 * count and one and abs(two - one) < 1e-3 * abs(one):
        note(f"{task.name}.loss seems to be a mean: of twice the examples it is no more. It must be a sum.")


def _without_outputs(run: Run, part: Any) -> Any:
    """A batch as it is made where the outputs are asked for."""
    try:
        return _batch(run, [(given, None) for given, _ in part])
    except Exception as error:
        found = blame(error)
        what = found[1] if found else f"{type(error).__name__}: {error}"
        raise TaskError(
            f"{run.task.name}.collate must take examples whose outputs are None too, those to predict: {what}"
        ) from error


def _batch(run: Run, part: Any) -> Any:
    return moved(run.task.collate(part), run.device)
