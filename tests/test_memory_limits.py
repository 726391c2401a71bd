"""Where a step does not fit into memory the batch size is told of which one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fails
from small_tasks import classify_run, steps

from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.tasks.language.task import Language
from tinygrad_rnn.training.memory_limits import telling_what_fits

MOST = 5
"""Rows that there seems to be memory for."""


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    path = tmp_path / "digits.tsv"
    rng = np.random.default_rng(0)
    rows = [[str(d) for d in rng.integers(0, 10, rng.integers(2, 9))] for _ in range(120)]
    path.write_text("".join(f"{'odd' if int(row[0]) % 2 else 'even'}\t{' '.join(row)}\n" for row in rows))
    return path


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for task, rows in ((Classify, lambda batch: batch[0].shape[1]), (Language, lambda batch: batch.inputs.shape[1])):
        whole = task.batch_loss

        def batch_loss(self: Any, model: Any, batch: Any, *rest: Any, whole: Any = whole, rows: Any = rows) -> Any:
            if rows(batch) > MOST and rest[-1] == "mean":
                raise MemoryError("Unable to allocate 3 GiB")
            return whole(self, model, batch, *rest)

        monkeypatch.setattr(task, "batch_loss", batch_loss)


@pytest.mark.usefixtures("little_memory")
def test_the_largest_half_that_fits_is_told_and_nothing_changes(digits: Path) -> None:
    run = classify_run(digits, batch_size=32)
    before = run.model.state_dict()
    with pytest.raises(MemoryError) as caught:
        steps(run, 1)
    said = "a step with a batch of 32 rows does not fit into memory; one of 4 does: --batch-size 4"
    assert str(caught.value) == f"{said} (Unable to allocate 3 GiB)"
    assert run.options.batch_size == 32 and all(p.grad is None for p in run.model.parameters())
    for name, array in run.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    steps(classify_run(digits, batch_size=4), 3)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("batching", ["stream", "sentences"])
def test_the_command_line_says_so_in_one_sentence(tmp_path: Path, batching: str) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"the cat sees dog number {i}" for i in range(200)))
    small = "--lines --hidden 4 --embedding 4 --layers 1 --epochs 1 --batch-size 16 --steps 5".split()
    said = fails("train", "--text", text, "--out", tmp_path / "run", "--batching", batching, *small)
    assert "there is not enough memory: a step with a batch of 16 rows does not fit" in said
    assert "one of 4 does: --batch-size 4" in said


def test_a_step_that_never_fits_is_said_and_what_fits_goes_on() -> None:
    tried: list[int] = []

    def step(rows: int) -> None:
        tried.append(rows)
        raise MemoryError

    with pytest.raises(MemoryError, match="a single row does not either"), telling_what_fits(12, "cpu", step):
        raise MemoryError("x")
    assert tried == [6, 3, 1]
    with telling_what_fits(12, "cpu", step):
        tried.append(0)
    with pytest.raises(KeyError), telling_what_fits(12, "cpu", step):
        raise KeyError
    assert tried == [6, 3, 1, 0]


def test_what_the_failed_step_held_is_let_go_before_another_is_tried() -> None:
    alive: list[Any] = []

    class Large:
        def __del__(self) -> None:
            alive.remove(id(self))

    def failing() -> None:
        large = Large()
        alive.append(id(large))
        raise MemoryError("x")

    def step(rows: int) -> None:
        assert not alive

    with pytest.raises(MemoryError, match="one of 4 does"), telling_what_fits(8, "cpu", step):
        failing()
