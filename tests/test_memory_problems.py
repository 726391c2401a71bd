"""The problems of long memory are tasks: each has its examples, its loss, its metric, and what a model must beat."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fails, works

import tinygrad_rnn as tg
from tinygrad_rnn.data.long_memory import adding, temporal_order
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.inspection.views import Chart, HeatMap
from tinygrad_rnn.metrics.jackknife import standard_error
from tinygrad_rnn.tasks.finding import FoundTask, find_task
from tinygrad_rnn.tasks.memory import PROBLEMS, Adding, Memory
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.comparing import Reached
from tinygrad_rnn.training.options import OptionError

SMALL: dict[str, Any] = {"hidden": 3, "examples": 40, "length": 10}
METRICS = {
    **{"adding": ("mse", False, "examples"), "order": ("accuracy", True, "examples")},
    **{name: ("excess", False, "symbols") for name in ("reber", "embedded-reber", "dyck")},
    **{name: ("loss", False, "symbols") for name in ("copy", "anbn")},
}


def task_of(problem: str, **options: Any) -> Any:
    return find_task("memory").new(Memory.Options(**{"problem": problem, **SMALL, **options}))


def nothing(text: str) -> None:
    """A note that nobody reads."""


# --- All problems ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "line"), [("adding", "1* 2 .5*"), ("order", "aXY"), ("dyck", "(["), ("copy", "abc"), ("anbn", "aab")]
)
def test_every_problem_is_trained_measured_opened_drawn_and_answers_lines(
    problem: str, line: str, tmp_path: Path
) -> None:
    found = tg.tasks.train("memory", problem=problem, epochs=1, out=tmp_path, **SMALL)
    assert (found.task.metric, found.task.higher, found.task.counted) == METRICS[problem]
    assert math.isfinite(found.task.value(found.result))
    opened = tg.tasks.load_model(tmp_path / "best.safetensors")
    assert type(opened.task) is PROBLEMS[problem]
    data = found.task.divide(found.task.source(nothing))
    baselines = found.task.baselines(data.train, data.test)
    assert baselines and all(math.isfinite(value) for value in baselines.values())
    (view,) = found.task.views(found.model, data.test)
    assert isinstance(view, Chart if problem == "adding" else HeatMap)
    if isinstance(view, HeatMap):
        np.testing.assert_allclose(view.values.sum(axis=0), 1, rtol=1e-5)
    said = opened.predict([line, line])
    assert opened.task.write(said[0]) == opened.task.write(said[1]) == opened.task.write(opened.predict([line])[0])


@pytest.mark.parametrize("problem", ["order", "dyck"])
def test_the_loss_of_a_batch_is_that_of_its_examples_one_by_one(problem: str) -> None:
    task = task_of(problem, dtype="float64")
    data = task.divide(task.source(nothing))
    model = task.build(np.random.default_rng(0))
    total, count, _ = task.loss(model, task.collate(data.train[:6]), None, None)
    each = [task.loss(model, task.collate([one]), None, None) for one in data.train[:6]]
    assert math.isclose(total.item(), sum(one.item() for one, _, _ in each), rel_tol=1e-9)
    assert count == sum(one for _, one, _ in each) > 0


def test_short_strings_stand_beside_long_ones_so_that_no_batch_says_that_all_end_soon() -> None:
    task = task_of("reber", examples=400)
    examples = task.default(np.random.default_rng(0))
    mean = np.mean([len(text) for text, _ in examples])
    for part in task.batches(examples, 50, np.random.default_rng(0)):
        assert abs(np.mean([len(text) for text, _ in part]) - mean) < 3


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_a_simple_method_reaches_is_known_without_each_block_of_what_a_model_is_asked(problem: str) -> None:
    run = new_run(task_of(problem, examples=200, batch_size=2), nothing)
    model, data = run.measured(run.data.test).reached(run.task), run.data
    for name, value in run.task.baselines(data.train, data.test).items():
        assert isinstance(value, Reached) and len(value.without) == len(model.without) >= 8, name
        assert min(value.without) <= value <= max(value.without)
        assert standard_error(model.without, value.without) is not None


def test_a_problem_of_the_user_s_own_stays_what_it_is() -> None:
    class Mine(Adding):
        pass

    assert type(FoundTask("mine", Mine).new(Mine.Options())) is Mine
    assert type(task_of("copy")) is PROBLEMS["copy"]


@pytest.mark.parametrize(("problem", "length", "least"), [("adding", 1, 2), ("order", 9, 10), ("anbn", 3, 4)])
def test_a_length_that_leaves_no_room_is_one_sentence(problem: str, length: int, least: int) -> None:
    with pytest.raises(OptionError, match=f"^length must be at least {least} for {problem}, got {length}$"):
        task_of(problem, length=length)
    assert len(list(task_of(problem, length=least).default(np.random.default_rng(0)))) == 40


# --- Numbers known from elsewhere --------------------------------------------------------------------------------


def test_who_says_what_the_grammar_says_has_no_excess_and_who_takes_all_for_equal_has_what_it_costs() -> None:
    task = task_of("reber")
    gold = [output for _, output in task.default(np.random.default_rng(0))]
    equal = [np.full((len(text), 8), -math.log(8)) for text in gold]
    symbols, choices = sum(map(len, gold)), sum(len(text) - 3 for text in gold)
    found = task.score(gold, equal)
    assert math.isclose(found["entropy"], choices * math.log(2) / symbols)
    assert math.isclose(found["excess"], symbols * math.log(8) / (choices * math.log(2)) - 1)
    knowing = []
    for text in gold:
        state, rows = task.grammar.start, np.full((len(text), 8), -np.inf)
        for t, symbol in enumerate(text):
            moves = task.grammar.moves(state)
            for each, (p, _) in moves.items():
                rows[t, task.symbols.index(each)] = math.log(p)
            state = moves[symbol][1]
        knowing.append(rows)
    assert abs(task.score(gold, knowing)["excess"]) < 1e-12


def test_a_copy_is_read_as_in_the_literature_and_without_memory_costs_what_it_does_there() -> None:
    task = task_of("copy", length=3)
    assert task.whole("abcdefghab") == "abcdefghab" + ".." + ":" + ".........."
    frames, lengths, targets = task.collate([("ab", "ab")])
    assert frames.shape == (7, 1, 10) and lengths.tolist() == [7]
    assert "".join(task.symbols[i] for i in targets[:, 0]) == ".....ab"
    examples = task.default(np.random.default_rng(0))
    found = task_of("copy", length=10).baselines(examples, examples)
    assert math.isclose(found["memoryless"], 10 * math.log(8) / 30)
    assert task.score(["abcd", "efgh"], ["abcd", "hgfe"]) == {"recalled": 0.5}


def test_sums_are_scored_by_their_squared_error_and_by_how_many_are_near() -> None:
    assert task_of("adding").score([1.0, 0.5], [1.03, 0.7]) == pytest.approx({"mse": 0.02045, "within 0.04": 0.5})


def test_longer_strings_of_anbn_than_train_validate_and_longer_ones_test() -> None:
    task = task_of("anbn", length=8, examples=200)
    parts = task.split(task.default(np.random.default_rng(0)))
    assert [sorted({len(text) // 2 for text, _ in part}) for part in parts] == [[1, 2, 3, 4], [5, 6], [7, 8]]
    assert task.score(["??b.", "?."], ["abb.", "a."]) == {"accuracy": 1.0}
    assert task.score(["??b.", "?."], ["abbb", "a."]) == {"accuracy": 0.5}
    assert task.baselines([("aabb", "??b.")], [("ab", "?.")]) == pytest.approx({"memoryless": math.log(2)})


def test_the_sum_is_no_linear_function_and_order_is_one_only_of_symbols_at_places() -> None:
    task = task_of("adding")
    train, test = (adding(np.random.default_rng(seed), 1000, 20) for seed in (0, 1))
    found = task.baselines(train, test)
    assert 0.12 < found["linear regression"] < found["always the mean"] < 0.2
    train, test = (temporal_order(np.random.default_rng(seed), 400, 10) for seed in (0, 1))  # type: ignore[assignment]
    found = task_of("order").baselines(train, test)
    assert found["linear in symbols at places"] == 1.0 and 0.6 < found["bag of symbols"] < 0.9


# --- Lines -----------------------------------------------------------------------------------------------------


def test_numbers_are_read_with_their_marks() -> None:
    rows = task_of("adding").parse("0.25 .5*\t-1e1 3*")
    np.testing.assert_array_equal(rows, np.array([[0.25, 0], [0.5, 1], [-10, 0], [3, 1]], np.float32))


@pytest.mark.parametrize(
    "line", ["0.1 0.2", "0.1*", "1* 2* 3*", "a* 1* 2", "nan* 1*", "1 2* *", "1e39 1* 2*", "", "1** 2*"]
)
def test_numbers_that_are_none_and_other_marks_are_one_sentence(line: str) -> None:
    with pytest.raises(TextError, match=r"^a line must be of numbers, two of them marked, such as 0\.2 0\.5\*"):
        task_of("adding").parse(line)


@pytest.mark.parametrize(
    ("problem", "line", "said"),
    [
        ("order", "abe", "a b c d X Y, got 'e'"),
        ("reber", "B.T", "B T P S X V E, got '.'"),
        ("copy", "ab:", "a b c d e f g h, got ':'"),
        ("anbn", "aAb", "a b, got 'A'"),
        ("dyck", "(é", "( ) [ ], got 'é'"),
    ],
)
def test_symbols_are_read_with_or_without_spaces_and_others_are_named(problem: str, line: str, said: str) -> None:
    task = task_of(problem)
    known = [each for each in task.symbols if each not in ".:"]
    assert task.parse(" ".join(known)) == task.parse("".join(known)) == "".join(known)
    with pytest.raises(TextError, match=f"^a line must be of the symbols {re.escape(said)}$"):
        task.parse(line)


def test_what_may_follow_is_said_after_each_symbol_the_likeliest_first() -> None:
    task = task_of("dyck")
    rows = np.log(np.array([[0.5, 0.3, 0.02, 0.18, 0.0], [0.01, 0.01, 0.97, 0.005, 0.005]]) + 1e-9)
    assert task.symbols == ".()[]" and task.write(rows) == ".([ )"


# --- As commands -----------------------------------------------------------------------------------------------


def test_a_problem_is_trained_for_its_own_epochs_and_answers_a_line_for_a_line(tmp_path: Path) -> None:
    small = ["--hidden", 2, "--length", 2, "--examples", 12, "--out", tmp_path, "--quiet"]
    assert "8 epochs done" in works("train", "memory", *small).replace("\N{NO-BREAK SPACE}", " ")
    best = tmp_path / "best.safetensors"
    lines = works("predict", best, text="0.2* 1*\n\n0.5* 0 0.1*\n").splitlines()
    assert len(lines) == 3 and lines[1] == "" and math.isfinite(float(lines[0]) + float(lines[2]))
    assert fails("predict", best, text="1* 2*\n1 2\n").startswith("standard input, line 2: a line must be of numbers")
    assert fails("evaluate", best, "--data", __file__) == "memory reads no files: leave out --data\n"
    assert fails("train", "memory", "--data", __file__) == "memory reads no files: leave out --data\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "options", "bar"),
    [
        ("adding", {"length": 30, "examples": 6000}, 0.01),
        ("order", {"length": 20, "examples": 3000}, 0.99),
        ("reber", {"epochs": 5}, 0.03),
        ("embedded-reber", {"epochs": 6}, 0.05),
        ("dyck", {"epochs": 5}, 0.1),
    ],
)
def test_an_lstm_learns_what_is_remembered(problem: str, options: dict[str, Any], bar: float) -> None:
    found = tg.tasks.train("memory", problem=problem, time_budget=100, **options)
    value = found.task.value(found.result)
    assert found.task.better(value, bar), value
