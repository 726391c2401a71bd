"""`tinygrad-rnn train`: from options, or a checkpoint, to a trained model and its files."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from tinygrad_rnn.cli.helping import OF_FILES, Grouped, folder_name, of_task, reads
from tinygrad_rnn.cli.options import (
    DEFAULT_BUDGET,
    RUNS,
    check_device,
    device_option,
    run_options,
    seconds,
    trust_option,
)
from tinygrad_rnn.cli.run_texts import conclude, introduce, sample
from tinygrad_rnn.cli.saying import note, warn
from tinygrad_rnn.data.messages import Note, unheard
from tinygrad_rnn.models.checkpoint import CheckpointError
from tinygrad_rnn.ranks.by_mpi import everyone
from tinygrad_rnn.tasks.finding import TASKS, FoundTask, find_task, permitted_task, resume_run
from tinygrad_rnn.tasks.language.saved import LANGUAGE
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.engine import calculating_as, take_gpu, with_engine
from tinygrad_rnn.training.folder import (
    LAST,
    LOG,
    bring_best,
    free_folder,
    held,
    refuse_other_runs,
    remove_other_runs,
)
from tinygrad_rnn.training.log_file import LogFile, refuse_other_file
from tinygrad_rnn.training.options import OptionError, RunOptions
from tinygrad_rnn.training.permits import Permit
from tinygrad_rnn.training.places import pipes
from tinygrad_rnn.training.report import Reporter
from tinygrad_rnn.training.runs import Run, may_be_named_anew, may_change
from tinygrad_rnn.training.saved_runs import load_run
from tinygrad_rnn.training.signals import HUNG_UP
from tinygrad_rnn.training.task import Task


class TrainCommand(Grouped):
    """The command for the language model; where another task is named first, that task's own command."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        found = _named_task(args)
        if found is None:
            found = _task_of_checkpoint(args)
        else:
            args = args[1:]
        if found is None or found.name == LANGUAGE:
            return super().make_context(info_name, args, parent, **extra)
        return command_of(found).make_context(f"{info_name} {found.name}", args, parent, **extra)


def _named_task(args: list[str]) -> FoundTask | None:
    """The task that stands first, if one does: what is neither a task nor a user's file is left to the command."""
    if not args or args[0].startswith("-"):
        return None
    name = args[0]
    if name in TASKS or ".py:" in name or name.endswith(".py"):
        return find_task(name)
    return None if os.path.exists(name) else find_task(name)  # which says what is near it


def _task_of_checkpoint(args: list[str]) -> FoundTask | None:
    """The task of the checkpoint that is to be gone on from, if one is named that can be read: otherwise the command
    says what is wrong with it."""
    paths = [value for option, value in pairwise(args) if option == "--resume"]
    paths += [each.removeprefix("--resume=") for each in args if each.startswith("--resume=")]
    if not paths:
        return None
    path = Path(paths[-1])
    try:
        saved = load_run(path)
    except (CheckpointError, OSError):
        return None
    return permitted_task(path, saved.meta, Permit(trust="--trust" in args), note)


def command_of(found: FoundTask) -> Grouped:
    """`train` for a task, with the options of that task alone."""
    name = found.name
    about = " ".join((found.task.__doc__ or "Train a task.").split())
    return Grouped(
        name,
        params=[*_task_options(found.task), *_options(name)],
        callback=_callback(found),
        headings=of_task(name, found.task.Options, reads(found.task)),
        help=f"{about}\n\nCtrl-C saves and ends, and so do SIGTERM and SIGHUP; --resume goes on.",
    )


def _task_options(task: type[Task]) -> list[click.Parameter]:
    """Those that are saved with a run. A task that reads no files says so where one is named, and not in its help."""
    options: list[click.Parameter] = [*run_options(task.Options)]
    if not reads(task):
        for each in options:
            if isinstance(each, click.Option) and each.name in OF_FILES:
                each.hidden = True
    return options


