"""Numbers that a run may be resumed with: they take effect, a word is said of them, and none where nothing changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_runs import small_run

from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.finding import resume_run
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.fitting import Record
from tinygrad_rnn.training.options import SCHEDULES
from tinygrad_rnn.training.runs import CHANGE_NUMBERS, Run


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("a cat sat .\nthe dog ran .\n" * 12, encoding="utf-8")
    return path


def run_of(text: Path, **options: Any) -> Run:
    """A new run of three epochs, of three steps each."""
    return small_run(text, "a run of these tests", **{"epochs": 3, "dropout": 0.3, **options})


class Rates(Listener):
    """Keeps the learning rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def step(self, record: Record) -> None:
        self.seen.append(record.lr)


def stopped(run: Run, folder: Path, steps: int) -> Path:
    """The file of a run that was saved after so many steps."""
    records = run.steps()
    for _ in range(steps):
        if next(records).last_of_epoch:
            run.judge(run.validate())
    run.save(folder / "last.safetensors")
    return folder / "last.safetensors"


def resumed(path: Path, **changes: Any) -> tuple[Run, list[str]]:
    """The run, and what was noted."""
    heard: list[str] = []
    return resume_run(path, heard.append, **changes), heard


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_another_learning_rate_takes_effect_under_every_schedule_and_is_kept(
    schedule: str, text: Path, tmp_path: Path
) -> None:
    file = stopped(run_of(text, schedule=schedule, lr=0.5), tmp_path, 4)
    factor = checkpoint.load(file).meta["optimizer"]["lr"] / 0.5
    assert (factor < 1) == (schedule in ("cosine", "exponential")), "the test needs a schedule that has begun"
    run, heard = resumed(file, lr=0.25)
    assert [text.partition(" the run is no longer bit for bit")[0] for text in heard] == ["With another --lr"]
    # What a cosine and an exponential multiply is another; what they multiply it by is not.
    assert run.optimizer.lr == pytest.approx(0.25 * factor)
    run.save(file)
    again, heard = resumed(file)
    rates = Rates()
    train_run(again, tmp_path, rates)
    assert heard == [] and again.options.lr == 0.25
    assert rates.seen[:2] == [pytest.approx(0.25 * factor)] * 2


def test_other_noise_takes_effect(text: Path, tmp_path: Path) -> None:
    file = stopped(run_of(text), tmp_path, 1)
    run, heard = resumed(file, dropout=0.1, zoneout=0.2, recurrent_dropout=0.4)
    assert len(heard) == 1
    assert heard[0].startswith("With another --dropout and --recurrent-dropout and --zoneout the run is no longer")
    layer = run.model.recurrent
    assert (run.model.dropout.rate, layer.recurrent_dropout, layer.zoneout) == (0.1, 0.4, 0.2)


@pytest.mark.parametrize("steps, again", [(2, True), (3, False)])
def test_another_batch_size_begins_an_epoch_again_that_was_begun(
    steps: int, again: bool, text: Path, tmp_path: Path
) -> None:
    file = stopped(run_of(text, batching="stream"), tmp_path, steps)
    run, heard = resumed(file, batch_size=4)
    assert len(heard) == 1 and heard[0].startswith("With another --batch-size the run is no longer bit for bit")
    assert ("the epoch that it was in begins again" in heard[0]) == again
    assert (run.progress.epoch, run.progress.batch, run.progress.step) == (0 if again else 1, 0, steps)
    assert run.batches(0)[0].inputs.shape[1] == 4
    train_run(run, tmp_path, Listener())
    assert run.progress.step == steps + len(run.batches(0)) * (3 if again else 2)


def test_the_same_numbers_are_no_change_and_the_run_is_the_one_that_was_not_interrupted(
    text: Path, tmp_path: Path
) -> None:
    file = stopped(run_of(text), tmp_path, 2)
    other = tmp_path / "named" / "last.safetensors"
    other.parent.mkdir()
    shutil.copy(file, other)
    plain, _ = resumed(file)
    same = {name: getattr(plain.options, name) for name in CHANGE_NUMBERS}
    run, heard = resumed(other, **{**same, "lr": plain.options.learning_rate})  # which the run was not told
    assert heard == [] and plain.options.lr is None
    for each, path in ((plain, file), (run, other)):
        train_run(each, path.parent, Listener())
    arrays = [{name: a.tobytes() for name, a in checkpoint.load(path).arrays.items()} for path in (file, other)]
    assert arrays[0] == arrays[1]


def test_the_learning_rate_that_a_schedule_has_left_behind_is_said_to_be_so(text: Path, tmp_path: Path) -> None:
    file = stopped(run_of(text, schedule="exponential", lr=0.5), tmp_path, 4)
    run, heard = resumed(file, lr=0.5)
    assert heard == ["--lr 0.5 is what the run began with: it goes on with 0.45, to which the schedule has brought it."]
    assert run.optimizer.lr == pytest.approx(0.45)
