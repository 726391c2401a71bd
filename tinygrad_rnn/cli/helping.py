"""The help of a command: its options under headings, each with an example to type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click


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


class Grouped(click.Command):
    """A command whose options stand under headings; those that no heading names stand under the last one."""

    def __init__(self, *args: Any, headings: Sequence[Heading], **options: Any) -> None:
        super().__init__(*args, **options)
        self.headings = headings

    def under(self, ctx: click.Context) -> list[tuple[Heading, list[click.Parameter]]]:
        """Each heading with the options that stand under it, in the order in which the command has them."""
        named = {name for each in self.headings for name in each.options}
        shown = [each for each in self.get_params(ctx) if each.get_help_record(ctx) is not None]
        last = self.headings[-1]
        return [
            (each, [p for p in shown if p.name in each.options or (each is last and p.name not in named)])
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
        "text csv column lines level lowercase vocab_size valid_fraction",
    ),
    heading(
        "The model",
        "tinygrad-rnn train --cell lstm --layers 1 --hidden 256 --embedding 256",
        "cell layers embedding hidden tied init dtype vectors",
    ),
    heading(
        "Noise while training",
        "tinygrad-rnn train --dropout 0.4 --recurrent-dropout 0.2",
        "dropout recurrent_dropout zoneout",
    ),
    heading(
        "The optimiser",
        "tinygrad-rnn train --optimizer adam --lr 1e-3 --schedule cosine --epochs 20",
        "optimizer lr momentum decay weight_decay clip_norm clip_value schedule",
    ),
    heading(
        "Batches",
        "tinygrad-rnn train --batch-size 64 --steps 50",
        "batching batch_size steps",
    ),
    heading(
        "How long",
        "tinygrad-rnn train --time-budget 20m --evaluate-every 500",
        "epochs time_budget evaluate_every patience",
    ),
    heading(
        "The run and its files",
        "tinygrad-rnn train --resume runs/lm/last.safetensors --epochs 20",
    ),
)
"""Of `train`."""