def _options(name: str) -> list[click.Parameter]:
    """The options of `train` that are not saved with a run."""
    out, how_long = RUNS / folder_name(name), f"{DEFAULT_BUDGET:.0f}s unless told or --epochs is given"
    decorators = [
        click.option(
            "--time-budget",
            metavar="TIME",
            help=f"Stop after 90 (seconds), 90s, 20m or 1.5h of training ({how_long}).",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help=f"For checkpoints, log and picture ({out} unless told, or {out}-2 and so on where that has a run; "
            "with --resume where the checkpoint is).",
        ),
        click.option("--overwrite", is_flag=True, help="Replace the run that is in --out."),
        click.option(
            "--log",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="JSON Lines, one a step (log.jsonl in --out unless told); a new file, a pipe, or - for standard "
            "output.",
        ),
        click.option(
            "--resume",
            type=click.Path(path_type=Path),
            metavar="CHECKPOINT",
            help="Go on from this checkpoint, bit for bit; with another learning rate, noise or batch size if given.",
        ),
        trust_option,
        device_option,
        *(_OF_SAMPLES if name == LANGUAGE else []),
        click.option(
            "--keep",
            type=click.Choice(["best", "every"]),
            default="best",
            show_default=True,
            help="best: the best model and the last; every: a checkpoint of each evaluation as well.",
        ),
        click.option(
            "--quiet",
            is_flag=True,
            help="No progress, only the result" + (", and samples if asked for." if name == LANGUAGE else "."),
        ),
    ]
    return [_made(each) for each in decorators]


_OF_SAMPLES = [
    click.option(
        "--sentences",
        "count",
        type=click.IntRange(0),
        default=10,
        show_default=True,
        help="Sentences to print at the end.",
    ),
    click.option("--sample-every", type=click.IntRange(1), metavar="STEPS", help="Print what the model says as often."),
]


def _made(decorator: Any) -> click.Parameter:
    """The option that a decorator of click's gives a command."""

    def command() -> None:
        """Has one option."""

    decorator(command)
    option: click.Parameter = command.__click_params__[0]  # type: ignore[attr-defined]  # where click keeps them
    return option


def _callback(found: FoundTask) -> Callable[..., None]:
    # Not a partial, which has a docstring.
    if found.name != LANGUAGE:
        return lambda **given: train_task(found, 0, None, **given)
    return lambda count, sample_every, **given: train_task(found, count, sample_every, **given)


def train_task(
    found: FoundTask,
    count: int,
    sample_every: int | None,
    /,
    time_budget: str | None,
    out: Path | None,
    log: Path | None,
    resume: Path | None,
    trust: bool,
    device: str,
    keep: str,
    overwrite: bool,
    quiet: bool,
    **given: Any,
) -> None:
    check_device(device)
    take_gpu(device)
    context, ranks = click.get_current_context(), everyone()
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    budget = None if time_budget is None else seconds(time_budget)
    tell = unheard if quiet else note
    if resume is not None:
        out = resume.parent if out is None else out
        permit = Permit(changes.pop("cell", None), trust, found.name)
        run = _resumed(resume, out, tell, device, permit, changes, found.task.Options)
        context.with_resource(calculating_as(run.options, device, run.products))
        if not overwrite and not ranks.rank:
            refuse_other_runs(out, run)
    else:
        if budget is None and "epochs" not in changes:
            budget = DEFAULT_BUDGET
            if (usual := found.task.Options.USUAL_EPOCHS) is not None:  # else the problem may have its own
                changes["epochs"] = usual
        # A mistake in an option or the cell's name is told before the examples are read.
        options, cell = found.task.options_and_cell(changes, trust, warn)
        options = with_engine(options, device, tell)
        out = _folder_of_a_new_run(out, RUNS / folder_name(found.name), overwrite, tell)
        if log is not None and not ranks.rank:
            refuse_other_file(log, replace=overwrite)
        context.with_resource(calculating_as(options, device))
        run = new_run(found.new(options, cell), tell, device, ranks)
        for remark in run.task.warnings():
            warn(remark)
    if ranks.rank:  # whose files, lines and figures are those of rank 0
        train_run(run, out, Listener(), budget, keep_every=keep == "every")
        return
    source = None if resume is None else resume.with_name(LOG)
    if not quiet:
        introduce(run)
    for name, option in pipes(run.options).items():
        if name not in run.places:
            tell(f"{name} is a pipe: to resume or evaluate, save the text and name the file with {option}")
    written = LogFile(log or out / LOG, run, replace=overwrite, source=source)
    if overwrite:
        remove_other_runs(out, run)
    if resume is not None:
        bring_best(resume.parent, out, run)
    reporter = Reporter(run, written, budget, quiet, partial(sample, run), sample_every)
    try:
        why = train_run(run, out, reporter, budget, keep_every=keep == "every")
    except SystemExit as end:
        _say_goodbye(end, out)
        raise
    finally:
        reporter.close()
    run.part()
    conclude(run, out, written, reporter.spent, why, count)


