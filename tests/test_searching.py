"""A search before a comparison: random draws, of which ever fewer go on for ever longer."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from small_tasks import SUMS
from test_comparison import Typed

from tinygrad_rnn.cli import main
from tinygrad_rnn.comparison import searching
from tinygrad_rnn.comparison.comparing import compare
from tinygrad_rnn.comparison.contest import Contest, Range, contestants_of
from tinygrad_rnn.comparison.outcome import Outcome
from tinygrad_rnn.comparison.searching import drawn, ranges_from, ranges_of, rounds_of, searched
from tinygrad_rnn.training.options import OptionError

# --- Ranges ----------------------------------------------------------------------------------------------------


def test_ranges_have_the_types_of_the_options() -> None:
    assert ranges_of(["rate=1e-4..1e-2:log", "hidden=2..8", "name=a|b", "rate2=1"][:3], Typed) == (
        Range("rate", (1e-4, 1e-2), numbers=True, log=True),
        Range("hidden", (2, 8), numbers=True),
        Range("name", ("a", "b")),
    )
    assert ranges_of(["rate=0.1..2.5"], Typed) == (Range("rate", (0.1, 2.5), numbers=True),)
    assert ranges_from({"rate": (1e-4, 1e-2, "log"), "hidden": (2, 8), "name": ["a", "b"]}) == ranges_of(
        ["rate=1e-4..1e-2:log", "hidden=2..8", "name=a|b"], Typed
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate=1", "NAME=LOW..HIGH"),
        ("rate=2..1", "the smaller first, got 2.0 and 1.0"),
        ("rate=0..1:log", "two numbers above 0"),
        ("hidden=a..b", "hidden must be of the type int"),
        ("depth=1..2", "there is no option 'depth'"),
        ("name=a..b", "must go from one number to another"),
    ],
)
def test_ranges_that_are_none_are_told(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        ranges_of([text], Typed)
    with pytest.raises(OptionError, match="rate is there twice"):
        ranges_of(["rate=1..2", "rate=1..3"], Typed)
    with pytest.raises(OptionError, match="lr must be"):
        ranges_from({"lr": 3})


@given(st.integers(0, 2**32 - 1))
def test_draws_lie_in_their_ranges(seed: int) -> None:
    ranges = ranges_of(["rate=1e-4..1e-2:log", "hidden=2..4", "name=a|b"], Typed)
    values = drawn(ranges, np.random.default_rng(seed))
    assert 1e-4 <= values["rate"] <= 1e-2 and values["hidden"] in (2, 3, 4) and values["name"] in ("a", "b")
    assert isinstance(values["hidden"], int)


def test_whole_numbers_are_alike_likely_and_logarithms_spread_evenly() -> None:
    rng = np.random.default_rng(0)
    whole = [drawn([Range("n", (1, 4), numbers=True)], rng)["n"] for _ in range(4000)]
    assert all(abs(whole.count(n) / 4000 - 0.25) < 0.03 for n in (1, 2, 3, 4))
    logs = [drawn([Range("x", (1e-4, 1.0), numbers=True, log=True)], rng)["x"] for _ in range(4000)]
    assert abs(np.mean(np.array(logs) < 1e-2) - 0.5) < 0.03
    even = [drawn([Range("x", (0.0, 1.0), numbers=True)], rng)["x"] for _ in range(4000)]
    assert abs(np.mean(np.array(even) < 0.5) - 0.5) < 0.03


# --- Rounds ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 100))
def test_every_round_has_a_third_of_the_draws_for_three_times_as_long_and_the_last_is_whole(
    trials: int, most: int
) -> None:
    rounds = rounds_of(trials, most, 1.0)
    assert rounds[0][0] == trials and rounds[-1][1] == most and rounds[0][1] >= 1
    for (many, short), (few, long) in pairwise(rounds):
        assert few == math.ceil(many / 3) or few == max(1, math.ceil(trials / 3 ** (rounds.index((few, long)))))
        assert long == pytest.approx(3 * short)


def test_no_round_is_shorter_than_the_least() -> None:
    assert rounds_of(27, 9, 1.0) == [(27, 1.0), (9, 3.0), (3, 9.0)]
    assert rounds_of(27, 2, 1.0) == [(27, 2.0)]


def plan_of(trials: int, epochs: int = 9) -> Contest:
    ranges = (Range("lr", (1e-4, 1.0), numbers=True, log=True),)
    return Contest("memory", contestants_of(["gru", "rnn"], {"epochs": [epochs]}), (5,), None, ranges, trials)


def test_the_best_draws_go_on_and_the_best_of_the_last_round_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def as_if_run(task: str, contestant: Any, seed: int, budget: Any, folder: Path, name: str) -> Outcome:
        lr, epochs = contestant.options["lr"], contestant.options["epochs"]
        asked.append((contestant.label, name, lr, epochs, seed))
        wanted = 1e-2 if contestant.label == "gru" else 1e-1
        return Outcome(label=contestant.label, seed=seed, higher=False, valid=abs(math.log(lr / wanted)), epochs=epochs)

    monkeypatch.setattr(searching, "carry_out", as_if_run)
    found = searched(plan_of(9), tmp_path, 1, "loky", None)
    draws = sorted({lr for _, _, lr, _, _ in asked})
    for contestant, wanted in zip(found.contestants, (1e-2, 1e-1), strict=True):
        nearest = sorted(draws, key=lambda lr, wanted=wanted: abs(math.log(lr / wanted)))  # type: ignore[misc]  # its default
        assert contestant.options == {"epochs": 9, "lr": nearest[0]} and contestant.label in ("gru", "rnn")
        rounds = [
            sorted(
                lr for label, name, lr, epochs, _ in asked if label == contestant.label and name == f"round-{i}.json"
            )
            for i in range(3)
        ]
        assert rounds == [draws, sorted(nearest[:3]), nearest[:1]]
    assert {(name, epochs) for _, name, _, epochs, _ in asked} == {
        ("round-0.json", 1),
        ("round-1.json", 3),
        ("round-2.json", 9),
    }
    assert {seed for *_, seed in asked} == {5} and found.search == ()


def test_runs_without_a_number_come_last() -> None:
    good, failed, none = (
        Outcome(label="a", seed=0, valid=0.1),
        Outcome(label="a", seed=0, failed="why"),
        Outcome(label="a", seed=0, valid=None),
    )
    assert searching._rank(good) < searching._rank(failed) == searching._rank(none) == math.inf
    assert searching._rank(Outcome(label="a", seed=0, valid=0.9)) < searching._rank(good)


# --- In a comparison -------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("sums.py").write_text(SUMS, encoding="utf-8")
    return tmp_path


def test_a_search_finds_options_that_are_then_compared_and_is_not_made_twice(place: Path) -> None:
    given: dict[str, Any] = {"seeds": 1, "settings": {"epochs": 3}, "jobs": 1, "trials": 3}
    search = {"lr": (1e-6, 1e-1, "log"), "hidden": (2, 5)}
    found = compare(["gru", "rnn"], "sums.py:Sums", search=search, out="out", **given)
    settings = [each.settings for each in found.outcomes]
    assert all(1e-6 <= each["lr"] <= 1e-1 and 2 <= each.get("hidden", 4) <= 5 for each in settings)
    times = {path: path.stat().st_mtime_ns for path in Path("out/search").rglob("round-*.json")}
    assert len(times) == 2 * (3 + 1)
    again = compare(["gru", "rnn"], "sums.py:Sums", search=search, out="out", **given)
    assert [each.value for each in again.outcomes] == [each.value for each in found.outcomes]
    assert times == {path: path.stat().st_mtime_ns for path in Path("out/search").rglob("round-*.json")}


@pytest.mark.slow
def test_the_command_searches_and_takes_several_ranges_behind_one_option(place: Path) -> None:
    words = "compare gru rnn --task sums.py:Sums --seeds 1 --jobs 1 --trials 2 --set epochs=2 batch-size=16"
    result = CliRunner().invoke(main, [*words.split(), "--search", "lr=1e-3..1e-1:log", "hidden=2..5", "--out", "out"])
    assert result.exit_code == 0, result.output
    assert "found     gru: lr " in result.output and "the best of 2 draws" in result.output
    contest = json.loads(Path("out/plan.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in contest["search"]] == ["lr", "hidden"]
    assert contest["contestants"][0]["options"] == {"epochs": 2, "batch_size": 16}
    resumed = CliRunner().invoke(main, ["compare", "--resume", "out"])
    assert resumed.exit_code == 0, resumed.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"search": {"hidden": (2, 5)}, "match": "parameters"}, "hidden, which cannot be searched for as well"),
        ({"search": {"epochs": (2, 5)}}, "epochs is among the settings, too"),
        ({"search": {"depth": (2, 5)}}, "depth"),
        ({"search": {"lr": (1e-3, 1e-2)}, "trials": 0}, "trials must be a whole number of at least 1"),
    ],
)
def test_a_search_that_cannot_be_is_told_before_anything_is_run(place: Path, options: Any, said: str) -> None:
    with pytest.raises((OptionError, TypeError), match=said):
        compare(["gru", "rnn"], "sums.py:Sums", seeds=1, settings={"epochs": 2}, jobs=1, out="out", **options)
    assert not Path("out/search").exists()
