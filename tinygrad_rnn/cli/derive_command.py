"""`tinygrad-rnn derive`: the gradient of a cell, as one would write it by hand."""

from __future__ import annotations

from pathlib import Path

import click

from tinygrad_rnn.cli.options import complete_cell
from tinygrad_rnn.cli.saying import echo, say
from tinygrad_rnn.derivation.deriving import derive
from tinygrad_rnn.disk import named_errors
from tinygrad_rnn.training.cell_files import open_cell
from tinygrad_rnn.training.options import OptionError

FORMS = ("text", "latex", "html")


@click.command(
    "derive",
    short_help="Write out the gradient of a cell, as equations and in NumPy.",
    help="Write out the backpropagation through time of a cell: print the equations of its step and of its backward "
    "step, and write a program in NumPy that has both and needs nothing else. The built-in cells go by name.",
)
@click.argument("cell", metavar="NAME|FILE.py:Class", shell_complete=complete_cell)
@click.option(
    "--form", type=click.Choice(FORMS), default="text", show_default=True, help="How the equations are printed."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.py",
    help="Where the program goes  [default: NAME_bptt.py in this folder].",
)
@click.option("--overwrite", is_flag=True, help="Replace the program where there is one.")
@click.option("--input-size", type=click.IntRange(1), default=4, show_default=True, help="Features of the inputs.")
@click.option("--hidden-size", type=click.IntRange(1), default=8, show_default=True, help="Units of the state.")
def derive_command(cell: str, form: str, out: Path | None, overwrite: bool, input_size: int, hidden_size: int) -> None:
    found = open_cell(cell)
    target = out or Path(f"{found.cell.__name__.lower()}_bptt.py")
    if target.exists() and not overwrite:
        raise OptionError(f"--out: {target} is there already: it stays as it is without --overwrite")
    derivation = derive(found.cell, input_size, hidden_size, **found.options)
    source = derivation.source
    echo(getattr(derivation, form))
    with named_errors(target):
        target.write_text(source, encoding="utf-8")
    echo("")
    say("program", str(target))