def _resumed(
    path: Path,
    out: Path,
    tell: Note,
    device: str,
    permit: Permit,
    changes: dict[str, Any],
    options: type[RunOptions],
) -> Run:
    """The run that goes on from a checkpoint, its folder held. Raises what `folder.held` and `Run.resume` do."""
    allowed = may_change(options)
    if fixed := sorted(changes.keys() - {*allowed, *may_be_named_anew(options)}):
        raise OptionError(
            f"with --resume only {', '.join(map(_flag, allowed))} can be changed, got {', '.join(map(_flag, fixed))}"
        )
    if path.is_file() and not everyone().rank:
        # Held before it is read: whoever writes there may be about to replace it.
        click.get_current_context().with_resource(held(out, tell))
    return resume_run(path, tell, device, permit, everyone(), **changes)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _folder_of_a_new_run(out: Path | None, usual: Path, overwrite: bool, tell: Note) -> Path:
    """The folder that was asked for, or the first that is free; held, by rank 0. Better now than after an hour of
    training. Raises OptionError, OSError."""
    context = click.get_current_context()
    if everyone().rank:
        return usual if out is None else out
    if out is None:
        if overwrite:
            raise OptionError("--overwrite: say with --out which run is to be replaced")
        out = context.with_resource(free_folder(usual, tell))
        tell(f"This run goes to {out}.")
        return out
    context.with_resource(held(out, tell))
    if not overwrite:
        refuse_other_runs(out)
    return out


def _say_goodbye(end: SystemExit, out: Path) -> None:
    """After SIGTERM, says what was saved; after SIGHUP nothing more can be said, since the terminal has gone."""
    if end.code == 128 + signal.SIGTERM:
        with suppress(OSError):
            note(f"Ended by SIGTERM. The run is in {out / LAST}, and --resume goes on from there.")
    elif end.code == HUNG_UP:
        with open(os.devnull, "wb") as nothing:
            for descriptor in (1, 2):
                os.dup2(nothing.fileno(), descriptor)


_LANGUAGE_TASK = find_task(LANGUAGE)

train_command = TrainCommand(
    "train",
    params=[*run_options(_LANGUAGE_TASK.task.Options), *_options(LANGUAGE)],
    callback=_callback(_LANGUAGE_TASK),
    headings=of_task(LANGUAGE, _LANGUAGE_TASK.task.Options),
    short_help="Train a model of a task, a language model unless another is named.",
    help="Train a language model, and print sentences that it makes up.\n\n"
    "Without any option: two GRU layers on the docstrings of your own Python, in less than three minutes. "
    "Ctrl-C saves and ends, and so do SIGTERM and SIGHUP; --resume goes on.\n\n"
    f"Another task is named first ({', '.join(name for name in TASKS if name != LANGUAGE)}, or your own: "
    "FILE.py:Class), and has options of its own: tinygrad-rnn train classify --help.",
)
