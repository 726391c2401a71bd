"""What a training run shows: lines, a progress bar; and what it tells the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from tinygrad_rnn.data.messages import printable
from tinygrad_rnn.training.class_report import about_labels
from tinygrad_rnn.training.comparing import comparisons
from tinygrad_rnn.training.display import TIE, columns, entry, figure, header, row, shortened
from tinygrad_rnn.training.driving import Listener
from tinygrad_rnn.training.fitting import Evaluation, Record
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.measuring import Measured
from tinygrad_rnn.training.runs import Run, figures_of
from tinygrad_rnn.training.task import Task
from tinygrad_rnn.training.telling import baseline_lines

QUIET_SECONDS = 10.0
"""Without a terminal, and so without a bar, a line is printed as often as that."""


class Reporter(Listener):
    """Prints a row per evaluation and, on a terminal, a progress bar, elsewhere a line now and then; writes every step
    to the log. After every `sample_every` steps it prints what `sample` gives for that step."""

    def __init__(
        self,
        run: Run,
        log: LogFile,
        budget: float | None,
        quiet: bool = False,
        sample: Callable[[int], str] | None = None,
        sample_every: int | None = None,
    ) -> None:
        self.run, self.log, self.quiet = run, log, quiet
        self.sample, self.sample_every = sample, sample_every
        self.batches = len(run.batches(run.progress.epoch))
        self.start = self.spoken = time.monotonic()
        self.end = None if budget is None else self.start + budget
        self.first_step = run.progress.step
        self.headed = False
        self.best = run.best
        self.spent = 0.0
        """Seconds of training steps."""
        self.barred = not quiet and sys.stderr.isatty()
        self.width = 24 if columns(sys.stderr) >= 100 else 10
        self.bar = tqdm(
            total=self.batches,
            leave=False,
            disable=not self.barred,
            unit="batch",
            bar_format=f"|{{bar:{self.width}}}| {{desc}}",  # tqdm would begin a postfix with a comma
        )
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.count, self.loss, self.seconds, self.skipped = 0, 0.0, 0.0, 0
        self.bar.reset(total=self.batches)
        self.bar.update(self.run.progress.batch)

    def step(self, record: Record) -> None:
        told = asdict(record)
        told |= {f"penalty {name}": mean for name, mean in told.pop("penalties").items()}
        self.log.write({"event": "step", **{self.run.task.counted if k == "count" else k: v for k, v in told.items()}})
        self.count += record.count
        self.loss += record.loss * record.count
        self.seconds += record.seconds
        self.spent += record.seconds
        self.skipped += not record.applied
        done = self.run.progress.batch or self.batches
        if self.barred:
            room = columns(sys.stderr) - self.width - 4
            self.bar.set_description_str(shortened(self._state(record), room), refresh=False)
            self.bar.update(done - self.bar.n)
        elif not self.quiet and time.monotonic() - self.spoken + record.seconds > QUIET_SECONDS:
            # Said now where the next step, if it takes as long as this one, would end too late.
            self._print(entry("", f"batch {done:,} of {self.batches:,}, {shortened(self._state(record), 80)}"))
        if self.sample is not None and self.sample_every is not None and record.step % self.sample_every == 0:
            text = self.sample(record.step)
            # What is of several lines, or may be, is told apart by a line above it, and printed as it is.
            self._print(
                f"--- step {record.step:,} ---\n{text}" if self.run.task.of_several_lines else entry("sample", text)
            )

    def _state(self, record: Record) -> list[tuple[int, str]]:
        """Where the run stands, in parts: see `display.shortened`."""
        mean, speed = self._since_evaluation()
        task = self.run.task
        beside = task.beside_loss(mean)
        return [
            (1, f"epoch {record.epoch + 1}: {figure(mean, 3)} {task.loss_unit}"),
            *([(3, beside)] if beside else []),
            (4, f"gradient {figure(record.gradient_norm, 2)}"),
            (2, f"{speed:,.0f} {task.counted}/s"),
            (1, self._left()),
        ]

    def _print(self, text: str) -> None:
        self.bar.clear()
        print(printable(text), flush=True)
        self.spoken = time.monotonic()

    def _since_evaluation(self) -> tuple[float, float]:
        """The mean loss in training, and tokens or examples a second."""
        return self.loss / max(self.count, 1), self.count / max(self.seconds, 1e-9)

    def _left(self) -> str:
        """When it will end, by the epochs or by the clock, whichever comes first."""
        now, epochs = time.monotonic(), self.run.options.epochs
        done = self.run.progress.step - self.first_step
        ends = [] if self.end is None else [self.end - now]
        if epochs is not None and done:
            total = self.batches * (epochs - self.run.progress.epoch) - self.run.progress.batch
            ends.append((now - self.start) / done * total)
        if not ends:
            return "no end set"
        left = max(0, int(min(ends)))
        hours = f"{left // 3600}:{left // 60 % 60:02}" if left >= 3600 else f"{left // 60}"
        return f"{hours}:{left % 60:02} left"

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        self.log.write(
            {
                "event": "evaluation",
                "step": record.step,
                "epoch": record.epoch,
                **figures_of(self.run.task, found),
                "lr": record.lr,
                "best": better,
            }
        )
        if not self.quiet:
            self._print_row(record, found, better)
        self._begin_epoch()

    def _print_row(self, record: Record, found: Evaluation, better: bool) -> None:
        mean, speed = self._since_evaluation()
        label = f"epoch {record.epoch + 1}" if record.last_of_epoch else f"step {record.step}"
        task, shown = self.run.task, self.run.task.figures(found)
        names = [name for name, _ in shown]
        if not self.headed:
            self._print(header(names, task.counted))
            self.headed = True
        figures = row(label, mean, found.loss, shown, speed, task.counted, record.lr)
        # A planned evaluation may be the best that counts for the run, and an unplanned one before it better still.
        value = task.value(found)
        self._print(f"{figures}{'  best' if better and not task.better(self.best, value) else ''}")
        self.best = value if task.better(value, self.best) else self.best
        if self.skipped:
            steps = "1 step" if self.skipped == 1 else f"{self.skipped} steps"
            name = self.run.optimizer.last_skip
            self._print(entry("", f"{steps} skipped: the gradient of {name} was not finite"))

    def close(self) -> None:
        """Ends the bar and the log."""
        self.bar.close()
        self.log.close()


def summary(run: Run, found: Measured, part: str, seconds: float, why: str) -> list[tuple[str, str]]:
    """What stands under a run: what came out, of its best model on a `part` of the examples, after so many seconds of
    training steps, and what it is worth. Labels, and texts for `entry`."""
    (label, result), (_, about), *rest = result_lines(run.task, run.model, run.data.about, found, part, own=True)
    return [
        (label, f"{result} ({why.replace(' ', TIE)})"),
        ("", f"{about}, {f'{seconds:,.0f} s of training'.replace(' ', TIE)}"),
        *rest,
    ]


def result_lines(
    task: Task, model: Any, about: Mapping[str, Any], found: Measured, part: str, own: bool
) -> list[tuple[str, str]]:
    """What a model reaches on a `part` of examples, which `about` describes, and what it is worth; beside the baselines
    where that are the run's `own`. Labels, and texts for `entry`."""
    lines = [("result", task.result(found, part)), ("", task.about_result(about, model))]
    if own and (methods := comparisons(about, task.higher, found.reached(task))):
        lines += baseline_lines(task.baseline_line(methods), methods)
    return lines + about_labels(task, found)
