"""A task that does not keep to what is asked of it is told so before training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_tasks import SMALL, classify_run, nothing

import tinygrad_rnn as tg
import tinygrad_rnn.ops as ops
from tinygrad_rnn.baselines import MeanOutput, MostFrequent
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.models import Classifier
from tinygrad_rnn.tasks import Task
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.tasks.finding import FoundTask
from tinygrad_rnn.training import known_baselines
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.examples import TaskError
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.saved_runs import load_run


def test_a_label_that_the_model_cannot_know_is_told_before_training(digits: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.tsv"
    strange.write_text("even\t1 2\nnever\t3\n", encoding="utf-8")
    for part, option_name in (("validation", "valid"), ("test", "test")):
        with pytest.raises(TextError, match=f"in the {part} part: there is no label 'never'; the 2 labels are 'even'"):
            classify_run(digits, **{option_name: str(strange)})
    rare = tmp_path / "rare.tsv"
    rare.write_text(f"{digits.read_text()}\nrare\t1\n", encoding="utf-8")
    for seed in range(5):
        assert "rare" in classify_run(rare, seed=seed).task.tables["labels"]


def test_a_part_to_train_or_to_validate_on_must_not_be_empty(digits: Path) -> None:
    for part, empty in (("training", 0), ("validation", 1)):

        class Split(Classify):
            def split(self, examples: Sequence[Any]) -> Any:
                return [[] if i == empty else examples for i in range(3)]  # noqa: B023  # used at once

        with pytest.raises(TextError, match=f"{part} part must have an example, got none"):
            tg.tasks.train(Split, data=str(digits), epochs=1)


WRONG: dict[str, tuple[str, Any, str]] = {
    "loss of two": (
        "loss",
        lambda self, *_: (ops.sum(tg.Tensor([1.0])), 1),
        "loss must return a sum, a count and a state",
    ),
    "loss of rows": (
        "loss",
        lambda self, *_: (tg.Tensor([1.0, 2.0]), 1, None),
        r"scalar Tensor first, got a Tensor of shape \(2,\)",
    ),
    "loss of a NumPy count": (
        "loss",
        lambda self, *_: (tg.Tensor(1.0), "3", None),
        "second how many it is the sum of, got str",
    ),
    "number": ("loss", lambda self, *_: (1.0, 1, None), "scalar Tensor first, got float"),
    "too few": ("predict", lambda self, *_: ["odd"], "predict must give an output for each of"),
    "no metric": ("score", lambda self, *_: {"other": 1.0}, "score must give the metric 'accuracy', got .'other'"),
    "metrics in a list": ("score", lambda *_: [1.0], "score must give numbers by name, got list"),
    "a metric that is none": ("score", lambda *_: {"accuracy": None}, "numbers by name, got 'accuracy': NoneType"),
    "a metric called as a field of the log": (
        "score",
        lambda *_: {"accuracy": 1.0, "step": 2},
        "must call a metric otherwise than 'step', which the log has already",
    ),
    "no pairs": ("read", lambda self, path: [("a", "b"), "c"], r"read must give pairs \(input, output\), got str"),
    "table": ("prepare", lambda self, train: {"a": {1}}, "the table 'a' must be a Vocabulary, Labels or JSON"),
}


def always_with_outputs(self: Classify, part: Sequence[Any]) -> Any:
    return *Classify.collate(self, part)[:2], self.tables["labels"].encode([y for _, y in part])


MISSHAPED: dict[str, tuple[dict[str, Any], str]] = {
    "misspelled": (
        {"collate": Task.collate, "colate": Classify.collate},
        r"must have a method collate\(self, part\): it has colate",
    ),
    "too few parameters": (
        {"loss": lambda self, model, batch: None},
        r"loss must take the arguments \(self, model, batch, rng, state\), which it does not: too many",
    ),
    "too many": ({"predict": lambda self, model, batch, rng: []}, "predict must take the arguments"),
    "no generator": ({"default": lambda self: []}, r"default must take the arguments \(self, rng\)"),
    "no module": ({"build": lambda self, rng: None}, "build must give a Module, got NoneType"),
    "two parts": (
        {"split": lambda self, examples: (examples, examples)},
        "split must give three parts, .*, got 2 values",
    ),
    "no examples": ({"read": lambda self, path: None}, "read must give examples, got NoneType"),
    "no tables": ({"prepare": lambda self, train: None}, "prepare must give a dictionary of tables, got NoneType"),
    "whole numbers as keys": (
        {"prepare": lambda self, train: {"a": {1: 2}}},
        "the table 'a' must be .* come back otherwise",
    ),
    "no score": ({"score": lambda self, gold, said: 0.5}, "score must give numbers by name, got float"),
    "no line": ({"write": lambda self, output: 3}, "write must give a text, got int"),
    "no answers": (
        {"predict": lambda self, model, batch: None},
        "predict must give an output for each of 8 inputs, got NoneType",
    ),
    "no predict": (
        {"predict": Task.predict, "predictt": Classify.predict},
        r"must have a method predict\(self, model, batch\), or metric = 'loss': it has predictt",
    ),
    "no batch": ({"collate": lambda self, part: None}, "collate must give a batch, got None"),
    "no batches": ({"batches": lambda self, examples, size, rng: None}, "batches: TypeError: 'NoneType' object is not"),
    "numbers as names of tables": ({"prepare": lambda self, train: {3: 1}}, "names that are texts, got 3"),
    "no labels": ({"labels_in": lambda self, outputs: None}, "labels_in: TypeError: 'NoneType' object is not iterable"),
    "lists as labels": ({"labels_in": lambda self, outputs: [[]]}, "labels_in: TypeError: unhashable type: 'list'"),
    "scores that are arrays": (
        {"score": lambda self, gold, said: {"accuracy": np.ones(2)}, "METHODS": {"most frequent": MostFrequent}},
        "score must give numbers by name, got 'accuracy': ndarray",
    ),
    "a metric of methods": (
        {"score": lambda self, gold, said: {"acuracy": 1.0}, "METHODS": {"most frequent": MostFrequent}},
        "score must give the metric 'accuracy', got .'acuracy'",
    ),
    "no baselines": (
        {"baselines": lambda self, train, test: None},
        "baselines must give numbers by name, got NoneType",
    ),
    "baselines without values": (
        {"baselines": lambda self, train, test: {"a": None}},
        "baselines must give numbers by name, got 'a': NoneType",
    ),
    "methods that do not predict": ({"METHODS": {"none": dict}}, r"'none' must have fit\(inputs, outputs\) and"),
    "methods of numbers for texts": ({"METHODS": {"mean": MeanOutput}}, "baselines: .*Error: "),
    "losses that fail": ({"loss": lambda self, model, batch, rng, state: (batch.x, 1, None)}, "loss: AttributeError"),
    "outputs always": ({"collate": always_with_outputs}, "collate must take examples whose outputs are None too"),
}


@pytest.mark.parametrize("name", MISSHAPED)
def test_what_does_not_fit_is_said_before_training(
    name: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_baselines, "cache_folder", lambda: None)  # all these classes are in one file
    methods, message = MISSHAPED[name]
    task: type[Task] = type("Own", (Classify,), {"METHODS": {}, **methods})
    with pytest.raises(TaskError, match=message):
        tg.tasks.train(task, data=str(digits), epochs=1, out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize("methods", [[MostFrequent], {"most frequent": MostFrequent()}])
def test_simple_methods_are_classes_by_name(methods: Any) -> None:
    with pytest.raises(TypeError, match=r"Own\.METHODS must be classes by name, such as"):
        type("Own", (Classify,), {"METHODS": methods})


def test_a_method_of_ones_own_needs_no_base_and_gives_nothing_back(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_baselines, "cache_folder", lambda: None)

    class Always:
        def fit(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
            self.first = outputs[0]

        def predict(self, inputs: Sequence[Any]) -> list[Any]:
            return [self.first] * len(inputs)

    class Own(Classify):
        METHODS = {"always": Always}  # type: ignore[dict-item]  # noqa: RUF012  # as a user would write it

        def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
            return Task.baselines(self, train, test)

    run = new_run(FoundTask("own", Own).new(Own.Options(data=str(digits), **SMALL)), nothing)
    assert 0.3 < run.data.about["baselines"]["always"] < 0.7


def test_what_is_wrong_in_a_file_is_told_with_the_file_and_the_example(tmp_path: Path) -> None:
    class Lazy(Classify):
        def read(self, path: str) -> Any:
            yield ["a"], "b"
            raise TextError("a number was expected")

    class Eager(Classify):
        def read(self, path: str) -> Any:
            raise TextError("a number was expected")

    class Naming(Classify):
        def read(self, path: str) -> Any:
            raise TextError(f"{path}, line 7: a number was expected")

    class Empty(Classify):
        def read(self, path: str) -> Any:
            return []

    for task, message in (
        (Lazy, "own.tsv, example 2: a number was expected"),
        (Eager, "own.tsv, example 1: a number was expected"),
        (Naming, "own.tsv, line 7: a number was expected"),
        (Empty, "read gave no examples"),
    ):
        with pytest.raises(TextError, match=f"{message}$"):
            tg.tasks.train(task, data="own.tsv", epochs=1)


def test_a_model_that_has_not_what_the_options_ask_for_is_told(digits: Path) -> None:
    class Own(Classify):
        def layer_options(self, rng: np.random.Generator) -> dict[str, Any]:
            return {"rng": rng}

    heard: list[str] = []
    for task, options in ((Own, {}), (Own, {"cell": "lstm", "dtype": "float64"}), (Classify, {"dtype": "float64"})):
        tg.tasks.train(task, data=str(digits), epochs=1, note=heard.append, **{**SMALL, **options})
    assert [each.partition(".build makes ")[2].partition(":")[0] for each in heard] == [
        "no layer of the cell lstm",
        "parameters of float32, and dtype is float64",
    ]


def test_a_mean_that_should_be_a_sum_is_noted(digits: Path) -> None:
    class Mean(Classify):
        def loss(self, model: Classifier, batch: Any, rng: Any, state: Any) -> Any:
            total, count, after = super().loss(model, batch, rng, state)
            return total / count, count, after

    heard: list[str] = []
    for task in (Classify, Mean):
        tg.tasks.train(task, data=str(digits), epochs=1, note=heard.append, **SMALL)
    assert len(heard) == 1 and "Mean.loss seems to be a mean" in heard[0]


def test_a_loss_that_is_no_number_makes_no_model(digits: Path, tmp_path: Path) -> None:
    class Broken(Classify):
        def loss(self, model: Classifier, batch: Any, rng: Any, state: Any) -> Any:
            total, count, after = super().loss(model, batch, rng, state)
            return total * float("nan"), count, after

    found = tg.tasks.train(Broken, data=str(digits), epochs=2, out=tmp_path, **SMALL)
    assert not (tmp_path / "best.safetensors").exists() and math.isnan(found.result.loss)


@pytest.mark.parametrize("name", WRONG)
def test_what_a_method_must_give_is_said(name: str, digits: Path, tmp_path: Path) -> None:
    method, wrong, message = WRONG[name]
    task: type[Task] = type("Own", (Classify,), {method: wrong, "METHODS": {}})
    with pytest.raises(TaskError, match=message):
        tg.tasks.train(task, data=str(digits), epochs=1, out=tmp_path / "run", **SMALL)


def test_metrics_of_numpy_are_saved_as_numbers_and_nan_is_never_the_best(digits: Path, tmp_path: Path) -> None:
    class Own(Classify):
        def score(self, gold: Sequence[Any], said: Sequence[Any]) -> dict[str, Any]:
            return {"accuracy": np.float32("nan"), "count": np.int64(3), "one": np.ones(1)}

    run = new_run(FoundTask("own", Own).new(Own.Options(data=str(digits), epochs=1, **SMALL)), nothing)
    train_run(run, tmp_path, Listener())
    found = load_run(tmp_path / "last.safetensors").meta["history"][0]
    assert (found["accuracy"], found["count"], found["one"]) == (None, 3.0, 1.0)
    assert not (tmp_path / "best.safetensors").exists()


def test_a_task_says_what_it_is_without() -> None:
    Bare: type[Task] = type("Bare", (Classify,), {"default": Task.default, "read": Task.read})
    with pytest.raises(OptionError, match="Bare has no examples of its own: name a file with --data"):
        tg.tasks.train(Bare, epochs=1)
    with pytest.raises(OptionError, match="Bare reads no files"):
        tg.tasks.train(Bare, epochs=1, data="x.tsv")
