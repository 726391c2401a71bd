"""What `train` says of a run before its first step, and after its last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from tinygrad_rnn.cli.saying import note, say, say_all, say_samples
from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.training.building import load_weights
from tinygrad_rnn.training.class_report import label_counts
from tinygrad_rnn.training.folder import BEST, LAST, PICTURE, kept_evaluations, own_checkpoint
from tinygrad_rnn.training.log import numbers, read_log
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.report import summary
from tinygrad_rnn.training.result_file import RESULT, write_result
from tinygrad_rnn.training.runs import Run


def introduce(run: Run) -> None:
    """Says what is about to be trained, on what."""
    task, options = run.task, run.options
    say_all(task.about_data(run.data))
    say_all(label_counts(task, run.data.train))
    place = f"{options.dtype} on {run.device}"
    if options.engine == "machine" and run.device == "cpu":
        place += f", machine code, {options.threads} thread{'s' * (options.threads > 1)}"
    say("model", f"{task.about_model(run.model)}: {run.model.size:,} parameters, {place}")
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


def conclude(run: Run, out: Path, log: LogFile, spent: float, why: str, count: int) -> None:
    """Says what came out, of the best model of this run, and writes it down; exits with 1 where there is none. `spent`
    are the seconds of training steps, if no log tells those of the whole run."""
    task, records = run.task, read_log(log.path) if log.is_kept else []
    named = f"valid_{task.loss_unit}", task.counted, task.training_called
    drawn = log.is_kept and loss_curve(records, out / PICTURE, *named)
    drawings = [out / PICTURE] if drawn else []
    kept = [out / BEST, out / LAST, *([log.path] if log.is_kept else []), out / RESULT, *drawings]
    best = own_checkpoint(out / BEST, run)
    if best is None and not math.isfinite(run.best):
        measured = "loss" if task.metric == "loss" else task.metric
        say("result", f"no model: the validation {measured} was never a finite number ({why})")
        say("files", f"{_names(kept, out)}: the run as it stands, to look into; its weights are good for nothing")
        raise click.exceptions.Exit(1)
    if best is not None:
        load_weights(out / BEST, best, run.model)
    else:
        note(f"The best model, {task.metric_text(run.best)}, is not in {out}: what follows is of the last one.")
    part = "test" if len(run.data.test) else "validation"
    found = run.measured(run.data.test) if len(run.data.test) else run.validate()
    seconds = sum(value for _, value in numbers(records, "step", "seconds")) if records else spent
    write_result(out / RESULT, run, found, part, seconds, why)
    say_all(summary(run, found, part, seconds, why))
    say("files", _names(kept, out))
    if log.is_kept and not drawn:
        say("", "no picture of the losses: that needs matplotlib, pip install 'tinygrad-rnn[plot]'")
    rng = np.random.default_rng(run.options.seed)
    say_samples(task.samples(run.model, rng, count), numbered=task.of_several_lines, indent="  ")


def _names(paths: Sequence[Path], folder: Path) -> str:
    """Those of the paths that are files, and the checkpoints of evaluations in the folder."""
    names = [str(path) for path in paths if path.is_file()]
    if each := kept_evaluations(folder):
        names.append(f"{each[0]} to {each[-1].name} ({len(each)})" if len(each) > 1 else str(each[0]))
    return ", ".join(names)
