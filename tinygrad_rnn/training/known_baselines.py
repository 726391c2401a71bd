"""What simple methods reach on the examples of a run: found once, and kept for runs that learn from the same ones."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tinygrad_rnn import baselines
from tinygrad_rnn.cache import cache_folder, keep, kept, text_digest
from tinygrad_rnn.training.asking import asked, number
from tinygrad_rnn.training.comparing import Reached
from tinygrad_rnn.training.examples import Data, TaskError
from tinygrad_rnn.training.options import TrainingOptions
from tinygrad_rnn.training.saved_runs import tables_to_json
from tinygrad_rnn.training.task import Task


def known_baselines(task: Task, data: Data) -> dict[str, Reached]:
    """What the task's `baselines` give, in its metric, on the part for the result, or where that is empty on the one
    that validates; without those that are no finite numbers. They are kept in the user's cache folder under a hash of
    the task, its tables and the examples."""
    folder, file = cache_folder(), f"baselines-{_FORMAT}-{_identity(task, data)}.txt"
    if folder is not None and (content := kept(folder, file)) is not None:
        return {name: Reached(*each) for name, each in json.loads(content).items()}
    part = data.test if len(data.test) else data.valid
    with asked(task.name, "baselines"):
        given = task.baselines(data.train, part)
        if not isinstance(given, Mapping):
            raise TaskError(f"{task.name}.baselines must give numbers by name, got {type(given).__name__}")
        found = {
            name: Reached(number(task.name, "baselines", name, value), _rounded(getattr(value, "without", ())))
            for name, value in given.items()
        }
    found = {name: value for name, value in found.items() if math.isfinite(value)}
    if folder is not None:
        with suppress(OSError):  # what cannot be kept is found again
            table = json.dumps({name: [value, value.without] for name, value in found.items()})
            keep(folder, file, table.encode())
    return found


_FORMAT = 2
"""Of what is kept."""


def _rounded(values: Sequence[float]) -> list[float]:
    """To eight digits, since they are in every checkpoint; none where one is no finite number."""
    return [float(f"{value:.8g}") for value in values] if all(map(math.isfinite, values)) else []


def _identity(task: Task, data: Data) -> str:
    """What the baselines depend on: the code of the task and of all baselines, its own options, the tables and the
    examples."""
    known = {each.name for each in TrainingOptions.all_about()} - {"problem"}
    options = {name: value for name, value in task.options.to_json().items() if name not in known}
    record = dict(task.record or {})
    parts = [_sources(type(task)), record, options, tables_to_json(task.tables), data.about["split_sha256"]]
    return text_digest(json.dumps(parts, sort_keys=True, default=str))[:24]


def _sources(task: type[Task]) -> list[str]:
    """The files of a class and of those that it is derived from, and of the baselines."""
    modules = [sys.modules.get(each.__module__) for each in task.__mro__[: task.__mro__.index(Task)]]
    named = [str(place) for module in modules if (place := getattr(module, "__file__", None))]
    beside = Path(baselines.__file__).parent.glob("*.py")
    return [path.read_bytes().hex() for path in map(Path, [*named, *sorted(map(str, beside))]) if path.is_file()]
