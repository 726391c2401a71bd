"""From a checkpoint of a task to what can be looked at: a page, and what it draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.inspection.charts import Curves
from tinygrad_rnn.inspection.task_page import render_task_page
from tinygrad_rnn.inspection.views import HeatMap, View
from tinygrad_rnn.metrics.confusion import confusion_matrix
from tinygrad_rnn.models.checkpoint import Checkpoint
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tasks.curves import of_evaluations, of_steps, records_beside
from tinygrad_rnn.training.asking import asked
from tinygrad_rnn.training.class_report import labels_of
from tinygrad_rnn.training.display import TIE
from tinygrad_rnn.training.examples import TaskError
from tinygrad_rnn.training.measuring import Measured, measure
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.report import result_lines
from tinygrad_rnn.training.saved_runs import id_of_run
from tinygrad_rnn.training.task import Task
from tinygrad_rnn.training.trained_on import data_to_measure

MOST_DRAWN_LABELS = 40
"""Of a confusion matrix that is drawn."""


@dataclass(frozen=True)
class Looked:
    """What a trained model did with the part of its examples that it was not trained on: views, and lines about it, as
    names and texts; or why there are none."""

    views: Sequence[View] = ()
    lines: Sequence[tuple[str, str]] = ()
    missing: str = ""


def look(path: Path, saved: Checkpoint, task: Task, model: Any) -> Looked:
    """What there is to see of a model, from a checkpoint loaded from `path`."""
    told: list[str] = []
    try:
        data, own_data = data_to_measure(path, task, saved, told.append)
    except (TextError, OptionError) as error:
        return Looked(missing=str(error))
    examples, part = (data.test, "test") if len(data.test) else (data.valid, "validation")
    part = part if own_data else "new"
    found = measure(task, model, examples)
    with no_grad(), asked(task.name, "views"):
        own = list(task.views(model, examples))
    if strange := [each for each in own if not isinstance(each, View)]:
        raise TaskError(f"{task.name}.views must give HeatMap and Chart, got {type(strange[0]).__name__}")
    views = [*confusions(task, found), *own]
    lines = result_lines(task, model, data.about, found, part, own=own_data)
    lines += [] if own_data else [("examples", told[-1])]
    return Looked(views, [(label, text.replace(TIE, " ")) for label, text in lines if "\n" not in text])


def confusions(task: Task, found: Measured) -> list[View]:
    """Which labels were taken for which, where answers have labels, and not too many."""
    gold, said = labels_of(task, found)
    if not gold or len({*gold, *said}) > MOST_DRAWN_LABELS:
        return []
    table = confusion_matrix(gold, said)
    names = [str(label) for label in table.labels]
    return [HeatMap("Which label was taken for which", table.counts, names, names, "right", "said", counts=True)]


def task_page(path: Path, saved: Checkpoint, task: Task, model: Any) -> str:
    """A page about a model as HTML. Training's curves come from log.jsonl, where that lies beside the checkpoint."""
    meta, looked = saved.meta, look(path, saved, task, model)
    records, missing = records_beside(path, id_of_run(meta))
    valid = f"valid_{task.loss_unit}"
    name = task.training_called
    losses: Curves = {
        name: of_steps(records, "loss", task.counted),
        "validation": of_evaluations(records, meta, valid, best=task.metric == "loss"),
    }
    training = [(f"{task.loss_unit} per {task.unit}", losses)]
    if task.metric != "loss":
        # An empty curve of training keeps the colours as they are beside it.
        training.append((task.metric, {name: [], "validation": of_evaluations(records, meta, task.metric, best=True)}))
    facts = [
        ("task", task.name),
        ("model", f"{task.about_model(model)}: {model.size:,} parameters"),
        (task.source_called, f"{meta['data']['name']}: sha256 {meta['data']['sha256']}"),
        ("progress", f"{meta['progress']['step']:,} steps, {meta['progress']['epoch']:,} epochs"),
        *looked.lines,
    ]
    facts += [("log", f"{missing}: there are no curves of the training")] if not records else []
    facts += [("examples", f"{looked.missing}: nothing is shown of what the model does")] if looked.missing else []
    return render_task_page(str(path), facts, training, looked.views)
