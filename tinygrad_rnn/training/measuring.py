"""How well a model does a task on examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.training.examples import TaskError, moved
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.task import Task


def measure(task: Task, model: Any, examples: Sequence[Any], device: str = "cpu") -> Evaluation:
    """The mean loss over examples, and the task's metrics of the answers. Raises TaskError where nothing counts, and
    for answers and metrics that are none."""
    total, count, state = 0.0, 0, None
    gold: list[Any] = []
    said: list[Any] = []
    with no_grad():
        for part in task.batches(examples, task.options.batch_size, None):
            batch = moved(task.collate(part), device)
            loss, counted, after = task.batch_loss(model, batch, None, state, "sum")
            state = after if task.carries else None
            total += loss.item()
            count += counted
            if task.predicts:
                gold += [output for _, output in part]
                said += answers(task, model, batch, len(part))
    if not count:
        raise TaskError(f"{task.name}: there must be at least one of the {task.counted} to measure on, got none")
    return Evaluation(total / count, count, metrics_of(task, task.score(gold, said)) if task.predicts else {})


_TAKEN = ("best", "epoch", "event", "loss", "lr", "step")
"""What the log, and the history in a checkpoint, say of an evaluation beside its metrics."""


def metrics_of(task: Task, found: Any) -> dict[str, float]:
    """What a task's `score` gave. Raises TaskError unless that is numbers by name."""
    if not isinstance(found, Mapping):
        raise TaskError(f"{task.name}.score must give numbers by name, got {type(found).__name__}")
    metrics = {}
    for name, given in found.items():
        value = given.item() if hasattr(given, "item") and getattr(given, "size", 1) == 1 else given
        if not isinstance(name, str) or not isinstance(value, int | float):
            raise TaskError(f"{task.name}.score must give numbers by name, got {name!r}: {type(value).__name__}")
        if name in (*_TAKEN, f"valid_{task.loss_unit}", task.counted):
            raise TaskError(f"{task.name}.score must call a metric otherwise than {name!r}, which the log has already")
        metrics[name] = float(value)
    return metrics


def answers(task: Task, model: Any, batch: Any, size: int, **options: Any) -> list[Any]:
    """What the model answers to a batch of so many inputs. Raises TaskError where there are not as many answers."""
    found = list(task.predict(model, batch, **options))
    if len(found) != size:
        raise TaskError(f"{task.name}.predict must give an output for each of {size} inputs, got {len(found)}")
    return found
