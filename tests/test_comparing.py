"""A model beside simple methods: how sure a difference is, the verdict, and what the result's file says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tasks import SMALL, classify_run, nothing

from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.metrics import accuracy
from tinygrad_rnn.metrics.jackknife import blocks, mean_without_each, standard_error, without_each
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.tasks.finding import FoundTask, find_task
from tinygrad_rnn.tasks.language import text_data
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.class_report import about_labels, label_counts
from tinygrad_rnn.training.comparing import Comparison, Reached, comparisons
from tinygrad_rnn.training.display import TIE, exact_figure
from tinygrad_rnn.training.measuring import measure
from tinygrad_rnn.training.report import result_lines
from tinygrad_rnn.training.result_file import write_result
from tinygrad_rnn.training.telling import baseline_lines, verdict_text

# --- The jackknife ---------------------------------------------------------------------------------------------


@given(st.integers(0, 300))
def test_blocks_are_neighbours_and_hold_every_place_once(count: int) -> None:
    found = blocks(count)
    assert [i for cut in found for i in range(count)[cut]] == (list(range(count)) if count >= 8 else [])
    sizes = {cut.stop - cut.start for cut in found}
    assert len(found) <= 50 and (not sizes or max(sizes) - min(sizes) <= 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=8, max_size=50))
def test_the_error_of_a_mean_is_the_textbook_s_of_paired_differences(pairs: list[tuple[bool, bool]]) -> None:
    gold = [True] * len(pairs)
    one, other = (without_each(accuracy, gold, said) for said in zip(*pairs, strict=True))
    differences = np.array([float(a) - float(b) for a, b in pairs])
    assert standard_error(one, other) == pytest.approx(differences.std(ddof=1) / len(pairs) ** 0.5, abs=1e-12)


def test_twice_the_error_holds_the_difference_of_equal_methods_nineteen_times_in_twenty() -> None:
    """Of a metric that is no mean of the examples: errors per symbol, in sequences of different lengths."""

    def rate(gold: Sequence[int], said: Sequence[int]) -> float:
        return sum(said) / sum(gold)

    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        lengths = rng.integers(1, 20, 200)
        wrong = [rng.binomial(lengths, 0.3).tolist() for _ in range(2)]
        error = standard_error(*(without_each(rate, lengths.tolist(), each) for each in wrong))
        assert error is not None
        held += abs(rate(lengths.tolist(), wrong[0]) - rate(lengths.tolist(), wrong[1])) <= 2 * error
    assert 90 <= held <= 99


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(1, 5)), min_size=8, max_size=60))
def test_a_mean_without_a_block_is_the_mean_of_the_rest(parts: list[tuple[float, int]]) -> None:
    sums, counts = [total for total, _ in parts], [count for _, count in parts]
    for cut, found in zip(blocks(len(parts)), mean_without_each(sums, counts), strict=True):
        rest = [*parts[: cut.start], *parts[cut.stop :]]
        assert found == pytest.approx(sum(total for total, _ in rest) / sum(count for _, count in rest), abs=1e-12)


def test_an_error_that_is_not_known_is_none() -> None:
    eight = [0.1] * 8
    assert mean_without_each([0.0] * 7 + [1.0], [0] * 7 + [3]) == () and mean_without_each([1.0], [1]) == ()
    for one, other in (((), eight), (eight, eight[1:]), (eight[1:], eight[1:]), (eight, [float("nan")] * 8)):
        assert standard_error(one, other) is None
    assert standard_error(eight, eight) == 0


# --- Verdicts --------------------------------------------------------------------------------------------------


def test_a_method_is_beaten_level_or_not_reached() -> None:
    assert [Comparison("m", 0.5, gain, 0.1).verdict for gain in (0.21, 0.19, -0.19, -0.21)] == [
        "beaten",
        "level",
        "level",
        "not reached",
    ]
    assert [Comparison("m", 0.5, gain).verdict for gain in (0.1, 0.0, -0.1)] == ["beaten", "level", "not reached"]
    assert Comparison("m", 0.5).verdict is None and Comparison("m", 0.5, float("nan"), 0.1).verdict is None
    said = [verdict_text(Comparison("m", 0.5, gain, 0.1), 2) for gain in (0.3, 0.1, -0.1, -0.3)]
    assert said == [
        ": beaten by 0.30 ± 0.20",
        ": level, 0.10 ± 0.20 better",
        ": level, 0.10 ± 0.20 worse",
        ": not reached, 0.30 ± 0.20 worse",
    ]
    assert verdict_text(Comparison("m", 0.5, 0.3), 2) == ": beaten by 0.30" and not verdict_text(
        Comparison("m", 1.0), 2
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.5, "0.5000"),
        (0.00123, "0.0012"),
        (0.00098, "0.00098"),
        (2.5e-7, "2.5e-07"),
        (3e7, "3e+07"),
    ],
)
def test_small_numbers_keep_two_digits(value: float, text: str) -> None:
    assert (exact_figure(value, 4), exact_figure(-value, 4)) == (text, f"-{text}" if value else "-0.0000")


def test_methods_of_a_loss_have_its_unit_and_too_few_examples_are_told() -> None:
    found: Any = find_task("memory")
    task = found.new(found.task.Options(problem="copy"))
    methods = [Comparison("memoryless", 1.0, 0.25, None)]
    line = task.baseline_line(methods).replace(TIE, " ")
    assert line == "memoryless 1.0000 nats per symbol: beaten by 0.2500"
    assert "of so few" in baseline_lines(line, methods)[1][1]
    assert "±: twice" in baseline_lines(line, [Comparison("memoryless", 1.0, 0.25, 0.1)])[1][1]
    assert len(baseline_lines(line, [Comparison("memoryless", 1.0)])) == 1


def test_a_gain_is_above_0_where_the_model_is_better_whichever_way_the_metric_goes() -> None:
    about = {"baselines": {"m": 0.5}, "baselines_without": {"m": [0.5 + i / 100 for i in range(8)]}}
    for higher in (True, False):
        (found,) = comparisons(about, higher, Reached(0.7, [0.7] * 8))
        assert found.gain == pytest.approx(0.2 if higher else -0.2) and found.error == pytest.approx(0.0606, abs=1e-4)
    assert comparisons(about, True) == [Comparison("m", 0.5)] and comparisons({}, True) == []
    (unsure,) = comparisons({"baselines": {"m": 0.5}}, True, Reached(0.7))
    assert unsure.error is None and unsure.verdict == "beaten"


# --- Answers, example by example -------------------------------------------------------------------------------


class Echoing(Classify):
    """Says the first word of its input."""

    def collate(self, part: Sequence[Any]) -> Any:
        return [words for words, _ in part], *super().collate(part)

    def loss(self, model: Any, batch: Any, rng: Any, state: Any) -> Any:
        return super().loss(model, batch[1:], rng, state)

    def predict(self, model: Any, batch: Any) -> Any:
        return [words[0] for words in batch[0]]


def echoing(digits: Path, kind: type[Classify] = Echoing) -> Any:
    return new_run(FoundTask("echoing", kind).new(kind.Options(data=str(digits), **SMALL)), nothing)


def test_answers_stand_in_the_order_of_the_examples_as_those_of_baselines_do(digits: Path) -> None:
    run = echoing(digits)
    for examples in (run.data.train, [*run.data.test, *run.data.test]):
        found = measure(run.task, run.model, examples)
        assert found.ordered and found.said == [words[0] for words, _ in examples]
        assert found.gold == [label for _, label in examples]
    known: Any = run.task.baselines(run.data.train, run.data.train)
    assert len(found.reached(run.task).without) == len(blocks(len(examples)))
    assert all(len(each.without) == len(blocks(len(run.data.train))) for each in known.values())


def test_answers_to_other_examples_than_were_given_are_compared_with_no_baseline(digits: Path) -> None:
    class Anew(Echoing):
        def batches(self, examples: Sequence[Any], size: int, rng: Any) -> Any:
            return super().batches([(list(words), label) for words, label in examples], size, rng)

    run = echoing(digits, Anew)
    found = measure(run.task, run.model, run.data.train)
    assert not found.ordered and found.reached(run.task).without == ()


@pytest.mark.parametrize(
    "options", [{"batching": "stream"}, {"batching": "sentences"}, {"level": "char", "lines": False}]
)
def test_n_grams_are_measured_on_the_batches_of_the_language_model(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LanguageOptions(**{"lines": True, "steps": 4, "batch_size": 3, **options})
    rng = np.random.default_rng(0)
    sentences = [[str(word) for word in rng.choice(list("abc"), rng.integers(1, 9))] for _ in range(40)]
    vocabulary = Vocabulary(list("abc"))
    encode = vocabulary.encode if settings.unbroken else vocabulary.encode_sentence
    train, valid = ([encode(each) for each in part] for part in (sentences[:25], sentences[25:]))
    seen: list[Any] = []

    def keep(*given: Any) -> tuple[()]:
        seen.append(given)
        return ()

    monkeypatch.setattr(text_data, "mean_without_each", keep)
    found = text_data.ngram_baselines(train, valid, vocabulary, settings)
    counts = [batch.tokens for batch in text_data.make_batches(settings, valid, warm_up=settings.warm_up)]
    assert len(found) == len(seen) == (5 if settings.level == "char" else 3)
    for nats, (sums, told) in zip(found.values(), seen, strict=True):
        assert told == counts and sum(sums) / sum(counts) == pytest.approx(nats, rel=1e-12)


# --- What is told ----------------------------------------------------------------------------------------------


def test_labels_are_counted_and_told_with_f1_and_confusions(digits: Path) -> None:
    run = classify_run(digits)
    ((label, text),) = label_counts(run.task, run.data.train)
    counts = [int(each.split("\xa0")[1]) for each in text.split(", ")]
    assert label == "labels" and sum(counts) == len(run.data.train) and counts == sorted(counts, reverse=True)
    found = run.measured(run.data.test)
    (f1, scores), (confusion, table) = about_labels(run.task, found)
    assert (f1, confusion) == ("F1", "confusion") and scores.split("; ")[1].startswith("macro\xa0")
    cells = [int(cell) for line in table.splitlines()[1:] for cell in line.split()[2:]]
    assert sum(cells) == len(run.data.test)
    titles = [label for label, _ in result_lines(run.task, run.model, run.data.about, found, "test", own=True)]
    assert titles == ["result", "", "baseline", "", "F1", "confusion"]
    other = [label for label, _ in result_lines(run.task, run.model, run.data.about, found, "given", own=False)]
    assert other == ["result", "", "F1", "confusion"]


def test_the_file_of_a_result_says_what_came_out(digits: Path, tmp_path: Path) -> None:
    run = classify_run(digits, seed=3)
    found = run.measured(run.data.test)
    write_result(tmp_path / "result.json", run, found, "test", 1.25, "2 epochs done")
    told = json.loads((tmp_path / "result.json").read_text())
    assert told["value"] == told["metrics"]["accuracy"] == found.metrics["accuracy"]
    assert (told["task"], told["metric"], told["seed"], told["ended"]) == ("classify", "accuracy", 3, "2 epochs done")
    assert told["settings"]["seed"] == 3 and told["examples"]["test"] == len(run.data.test) == told["count"]
    names = [each["name"] for each in told["baselines"]]
    assert names[:3] == ["most frequent", "naive Bayes", "logistic regression"]
    assert {each["verdict"] for each in told["baselines"]} <= {"beaten", "level", "not reached"}
    assert sum(map(sum, told["confusion"]["counts"])) == len(run.data.test) and told["parameters"] == run.model.size
    assert sum(told["labels"].values()) == len(run.data.train) and told["F1"].keys() <= {*told["confusion"]["labels"]}
