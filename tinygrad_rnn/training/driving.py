"""Training to the end: when to evaluate, what to keep in files, and when to stop."""

from __future__ import annotations

import math
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.training.fitting import Evaluation, Record
from tinygrad_rnn.training.runs import Run


class Listener:
    """Is told what happens in a run; does nothing itself."""

    def step(self, record: Record) -> None:
        """After every step."""

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        """After every evaluation."""


def train(run: Run, out: Path, listener: Listener, budget: float | None = None) -> str:
    """Trains until the epochs, the patience or the `budget` (seconds) are used up, or Ctrl-C is pressed; keeps
    `best.safetensors` and `last.safetensors` in `out`. Returns in a few words why it ended. Raises OSError.

    A run that ends where no evaluation was planned is evaluated once more, and saved as it was before that, so that
    resuming it gives the run that was not interrupted."""
    settings = run.settings
    if settings.epochs is not None and run.progress.epoch >= settings.epochs:
        return f"{_epochs(settings.epochs)} done already"
    end = math.inf if budget is None else time.monotonic() + budget
    keeper = _Keeper(run, out, listener)
    with _Interrupt() as interrupt:
        for record in run.steps():
            listener.step(record)
            every = settings.evaluate_every
            planned = record.last_of_epoch if every is None else record.step % every == 0
            if planned:
                keeper.evaluate(record, planned=True)
            # Asked after a planned evaluation: it counts for the patience, and takes time.
            why = _reason_to_end(run, interrupt.pressed, time.monotonic() >= end)
            if why and not planned:
                keeper.evaluate(record, planned=False)
            if why:
                return why
    raise AssertionError("fit does not end by itself")


class _Keeper:
    """Evaluates a run, and keeps its files: the model that did best, and the run as it stands."""

    def __init__(self, run: Run, out: Path, listener: Listener) -> None:
        self.run, self.listener = run, listener
        self.best, self.last = out / "best.safetensors", out / "last.safetensors"
        # The file may be better than the run knows, where it is of an unplanned evaluation.
        self.kept = min(run.best, _kept(self.best, run))

    def evaluate(self, record: Record, *, planned: bool) -> None:
        """Evaluates the run after the step of `record`, saves it and tells the listener.

        A planned evaluation is part of the run. An unplanned one is not: it is made because the run ends here, and the
        run that goes on from its file must be the one that was never interrupted."""
        run = self.run
        if not planned:
            # Saved as it was before the evaluation, of which the run that goes on knows nothing.
            run.save(self.last)
        found = run.validate()
        best = found.nats < self.kept
        # For the same reason only a planned one counts for the schedule, the patience and the history.
        better = run.judge(found) if planned else best
        if best:
            # Planned or not, the best model is kept, and its file says how good it is.
            self.kept = run.best = found.nats
            run.save(self.best)
        if planned:
            # Saved as it is after the evaluation, which the run that goes on does not repeat.
            run.save(self.last)
        # Told last, when the files are whole: whoever listens may raise an error.
        self.listener.evaluation(record, found, better)


def _kept(best: Path, run: Run) -> float:
    """The nats per token of the model that a run which goes on has kept; infinity for a new run."""
    if not run.progress.step or not best.is_file():
        return math.inf
    try:
        meta = checkpoint.load(best).meta
    except checkpoint.CheckpointError:
        return math.inf
    same = meta.get("corpus", {}).get("sha256") == run.data.about["sha256"] and meta.get("best") is not None
    return float(meta["best"]) if same else math.inf


def _reason_to_end(run: Run, interrupted: bool, late: bool) -> str:
    settings = run.settings
    if settings.epochs is not None and run.progress.epoch >= settings.epochs:
        return f"{_epochs(settings.epochs)} done"
    if settings.patience is not None and run.trouble >= settings.patience:
        return (
            "no better for an evaluation" if settings.patience == 1 else f"no better in {settings.patience} evaluations"
        )
    if interrupted:
        return "interrupted"
    return "the time budget is used up" if late else ""


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


class _Interrupt:
    """Within it Ctrl-C asks for an end after the step in progress; pressed again, it interrupts as usual."""

    def __enter__(self) -> _Interrupt:
        self.pressed = False
        self.before: Any = None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, self.before)

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
