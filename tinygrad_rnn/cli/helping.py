"""The help of a command: its options under headings, each with an example to type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from tinygrad_rnn.cli.forms import NamedFiles


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


TRAIN = (
    heading(
        "The text",
        "tinygrad-rnn train --text book.txt --level char",
        "text csv column skip_initial_space encoding lines level lowercase vocab_size valid_fraction valid shuffle",
    ),
    heading(
        "The model",
        "tinygrad-rnn train --cell lstm --layers 1 --hidden 256",
        "cell layers embedding hidden tied softmax init dtype vectors init_from",
    ),
    heading(
        "Noise while training",
        "tinygrad-rnn train --dropout 0.4 --recurrent-dropout 0.2",
        "dropout recurrent_dropout zoneout",
    ),
    heading(
        "The optimiser",
        "tinygrad-rnn train --optimizer adam --lr 1e-3 --schedule cosine",
        "optimizer lr momentum decay weight_decay clip_norm clip_value schedule",
    ),
    heading(
        "Batches",
        "tinygrad-rnn train --batch-size 64 --steps 50",
        "batching batch_size steps warm_up",
    ),
    heading(
        "How long",
        "tinygrad-rnn train --time-budget 20m --evaluate-every 500",
        "epochs time_budget evaluate_every patience",
    ),
    heading(
        "What is shown",
        "tinygrad-rnn train --sample-every 200 --sentences 3",
        "count sample_every quiet log",
    ),
    heading(
        "The run and its files",
        "tinygrad-rnn train --resume runs/lm/last.safetensors --epochs 20",
    ),
)
"""Of `train`."""

MODEL = heading(
    "The model",
    "tinygrad-rnn {command} runs/lm/best.safetensors --cell cells.py:MyCell",
    "checkpoint cell trust device",
)
"""Of the commands that open a checkpoint."""


def of_model(command: str, title: str, example: str) -> tuple[Heading, ...]:
    """The headings of such a command: its own options, and those by which a model is opened."""
    return heading(title, example), Heading(MODEL.title, MODEL.example.format(command=command), MODEL.options)
