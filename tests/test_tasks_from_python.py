"""Tasks from a script or a notebook: trained, opened again, and with classes in place of names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_tasks
from commands import fails
from small_tasks import SMALL, Streams

import tinygrad_rnn as tg
import tinygrad_rnn.ops as ops
from tinygrad_rnn import engines
from tinygrad_rnn.data import Labels
from tinygrad_rnn.models import Cell, Classifier, LSTMCell
from tinygrad_rnn.tasks import Task, Trained
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.saved_runs import load_run


def test_a_task_can_be_trained_from_python(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"data": str(digits), "epochs": 2, "test_fraction": 0.2, **SMALL}
    found = tg.tasks.train("classify", **options)
    assert isinstance(found, Trained) and isinstance(found.model, Classifier) and found.why == "2 epochs done"
    assert found.tables["labels"] == Labels(["even", "odd"]) and [each["epoch"] for each in found.history] == [1, 2]
    assert found.history[0].keys() == {"step", "epoch", "valid_nats", "examples", "accuracy"}
    assert found.result.count == 24 and 0 <= found.result.metrics["accuracy"] <= 1
    said = found.predict([["1", "2"], ["3"], "4 5 6".split()])
    assert len(said) == 3 and {*said} <= {"even", "odd"} and found.predict([]) == []
    assert capsys.readouterr().out == ""
    again = tg.tasks.train(Classify, **options, out=tmp_path / "run", quiet=False)
    assert again.history == found.history and "epoch 2" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"best.safetensors", "last.safetensors", "log.jsonl", "result.json"}
    with pytest.raises(OptionError, match="holds another run"):
        tg.tasks.train("classify", data=str(digits), epochs=1, out=tmp_path / "run")
    with pytest.raises(OptionError, match="it would not end: time_budget, epochs or patience"):
        tg.tasks.train("classify", data=str(digits), patience=0)
    assert found.predict(["1 2", "4 5 6"]) == found.predict([["1", "2"], ["4", "5", "6"]])
    for wrong in (0, -1, float("nan"), "20s"):
        with pytest.raises(OptionError, match="time_budget must be a number of seconds above 0, got"):
            tg.tasks.train("classify", time_budget=wrong)  # type: ignore[arg-type]  # which is the mistake
    for strange in (3, dict):
        with pytest.raises(OptionError, match=r"task must be a name, FILE\.py:Class or a class made with Task, got"):
            tg.tasks.train(strange, epochs=1)  # type: ignore[arg-type]  # which is the mistake
    with pytest.raises(TypeError, match="hiden"):
        tg.tasks.train("classify", data=str(digits), epochs=1, hiden=3)


def test_the_checkpoint_of_a_class_names_its_file(digits: Path, tmp_path: Path) -> None:
    nowhere: type[Task] = type("Own", (Classify,), {"__module__": "nowhere"})
    classes: list[tuple[type[Task], str]] = [
        (Classify, "classify"),
        (Streams, f"{small_tasks.__file__}:Streams"),
        (nowhere, "Own"),
    ]
    for task, name in classes:
        options: dict[str, Any] = {} if task is Streams else {"data": str(digits), **SMALL}
        tg.tasks.train(task, epochs=1, out=tmp_path / task.__name__, **options)
        saved = load_run(tmp_path / task.__name__ / "best.safetensors")
        assert saved.meta["task"] == name and ("task_file" in saved.meta) == (task is Streams)
    sentence = fails("predict", tmp_path / "Own" / "best.safetensors", text="1 2\n")
    assert "the model's task is Own, which was in no file" in sentence and "--task FILE.py:Own" in sentence


def test_a_trained_model_is_opened_from_python(digits: Path, tmp_path: Path) -> None:
    trained = tg.tasks.train("classify", data=str(digits), epochs=1, out=tmp_path / "run", **SMALL)
    found = tg.tasks.load_model(tmp_path / "run" / "best.safetensors")
    inputs = [["1", "2"], ["3"]]
    assert found.predict(inputs) == trained.predict(inputs) and found.tables == trained.tables
    assert len(repr(trained)) < 500
    tg.tasks.train(Streams, epochs=1, out=tmp_path / "own")
    best = tmp_path / "own" / "best.safetensors"
    with pytest.raises(OptionError, match="run only where you name it or say --trust"):
        tg.tasks.load_model(best)
    for options in ({"task": Streams}, {"task": f"{small_tasks.__file__}:Streams"}, {"trust": True}):
        assert tg.tasks.load_model(best, **options).model.size > 0
    with pytest.raises(OptionError, match=r"model's task is .*:Streams, got 'classify'"):
        tg.tasks.load_model(best, task="classify")


def test_a_task_is_trained_by_the_engine_that_it_is_told(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"data": str(digits), "epochs": 1, **SMALL}
    seen: list[str | None] = []

    class Watched(Classify):
        def loss(self, *given: Any) -> Any:
            seen.append(engines.engine_in_force())
            return super().loss(*given)

    monkeypatch.setattr(engines.switch, "default", None)
    tg.tasks.train(Watched, **options, engine="numpy", out=tmp_path)
    assert {*seen} == {"numpy"} and load_run(tmp_path / "best.safetensors").meta["settings"]["engine"] == "numpy"
    monkeypatch.undo()
    monkeypatch.setattr(engines, "_is_there", lambda module: False)
    with pytest.raises(OptionError, match="--engine machine needs llvmlite, which is not installed: pip install"):
        tg.tasks.train("classify", **options, engine="machine")


class Plain(Cell):
    gates = "n"

    def step(self, x: Any, h: Any) -> Any:
        return ops.tanh(self.n(x, h))


def test_a_cell_may_be_given_as_a_class(digits: Path, tmp_path: Path) -> None:
    for cell, name in ((Plain, f"{__file__}:Plain"), (LSTMCell, "lstm")):
        out = tmp_path / cell.__name__
        found = tg.tasks.train("classify", data=str(digits), epochs=1, cell=cell, out=out, **SMALL)
        assert type(found.model.recurrent.cells[0]) is cell
        meta = load_run(out / "best.safetensors").meta
        assert meta["settings"]["cell"] == name and ("cell" in meta) == (cell is Plain)
    assert tg.tasks.load_model(tmp_path / "Plain" / "best.safetensors", trust=True).predict([["1"]])
    with pytest.raises(OptionError, match="cell must be a class from a file"):
        tg.tasks.train("classify", cell=type("Nowhere", (Plain,), {"__module__": "nowhere"}), epochs=1)


def test_the_model_that_training_gives_is_the_best_one(digits: Path, tmp_path: Path) -> None:
    found = tg.tasks.train(
        "classify", data=str(digits), epochs=5, lr=0.1, dropout=0.3, pooling="mean", out=tmp_path, **SMALL
    )
    values = [each["accuracy"] for each in found.history]
    assert values.index(max(values)) < 4, "the test needs a run whose best model is not its last one"
    best = load_run(tmp_path / "best.safetensors").part("model")
    assert all(np.array_equal(value, best[name]) for name, value in found.model.state_dict().items())
