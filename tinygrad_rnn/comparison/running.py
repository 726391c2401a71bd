"""One run of a comparison, from its first step or from where it stopped, to what came out of it."""

from __future__ import annotations

import math
import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tinygrad_rnn.comparison.contest import Contestant
from tinygrad_rnn.comparison.outcome import OUTCOME, Outcome, kept_outcome
from tinygrad_rnn.comparison.reach import effective_memory, reach
from tinygrad_rnn.data.messages import TextError, unheard
from tinygrad_rnn.models.checkpoint import CheckpointError
from tinygrad_rnn.tasks.finding import find_task, resume_run
from tinygrad_rnn.tasks.training import options_and_cell
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.building import load_weights
from tinygrad_rnn.training.driving import train_run
from tinygrad_rnn.training.engine import calculating_as, with_engine
from tinygrad_rnn.training.examples import TaskError
from tinygrad_rnn.training.folder import BEST, LAST, LOG, held, own_checkpoint
from tinygrad_rnn.training.log import read_log
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_files import blame
from tinygrad_rnn.training.permits import Permit
from tinygrad_rnn.training.report import Reporter
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.task import TaskLearner


def carry_out(
    task: str, contestant: Contestant, seed: int, budget: float | None, folder: Path, name: str = OUTCOME
) -> Outcome:
    """The outcome of one run, whose files lie in `folder`: that which lies there already under this name; otherwise of
    the run that stopped there, or of a new one. An error is an outcome too, with its sentence: it must not take the
    other runs with it, and the run is tried again when it is asked for again."""
    if (done := kept_outcome(folder, name)) is not None:
        return done
    try:
        found = _trained(task, contestant, seed, budget, folder)
    except Exception as error:
        own, told = blame(error), isinstance(error, OptionError | TextError | CheckpointError | TaskError)
        why = own[1] if own else str(error) if told else f"{type(error).__name__}: {error}"
        found = Outcome(label=contestant.label, seed=seed, failed=" ".join(why.split()))
        folder.mkdir(parents=True, exist_ok=True)
    found.keep(folder, name)
    return found


def _trained(task: str, contestant: Contestant, seed: int, budget: float | None, folder: Path) -> Outcome:
    with ExitStack() as stack:
        stack.enter_context(held(folder, unheard))
        run = _run_in(task, contestant, seed, folder, stack)
        log = LogFile(folder / LOG, run, replace=True)
        spent = _spent(folder)
        reporter = Reporter(run, log, budget, quiet=True)
        stack.callback(reporter.close)
        left = None if budget is None else budget - spent
        why = "the time budget is used up" if left is not None and left <= 0 else train_run(run, folder, reporter, left)
        return _outcome(run, contestant, seed, folder, why)


def _run_in(task: str, contestant: Contestant, seed: int, folder: Path, stack: ExitStack) -> Run:
    """The run that stopped in the folder, or a new one there."""
    given = {"threads": 1, **contestant.options, "seed": seed, "cell": contestant.cell}
    if isinstance(contestant.cell, str) and (folder / LAST).is_file():
        try:
            changes = {name: given[name] for name in ("epochs", "patience") if name in given}
            own = contestant.cell if ".py:" in contestant.cell else None
            run = resume_run(
                folder / LAST, unheard, permit=Permit(own, task=task if ".py:" in task else None), **changes
            )
            stack.enter_context(calculating_as(run.options, "cpu", run.products))
            return run
        except (CheckpointError, OptionError):
            pass  # of no use: it begins anew
    for path in folder.iterdir():
        if path.name != ".lock" and not path.name.startswith("round-"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = find_task(task)
    options, cell = options_and_cell(found.task, given, unheard, lasting=False)
    options = with_engine(options, "cpu", unheard)
    stack.enter_context(calculating_as(options, "cpu"))
    return new_run(found.new(options, cell), unheard)


def _spent(folder: Path) -> float:
    """Seconds of training steps that lie in the log."""
    return math.fsum(line.get("seconds") or 0.0 for line in read_log(folder / LOG) if line["event"] == "step")


def _outcome(run: Run, contestant: Contestant, seed: int, folder: Path, why: str) -> Outcome:
    task, counted = run.task, run.task.counted
    steps, epochs = run.progress.step, run.progress.epoch
    if (best := own_checkpoint(folder / BEST, run)) is not None:
        load_weights(folder / BEST, best, run.model)
    found = run.measured(run.data.test if len(run.data.test) else run.data.valid)
    norms = reach(run.model, lambda: TaskLearner(task, run.model).batch_loss(run.batches(0)[0], None, None, "mean"))
    seconds, count, history = 0.0, 0, []
    for line in read_log(folder / LOG):
        if line["event"] == "step":
            seconds += line.get("seconds") or 0.0
            count += line.get(counted) or 0
        else:
            figures = {name: value for name, value in line.items() if name not in ("event", "lr", "best", "epoch")}
            history.append({**figures, "seconds": round(seconds, 3)})
    valid = None if best is None else best.meta["best"]
    return Outcome(
        label=contestant.label,
        seed=seed,
        metric=task.metric,
        higher=task.higher,
        value=_finite(task.value(found)),
        baselines=run.data.about["baselines"],
        valid=valid,
        metrics={name: _finite(value) for name, value in found.metrics.items()},
        loss=_finite(found.loss),
        loss_unit=task.loss_unit,
        counted=counted,
        parameters=run.model.size,
        seconds=round(seconds, 3),
        speed=round(count / max(seconds, 1e-9), 1),
        steps=steps,
        epochs=epochs,
        ended=why,
        settings=run.options.differing,
        history=history,
        reach=[_finite(norm) for norm in norms],
        memory=effective_memory(norms),
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
