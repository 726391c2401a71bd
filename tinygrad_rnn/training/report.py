"""What a training run shows: lines, a progress bar; and what it tells the log."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from tinygrad_rnn.data.messages import printable
from tinygrad_rnn.models.language import perplexity
from tinygrad_rnn.training.description import ORDERS
from tinygrad_rnn.training.display import TIE, entry, figure
from tinygrad_rnn.training.driving import Listener
from tinygrad_rnn.training.fitting import Evaluation, Record
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.runs import Run


class Reporter(Listener):
    """Prints a line per evaluation and, on a terminal, a progress bar; writes every step to the log."""

    def __init__(self, run: Run, log: LogFile, budget: float | None, quiet: bool = False) -> None:
        self.run, self.quiet = run, quiet
        self.batches = len(run.batches(run.progress.epoch))
        self.start = time.monotonic()
        self.end = None if budget is None else self.start + budget
        self.first_step = run.progress.step
        self.log = log
        self.bar = tqdm(
            total=self.batches,
            leave=False,
            disable=quiet or not sys.stderr.isatty(),
            unit="batch",
            bar_format="{bar:24} {desc}",  # tqdm would begin a postfix with a comma
        )
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.tokens, self.nats, self.seconds, self.skipped = 0, 0.0, 0.0, 0
        self.bar.reset(total=self.batches)
        self.bar.update(self.run.progress.batch)

    def step(self, record: Record) -> None:
        self.log.write({"event": "step", **asdict(record)})
        self.tokens += record.tokens
        self.nats += record.loss * record.tokens
        self.seconds += record.seconds
        self.skipped += not record.applied
        mean, speed = self._since_evaluation()
        self.bar.set_description_str(
            f"epoch {record.epoch + 1}: {figure(mean, 3)} nats, perplexity {figure(perplexity(mean), 1)}, "
            f"gradient {figure(record.gradient_norm, 2)}, "
            f"{speed:,.0f} tokens/s, {self._left()}",
            refresh=False,
        )
        self.bar.update((self.run.progress.batch or self.batches) - self.bar.n)

    def _since_evaluation(self) -> tuple[float, float]:
        """Nats per token in training, and tokens a second."""
        return self.nats / max(self.tokens, 1), self.tokens / max(self.seconds, 1e-9)

    def _left(self) -> str:
        """When it will end, by the epochs or by the clock, whichever comes first."""
        now, epochs = time.monotonic(), self.run.settings.epochs
        done = self.run.progress.step - self.first_step
        ends = [] if self.end is None else [self.end - now]
        if epochs is not None and done:
            total = self.batches * (epochs - self.run.progress.epoch) - self.run.progress.batch
            ends.append((now - self.start) / done * total)
        if not ends:
            return "no end set"
        left = max(0, int(min(ends)))
        return f"{left // 60}:{left % 60:02} left"

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        self.log.write(
            {
                "event": "evaluation",
                "step": record.step,
                "epoch": record.epoch,
                "valid_nats": found.nats,
                "tokens": found.tokens,
                "lr": record.lr,
                "best": better,
            }
        )
        mean, speed = self._since_evaluation()
        line = (
            f"epoch {record.epoch + 1:>3}  train {figure(mean, 3)}  valid {figure(found.nats, 3)} nats/token  "
            f"perplexity {figure(found.perplexity, 1):>7}  "
            f"{speed:>7,.0f} tokens/s  lr {record.lr:.2g}{'  best' if better else ''}"
        )
        if self.skipped:
            name = self.run.optimizer.last_skip
            steps = "1 step" if self.skipped == 1 else f"{self.skipped} steps"
            line += f"  ({steps} skipped: the gradient of {name} was not finite)"
        if not self.quiet:
            self.bar.clear()
            print(printable(line), flush=True)
        self._begin_epoch()

    def close(self) -> None:
        """Ends the bar and the log."""
        self.bar.close()
        self.log.close()


def summary(run: Run, best: Evaluation, why: str) -> list[str]:
    """The lines under a run: what came out, and what it is worth."""
    about = run.data.about
    return [
        entry(
            "result",
            f"{figure(best.nats, 3)} nats per token on {best.tokens:,} validation tokens: "
            f"perplexity {figure(best.perplexity, 1)}, {figure(best.bits, 2)} bits ({why})",
        ),
        entry(
            "",
            f"vocabulary {len(run.data.vocabulary):,}, {run.model.size:,} parameters, "
            f"corpus sha256 {about['sha256'][:12]}",
        ),
        entry("baseline", baseline_line(about, best.nats)),
    ]


def baseline_line(about: dict[str, Any], reached: float | None = None) -> str:
    """Nats per token and perplexity of the n-grams on the same split, and whether a model does better: a text for
    `entry`."""
    words = []
    for order, nats in about["baselines"].items():
        verdict = "" if reached is None else ": beaten" if reached < nats else ": not reached"
        words.append(f"{ORDERS[order]} {nats:.3f} (perplexity {figure(perplexity(nats), 1)}){verdict}")
    return ", ".join(each.replace(" ", TIE) for each in words)
