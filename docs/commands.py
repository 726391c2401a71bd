"""The page of the command line, made from what `--help` says."""

from __future__ import annotations

from pathlib import Path

import click

from tinygrad_rnn.cli import main

HERE = Path(__file__).parent
WIDTH = 78


def helped(command: click.Command, called: str) -> str:
    """What `--help` prints."""
    return command.get_help(click.Context(command, info_name=called, max_content_width=WIDTH, terminal_width=WIDTH))


def write() -> None:
    """Writes reference/command_line.rst."""
    lines = ["The command line", "================", ""]
    lines += ["What ``--help`` prints. Each task has options of its own: ``tinygrad-rnn train memory --help``.", ""]
    for name, command in {"": main, **main.commands}.items():
        called = f"tinygrad-rnn {name}".strip()
        if name:
            lines += [called, "-" * len(called), ""]
        lines += [".. code-block:: text", ""]
        lines += [f"    {line}".rstrip() for line in helped(command, called).split("\n")] + [""]
    (HERE / "reference" / "command_line.rst").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write()
