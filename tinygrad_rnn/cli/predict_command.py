"""`tinygrad-rnn predict`: what a model answers, a line for each line."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from tinygrad_rnn.cli.helping import Grouped, of_model
from tinygrad_rnn.cli.options import (
    check_device,
    checkpoint_argument,
    device_option,
    encoding_option,
    engine_option,
    permit_options,
    task_option,
)
from tinygrad_rnn.cli.saying import echo, warn
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.readers import STANDARD_INPUT, read_lines, shown_name
from tinygrad_rnn.models.checkpoint import Checkpoint, CheckpointError
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tasks.finding import saved_task, with_weights
from tinygrad_rnn.tasks.language.saved import LANGUAGE
from tinygrad_rnn.training.asking import asked
from tinygrad_rnn.training.examples import TaskError, moved
from tinygrad_rnn.training.measuring import answers, written
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.permits import Permit
from tinygrad_rnn.training.saved_runs import load_run
from tinygrad_rnn.training.task import Task


def refuse_language(path: Path, saved: Checkpoint) -> None:
    """Raises CheckpointError for a language model, which answers nothing."""
    if saved.meta["task"] == LANGUAGE:
        raise CheckpointError(f"{path}: a language model has no answers to predict; `generate` and `score` use it")


@click.command(
    "predict",
    cls=Grouped,
    headings=of_model("predict", "The inputs", "tinygrad-rnn predict runs/classify/best.safetensors lines.txt --json"),
    short_help="Print what a model answers to each line.",
    help="Print what a model answers to each line of INPUTS (a file, or standard input), each answer at once.\n\n"
    "Answers stand in the order of the lines, one for each; an empty line is answered with an empty one.",
)
@checkpoint_argument(refuse_language)
@click.argument("inputs", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("--json", "as_json", is_flag=True, help='Print {"input": ..., "output": ...} for each.')
@click.option("--beam", type=click.IntRange(1), help="For tasks that decode: a beam search of this width.")
@encoding_option
@permit_options
@task_option
@device_option
@engine_option
def predict_command(
    checkpoint: Path, inputs: Path, as_json: bool, beam: int | None, encoding: str, device: str, permit: Permit
) -> None:
    check_device(device)
    saved = load_run(checkpoint)
    refuse_language(checkpoint, saved)
    task = saved_task(checkpoint, saved, permit, warn)
    options = _of_decoding(task, beam)
    model = with_weights(checkpoint, saved, task, device)
    for line, output in _answered(task, model, inputs, encoding, device, options):
        if as_json:
            found = {"input": line, "output": None if output is None else _plain(task, output)}
            echo(json.dumps(found, ensure_ascii=False))
        else:
            echo("" if output is None else written(task, output))


def _answered(
    task: Task, model: Any, inputs: Path, encoding: str, device: str, options: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Each line with the output for it, None for an empty line. What comes from a file is read in batches, what comes
    through a pipe is answered line by line."""
    # Standard input may be empty, as where a pipe had nothing to say; a file that was named should not be.
    piped = str(inputs) == STANDARD_INPUT or not inputs.is_file()
    lines = enumerate(read_lines(str(inputs), encoding, empty=str(inputs) == STANDARD_INPUT), 1)
    while some := list(islice(lines, 1 if piped else task.options.batch_size)):
        read, error = _parsed(task, some, shown_name(str(inputs)))
        found = iter(_outputs(task, model, [each for _, each in read if each is not None], device, options))
        for line, each in read:
            yield line, None if each is None else next(found)
        if error is not None:
            raise error


def _parsed(task: Task, lines: list[tuple[int, str]], name: str) -> tuple[list[tuple[str, Any]], Exception | None]:
    """Lines, each with the example of its input, None for an empty line; and what is wrong with the one behind them,
    if anything."""
    found: list[tuple[str, Any]] = []
    for number, line in lines:
        try:
            found.append((line, (_input(task, line), None) if line.strip() else None))
        except TextError as error:
            return found, TextError(f"{name}, line {number:,}: {error}")
        except Exception as error:  # which a task's own `parse` raises
            return found, error
    return found, None


def _input(task: Task, line: str) -> Any:
    with asked(task.name, "parse"):
        given = task.parse(line)
    if given is None:
        raise TaskError(f"{task.name}.parse must give an input, got None")
    return given


def _outputs(
    task: Task, model: Any, examples: list[tuple[Any, None]], device: str, options: dict[str, Any]
) -> list[Any]:
    if not examples:
        return []
    with no_grad():
        with asked(task.name, "collate"):
            batch = task.collate(examples)
        return answers(task, model, moved(batch, device), len(examples), **options)


def _of_decoding(task: Task, beam: int | None) -> dict[str, Any]:
    """The options of `predict`. Raises OptionError for a beam where the task decodes nothing."""
    if not task.predicts:
        raise OptionError(f"{task.name} does not predict")
    if beam is None:
        return {}
    if "beam" not in inspect.signature(task.predict).parameters:
        raise OptionError(f"--beam is for tasks that decode, and {task.name} does not")
    return {"beam": beam}


def _plain(task: Task, output: Any) -> Any:
    """The output as a JSON value, which has null for what is no finite number; as its line where it is none."""
    try:
        return json.loads(json.dumps(output, default=_of_numpy), parse_constant=lambda name: None)
    except TypeError:
        return written(task, output)


def _of_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError
