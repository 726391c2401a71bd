"""`tinygrad-rnn train`: from settings, or a checkpoint, to a trained model and its files."""

from __future__ import annotations

import math
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
from threadpoolctl import threadpool_limits

from tinygrad_rnn.cli.forms import NamedFiles
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
from tinygrad_rnn.cli.saying import echo, note, say, warn
from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.tasks.speaking import speak
from tinygrad_rnn.training.building import load_weights
from tinygrad_rnn.training.cell_files import open_cell
from tinygrad_rnn.training.cell_permits import CellPermit
from tinygrad_rnn.training.display import figure
from tinygrad_rnn.training.driving import train
from tinygrad_rnn.training.folder import (
    BEST,
    LAST,
    LOG,
    PICTURE,
    bring_best,
    free_folder,
    held,
    own_checkpoint,
    refuse_other_runs,
    remove_other_runs,
)
from tinygrad_rnn.training.held_out import remarks_on_split
from tinygrad_rnn.training.log import read_log
from tinygrad_rnn.training.log_file import LogFile, refuse_other_file
from tinygrad_rnn.training.places import option_of, pipes
from tinygrad_rnn.training.report import Reporter, baseline_line, summary
from tinygrad_rnn.training.runs import MAY_BE_NAMED_ANEW, MAY_CHANGE, Run
from tinygrad_rnn.training.settings import Settings, SettingsError
from tinygrad_rnn.training.signals import HUNG_UP
from tinygrad_rnn.training.text_data import ngram_baselines, prepare, read_corpus
from tinygrad_rnn.training.unknown_tokens import count_unknown


@click.command(
    "train",
    cls=NamedFiles,
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
    help="Go on from this checkpoint, bit for bit.",
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
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
def train_command(
    time_budget: str | None,
    out: Path | None,
    log: Path | None,
    resume: Path | None,
    trust: bool,
    device: str,
    count: int,
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
        if trust:
            raise SettingsError("--trust is for the cell of a checkpoint: say --resume as well")
        settings = Settings(**changes)
        cell = open_cell(settings.cell)  # a mistake in its name is told before the corpus is read
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
    if not quiet:
        _introduce(run)
    for name in pipes(run.settings) - run.files.keys():
        option = option_of(run.settings, name)
        tell(f"{name} is a pipe: to resume or evaluate, save the text and name the file with {option}")
    source = None if resume is None else resume.with_name(LOG)
    written = LogFile(log or out / LOG, run, replace=overwrite, source=source)
    if overwrite:
        remove_other_runs(out, run)
    if resume is not None:
        bring_best(resume.parent, out, run)
    reporter = Reporter(run, written, budget, quiet)
    try:
        why = train(run, out, reporter, budget)
    except SystemExit as end:
        _say_goodbye(end, out)
        raise
    finally:
        reporter.close()
    _finish(run, out, written, why, count)


def _nothing(text: str) -> None:
    """A note that nobody wants to read."""


def _use_threads(settings: Settings) -> None:
    click.get_current_context().with_resource(threadpool_limits(settings.threads, user_api="blas"))


def _resumed(path: Path, out: Path, tell: Note, device: str, permit: CellPermit, changes: dict[str, Any]) -> Run:
    """The run that goes on from a checkpoint, its folder held. Raises what `folder.held` and `Run.resume` do."""
    if fixed := sorted(changes.keys() - {*MAY_CHANGE, *MAY_BE_NAMED_ANEW}):
        raise SettingsError(
            f"with --resume only {' and '.join('--' + name for name in MAY_CHANGE)} can be changed, "
            f"got {', '.join('--' + name.replace('_', '-') for name in fixed)}"
        )
    if path.is_file():
        # Held before it is read: whoever writes there may be about to replace it.
        click.get_current_context().with_resource(held(out, tell))
    return Run.resume(path, tell, device, permit, **changes)


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


def _introduce(run: Run) -> None:
    about, settings = run.data.about, run.settings
    train, valid, unit = run.data.train, run.data.valid, "sentences"
    sizes = len(train), len(valid)
    if settings.unbroken:
        sizes, unit = (sum(map(len, train)), sum(map(len, valid))), "characters"
    say("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256'][:12]}")
    say("split", f"{sizes[0]:,} training and {sizes[1]:,} validation {unit}, vocabulary {len(run.data.vocabulary):,}")
    say("", f"unknown tokens: {count_unknown(train)} in training, {count_unknown(valid)} in validation")
    say("baseline", baseline_line(about))
    say("", "(interpolated Witten-Bell n-grams on the same split, in nats per token)")
    tied = " (tied)" if run.model.output_weight is None else ""
    say(
        "model",
        f"{settings.layers} x {settings.cell} {settings.hidden}, embedding {settings.embedding}{tied}: "
        f"{run.model.size:,} parameters, {settings.dtype} on {run.device}",
    )
    if run.given_vectors:
        rows = "1 row" if run.given_vectors == 1 else f"{run.given_vectors:,} rows"
        say("vectors", f"{settings.vectors}: {rows} of the embedding's {len(run.data.vocabulary):,}")
    say(
        "training",
        f"{settings.optimizer}, lr {run.optimizer.lr:g}, batches of {settings.batch_size}, seed {settings.seed}",
    )


def _finish(run: Run, out: Path, log: LogFile, why: str, count: int) -> None:
    """Says what came out, of the best model of this run; exits with 1 where there is none."""
    drawn = log.is_kept and loss_curve(read_log(log.path), out / PICTURE)
    kept = [out / BEST, out / LAST, *([log.path] if log.is_kept else []), *([out / PICTURE] if drawn else [])]
    files = ", ".join(str(path) for path in kept if path.is_file())
    if not math.isfinite(run.best):
        say("result", f"no model: the validation loss was never a finite number ({why})")
        say("files", f"{files}: the run as it stands, to look into; its weights are good for nothing")
        raise click.exceptions.Exit(1)
    if (best := own_checkpoint(out / BEST, run)) is not None:
        load_weights(out / BEST, best, run.model)
    else:
        note(f"The best model, {figure(run.best, 3)} nats per token, is not in {out}: what follows is of the last one.")
    for line in summary(run, run.validate(), why):
        echo(line)
    say("files", files)
    if log.is_kept and not drawn:
        say("", "no picture of the losses: that needs matplotlib, pip install 'tinygrad-rnn[plot]'")
    rng = np.random.default_rng(run.settings.seed)
    for text in speak(run.model, run.data.vocabulary, run.settings, rng, count=count, temperature=0.8, min_length=5):
        echo(f"  {text}")
