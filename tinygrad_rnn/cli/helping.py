"""The help of a command: its options under headings, each with an example to type."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from tinygrad_rnn.cli.forms import NamedFiles
from tinygrad_rnn.tasks.language.saved import LANGUAGE
from tinygrad_rnn.training.options import RunOptions, TrainingOptions
from tinygrad_rnn.training.task import Task


@dataclass(frozen=True)
class Heading:
    """What stands above some options: what they are about, and a command that uses some of them."""

    title: str
    example: str
    options: frozenset[str]
    """Their names, as a function has them."""


def heading(title: str, example: str, options: str = "") -> Heading:
    """A heading of the options with these names, which spaces separate."""
    return Heading(title, example, frozenset(options.split()))


class Grouped(NamedFiles):
    """A command whose options stand under headings; those that no heading names stand under the one that names none."""

    def __init__(self, *args: Any, headings: Sequence[Heading], **options: Any) -> None:
        super().__init__(*args, **options)
        self.headings = headings

    def under(self, ctx: click.Context) -> list[tuple[Heading, list[click.Parameter]]]:
        """Each heading with the options that stand under it, in the order in which the command has them."""
        named = {name for each in self.headings for name in each.options}
        shown = [each for each in self.get_params(ctx) if each.get_help_record(ctx) is not None]
        return [
            (each, [p for p in shown if (p.name in each.options if each.options else p.name not in named)])
            for each in self.headings
        ]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What `--help` prints of the options."""
        for each, options in self.under(ctx):
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            with formatter.section(each.title):
                formatter.write_dl(records)
                formatter.write(f"\n{'':{formatter.current_indent}}Example: {each.example}\n")


_LANGUAGE = (
    heading(
        "The text",
        "tinygrad-rnn train --text book.txt --level char",
        "text csv column skip_initial_space encoding lines level lowercase vocab_size valid_fraction valid shuffle",
    ),
    heading(
        "The model",
        "tinygrad-rnn train --cell lstm --layers 1 --hidden 256",
        "cell layers embedding hidden tied softmax residual norm init dtype vectors init_from",
    ),
    heading(
        "Noise while training",
        "tinygrad-rnn train --dropout 0.4 --recurrent-dropout 0.2",
        "dropout recurrent_dropout zoneout",
    ),
)
OF_FILES = ("data", "valid", "test", "encoding")
"""The options of tasks that read files, as functions have them."""
_DATA = " ".join([*OF_FILES, "valid_fraction", "test_fraction"])


def reads(task: type[Task]) -> bool:
    """Whether a task reads files."""
    return task.read is not Task.read


def folder_name(task: str) -> str:
    """The folder in runs/ into which a task's runs go unless told: that of a class in a file has its name."""
    return "lm" if task == LANGUAGE else task.rpartition(":")[2].lower()


def of_task(name: str, options: type[RunOptions], files: bool = True) -> tuple[Heading, ...]:
    """The headings of `train` for a task: its own options, those of its `files` if it reads any, and those that all
    tasks have."""
    language = name == LANGUAGE
    folder = "lm" if language else folder_name(name)
    begin = "tinygrad-rnn train" if language else f"tinygrad-rnn train {shlex.quote(name)}"
    shared = (
        heading(
            "The optimiser",
            f"{begin} --optimizer adam --lr 1e-3 --schedule cosine"
            if language
            else f"{begin} --optimizer sgd --lr 0.5",
            "optimizer lr momentum decay weight_decay clip_norm clip_value schedule",
        ),
        heading(
            "Batches",
            f"{begin} --batch-size 64{' --steps 50' if language else ''}",
            "batching batch_size steps warm_up" if language else "batch_size",
        ),
        heading(
            "How long", f"{begin} --time-budget 20m --evaluate-every 500", "epochs time_budget evaluate_every patience"
        ),
        heading(
            "What is shown",
            f"{begin} --sample-every 200 --sentences 3" if language else f"{begin} --quiet --log -",
            "count sample_every quiet log" if language else "quiet log",
        ),
        heading("The run and its files", f"{begin} --resume runs/{folder}/last.safetensors"),
    )
    if language:
        return (*_LANGUAGE, *shared)
    known = {each.name for each in TrainingOptions.all_about()}
    own = [each.name for each in options.all_about() if each.name not in known]
    model = heading("The model", f"{begin} --cell lstm", " ".join(["cell", "dtype", *own]))
    named = "--data FILE " if files else ""
    return (heading("The examples", f"{begin} {named}--valid-fraction 0.2", _DATA), model, *shared)


_LM_EXAMPLE = "runs/lm/best.safetensors"

MODEL = heading(
    "The model",
    "tinygrad-rnn {command} {model} --cell cells.py:MyCell",
    "checkpoint cell trust task device engine",
)
"""Of the commands that open a checkpoint."""


def of_model(command: str, title: str, example: str) -> tuple[Heading, ...]:
    """The headings of such a command: its own options, and those by which a model is opened."""
    shown = MODEL.example.format(command=command, model="best.safetensors" if command == "predict" else _LM_EXAMPLE)
    return heading(title, example), Heading(MODEL.title, shown, MODEL.options)
