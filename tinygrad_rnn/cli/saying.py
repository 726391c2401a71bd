"""What commands print: lines with a label at the left, and nothing that a terminal would obey."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterable

import click

from tinygrad_rnn.data.messages import printable
from tinygrad_rnn.training.display import columns, entry

TYPED = "tinygrad_rnn.typed"
"""Where click's context keeps the arguments that were typed."""


def echo(text: str, err: bool = False) -> None:
    """Prints a text at once, whoever wrote it: a corpus, a vocabulary, a checkpoint or the name of a file."""
    click.echo(printable(text), err=err)


def say(label: str, text: str) -> None:
    """Prints a line with its label; in several lines where it is long."""
    echo(entry(label, text))


def say_all(lines: Iterable[tuple[str, str]]) -> None:
    """Prints labels with their texts; a table, which has several lines, as it stands."""
    for label, text in lines:
        echo(text) if "\n" in text else say(label, text)


def note(text: str) -> None:
    """Prints what a user should know and need not act on."""
    say("note", text)


def warn(text: str) -> None:
    """Prints on standard error what a user should know of the results on standard output."""
    echo(entry("warning", text), err=True)


def say_samples(texts: Iterable[str], numbered: bool, indent: str = "") -> None:
    """Prints what a model makes up, a text a line; texts of several lines are told apart by a number above each.
    What is indented is to be looked at: on a terminal its lines end between words."""
    for number, text in enumerate(texts, 1):
        echo(f"--- {number} ---\n{text}" if numbered else _indented(text, indent))


def _indented(text: str, indent: str) -> str:
    if not (indent and sys.stdout.isatty()):
        return f"{indent}{text}"
    fill = textwrap.TextWrapper(columns(), indent, 2 * indent, break_long_words=False, break_on_hyphens=False)
    return fill.fill(text)


def command_with(kind: str, name: str) -> str:
    """The command that was typed, with the cell or the task named (`kind`): to be typed next."""
    command, *rest = click.get_current_context().meta[TYPED]
    kept = [each for each in rest if each != "--trust"]
    named = [name] if kind == "task" and command == "train" else [f"--{kind}", name]
    return shlex.join(["tinygrad-rnn", command, *named, *kept])
