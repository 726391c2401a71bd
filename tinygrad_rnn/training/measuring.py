"""How well a model does a task on examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_rnn.metrics.jackknife import mean_without_each, without_each
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.training.asking import asked, number
from tinygrad_rnn.training.comparing import Reached
from tinygrad_rnn.training.examples import TaskError, moved
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.task import Task


@dataclass(frozen=True)
class Measured(Evaluation):
    """An evaluation, and what it was made of: the outputs that are right and those that the model gave, `ordered` as
    the examples are, or as they were asked."""

    gold: Sequence[Any] = field(default=(), repr=False)
    said: Sequence[Any] = field(default=(), repr=False)
    ordered: bool = field(default=False, repr=False)

    def reached(self, task: Task) -> Reached:
        """The value of the task's metric, with what it is without each block of the examples: what baselines reach,
        who are asked in the examples' order, is known without the same ones."""
        value = task.value(self)
        if task.metric == "loss":
            return Reached(value, mean_without_each(self.sums, self.counts))
        known = self.ordered and math.isfinite(value)
        return Reached(value, without_each(task.metric_of, self.gold, self.said) if known else ())


def measure(task: Task, model: Any, examples: Sequence[Any], device: str = "cpu") -> Measured:
    """The mean loss over examples, and the task's metrics of the answers. Raises TaskError where nothing counts, and
    for answers and metrics that are none."""
    state, sums, counts = None, list[float](), list[int]()
    asked: list[Any] = []
    said: list[Any] = []
    with no_grad():
        for part in task.batches(examples, task.options.batch_size, None):
            batch = moved(task.collate(part), device)
            loss, counted, after = task.batch_loss(model, batch, None, state, "sum")
            state = after if task.carries else None
            sums.append(loss.item())
            counts.append(counted)
            if task.predicts:
                asked += part
                said += answers(task, model, batch, len(part))
    if not (count := sum(counts)):
        raise TaskError(f"{task.name}: there must be at least one of the {task.counted} to measure on, got none")
    total = sum(sums, 0.0)
    if not task.predicts:
        return Measured(total / count, count, sums=sums, counts=counts)
    order = _order(examples, asked)
    gold, said = ([each[i] for i in order or range(len(asked))] for each in ([pair[1] for pair in asked], said))
    metrics = metrics_of(task, task.score(gold, said))
    return Measured(total / count, count, metrics, sums, counts, gold, said, order is not None)


def _order(examples: Sequence[Any], asked: Sequence[Any]) -> list[int] | None:
    """Where each of the examples was asked, since batches are of like length; None where they were asked as others."""
    if not isinstance(examples, list | tuple) or sorted(map(id, examples)) != sorted(map(id, asked)):
        return None
    places: dict[int, list[int]] = {}
    for i, each in enumerate(asked):
        places.setdefault(id(each), []).append(i)
    return [places[id(each)].pop() for each in examples]


_TAKEN = ("best", "epoch", "event", "loss", "lr", "step")
"""What the log, and the history in a checkpoint, say of an evaluation beside its metrics."""


def metrics_of(task: Task, found: Any) -> dict[str, float]:
    """What a task's `score` gave. Raises TaskError unless that is numbers by name."""
    if not isinstance(found, Mapping):
        raise TaskError(f"{task.name}.score must give numbers by name, got {type(found).__name__}")
    metrics = {}
    for name, given in found.items():
        value = number(task.name, "score", name, given)
        if name in (*_TAKEN, f"valid_{task.loss_unit}", task.counted):
            raise TaskError(f"{task.name}.score must call a metric otherwise than {name!r}, which the log has already")
        metrics[name] = value
    return metrics


def answers(task: Task, model: Any, batch: Any, size: int, **options: Any) -> list[Any]:
    """What the model answers to a batch of so many inputs. Raises TaskError where there are not as many answers."""
    with asked(task.name, "predict"):
        given = task.predict(model, batch, **options)
        found = list(given) if isinstance(given, Iterable) else None
    if found is None or len(found) != size:
        got = type(given).__name__ if found is None else len(found)
        raise TaskError(f"{task.name}.predict must give an output for each of {size} inputs, got {got}")
    return found


def written(task: Task, output: Any) -> str:
    """An output as a line of text. Raises TaskError where `write` gives none."""
    with asked(task.name, "write"):
        line = task.write(output)
    if not isinstance(line, str):
        raise TaskError(f"{task.name}.write must give a text, got {type(line).__name__}")
    return line
