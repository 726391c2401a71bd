"""What `train` says of a run before its first step, and after its last."""

from __future__ import annotations

import math
from pathlib import Path

import click
import numpy as np

from tinygrad_rnn.cli.saying import echo, note, say, say_samples
from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.tasks.speaking import speak
from tinygrad_rnn.training.building import load_weights
from tinygrad_rnn.training.display import figure
from tinygrad_rnn.training.folder import BEST, LAST, PICTURE, kept_evaluations, own_checkpoint
from tinygrad_rnn.training.log import read_log
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.report import baseline_line, summary
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.unknown_tokens import count_unknown


def introduce(run: Run) -> None:
    """Says what is about to be trained, on what."""
    about, settings = run.data.about, run.settings
    train, valid, unit = run.data.train, run.data.valid, "sentences"
    sizes = len(train), len(valid)
    if settings.unbroken:
        sizes, unit = (sum(map(len, train)), sum(map(len, valid))), "characters"
    say("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256'][:12]}")
    say("split", f"{sizes[0]:,} training and {sizes[1]:,} validation {unit}, vocabulary {len(run.data.vocabulary):,}")
    say("", f"unknown tokens: {count_unknown(train)} in training, {count_unknown(valid)} in validation")
    say("baseline", baseline_line(about))
    say("", f"(interpolated Witten-Bell n-grams on the same split, in nats per {settings.unit})")
    output = " (tied)" if run.model.tied else "" if settings.softmax == "full" else f", {settings.softmax} softmax"
    say(
        "model",
        f"{settings.layers} x {settings.cell} {settings.hidden}, embedding {settings.embedding}{output}: "
        f"{run.model.size:,} parameters, {settings.dtype} on {run.device}",
    )
    if run.given_vectors:
        rows = "1 row" if run.given_vectors == 1 else f"{run.given_vectors:,} rows"
        say("vectors", f"{settings.vectors}: {rows} of the embedding's {len(run.data.vocabulary):,}")
    if settings.init_from is not None and run.known_tokens:
        say("begins as", f"{settings.init_from}, which knows {run.known_tokens:,} of the tokens")
    say(
        "training",
        f"{settings.optimizer}, lr {run.optimizer.lr:g}, batches of {settings.batch_size}, seed {settings.seed}"
        + ("; its own loss is with dropout, so it may lie above that of validation" if settings.noisy else ""),
    )


def sample(run: Run, step: int) -> str:
    """What the model says after so many steps, drawn by a generator of its own: training goes on as it would have."""
    rng = np.random.default_rng([run.settings.seed, step])
    return next(speak(run.model, run.data.vocabulary, run.settings, rng, count=1, temperature=0.8, min_length=5))


def conclude(run: Run, out: Path, log: LogFile, why: str, count: int) -> None:
    """Says what came out, of the best model of this run; exits with 1 where there is none."""
    drawn = log.is_kept and loss_curve(read_log(log.path), out / PICTURE)
    kept = [out / BEST, out / LAST, *([log.path] if log.is_kept else []), *([out / PICTURE] if drawn else [])]
    names = [str(path) for path in kept if path.is_file()]
    if each := kept_evaluations(out):
        names.append(f"{each[0]} to {each[-1].name} ({len(each)})" if len(each) > 1 else str(each[0]))
    files = ", ".join(names)
    best = own_checkpoint(out / BEST, run)
    if best is None and not math.isfinite(run.best):
        say("result", f"no model: the validation loss was never a finite number ({why})")
        say("files", f"{files}: the run as it stands, to look into; its weights are good for nothing")
        raise click.exceptions.Exit(1)
    if best is not None:
        load_weights(out / BEST, best, run.model)
    else:
        best_nats = f"{figure(run.best, 3)} nats per {run.settings.unit}"
        note(f"The best model, {best_nats}, is not in {out}: what follows is of the last one.")
    for line in summary(run, run.validate(), why):
        echo(line)
    say("files", files)
    if log.is_kept and not drawn:
        say("", "no picture of the losses: that needs matplotlib, pip install 'tinygrad-rnn[plot]'")
    rng = np.random.default_rng(run.settings.seed)
    say_samples(
        speak(run.model, run.data.vocabulary, run.settings, rng, count=count, temperature=0.8, min_length=5),
        numbered=run.settings.unbroken,
        indent="  ",
    )
