"""`tinygrad-rnn check`: whether a cell keeps to the contract of cells."""

from __future__ import annotations

import click

from tinygrad_rnn.checks.cell_report import check_cell
from tinygrad_rnn.cli.options import complete_cell
from tinygrad_rnn.training.cell_files import open_cell


@click.command(
    "check",
    short_help="Check a cell of your own, or one by name.",
    help="Check a cell: derivatives, the compiled scan, batches, padding, files. The built-in ones go by name; options "
    'stand in brackets behind it, as in "phased-lstm(leak=0.01)".',
)
@click.argument("cell", metavar="NAME|FILE.py:Class", shell_complete=complete_cell)
@click.option("--input-size", type=click.IntRange(1), default=2, show_default=True, help="Features of the inputs.")
@click.option("--hidden-size", type=click.IntRange(1), default=3, show_default=True, help="Features of the state.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the inputs.")
def check_command(cell: str, input_size: int, hidden_size: int, seed: int) -> None:
    found = open_cell(cell)
    check_cell(found.cell, input_size, hidden_size, seed=seed, **found.options)
