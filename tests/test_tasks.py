"""A task in one file gets everything that the language model has: runs that resume bit for bit, the best model by its
own metric, tables and examples that are what they were, baselines that are found once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_tasks import SMALL, Following, Streams, classify_run, nothing, same, steps

import tinygrad_rnn as tg
import tinygrad_rnn.ops as ops
from tinygrad_rnn.data import Labels, Vocabulary
from tinygrad_rnn.data.order_sentences import order_sentences
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.tasks.finding import FoundTask, find_task, resume_run
from tinygrad_rnn.training import known_baselines
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.examples import Data, TaskError, digest_of
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.known_baselines import known_baselines as baselines_of
from tinygrad_rnn.training.measuring import measure
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.saved_runs import load_run, tables_from_json, tables_to_json


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


def test_while_the_metric_is_what_it_was_at_first_a_lower_loss_is_better(digits: Path) -> None:
    run = classify_run(digits, patience=2)
    found = []
    for loss, accuracy in [(3.0, 0.0), (2.0, 0.0), (2.5, 0.0), (1.0, 0.0), (2.0, 0.5), (0.9, 0.5), (0.5, 0.0)]:
        found.append(run.judge(Evaluation(loss, 9, {"accuracy": accuracy})))
    assert found == [True, True, False, True, True, False, False] and (run.best, run.trouble) == (0.5, 2)


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
    own.write_text(digits.read_text(), encoding="utf-8")
    run = classify_run(own)
    steps(run, 3)
    run.save(tmp_path / "last.safetensors")
    own.write_text(digits.read_text().replace("odd", "uneven"), encoding="utf-8")
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
    assert all(run.data.about["baselines"][name] < 0.6 for name in Classify.METHODS)
    assert max(run.data.about["baselines"].values()) < 0.85, "pairs of words tell which half comes first, and no more"


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
