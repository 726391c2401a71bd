"""What commands print: lines with a label at the left."""

from __future__ import annotations

import click

from tinygrad_rnn.training.report import entry


def say(label: str, text: str) -> None:
    """Prints a line with its label; in several lines where it is long."""
    click.echo(entry(label, text))


def note(text: str) -> None:
    """Prints what a user should know and need not act on."""
    say("note", text)


def warn(text: str) -> None:
    """Prints on standard error what a user has most likely not meant."""
    click.echo(entry("warning", text), err=True)
