"""`tinygrad-rnn train`: from settings, or a checkpoint, to a trained model and its files."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
from threadpoolctl import threadpool_limits

from tinygrad_rnn.cli.helping import TRAIN, Grouped
from tinygrad_rnn.cli.options import (
    DEFAULT_BUDGET,
    DEFAULT_EPOCHS,
    DEFAULT_OUT,
    check_device,
    device_option,
    seconds,
    settings_options,
    trust_option,
)
from tinygrad_rnn.cli.run_texts import conclude, introduce, sample
from tinygrad_rnn.cli.saying import note, warn
from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.training.cell_permits import CellPermit
from tinygrad_rnn.training.driving import train
from tinygrad_rnn.training.folder import (
    LAST,
    LOG,
    bring_best,
    free_folder,
    held,
    refuse_other_runs,
    remove_other_runs,
)
from tinygrad_rnn.training.held_out import remarks_on_split
from tinygrad_rnn.training.log_file import LogFile, refuse_other_file
from tinygrad_rnn.training.places import option_of, pipes
from tinygrad_rnn.training.report import Reporter
from tinygrad_rnn.training.runs import MAY_BE_NAMED_ANEW, MAY_CHANGE, Run
from tinygrad_rnn.training.settings import Settings, SettingsError
from tinygrad_rnn.training.signals import HUNG_UP
from tinygrad_rnn.training.text_data import ngram_baselines, prepare, read_corpus
from tinygrad_rnn.training.transfer import settings_and_cell


@click.command(
    "train",
    cls=Grouped,
    headings=TRAIN,
    help="Train a language model, and print sentences that it makes up.\n\n"
    "Without any option: two GRU layers on the docstrings of your own Python, in less than three minutes. "
    "Ctrl-C saves and ends, and so do SIGTERM and SIGHUP; --resume goes on.",
)
@settings_options
@click.option(
    "--time-budget",
    metavar="TIME",
    help="Stop after 90 (seconds), 90s, 20m or 1.5h of training "
    f"({DEFAULT_BUDGET:.0f}s unless told or --epochs is given).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=f"For checkpoints, log and picture ({DEFAULT_OUT} unless told, or {DEFAULT_OUT}-2 and so on where that has a "
    "run; with --resume where the checkpoint is).",
)
@click.option("--overwrite", is_flag=True, help="Replace the run that is in --out.")
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON Lines, one a step (log.jsonl in --out unless told); a new file, a pipe, or - for standard output.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="CHECKPOINT",
    help="Go on from this checkpoint, bit for bit; with another learning rate, noise or batch size if given.",
)
@trust_option
@device_option
@click.option(
    "--sentences",
    "count",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Sentences to print at the end.",
)
@click.option("--sample-every", type=click.IntRange(1), metavar="STEPS", help="Print what the model says as often.")
@click.option(
    "--keep",
    type=click.Choice(["best", "every"]),
    default="best",
    show_default=True,
    help="best: the best model and the last; every: a checkpoint of each evaluation as well.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the result, and samples if asked for.")
def train_command(
    time_budget: str | None,
    out: Path | None,
    log: Path | None,
    resume: Path | None,
    trust: bool,
    device: str,
    count: int,
    sample_every: int | None,
    keep: str,
    overwrite: bool,
    quiet: bool,
    **given: Any,
) -> None:
    check_device(device)
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    budget = None if time_budget is None else seconds(time_budget)
    tell = _nothing if quiet else note
    if resume is not None:
        out = resume.parent if out is None else out
        run = _resumed(resume, out, tell, device, CellPermit(changes.pop("cell", None), trust), changes)
        _use_threads(run.settings)
        if not overwrite:
            refuse_other_runs(out, run)
    else:
        if budget is None and "epochs" not in changes:
            budget, changes["epochs"] = DEFAULT_BUDGET, DEFAULT_EPOCHS
        if trust and "init_from" not in changes:
            raise SettingsError("--trust is for the cell of a checkpoint: say --resume or --init-from as well")
        # A mistake in the cell's name is told before the corpus is read.
        settings, cell = settings_and_cell(changes, trust, warn)
        out = _folder_of_a_new_run(out, overwrite, tell)
        if log is not None:
            refuse_other_file(log, replace=overwrite)
        _use_threads(settings)
        corpus = read_corpus(settings, tell)
        data = prepare(settings, corpus)
        for remark in remarks_on_split(settings, corpus.parts, corpus.sentences):
            tell(remark)
        data.about["baselines"] = ngram_baselines(data, settings.level)
        run = Run(settings, data, device, cell=cell)
        if settings.vectors is not None and not run.given_vectors:
            warn(f"{settings.vectors} has no vector of any of the {len(data.vocabulary):,} tokens: none was set")
        if settings.init_from is not None and not run.known_tokens:
            warn(f"{settings.init_from} knows none of the {len(data.vocabulary):,} tokens: they begin as new ones")
    if not quiet:
        introduce(run)
    for name in pipes(run.settings) - run.files.keys():
        option = option_of(run.settings, name)
        tell(f"{name} is a pipe: to resume or evaluate, save the text and name the file with {option}")
    source = None if resume is None else resume.with_name(LOG)
    written = LogFile(log or out / LOG, run, replace=overwrite, source=source)
    if overwrite:
        remove_other_runs(out, run)
    if resume is not None:
        bring_best(resume.parent, out, run)
    reporter = Reporter(run, written, budget, quiet, partial(sample, run), sample_every)
    try:
        why = train(run, out, reporter, budget, keep_every=keep == "every")
    except SystemExit as end:
        _say_goodbye(end, out)
        raise
    finally:
        reporter.close()
    conclude(run, out, written, why, count)


def _nothing(text: str) -> None:
    """A note that nobody wants to read."""


def _use_threads(settings: Settings) -> None:
    click.get_current_context().with_resource(threadpool_limits(settings.threads, user_api="blas"))


def _resumed(path: Path, out: Path, tell: Note, device: str, permit: CellPermit, changes: dict[str, Any]) -> Run:
    """The run that goes on from a checkpoint, its folder held. Raises what `folder.held` and `Run.resume` do."""
    if fixed := sorted(changes.keys() - {*MAY_CHANGE, *MAY_BE_NAMED_ANEW}):
        raise SettingsError(
            f"with --resume only {', '.join(map(_option, MAY_CHANGE))} can be changed, "
            f"got {', '.join(map(_option, fixed))}"
        )
    if path.is_file():
        # Held before it is read: whoever writes there may be about to replace it.
        click.get_current_context().with_resource(held(out, tell))
    return Run.resume(path, tell, device, permit, **changes)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _folder_of_a_new_run(out: Path | None, overwrite: bool, tell: Note) -> Path:
    """The folder that was asked for, or the first that is free; held. Better now than after an hour of training.
    Raises SettingsError, OSError."""
    context = click.get_current_context()
    if out is None:
        if overwrite:
            raise SettingsError("--overwrite: say with --out which run is to be replaced")
        out = context.with_resource(free_folder(DEFAULT_OUT, tell))
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
