"""The group that all commands are in: a user's mistake is one sentence on stderr and exit code 1 or 2, without a
traceback."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any

import click
import numpy as np

from tinygrad_rnn import __version__
from tinygrad_rnn.backend import DeviceUnavailable
from tinygrad_rnn.checks.cell_report import CellError
from tinygrad_rnn.cli.saying import TYPED, command_with
from tinygrad_rnn.cli.speaking_alone import refuse_several, speaking_alone
from tinygrad_rnn.data.messages import TextError, printable
from tinygrad_rnn.derivation.both_steps import DerivationError
from tinygrad_rnn.models.checkpoint import CheckpointError
from tinygrad_rnn.ranks.by_mpi import RanksError
from tinygrad_rnn.training.examples import TaskError
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_files import blame
from tinygrad_rnn.training.permits import FileNotRun


class _Group(click.Group):
    """Turns the errors that users can make into one sentence."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TYPED] = list(args)
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **options: Any) -> Any:
        with speaking_alone():
            return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            raise _to_be_seen(_in_one_sentence(error)) from None


def _in_one_sentence(error: Exception) -> Exception:
    """What click prints for an error that users can make; any other error as it is."""
    if isinstance(error, FileNotRun):
        return click.ClickException(f"{error}; the command that runs it: {command_with(error.kind, error.name)}")
    if isinstance(error, OptionError):
        return click.UsageError(str(error))
    told = TextError | CheckpointError | DeviceUnavailable | CellError | DerivationError | TaskError | RanksError
    if isinstance(error, told):
        return click.ClickException(str(error))
    if found := blame(error):
        return click.ClickException(f"the {found[0]} failed: {found[1]}")
    if isinstance(error, MemoryError):
        return click.ClickException(f"there is not enough memory: {error}")
    if isinstance(error, OSError) and error.errno != errno.EPIPE:  # a closed pipe, as with `| head`, click ends quietly
        # Every file that is written names itself, so that on a full disk only the output has no name.
        name = error.filename or ("standard output" if error.errno == errno.ENOSPC else None)
        return click.ClickException(f"{name}: {error.strerror}" if name else str(error))
    return error


def _to_be_seen(error: Exception) -> Exception:
    """The error without what a terminal would obey."""
    if not isinstance(error, click.ClickException):
        return error
    message = printable(error.format_message())
    if message == error.format_message():
        return error
    if isinstance(error, click.UsageError):
        return click.UsageError(message, error.ctx)
    return click.ClickException(message)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    # Told outright, here and for each command: under `python -OO` there are no docstrings.
    help="Recurrent language models on a small, readable autodiff engine: train, measure and use them.",
)
@click.version_option(__version__, prog_name="tinygrad-rnn")
def main() -> None:
    # Where numbers overflow, the results say so; NumPy need not.
    context = click.get_current_context()
    refuse_several(context.invoked_subcommand)
    context.with_resource(np.errstate(over="ignore", invalid="ignore"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show é shows \xe9
