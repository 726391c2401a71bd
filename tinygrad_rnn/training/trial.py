"""What can be told of a task before it is trained: whether its methods take what they are given, and whether a first
batch goes through all of them."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.models.module import within
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.training.asking import asked
from tinygrad_rnn.training.examples import TaskError, moved
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.measuring import answers, metrics_of, written
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
            if name in NEEDED or (name == "predict" and task.metric != "loss"):
                or_else = ", or metric = 'loss'" if name == "predict" else ""
                raise TaskError(
                    f"{task.name} must have a method {name}(self, {', '.join(given)}){or_else}{_meant(task, name)}"
                )
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
    with no_grad():
        _try(run, note)
    _compare_model(run, note)


def _try(run: Run, note: Note) -> None:
    task = run.task
    with asked(task.name, "batches"):
        part = next(iter(task.batches(run.data.valid, run.options.batch_size, None)))
    batch = _batch(run, part)
    total, count = _loss(run, batch)
    if not task.predicts:
        return
    said, gold = answers(task, run.model, batch, len(part)), [output for _, output in part]
    with asked(task.name, "score"):
        task.value(Evaluation(0.0, 1, metrics_of(task, task.score(gold, said))))
    with asked(task.name, "labels_in"):
        for outputs in (gold, said):
            any(hash(label) for label in task.labels_in(outputs))
    for answer in answers(task, run.model, _without_outputs(run, part), len(part)):
        written(task, answer)
    two, both = _loss(run, _batch(run, [*part, *part]))
    one = total
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
    with asked(run.task.name, "collate"):
        batch = run.task.collate(part)
    if batch is None:
        raise TaskError(f"{run.task.name}.collate must give a batch, got None")
    return moved(batch, run.device)


def _loss(run: Run, batch: Any) -> tuple[float, Any]:
    """The summed loss of a batch, and how many it is the sum of."""
    with asked(run.task.name, "loss"):
        total, count, _ = run.task.batch_loss(run.model, batch, None, None, "sum")
    return total.item(), count


def _compare_model(run: Run, note: Note) -> None:
    """Tells where a model has not what the options ask for."""
    task, options = run.task, run.options
    hint = "its layers are to be given **self.layer_options(rng)"
    if not any(isinstance(each, task.cell.cell) for each in within(run.model)):
        note(f"{task.name}.build makes no layer of the cell {options.cell}: {hint}")
    if strange := {str(p.data.dtype) for p in run.model.parameters()} - {options.dtype}:
        there = ", ".join(sorted(strange))
        note(f"{task.name}.build makes parameters of {there}, and dtype is {options.dtype}: {hint}")
