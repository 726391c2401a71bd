"""A task in one file gets everything that the language model has: runs that resume bit for bit, checkpoints that run
nothing unasked, commands, and a way from Python."""

from __future__ import annotations

import inspect
import json
import math
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import click
import numpy as np
import pytest
from commands import fails

import tinygrad_rnn as tg
import tinygrad_rnn.ops as ops
from tinygrad_rnn.cli.train_command import command_of
from tinygrad_rnn.data import Labels, Vocabulary
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.order_sentences import order_sentences
from tinygrad_rnn.models import LSTM, Cell, Classifier, Linear, LSTMCell, Module, checkpoint
from tinygrad_rnn.tasks import Task, Trained, TrainingOptions, option
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.tasks.finding import FoundTask, find_task, resume_run
from tinygrad_rnn.training import known_baselines
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.examples import Data, TaskError, digest_of
from tinygrad_rnn.training.known_baselines import known_baselines as baselines_of
from tinygrad_rnn.training.measuring import measure
from tinygrad_rnn.training.option_kinds import OF_THE_PROGRAM
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.saved_runs import load_run, tables_from_json, tables_to_json

SMALL: dict[str, Any] = {"hidden": 4, "embedding": 3, "batch_size": 8}
LINES = "\n".join(
    f"{'even' if sum(map(int, digits)) % 2 == 0 else 'odd'}\t{' '.join(digits)}"
    for digits in (f"{i * 37 % 997:03}" for i in range(120))
)


def nothing(text: str) -> None:
    """A note that nobody reads."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of labels and texts."""
    path = tmp_path_factory.mktemp("digits") / "digits.tsv"
    path.write_text(LINES, encoding="utf-8")
    return path


def classify_run(digits: Path, **options: Any) -> Run:
    found = find_task("classify")
    return new_run(found.new(found.task.Options(**{"data": str(digits), **SMALL, **options})), nothing)


def steps(run: Run, count: int) -> None:
    """Trains so many steps."""
    for _, _ in zip(range(count), run.steps(), strict=False):
        pass


