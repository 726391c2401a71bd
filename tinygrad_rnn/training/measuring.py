"""How well a model does a task on examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_rnn.metrics.jackknife import mean_without_each, without_each
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks, dealt
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


def measure(
    task: Task, model: Any, examples: Sequence[Any], device: str = "cpu", ranks: Ranks = ONE_PROCESS
) -> Measured:
    """The mean loss over examples, and the task's metrics of the answers; `ranks` share out the batches, or where a
    state is carried their rows, and each has the whole result. Raises TaskError where nothing counts, and for answers
    and metrics that are none."""
    given = task.batches(examples, task.options.batch_size, None)
    parts = given if isinstance(given, Sequence) else list(given)
    with no_grad():
        if task.carries:
            sums, counts, said = _measured_streams(task, model, parts, device, ranks)
        else:
            sums, counts, said = _measured_batches(task, model, parts, device, ranks)
    asked = [each for part in parts for each in part] if task.predicts else []
    if not (count := sum(counts)):
        raise TaskError(f"{task.name}: there must be at least one of the {task.counted} to measure on, got none")
    total = sum(sums, 0.0)
    if not task.predicts:
        return Measured(total / count, count, sums=sums, counts=counts)
    order = _order(examples, asked)
    gold, said = ([each[i] for i in order or range(len(asked))] for each in ([pair[1] for pair in asked], said))
    metrics = metrics_of(task, task.score(gold, said))
    return Measured(total / count, count, metrics, sums, counts, gold, said, order is not None)


_Sums = tuple[list[float], list[int], list[Any]]
"""The summed loss and the count of each batch, and the answers."""


def _measured_batches(task: Task, model: Any, parts: Sequence[Any], device: str, ranks: Ranks) -> _Sums:
    """Of batches that stand alone: each is some rank's."""
    own: list[tuple[float, int, list[Any]]] = []
    for i in dealt(range(len(parts)), ranks):
        part = parts[i]
        batch = moved(task.collate(part), device)
        loss, counted, _ = task.batch_loss(model, batch, None, None, "sum")
        own.append((loss.item(), counted, answers(task, model, batch, len(part)) if task.predicts else []))
    every = ranks.allgather(own)
    found = [every[i % ranks.size][i // ranks.size] for i in range(len(parts))]
    said = [answer for *_, each in found for answer in each]
    return [total for total, _, _ in found], [counted for _, counted, _ in found], said


def _measured_streams(task: Task, model: Any, parts: Sequence[Any], device: str, ranks: Ranks) -> _Sums:
    """Of batches that go on from each other: each rank has some of their rows, unless there are answers, which stand
    in the order of all."""
    shared = ranks.size > 1 and not task.predicts
    state, found, said = None, list[tuple[float, int]](), list[Any]()
    for part in parts:
        share = task.share(part, ranks) if shared else part
        if share is None:
            found.append((0.0, 0))
            continue
        batch = moved(task.collate(share), device)
        loss, counted, state = task.batch_loss(model, batch, None, state, "sum")
        found.append((loss.item(), counted))
        said += answers(task, model, batch, len(part)) if task.predicts else []
    every = ranks.allgather(found) if shared else [found]
    sums = [sum(total for total, _ in of_ranks) for of_ranks in zip(*every, strict=True)]
    return sums, [sum(counted for _, counted in of_ranks) for of_ranks in zip(*every, strict=True)], said


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
