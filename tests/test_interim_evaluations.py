"""Evaluations that nobody planned, where a time budget is shorter than an epoch: they are made, take little of the
time, and the run is the one in which they were not made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_runs import Clock, small_run

from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.finding import resume_run
from tinygrad_rnn.training import driving
from tinygrad_rnn.training.driving import INTERIM, Listener, train_run
from tinygrad_rnn.training.fitting import Evaluation, Record
from tinygrad_rnn.training.runs import Run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(driving, "time", clock)
    return clock


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("a cat sat .\nthe dog ran .\n" * 16, encoding="utf-8")
    return path


def run_of(text: Path, **options: Any) -> Run:
    """A new run of epochs of four steps each."""
    return small_run(text, "a run of these tests", **{"epochs": None, "dropout": 0.3, **options})


class Watch(Listener):
    """Keeps what it is told; every step takes a second of the clock. Keeps the file of the run as it was at each
    evaluation, where it is told in which folder."""

    def __init__(self, clock: Clock, folder: Path | None = None) -> None:
        self.clock, self.folder = clock, folder
        self.losses: list[float] = []
        self.evaluations: dict[int, tuple[float, bool]] = {}

    def step(self, record: Record) -> None:
        self.clock.now += 1
        self.losses.append(record.loss)

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        self.evaluations[record.step] = found.loss, better
        if self.folder is not None:
            shutil.copy(self.folder / "last.safetensors", self.folder / f"at-{record.step}.safetensors")


@pytest.mark.parametrize("cost", [0.0, 0.5, 5.0])
def test_a_budget_shorter_than_an_epoch_has_evaluations_that_take_a_tenth_of_it_at_most(
    cost: float, text: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = [0.0]

    def slow(run: Run) -> Evaluation:
        clock.now += cost
        spent[0] += cost
        return Evaluation(3.0, 10)

    monkeypatch.setattr(Run, "validate", slow)
    watch, begin, budget = Watch(clock), clock.now, 100.0
    why = train_run(run_of(text, evaluate_every=10**6), tmp_path, watch, budget)
    assert why == "the time budget is used up" and clock.now - begin <= budget + cost + 1
    found = [*watch.evaluations]
    assert len(found) >= (INTERIM - 1 if cost < 1 else 2) and found[0] <= budget / INTERIM + 1
    # The last is made because the run ends.
    assert spent[0] <= budget / 10 + cost


def test_without_a_budget_and_within_the_planned_ones_there_are_none(text: Path, tmp_path: Path, clock: Clock) -> None:
    watch = Watch(clock)
    train_run(run_of(text, epochs=2), tmp_path / "a", watch)
    assert [*watch.evaluations] == [4, 8]
    watch = Watch(clock)
    train_run(run_of(text, epochs=2), tmp_path / "b", watch, budget=1000.0)
    assert [*watch.evaluations] == [4, 8]


OPTIONS: dict[str, dict[str, Any]] = {
    "a rate that is halved": {"optimizer": "sgd", "lr": 40.0, "schedule": "halve"},
    "patience": {"optimizer": "adam", "lr": 0.3, "schedule": "constant", "patience": 1},
    "cosine, weights that decay": {"schedule": "cosine", "weight_decay": 0.1, "batching": "sentences", "tied": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_a_run_with_interim_evaluations_is_the_one_without_them(
    options: dict[str, Any], text: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"epochs": 3, **options}
    plain, watch = Watch(clock), Watch(clock, tmp_path / "watched")
    why = train_run(run_of(text, **options), tmp_path / "plain", plain)
    monkeypatch.setattr(driving, "INTERIM", 1e6)  # after every step
    assert train_run(run_of(text, **options), tmp_path / "watched", watch, budget=1e5) == why
    assert watch.losses == plain.losses and len(watch.evaluations) == len(watch.losses)
    assert {step: watch.evaluations[step] for step in plain.evaluations} == plain.evaluations
    files = [(tmp_path / name / "last.safetensors").read_bytes() for name in ("plain", "watched")]
    assert files[0] == files[1]
    # Whichever evaluation was the best, its model is the one kept.
    lowest = min(nats for nats, _ in watch.evaluations.values())
    best = checkpoint.load(tmp_path / "watched" / "best.safetensors").meta
    assert best["best"] == lowest == watch.evaluations[best["progress"]["step"]][0]
    # What was saved at an interim evaluation goes on as the run that had none.
    run = resume_run(tmp_path / "watched" / "at-6.safetensors", print)
    train_run(run, tmp_path / "again", Listener())
    assert (tmp_path / "again" / "last.safetensors").read_bytes() == files[0]