class Following(Module):
    """A model of streams of numbers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.layer, self.output = LSTM(1, 5, rng=rng), Linear(5, 1, rng=rng)


class Streams(Task):
    """The next number of a series, read in windows with carried state."""

    class Options(TrainingOptions):
        window: int = 7

    metric, higher, carries, loss_unit, counted = "loss", False, True, "mse", "steps"

    def default(self, rng: np.random.Generator) -> Any:
        return np.sin(np.arange(400) * 0.3).astype(np.float32)

    def split(self, examples: Sequence[Any]) -> Any:
        return examples[:280], examples[280:340], examples[340:]

    def batches(self, examples: Sequence[Any], size: int, rng: Any) -> Any:
        window = self.options.window
        series = np.asarray(examples)[: (len(examples) - 1) // size * size + 1]
        length = (len(series) - 1) // size
        rows = np.stack([series[i * length : (i + 1) * length + 1] for i in range(size)], axis=1)
        return [rows[i : i + window + 1] for i in range(0, length, window)]

    def build(self, rng: np.random.Generator) -> Following:
        return Following(rng)

    def collate(self, part: Any) -> Any:
        return part[:-1, :, None], part[1:, :, None]

    def loss(self, model: Following, batch: Any, rng: Any, state: Any) -> Any:
        outputs, state = model.layer(batch[0], state)
        return ops.mse(model.output(outputs), batch[1], reduction="sum"), batch[1].size, state


def same(one: Run, other: Run, folder: Path) -> None:
    """Asserts that two runs are the same in everything that a checkpoint keeps, but for what they are called."""
    one.save(folder / "one.safetensors")
    other.save(folder / "other.safetensors")
    first, second = (checkpoint.load(folder / f"{name}.safetensors") for name in ("one", "other"))
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name], err_msg=name)
    assert {**first.meta, "run": ""} == {**second.meta, "run": ""}


# --- Resuming --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"dropout": 0.4, "optimizer": "rmsprop", "schedule": "halve"}])
def test_24_steps_are_11_and_13_after_resuming_bit_for_bit(
    options: dict[str, Any], digits: Path, tmp_path: Path
) -> None:
    whole, part = classify_run(digits, **options), classify_run(digits, **options)
    steps(whole, 24)
    steps(part, 11)
    assert part.progress.batch, "the test is to stop within an epoch"
    part.save(tmp_path / "part.safetensors")
    again = resume_run(tmp_path / "part.safetensors", nothing)
    steps(again, 13)
    assert again.progress.step == 24
    same(whole, again, tmp_path)


def test_a_carried_state_is_resumed_in_the_middle_of_an_epoch_bit_for_bit(tmp_path: Path) -> None:
    found = FoundTask("streams", Streams)

    def run() -> Run:
        return new_run(found.new(Streams.Options(batch_size=4)), nothing)

    whole, part = run(), run()
    steps(whole, 24)
    steps(part, 13)
    assert part.progress.state is not None
    part.save(tmp_path / "part.safetensors")
    saved = load_run(tmp_path / "part.safetensors")
    task = found.new(Streams.Options.from_json(saved.meta["settings"]))
    again = Run.resume(tmp_path / "part.safetensors", saved, task, nothing)
    steps(again, 11)
    same(whole, again, tmp_path)
    again.progress.state = None
    steps(again, 1)
    steps(whole, 1)
    assert not np.array_equal(again.model.output.weight.data, whole.model.output.weight.data), "the state matters"


@pytest.mark.parametrize(
    "form",
    [
        lambda h: None,
        lambda h: h,
        lambda h: (h,),
        lambda h: ((h[0],), (h[1],)),
        lambda h: (h, h[0]),
        lambda h: (h, (h, (h[1],))),
    ],
)
def test_a_state_of_any_form_is_carried_and_resumed(form: Any, tmp_path: Path) -> None:
    class Formed(Streams):
        def loss(self, model: Following, batch: Any, rng: Any, state: Any) -> Any:
            total, count, state = super().loss(model, batch, rng, self.model_state)
            return total, count, form(state)

        model_state = None

    found = FoundTask("formed", Formed)
    run = new_run(found.new(Formed.Options(batch_size=4)), nothing)
    steps(run, 2)
    run.save(tmp_path / "a.safetensors")
    saved = load_run(tmp_path / "a.safetensors")
    task = found.new(Formed.Options.from_json(saved.meta["settings"]))
    again = Run.resume(tmp_path / "a.safetensors", saved, task, nothing)

    def shape(state: Any) -> Any:
        return [shape(each) for each in state] if isinstance(state, tuple) else state is None or state.data.tolist()

    assert shape(again.progress.state) == shape(run.progress.state)
    same(run, again, tmp_path)


def test_the_best_model_is_that_of_the_task_s_metric_and_direction(digits: Path, tmp_path: Path) -> None:
    class Heard(Listener):
        def __init__(self) -> None:
            self.values: list[float] = []
            self.better: list[bool] = []

        def evaluation(self, record: Any, found: Any, better: bool) -> None:
            self.values.append(found.metrics["accuracy"])
            self.better.append(better)

    heard = Heard()
    run = classify_run(digits, epochs=6, patience=0, lr=0.05)
    assert train_run(run, tmp_path, heard) == "6 epochs done"
    assert heard.better == [value > max(heard.values[:i], default=-1) for i, value in enumerate(heard.values)]
    assert load_run(tmp_path / "best.safetensors").meta["best"] == max(heard.values) == run.best


def test_training_ends_where_nothing_gets_better(digits: Path, tmp_path: Path) -> None:
    run = classify_run(digits, patience=2, lr=1e-9)
    assert train_run(run, tmp_path, Listener()) == "no better in 2 evaluations"
    assert run.progress.epoch == 3 and len(run.history) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a kill of the kind that cannot be caught")
def test_a_kill_in_the_middle_of_an_epoch_loses_nothing(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tinygrad_rnn", "train", "classify", "--quiet", "--evaluate-every", "7"]
    subprocess.run([*line, "--epochs", "1", "--out", "whole"], cwd=tmp_path, check=True, capture_output=True)
    running = subprocess.Popen([*line, "--epochs", "1", "--out", "killed"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    last = tmp_path / "killed" / "last.safetensors"
    while not last.exists():
        assert running.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert 0 < load_run(last).meta["progress"]["step"] < 100
    subprocess.run([*line[:5], "--quiet", "--resume", "killed/last.safetensors"], cwd=tmp_path, check=True)
    one, other = (checkpoint.load(tmp_path / name / "last.safetensors") for name in ("whole", "killed"))
    assert {**one.meta, "run": ""} == {**other.meta, "run": ""}
    assert all(np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items())
    logs = [
        [
            {**json.loads(each), "seconds": 0, "run": ""}
            for each in (tmp_path / name / "log.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "killed")
    ]
    assert logs[0] == logs[1]


# --- Options, tables, data -------------------------------------------------------------------------------------


def test_the_fields_of_a_task_s_options_are_options_and_are_checked() -> None:
    class Options(TrainingOptions):
        hidden: int = 4
        kind: str = option(default="plain", help="Which.", choices=("plain", "fancy"))

    assert (
        Options(hidden=3).to_json()["hidden"] == 3
        and Options.from_json(Options(kind="fancy").to_json()).kind == "fancy"
    )
    for wrong, message in (
        ({"hidden": 0}, "hidden must be from 1"),
        ({"kind": "odd"}, "kind must be one of plain, fancy, got 'odd'"),
        ({"patience": -1}, "patience must be at least 0"),
        ({"valid_fraction": 1.0}, "valid_fraction must be above 0 and below 1"),
        ({"encoding": "utf-9"}, "encoding must be an encoding"),
    ):
        with pytest.raises(OptionError, match=message):
            Options(**wrong)
    with pytest.raises(OptionError, match=r"does not know: .'fancy'"):
        Options.from_json({"fancy": 1})
    with pytest.raises(OptionError, match="hidden must be a whole number, got 'many'"):
        Options.from_json({"hidden": "many"})
    with pytest.raises(TypeError, match="non-default argument 'size' follows default argument"):
        type("Without", (TrainingOptions,), {"__annotations__": {"size": "int"}})


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("out: str = 'x'", "the option out must have another name: --out is one of the program's own"),
        ("time_budget: int = 3", "--time-budget is one of the program's own"),
        ("learning_rate: float = 0.1", "learning_rate must have another name: this one has a meaning for all options"),
        ("_size: int = 3", "_size must have another name"),
        ("hidden = 12", "hidden must have a type: hidden: int = "),
        ("size = option(default=3)", "size must have a type: size: TYPE = "),
        ("lr = 0.1", "lr must have a type: lr: float = "),
        ("sizes: tuple[int, ...] = (1, 2)", "sizes must be of the type str, bool, int, float or tuple"),
        ("kind: Literal['a', 'b'] = 'a'", "kind must be of the type .*, got typing.Literal"),
        ("size: int | float = 3", "size must be of the type .*, got int | float"),
        ("size: int = 'many'", "the default of the option size must be a whole number, got 'many'"),
        ("size: int", "non-default argument 'size' follows default argument"),
    ],
)
@pytest.mark.parametrize("future", [True, False])
def test_a_field_that_could_not_be_an_option_is_refused_where_it_is_declared(
    field: str, message: str, future: bool
) -> None:
    lines = ["from __future__ import annotations"] if future else []
    lines += ["from typing import Literal", f"class Options(Base):\n    {field}"]
    names: dict[str, Any] = {"Base": Classify.Options, "option": option, "__name__": "own"}
    module = types.ModuleType("own")
    module.__dict__.update(names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "own", module)
        with pytest.raises(TypeError, match=message):
            exec("\n".join(lines), module.__dict__)


def test_the_names_that_are_taken_are_those_of_the_program() -> None:
    command = command_of(find_task("classify"))
    told = {(each.name or "").removeprefix("_click_default_") for each in command.get_params(click.Context(command))}
    given = {*inspect.signature(tg.tasks.train).parameters} - {"options"}
    assert (told | given) - {each.name for each in Classify.Options.all_about()} == OF_THE_PROGRAM


def test_what_a_script_gives_becomes_what_a_checkpoint_keeps_or_is_refused(digits: Path) -> None:
    class Options(TrainingOptions):
        size: Optional[int] = None  # noqa: UP045  # as it was written before Python 3.10
        scale: float = 1
        names: tuple[str, ...] = ()

    values: dict[str, Any] = {"data": digits, "size": np.int64(3), "scale": np.float32(0.5), "names": [digits]}
    kept = Options(**values).to_json()
    assert json.loads(json.dumps(kept)) == {**kept, "names": [str(digits)]} and type(kept["size"]) is int
    assert kept["data"] == str(digits) and kept["names"] == (str(digits),) and Options(scale=2).scale == 2
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"size": "4"}, "size must be a whole number or null, got '4'"),
        ({"epochs": 2.0}, "epochs must be a whole number or null, got 2.0"),
        ({"scale": float("nan")}, "scale must be a finite number, got nan"),
        ({"names": "a"}, "names must be a list of texts, got 'a'"),
        ({"seed": True}, "seed must be a whole number, got True"),
    ]
    for given, message in wrong:
        with pytest.raises(OptionError, match=message):
            Options(**given)


def test_the_options_of_a_task_are_derived_from_those_of_all() -> None:
    with pytest.raises(TypeError, match=r"Own\.Options must be derived from TrainingOptions"):
        type("Own", (Task,), {"Options": type("Options", (), {"hidden": 3})})


def test_tables_are_saved_as_what_they_are() -> None:
    tables = {"words": Vocabulary(["a", "b"]), "labels": Labels(["x"]), "scale": {"mean": 0.5, "by": [1, None]}}
    found = tables_from_json(json.loads(json.dumps(tables_to_json(tables))))
    assert found == tables and type(found["labels"]) is Labels
    for wrong in ({"a": np.ones(2)}, {"a": float("nan")}, {"a": object()}):
        with pytest.raises(TaskError, match="the table 'a' must be a Vocabulary, Labels or JSON values"):
            tables_to_json(wrong)
    with pytest.raises(ValueError, match="must be one of Vocabulary, Labels, JSON"):
        tables_from_json({"a": {"Module": []}})


def test_a_digest_tells_examples_apart_and_knows_arrays() -> None:
    examples: list[Any] = [
        ("a", "b"),
        (["a", "b"], 1),
        (np.ones(2), 1),
        (np.ones((2, 1)), 1),
        (np.ones(2, np.float32), 1),
    ]
    examples += [({"x": 1.5}, None), ("ab", ""), (np.zeros(2), 1)]
    assert len({digest_of([each]) for each in examples}) == len(examples)
    assert digest_of(iter(examples)) == digest_of(examples) != digest_of(examples[::-1])
    assert digest_of([(np.ones(4)[::2], np.int64(1))]) == digest_of([(np.ones(2), 1)])
    with pytest.raises(TaskError, match=r"an example must be of texts, numbers, arrays, .*, got set"):
        digest_of([{1, 2}])


def test_a_run_goes_on_only_with_the_examples_that_it_learnt_from(digits: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.tsv"
    own.write_text(LINES, encoding="utf-8")
    run = classify_run(own)
    steps(run, 3)
    run.save(tmp_path / "last.safetensors")
    own.write_text(LINES.replace("odd", "uneven"), encoding="utf-8")
    with pytest.raises(OptionError, match=r"the data .*own\.tsv has changed since the run was saved"):
        resume_run(tmp_path / "last.safetensors", nothing)
    again = resume_run(tmp_path / "last.safetensors", nothing, data=str(digits))  # the same ones, elsewhere
    assert again.progress.step == 3 and again.data.about["name"] == str(digits)


class Counting(Classify):
    asked = 0

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        Counting.asked += 1
        return {"one": 1.0}


def test_baselines_are_found_once_for_the_same_examples(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_baselines, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(Counting, "asked", 0)
    found = FoundTask("counting", Counting)

    def run(**options: Any) -> Run:
        return new_run(found.new(Counting.Options(data=str(digits), **SMALL, **options)), nothing)

    for options, asked in (({}, 1), ({}, 1), ({"lr": 0.1}, 1), ({"seed": 1}, 2), ({"valid_fraction": 0.2}, 3)):
        assert run(**options).data.about["baselines"] == {"one": 1.0}
        assert Counting.asked == asked, options
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(b"damaged")
    run()
    assert Counting.asked == 4
    monkeypatch.setattr(known_baselines, "cache_folder", lambda: None)
    run()
    assert Counting.asked == 5


def test_baselines_are_of_the_part_for_the_result_or_else_of_the_one_that_validates() -> None:
    seen: list[Any] = []

    class Asked(Classify):
        def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
            seen.append(list(test))
            return {}

    task = FoundTask("asked", Asked).new(Asked.Options())
    about = {"sha256": "", "split_sha256": ""}
    baselines_of(task, Data([1], [2], [3], about))
    baselines_of(task, Data([1], [2], [], {**about, "split_sha256": "x"}))
    assert seen == [[3], [2]]


def test_answers_are_scored_beside_what_is_right_and_the_loss_is_of_all_examples(digits: Path) -> None:
    class Knowing(Classify):
        """Answers from what it was given."""

        def collate(self, part: Sequence[Any]) -> Any:
            return [output for _, output in part], [len(words) for words, _ in part]

        def loss(self, model: Any, batch: Any, rng: Any, state: Any) -> Any:
            return ops.sum(tg.Tensor(np.array(batch[1], np.float32))), len(batch[1]), None

        def predict(self, model: Any, batch: Any) -> Any:
            return batch[0]

    task = FoundTask("knowing", Knowing).new(Knowing.Options(data=str(digits), **SMALL))
    data = task.divide(task.source(nothing))
    found = measure(task, None, data.train)
    assert found.metrics["accuracy"] == 1.0 and found.count == len(data.train) == 96 and found.loss == 3.0
    batch = task.collate(data.train[:4])
    assert [task.batch_loss(None, batch, None, None, way)[0].item() for way in ("sum", "mean")] == [12.0, 3.0]


def test_tables_are_made_once_and_never_again(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = classify_run(digits)
    run.save(tmp_path / "last.safetensors")
    monkeypatch.setattr(Classify, "prepare", None)
    again = resume_run(tmp_path / "last.safetensors", nothing)
    assert again.task.tables == run.task.tables


def test_a_label_that_the_model_cannot_know_is_told_before_training(digits: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.tsv"
    strange.write_text("even\t1 2\nnever\t3\n", encoding="utf-8")
    for part, option_name in (("validation", "valid"), ("test", "test")):
        with pytest.raises(TextError, match=f"in the {part} part: there is no label 'never'; the 2 labels are 'even'"):
            classify_run(digits, **{option_name: str(strange)})
    rare = tmp_path / "rare.tsv"
    rare.write_text(f"{LINES}\nrare\t1\n", encoding="utf-8")
    for seed in range(5):
        assert "rare" in classify_run(rare, seed=seed).task.tables["labels"]


def test_a_part_to_train_or_to_validate_on_must_not_be_empty(digits: Path) -> None:
    for part, empty in (("training", 0), ("validation", 1)):

        class Split(Classify):
            def split(self, examples: Sequence[Any]) -> Any:
                return [[] if i == empty else examples for i in range(3)]  # noqa: B023  # used at once

        with pytest.raises(TextError, match=f"{part} part must have an example, got none"):
            tg.tasks.train(Split, data=str(digits), epochs=1)


# --- Tasks that do not keep to it --------------------------------------------------------------------------------


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
        "first batch does not go through its methods: TypeError",
    ),
    "outputs always": ({"collate": always_with_outputs}, "collate must take examples whose outputs are None too"),
}


@pytest.mark.parametrize("name", MISSHAPED)
def test_what_does_not_fit_is_said_before_training(name: str, digits: Path, tmp_path: Path) -> None:
    methods, message = MISSHAPED[name]
    task: type[Task] = type("Own", (Classify,), {"METHODS": {}, **methods})
    with pytest.raises(TaskError, match=message):
        tg.tasks.train(task, data=str(digits), epochs=1, out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run" / "log.jsonl").exists()


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


# --- From Python -----------------------------------------------------------------------------------------------


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
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"best.safetensors", "last.safetensors", "log.jsonl"}
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


def test_sentences_of_order_are_different_balanced_and_said_by_their_order_alone() -> None:
    found = order_sentences(np.random.default_rng(0), 1000)
    assert len({" ".join(words) for words, _ in found}) == 1000
    for words, verdict in found[:50]:
        last = words[words.index("but") + 1 :]
        good = last[-1] in {"good", "great", "fresh", "clever", "moving"}
        assert (verdict == "positive") == (good != ("not" in last))
    assert abs(np.mean([verdict == "positive" for _, verdict in found]) - 0.5) < 0.05
    assert order_sentences(np.random.default_rng(0), 1000) == found


@pytest.mark.slow
def test_the_order_of_words_is_learnt_where_their_number_says_nothing() -> None:
    found = tg.tasks.train("classify", time_budget=60)
    assert found.result.metrics["accuracy"] >= 0.99
    run = new_run(find_task("classify").new(Classify.Options()), nothing)
    assert all(value < 0.6 for value in run.data.about["baselines"].values()) and len(run.data.about["baselines"]) == 3


def test_the_checkpoint_of_a_class_names_its_file(digits: Path, tmp_path: Path) -> None:
    nowhere: type[Task] = type("Own", (Classify,), {"__module__": "nowhere"})
    classes: list[tuple[type[Task], str]] = [(Classify, "classify"), (Streams, f"{__file__}:Streams"), (nowhere, "Own")]
    for task, name in classes:
        options: dict[str, Any] = {} if task is Streams else {"data": str(digits), **SMALL}
        tg.tasks.train(task, epochs=1, out=tmp_path / task.__name__, **options)
        saved = load_run(tmp_path / task.__name__ / "best.safetensors")
        assert saved.meta["task"] == name and ("task_file" in saved.meta) == (task is Streams)
    sentence = fails("predict", tmp_path / "Own" / "best.safetensors", text="1 2\n")
    assert "the model's task is Own, which was in no file" in sentence and "--task FILE.py:Own" in sentence


def test_a_count_of_numpy_makes_no_other_dtype_of_the_loss() -> None:
    class Counted(Streams):
        def loss(self, model: Following, batch: Any, rng: Any, state: Any) -> Any:
            total, count, after = super().loss(model, batch, rng, state)
            return total, np.int64(count), after

    task = FoundTask("counted", Counted).new(Counted.Options())
    series: Any = task.default(np.random.default_rng(0))
    part = task.batches(series, 4, None)[0]
    mean, count, _ = task.batch_loss(task.build(np.random.default_rng(0)), task.collate(part), None, None, "mean")
    assert mean.dtype == np.float32 and type(count) is int


def test_an_older_checkpoint_says_what_it_said_in_the_form_of_this_version() -> None:
    path = Path(__file__).parent / "checkpoints" / "lines_in_streams.safetensors"
    old, new = checkpoint.load(path).meta, load_run(path).meta
    assert old["task"] == "language model" and new["task"] == "language" and new["data"] == old["corpus"]
    assert tables_from_json(new["tables"])["vocabulary"].to_list() == old["vocabulary"]
    others = old.keys() - {"task", "vocabulary", "corpus"}
    assert {name: new[name] for name in others} == {name: old[name] for name in others}
    assert new.keys() == others | {"task", "tables", "data"}


def test_of_the_loss_less_is_better_unless_told() -> None:
    class ByLoss(Classify):
        metric = "loss"

    class Odd(ByLoss):
        higher = True

    assert (Classify.higher, ByLoss.higher, Odd.higher, Streams.higher) == (True, False, True, False)
    task = FoundTask("own", ByLoss).new(ByLoss.Options())
    assert task.baselines([(["a"], "b")], [(["a"], "b")]) == {}


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
    for options in ({"task": Streams}, {"task": f"{__file__}:Streams"}, {"trust": True}):
        assert tg.tasks.load_model(best, **options).model.size > 0
    with pytest.raises(OptionError, match=r"model's task is .*:Streams, got 'classify'"):
        tg.tasks.load_model(best, task="classify")


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
    found = tg.tasks.train("classify", data=str(digits), epochs=5, lr=0.1, out=tmp_path, **SMALL)
    values = [each["accuracy"] for each in found.history]
    assert values.index(max(values)) < 4, "the test needs a run whose best model is not its last one"
    best = load_run(tmp_path / "best.safetensors").part("model")
    assert all(np.array_equal(value, best[name]) for name, value in found.model.state_dict().items())
