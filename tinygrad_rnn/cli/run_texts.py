"""What `train` says of a run before its first step, and after its last."""

from __future__ import annotations

import math
from pathlib import Path

import click
import numpy as np

from tinygrad_rnn.cli.saying import echo, note, say, say_samples
from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.training.building import load_weights
from tinygrad_rnn.training.folder import BEST, LAST, PICTURE, kept_evaluations, own_checkpoint
from tinygrad_rnn.training.log import read_log
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.report import summary
from tinygrad_rnn.training.runs import Run


def introduce(run: Run) -> None:
    """Says what is about to be trained, on what."""
    task, options = run.task, run.options
    for label, text in task.about_data(run.data):
        say(label, text)
    say("model", f"{task.about_model(run.model)}: {run.model.size:,} parameters, {options.dtype} on {run.device}")
    for label, text in task.about_beginning():
        say(label, text)
    say(
        "training",
        f"{options.optimizer}, lr {run.optimizer.lr:g}, batches of {options.batch_size}, seed {options.seed}"
        + ("; its own loss is with dropout, so it may lie above that of validation" if options.noisy else ""),
    )


def sample(run: Run, step: int) -> str:
    """What the model says after so many steps, drawn by a generator of its own: training goes on as it would have."""
    return next(run.task.samples(run.model, np.random.default_rng([run.options.seed, step]), 1))


def conclude(run: Run, out: Path, log: LogFile, why: str, count: int) -> None:
    """Says what came out, of the best model of this run; exits with 1 where there is none."""
    task = run.task
    drawn = log.is_kept and loss_curve(read_log(log.path), out / PICTURE, f"valid_{task.loss_unit}", task.counted)
    kept = [out / BEST, out / LAST, *([log.path] if log.is_kept else []), *([out / PICTURE] if drawn else [])]
    names = [str(path) for path in kept if path.is_file()]
    if each := kept_evaluations(out):
        names.append(f"{each[0]} to {each[-1].name} ({len(each)})" if len(each) > 1 else str(each[0]))
    files = ", ".join(names)
    best = own_checkpoint(out / BEST, run)
    if best is None and not math.isfinite(run.best):
        measured = "loss" if task.metric == "loss" else task.metric
        say("result", f"no model: the validation {measured} was never a finite number ({why})")
        say("files", f"{files}: the run as it stands, to look into; its weights are good for nothing")
        raise click.exceptions.Exit(1)
    if best is not None:
        load_weights(out / BEST, best, run.model)
    else:
        note(f"The best model, {task.metric_text(run.best)}, is not in {out}: what follows is of the last one.")
    part = "test" if len(run.data.test) else "validation"
    found = run.measured(run.data.test) if len(run.data.test) else run.validate()
    for line in summary(run, found, part, why):
        echo(line)
    say("files", files)
    if log.is_kept and not drawn:
        say("", "no picture of the losses: that needs matplotlib, pip install 'tinygrad-rnn[plot]'")
    rng = np.random.default_rng(run.options.seed)
    say_samples(task.samples(run.model, rng, count), numbered=task.of_several_lines, indent="  ")
