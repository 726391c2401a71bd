"""A new run of a task: its examples, their baselines, and a model with first weights."""

from __future__ import annotations

from typing import Any

from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.training.asking import asked
from tinygrad_rnn.training.engine import with_engine
from tinygrad_rnn.training.examples import Data
from tinygrad_rnn.training.known_baselines import known_baselines
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.places import pipes
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.saved_runs import tables_to_json
from tinygrad_rnn.training.task import Task
from tinygrad_rnn.training.trial import check_methods, try_first_batch


def new_run(task: Task, note: Note, device: str = "cpu", ranks: Ranks = ONE_PROCESS, **given: Any) -> Run:
    """A run of the task from its beginning, whose options then name its engine and its threads; `ranks` are those that
    train it together, and `given` is the run's `id`, if it is to have a certain one. `note` is told what a user should
    know of the examples. Raises OptionError, TextError, OSError, RanksError."""
    check_methods(task)
    task.options, task.ranks = with_engine(task.options, device), ranks
    if ranks.size > 1 and (found := pipes(task.options)):
        name, option = next(iter(found.items()))
        raise OptionError(f"{option}: {name} is a pipe, which one process alone can read: name a file")
    source = task.source(note)
    data = task.divide(source)
    tables_to_json(task.tables)  # which says what cannot be saved
    _check_parts(task, data)
    for remark in task.remarks(source):
        note(remark)
    baselines = {} if ranks.rank else known_baselines(task, data)
    data.about["baselines"] = {name: float(value) for name, value in baselines.items()}
    data.about["baselines_without"] = {name: value.without for name, value in baselines.items() if value.without}
    run = Run(task, data, device, ranks=ranks, **given)
    if task.tried:
        try_first_batch(run, note)
    run.check_penalties()
    run.check_alike()
    return run


def _check_parts(task: Task, data: Data) -> None:
    """Raises TextError where an example to measure on is of no use to the model, such as one of a label that no other
    has: before training, not after an hour of it."""
    for part, examples in (("validation", data.valid), ("test", data.test)):
        try:
            if task.predicts and len(examples):
                with asked(task.name, "batches"):
                    parts = list(task.batches(examples, task.options.batch_size, None))
                for each in parts:
                    with asked(task.name, "collate"):
                        task.collate(each)
        except TextError as error:
            raise TextError(f"{data.about['name']}: in the {part} part: {error}") from None
