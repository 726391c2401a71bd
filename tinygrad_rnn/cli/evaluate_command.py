"""`tinygrad-rnn evaluate`: how well a model does, on its own examples or others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tinygrad_rnn.cli.helping import Grouped, of_model
from tinygrad_rnn.cli.options import (
    any_task,
    check_device,
    checkpoint_argument,
    device_option,
    encoding_option,
    engine_option,
    permit_options,
    task_option,
)
from tinygrad_rnn.cli.saying import note, say_all, warn
from tinygrad_rnn.models.checkpoint import Checkpoint
from tinygrad_rnn.tasks.finding import saved_task, with_weights
from tinygrad_rnn.tasks.language.evaluating import evaluate_language
from tinygrad_rnn.tasks.language.saved import LANGUAGE
from tinygrad_rnn.training.examples import Data, Source
from tinygrad_rnn.training.measuring import measure
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.permits import Permit
from tinygrad_rnn.training.report import result_lines
from tinygrad_rnn.training.saved_runs import load_run
from tinygrad_rnn.training.task import Task
from tinygrad_rnn.training.trained_on import data_to_measure


@click.command(
    "evaluate",
    cls=Grouped,
    headings=of_model("evaluate", "The examples", "tinygrad-rnn evaluate --text other.txt"),
    short_help="Measure a model, in nats per token and perplexity or by its task's metrics.",
    help="Measure a model on the part of its examples that it was not trained on, or on others: a language model in "
    "nats per token and perplexity, that of another task by the task's metrics.\n\n"
    "To a language model all unknown tokens are one, a common one, and make a text look easy: perplexity is given with "
    "and without them.",
)
@checkpoint_argument(any_task)
@click.option(
    "--text",
    multiple=True,
    metavar="FILE",
    help="Measure a language model on all of these texts (files, folders, or - for standard input) instead.",
)
@click.option("--data", metavar="FILE", help="Measure a model of another task on all of the examples in a file.")
@encoding_option
@permit_options
@task_option
@device_option
@engine_option
def evaluate_command(
    checkpoint: Path, text: tuple[str, ...], data: str | None, encoding: str, device: str, permit: Permit
) -> None:
    check_device(device)
    saved = load_run(checkpoint)
    if saved.meta["task"] == LANGUAGE:
        if data is not None:
            raise OptionError("--data is for models of other tasks: name a text with --text")
        lines = evaluate_language(checkpoint, saved, text, encoding, device, permit, note, warn)
    else:
        if text:
            raise OptionError(f"--text is for language models, and this one's task is {saved.meta['task']}: say --data")
        lines = _evaluate(checkpoint, saved, data, encoding, device, permit)
    say_all(lines)


def _evaluate(
    path: Path, saved: Checkpoint, data: str | None, encoding: str, device: str, permit: Permit
) -> list[tuple[str, str]]:
    """What came out: labels, and texts for `say`."""
    task = saved_task(path, saved, permit, warn)
    own = True
    if data is None:
        parts: Data | None
        parts, own = data_to_measure(path, task, saved, note)
    else:
        options, task.options = task.options, task.options.of_file(data, encoding)
        source = task.source(note)
        parts = _parts_of_run(task, options, source, saved.meta["data"])
    model = with_weights(path, saved, task, device)
    if parts is None:
        found = measure(task, model, source.examples, device)
        return result_lines(task, model, {"sha256": source.sha256}, found, "given", own=False)
    if not own:
        return result_lines(task, model, parts.about, measure(task, model, parts.test, device), "new", own=False)
    examples, part = (parts.test, "test") if len(parts.test) else (parts.valid, "validation")
    if data is not None:
        note(f"{data} has the examples that the model was trained on: only its {part} part is measured.")
    return result_lines(task, model, saved.meta["data"], measure(task, model, examples, device), part, own=True)


def _parts_of_run(task: Task, options: Any, source: Source, about: Mapping[str, Any]) -> Data | None:
    """The parts of examples that are those of a run with these options, of which `about` tells; None of others."""
    if source.sha256 != about["sha256"]:
        return None
    task.options = options
    parts = task.divide(source)
    return None if task.change(about, parts.about) else parts
