"""What commands share: the options of a run, checkpoint and device, lengths of time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Any, get_type_hints

import click
from click.shell_completion import CompletionItem

from tinygrad_rnn.backend import cuda_namespace
from tinygrad_rnn.cli.saying import echo
from tinygrad_rnn.engines import ENGINES, Engine
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.checkpoint import Checkpoint
from tinygrad_rnn.models.zoo import zoo_names
from tinygrad_rnn.training.display import entry
from tinygrad_rnn.training.engine import loops_by
from tinygrad_rnn.training.folder import newest_best
from tinygrad_rnn.training.option_kinds import kinds_of
from tinygrad_rnn.training.options import About, OptionError, RunOptions
from tinygrad_rnn.training.permits import Permit

RUNS = Path("runs")
"""Where runs go, each into a folder of its task."""
DEFAULT_BUDGET = 130.0
"""Seconds of training, where neither they nor epochs are asked for."""


def checkpoint_argument(refuse: Callable[[Path, Checkpoint], object]) -> Callable[[Callable[..., Any]], Any]:
    """Gives a command the argument `checkpoint`. Where it is left out, it is the best file of the newest run that
    `refuse` raises no error about; it is named on standard error, since standard output may be data."""

    def decorate(command: Callable[..., Any]) -> Any:
        @wraps(command)
        def with_checkpoint(checkpoint: Path | None, **rest: Any) -> Any:
            if checkpoint is None:
                checkpoint = newest_best(RUNS, refuse, lambda text: echo(entry("note", text), err=True))
                echo(entry("model", str(checkpoint)), err=True)
            return command(checkpoint=checkpoint, **rest)

        given = click.argument(
            "checkpoint", type=click.Path(path_type=Path), required=False, shell_complete=complete_checkpoint
        )
        return given(with_checkpoint)

    return decorate


def complete_checkpoint(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a shell offers for a checkpoint: names of the zoo where they begin so, and otherwise files."""
    found = [CompletionItem(name) for name in zoo_names() if incomplete and name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def any_task(path: Path, saved: Checkpoint) -> None:
    """Refuses no checkpoint."""


trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Run the files of a cell or task of one's own that the checkpoint names, if they are as they were when the "
    "model was saved.",
)
task_option = click.option(
    "--task", metavar="FILE.py:Class", help="The task of a model of one of your own: the file is run."
)


def permit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command that opens a checkpoint the options by which a cell, and a task where the command knows that
    option, of the user's own may be run; it gets them as `permit`."""

    @wraps(command)
    def with_permit(cell: str | None, trust: bool, task: str | None = None, **given: Any) -> Any:
        return command(permit=Permit(cell, trust, task), **given)

    named = click.option(
        "--cell", metavar="FILE.py:Class", help="The cell of a model with one of your own: the file is run."
    )
    return named(trust_option(with_permit))


encoding_option = click.option(
    "--encoding", default="utf-8", show_default=True, metavar="NAME", help="Of that text, as Python calls it: cp1252..."
)
device_option = click.option("--device", default="cpu", show_default=True, help="cpu, or cuda with CuPy.")


def _by_engine(context: click.Context, _: click.Parameter, engine: Engine | None) -> None:
    """Has a command calculated by an engine. Raises OptionError where it is not installed."""
    if engine is not None:
        context.with_resource(loops_by(engine))


engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    expose_value=False,
    callback=_by_engine,
    help="What runs the loops: machine code or NumPy calls (the best that is installed, unless told).",
)
"""For commands that use a model: a run of `train` has an engine of its own."""


def check_device(device: str) -> None:
    """Raises OptionError for a device that does not exist, DeviceUnavailable for one that is not at hand."""
    if device not in ("cpu", "cuda"):
        raise OptionError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda":
        cuda_namespace()


def seconds(text: str) -> float:
    """A length of time: "90", "90s", "20m" or "1.5h" in seconds. Raises OptionError for anything else."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:].lower())
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise OptionError(f"a time such as 90, 90s, 20m or 1.5h was expected, got {text!r}")
    return value


def complete_cell(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a shell offers for a cell: names, behind an opening bracket the options of one, and files."""
    name, bracket, written = incomplete.partition("(")
    if bracket and name in CELLS:
        begun = incomplete[: len(incomplete) - len(written.rpartition(",")[2].lstrip())]
        named = [*inspect.signature(CELLS[name].setup).parameters][1:]
        offered = [f"{begun}{each}=" for each in named if f"{each}=" not in written]
    else:
        offered = [*CELLS]
    found = [CompletionItem(each) for each in offered if each.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def run_options(options: type[RunOptions]) -> list[click.Option]:
    """An option of the command line for each field of the options of a run. It is None unless given, so that a resumed
    run can tell what was asked for."""
    kinds = get_type_hints(options)
    return [_option(each, kinds[each.name]) for each in options.all_about()]


def _option(each: About, kind: Any) -> click.Option:
    shown = (
        "" if each.default is None or each.default is False or each.default == () else f"  [default: {each.default}]"
    )
    (plain,) = [one for one in kinds_of(kind) if one is not NoneType]
    given: dict[str, Any] = {"default": None, "help": each.help + shown, "metavar": each.metavar}
    flag = each.flag
    if plain is bool:
        flag, given["is_flag"] = f"{flag}/{each.off or '--no-' + flag.removeprefix('--')}", True
    elif plain == tuple[str, ...]:
        given["multiple"] = True
    else:
        given["type"] = click.Choice(each.choices) if each.choices else plain
    if each.name == "cell":
        given["shell_complete"] = complete_cell
    return click.Option([flag, each.name], **given)
