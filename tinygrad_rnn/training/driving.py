"""Training to the end: when to evaluate, what to keep in files, and when to stop."""

from __future__ import annotations

import math
import time
from pathlib import Path

from tinygrad_rnn.ranks.by_mpi import RanksError
from tinygrad_rnn.training.agreeing import Asked, agreed
from tinygrad_rnn.training.fitting import Evaluation, Record
from tinygrad_rnn.training.folder import BEST, LAST, of_step, own_checkpoint
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.signals import Signals, ends_program


class Listener:
    """Is told what happens in a run; does nothing itself."""

    def step(self, record: Record) -> None:
        """After every step."""

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        """After every evaluation."""


INTERIM = 10
"""Parts of a time budget, in each of which there is an evaluation, also where it is shorter than an epoch."""


def train_run(run: Run, out: Path, listener: Listener, budget: float | None = None, keep_every: bool = False) -> str:
    """Trains until the epochs, the patience or the budget are used up, or Ctrl-C is pressed.

    A run that ends where no evaluation was planned is evaluated once more, and saved as it was before that, so that
    resuming it gives the run that was not interrupted. So it is from time to time where a budget is shorter than what
    lies between two planned evaluations.

    Args:
        run: what is trained.
        out: a folder for `best.safetensors` and `last.safetensors`, which the caller holds (`folder.held`); of several
            ranks the first alone writes there.
        listener: is told of steps and evaluations.
        budget: in seconds.
        keep_every: keeps a `step-N.safetensors` of every planned evaluation.

    Returns:
        In a few words why it ended.

    Raises:
        OSError: a file cannot be written.
        SystemExit: after SIGTERM and SIGHUP, saved, where nothing else was to be done on them.
    """
    options = run.options
    if why := _reason_to_end(run, False, False):
        return f"{why} already"
    end = math.inf if budget is None else time.monotonic() + budget
    keeper = _Keeper(run, out, listener, keep_every)
    with Signals() as signals:

        def asked(failure: Exception | None) -> Asked:
            waited = budget is not None and keeper.waited(budget / INTERIM)
            own = Asked(signals.number, failure is not None, time.monotonic() >= end, waited)
            found = agreed(run.ranks, own)
            signals.number = signals.number or found.signal
            return found

        for record in run.steps():
            failure = keeper.tell(record)
            now = asked(failure)
            if now.failed:
                # What was trained is saved first.
                run.save(keeper.last)
                raise failure or RanksError("rank 0 could not tell of a step")
            every = options.evaluate_every
            planned = record.last_of_epoch if every is None else record.step % every == 0
            if planned:
                keeper.evaluate(record, planned=True)
                now = asked(None)  # again: it counts for the patience, and takes time
            if ends_program(now.signal):  # and not one that came to this rank since they agreed
                run.save(keeper.last)
                break  # and so ends the program
            why = _reason_to_end(run, now.signal != 0, now.late)
            if not planned and (why or now.waited):
                keeper.evaluate(record, planned=False, last=bool(why))
            if why:
                return why
    raise AssertionError("fit does not end by itself")


class _Keeper:
    """Evaluates a run, and keeps its files: the model that did best, and the run as it stands."""

    def __init__(self, run: Run, out: Path, listener: Listener, keep_every: bool) -> None:
        self.run, self.listener, self.out, self.keep_every = run, listener, out, keep_every
        self.best, self.last = out / BEST, out / LAST
        self.evaluated, self.took = time.monotonic(), 0.0
        # The file may be better than the run knows, where it is of an unplanned evaluation.
        file = run.ranks.broadcast(run.task.worst if run.ranks.rank else _kept(self.best, run))
        self.kept = file if run.task.better(file, run.best) else run.best

    def tell(self, record: Record) -> Exception | None:
        """Tells the listener of a step, and returns what went wrong, as with a full disk or a pipe that was closed."""
        try:
            self.listener.step(record)
        except Exception as error:
            return error
        return None

    def waited(self, seconds: float) -> bool:
        """Whether the latest evaluation was so long ago; longer where evaluations would otherwise take more than a
        tenth of the time."""
        return time.monotonic() - self.evaluated > max(seconds, 9 * self.took)

    def evaluate(self, record: Record, *, planned: bool, last: bool = False) -> None:
        """Evaluates the run after the step of `record`, saves it and tells the listener.

        A planned evaluation is part of the run. An unplanned one is not: it is made because the run ends here (`last`),
        or to be seen, and the run that goes on must be the one in which it was not made."""
        run, began, known = self.run, time.monotonic(), self.run.best
        if not planned:
            # Saved as it was before the evaluation, of which the run that goes on knows nothing.
            run.save(self.last)
        found = run.validate()
        value = run.task.value(found)
        best = run.task.better(value, self.kept) or (value == self.kept and run.advances(found))
        # For the same reason only a planned one counts for the schedule, the patience and the history.
        better = run.judge(found) if planned else best
        if best:
            # Planned or not, the best model is kept, and its file says how good it is.
            self.kept = run.best = value
            run.save(self.best)
        if planned:
            # Saved as it is after the evaluation, which the run that goes on does not repeat.
            run.save(self.last)
            if self.keep_every:
                run.save(self.out / of_step(run.progress.step))
        elif not last:
            run.best = known
        self.evaluated = time.monotonic()
        self.took = self.evaluated - began
        # Told last, when the files are whole: whoever listens may raise an error.
        self.listener.evaluation(record, found, better)


def _kept(best: Path, run: Run) -> float:
    """The metric of the model that this run has kept; the worst one where it has kept none."""
    saved = own_checkpoint(best, run)
    return run.task.worst if saved is None or saved.meta["best"] is None else float(saved.meta["best"])


def _reason_to_end(run: Run, interrupted: bool, late: bool) -> str:
    options = run.options
    if options.epochs is not None and run.progress.epoch >= options.epochs:
        return f"{_epochs(run.progress.epoch)} done"
    if options.patience and run.trouble >= options.patience:
        return (
            "no better for an evaluation" if options.patience == 1 else f"no better in {options.patience} evaluations"
        )
    if interrupted:
        return "interrupted"
    return "the time budget is used up" if late else ""


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"
