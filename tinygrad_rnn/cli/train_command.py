"""`tinygrad-rnn train`: from settings, or a checkpoint, to a trained model and its files."""

from __future__ import annotations

import math
import os
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
)
from tinygrad_rnn.cli.saying import note, say
from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.tasks.speaking import speak
from tinygrad_rnn.training.building import load_model
from tinygrad_rnn.training.cell_files import find_cell
from tinygrad_rnn.training.driving import train
from tinygrad_rnn.training.log import read_log
from tinygrad_rnn.training.report import Reporter, baseline_line, figure, summary
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.settings import Settings, SettingsError
from tinygrad_rnn.training.text_data import measure, ngram_baselines, prepare, read_corpus

_MAY_CHANGE = ("epochs", "patience")
"""Settings that --resume takes; the others are those of the checkpoint."""


@click.command(
    "train",
    cls=NamedFiles,
    help="Train a language model, and print sentences that it makes up.\n\n"
    "Without any option: two GRU layers on the docstrings of your own Python, in less than three minutes. "
    "Ctrl-C saves and ends; --resume goes on.",
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
    help=f"For checkpoints, log and picture ({DEFAULT_OUT} unless told; with --resume where the checkpoint is).",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON Lines, one a step (log.jsonl in --out unless told).",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="CHECKPOINT",
    help="Go on from this checkpoint, bit for bit.",
)
@device_option
@click.option(
    "--sentences",
    "count",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Sentences to print at the end.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Of BLAS. On products this small two are little faster, and on a busy machine far slower.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
def train_command(
    time_budget: str | None,
    out: Path | None,
    log: Path | None,
    resume: Path | None,
    device: str,
    count: int,
    threads: int,
    quiet: bool,
    **given: Any,
) -> None:
    check_device(device)
    click.get_current_context().with_resource(threadpool_limits(threads, user_api="blas"))
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    budget = None if time_budget is None else seconds(time_budget)
    tell = _nothing if quiet else note
    if resume is not None:
        out = resume.parent if out is None else out
        if fixed := sorted(changes.keys() - set(_MAY_CHANGE)):
            raise SettingsError(
                f"with --resume only {' and '.join('--' + name for name in _MAY_CHANGE)} can be changed, "
                f"got {', '.join('--' + name.replace('_', '-') for name in fixed)}"
            )
        run = Run.resume(resume, tell, device, **changes)
        _must_be_writable(out)
    else:
        out = DEFAULT_OUT if out is None else out
        if budget is None and "epochs" not in changes:
            budget, changes["epochs"] = DEFAULT_BUDGET, DEFAULT_EPOCHS
        settings = Settings(**changes)
        find_cell(settings.cell)  # a mistake in its name is told before the corpus is read
        _must_be_writable(out)
        data = prepare(settings, read_corpus(settings, tell))
        data.about["baselines"] = ngram_baselines(data, settings.level)
        run = Run(settings, data, device)
    if not quiet:
        _introduce(run)
    log = out / "log.jsonl" if log is None else log
    reporter = Reporter(run, log, budget, quiet)
    try:
        why = train(run, out, reporter, budget)
    finally:
        reporter.close()
    _finish(run, out, log, why, device, count)


def _nothing(text: str) -> None:
    """A note that nobody wants to read."""


def _must_be_writable(folder: Path) -> None:
    """Makes the folder; better now than after an hour of training. Raises OSError, ClickException."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise click.ClickException(f"{folder}: this folder cannot be written to")


def _introduce(run: Run) -> None:
    about, settings = run.data.about, run.settings
    train, valid, unit = run.data.train, run.data.valid, "sentences"
    sizes = len(train), len(valid)
    if settings.unbroken:
        sizes, unit = (sum(map(len, train)), sum(map(len, valid))), "characters"
    say("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256'][:12]}")
    say("split", f"{sizes[0]:,} training and {sizes[1]:,} validation {unit}, vocabulary {len(run.data.vocabulary):,}")
    say("baseline", baseline_line(about))
    say("", "(interpolated Witten-Bell n-grams on the same split, in nats per token)")
    tied = " (tied)" if run.model.output_weight is None else ""
    say(
        "model",
        f"{settings.layers} x {settings.cell} {settings.hidden}, embedding {settings.embedding}{tied}: "
        f"{run.model.size:,} parameters, {settings.dtype} on {run.device}",
    )
    say(
        "training",
        f"{settings.optimizer}, lr {run.optimizer.lr:g}, batches of {settings.batch_size}, seed {settings.seed}",
    )


def _finish(run: Run, out: Path, log: Path, why: str, device: str, count: int) -> None:
    best = out / "best.safetensors"
    drawn = loss_curve(read_log(log), out / "loss.png")
    if math.isfinite(run.best) and best.is_file():
        model, vocabulary, settings, _ = load_model(best, device)
        found = measure(model, settings, run.data.valid, device)
        for line in summary(run, found, why):
            click.echo(line)
        say("files", f"{best}, {out / 'last.safetensors'}, {log}" + (f", {out / 'loss.png'}" if drawn else ""))
        if not drawn:
            say("", "no picture of the losses: that needs matplotlib, pip install 'tinygrad-rnn[plot]'")
        rng = np.random.default_rng(settings.seed)
        for text in speak(model, vocabulary, settings, rng, count=count, temperature=0.8, min_length=5):
            click.echo(f"  {text}")
    elif math.isfinite(run.best):
        say("result", f"no model better than before, {figure(run.best, 3)} nats per token ({why})")
    else:
        say("result", f"no model: the validation loss was never a finite number ({why})")
