"""What a run says while it trains: rows, a bar on a terminal, and elsewhere a line now and then."""

from __future__ import annotations

import io
import os
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_runs import Clock, language_run

from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.training import report
from tinygrad_rnn.training.fitting import Evaluation, Record
from tinygrad_rnn.training.report import QUIET_SECONDS, Reporter
from tinygrad_rnn.training.runs import Run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(report, "time", clock)
    return clock


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of an epoch of many steps, none of which is made here."""
    path = tmp_path / "text.txt"
    path.write_text("a cat sat.\n" * 300, encoding="utf-8")
    tiny: dict[str, Any] = {"embedding": 2, "hidden": 2, "layers": 1, "batch_size": 1, "steps": 4, "level": "char"}
    settings = LanguageOptions(text=(str(path),), **tiny, epochs=2)
    return language_run(settings)


def log() -> Any:
    """A log that nobody reads."""
    return SimpleNamespace(write=lambda record: None, close=lambda: None)


def step(reporter: Reporter, clock: Clock, seconds: float = 1.0, **told: Any) -> Record:
    """Makes a step of so many seconds, and tells the reporter."""
    progress = reporter.run.progress
    progress.step, progress.batch = progress.step + 1, (progress.batch + 1) % reporter.batches
    clock.now += seconds
    usual: dict[str, Any] = {"loss": 2.5, "count": 4, "gradient_norm": 0.5, "lr": 0.005, "applied": True}
    record = Record(
        step=progress.step, epoch=0, **{**usual, "last_of_epoch": progress.batch == 0, "seconds": seconds, **told}
    )
    reporter.step(record)
    return record


# --- Without a terminal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.4, 3.0, 9.9, 10.0])
def test_without_a_terminal_a_line_comes_at_least_every_ten_seconds(
    seconds: float, run: Run, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = Reporter(run, log(), None)
    times = [clock.now]
    for _ in range(100):
        step(reporter, clock, seconds)
        if capsys.readouterr().out:
            times.append(clock.now)
    reporter.close()
    waits = [after - before for before, after in pairwise(times)]
    assert max(waits) <= QUIET_SECONDS + 1e-6
    assert min(waits) > QUIET_SECONDS - 2 * seconds or seconds > 5, "and not much more often"


def test_a_line_says_where_the_run_stands(run: Run, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(run, log(), 75.0)
    step(reporter, clock, 12.0)
    line = capsys.readouterr().out
    assert line.split("batch 1 of")[1] == (
        f" {reporter.batches:,}, epoch 1: 2.500 nats, perplexity 12.2, gradient 0.50, 0 tokens/s, 1:03 left\n"
    )
    reporter.close()
    for budget, left in ((59.0, "0:59 left"), (3600.0, "1:00:00 left"), (90061.0, "25:01:01 left")):
        reporter = Reporter(run, log(), budget)
        assert reporter._left() == left
        reporter.close()


def test_quiet_prints_no_line_and_no_row_and_no_bar(
    run: Run, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    reporter = Reporter(run, log(), None, quiet=True)
    for _ in range(5):
        reporter.evaluation(step(reporter, clock, 60.0), Evaluation(2.0, 9), True)
    reporter.close()
    assert capsys.readouterr() == ("", "")


# --- Rows ------------------------------------------------------------------------------------------------------


def test_the_header_stands_above_the_first_row_alone(
    run: Run, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = Reporter(run, log(), None)
    for _ in range(4):
        reporter.evaluation(step(reporter, clock), Evaluation(2.0, 9), False)
    reporter.close()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["train", "step", "step", "step", "step"]


def test_of_the_rows_the_last_marked_best_is_the_lowest(
    run: Run, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = Reporter(run, log(), None)
    # The second is the best of the planned ones, and there was an unplanned one that is better.
    for nats, better in ((2.0, True), (2.1, True), (1.9, True), (1.95, False), (float("nan"), False)):
        reporter.evaluation(step(reporter, clock), Evaluation(nats, 9), better)
    reporter.close()
    marks = [line.endswith("  best") for line in capsys.readouterr().out.splitlines()[1:]]
    assert marks == [True, False, True, False, False]


def test_skipped_steps_are_counted_under_their_row(run: Run, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(run, log(), None)
    run.optimizer.last_skip = "output_bias"
    for applied in (True, False, False):
        record = step(reporter, clock, applied=applied)
    reporter.evaluation(record, Evaluation(2.0, 9), True)
    reporter.evaluation(step(reporter, clock), Evaluation(2.0, 9), False)
    reporter.close()
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["step", "2", "step"]
    assert rows[1].strip() == "2 steps skipped: the gradient of output_bias was not finite"


# --- The bar ---------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Standard error where it is a terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


@pytest.mark.parametrize("told", [60, 80, 120])
def test_the_bar_fits_the_terminal_whatever_the_numbers_and_keeps_what_matters(
    told: int, run: Run, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((told, 24)))
    reporter = Reporter(run, log(), 86400.0)
    reporter.bar.mininterval = 0
    figures = [(2.5, 0.5, 4), (1e300, float("inf"), 10**9), (float("nan"), float("nan"), 1)]
    for loss, norm, tokens in figures:
        step(reporter, clock, 0.001, loss=loss, gradient_norm=norm, count=tokens)
    drawn = [part.rstrip() for part in re.split(r"[\r\n]", terminal.getvalue()) if part.strip()]
    assert max(map(len, drawn)) < told
    told_of = [part for part in drawn if not part.endswith("|")]
    assert len(told_of) == len(figures) and all("nats" in part and part.endswith("left") for part in told_of)
    assert ("perplexity" in told_of[0], "gradient" in told_of[0]) == (told > 60, told > 80)
    assert capsys.readouterr().out == "", "where there is a bar there need be no lines"
    reporter.close()


def test_the_bar_follows_the_terminal_and_uses_its_whole_width_but_one(
    run: Run, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, width = Terminal(), [99]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((width[0], 24)))
    reporter = Reporter(run, log(), 86400.0)
    reporter.bar.mininterval = 0
    free = []
    for width[0] in range(99, 59, -1):
        terminal.truncate(terminal.seek(0))
        step(reporter, clock, 0.001)
        free.append(width[0] - len(terminal.getvalue().split("\r")[-1].rstrip()))
    assert min(free) == 1
    reporter.close()


# --- Samples ---------------------------------------------------------------------------------------------------


def test_samples_come_as_often_as_asked_and_those_of_several_lines_are_told_apart(
    run: Run, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = Reporter(run, log(), None, sample=lambda number: f"a  cat\nsat {number}", sample_every=3)
    for _ in range(7):
        step(reporter, clock, 0.1)
    assert capsys.readouterr().out == "--- step 3 ---\na  cat\nsat 3\n--- step 6 ---\na  cat\nsat 6\n"
    reporter.sample = lambda number: "all  in one\tline"
    for _ in range(2):
        step(reporter, clock, 0.1)
    assert capsys.readouterr().out.startswith("--- step 9 ---\nall  in one"), "of characters each space counts"
    reporter.close()
