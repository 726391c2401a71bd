"""compare: the same data, splits and seeds for each cell; resumed, matched, judged, and told in words."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from small_tasks import SUMS

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main
from tinygrad_rnn.comparison import comparing, running
from tinygrad_rnn.comparison.comparing import Compared, compare, planned_comparison
from tinygrad_rnn.comparison.contest import contestants_of, folder_of, settings_of
from tinygrad_rnn.comparison.judging import T_95, Difference, differences, standings
from tinygrad_rnn.comparison.outcome import OUTCOME, Outcome, kept_outcome
from tinygrad_rnn.comparison.reach import effective_memory, reach
from tinygrad_rnn.comparison.tables import csv_table, text_table
from tinygrad_rnn.models import GRU, GRUCell, Module, Recurrent, RNNCell
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.training.options import OptionError, TrainingOptions

CELL = """
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import tanh

class Deep(Cell):
    gates = "n"
    def setup(self, depth=1):
        self.depth = depth
    def step(self, x, h):
        for _ in range(self.depth):
            h = tanh(self.n(x, h))
        return h
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("sums.py").write_text(SUMS, encoding="utf-8")
    Path("own.py").write_text(CELL, encoding="utf-8")
    return tmp_path


def small(cells: Any, out: Any = None, **options: Any) -> Compared:
    given: dict[str, Any] = {"seeds": 2, "settings": {"epochs": 2}, "jobs": 1, **options}
    return compare(cells, "sums.py:Sums", out=out, **given)


def invoke(*args: str) -> Any:
    return CliRunner().invoke(main, ["compare", *args], terminal_width=80)


# --- A comparison ----------------------------------------------------------------------------------------------


def test_a_comparison_is_what_each_run_gives_alone(place: Path) -> None:
    found = small(["gru", "own.py:Deep(depth=2)"], settings={"epochs": 2, "hidden": 3})
    assert [(each.label, each.seed) for each in found.outcomes] == [
        (label, seed) for seed in (0, 1) for label in ("gru", "Deep(depth=2)")
    ]
    for each, cell in zip(found.outcomes[:2], ("gru", "own.py:Deep(depth=2)"), strict=True):
        alone = tg.tasks.train("sums.py:Sums", epochs=2, hidden=3, cell=cell, seed=0, threads=1)
        assert each.value == pytest.approx(alone.result.loss, rel=1e-6)
        assert each.parameters == alone.model.size and each.epochs == 2 and not each.failed
        assert [line["valid_nats"] for line in each.history] == [line["valid_nats"] for line in alone.history]
        assert each.baselines == {} and each.settings.get("cell", "gru") == cell
        assert len(each.reach) == 6 and 1 <= (each.memory or 0) <= 6


def test_classes_and_several_values_are_contestants_too(place: Path) -> None:
    found = small([GRUCell, RNNCell], seeds=[3], settings={"epochs": 1, "hidden": [2, 3]})
    labels = ["GRUCell hidden=2", "GRUCell hidden=3", "RNNCell hidden=2", "RNNCell hidden=3"]
    assert [each.label for each in found.outcomes] == labels and {each.seed for each in found.outcomes} == {3}
    assert sorted(each.label for each in found.standings) == sorted(labels)


def test_a_class_that_is_in_no_file_can_be_compared(place: Path) -> None:
    loose = type("Loose", (RNNCell,), {"__module__": "a_notebook"})
    found = small([loose, "rnn"], seeds=1, out="out")
    assert [each.label for each in found.outcomes] == ["Loose", "rnn"] and not any(
        each.failed for each in found.outcomes
    )
    assert found.outcomes[0].value == found.outcomes[1].value


def test_it_goes_on_where_it_stopped_and_runs_nothing_twice(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small(["gru", "rnn"], "whole")
    carried = []
    real = running.carry_out

    def stops(*args: Any) -> Outcome:
        carried.append((args[1].label, args[2]))
        if len(carried) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(comparing, "carry_out", stops)
    with pytest.raises(KeyboardInterrupt):
        small(["gru", "rnn"], "parts")
    assert len(Path("parts/runs.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    again = small(["gru", "rnn"], "parts")
    assert carried == [("gru", 0), ("rnn", 0), ("gru", 1), ("gru", 1), ("rnn", 1)]
    assert [each.value for each in again.outcomes] == [each.value for each in whole.outcomes]
    small(["gru", "rnn"], "parts")
    assert len(carried) == 5


def test_a_run_that_was_killed_on_the_way_goes_on_from_its_checkpoint(place: Path) -> None:
    whole = small(["gru"], "whole", seeds=1, settings={"epochs": 3})
    half = small(["gru"], "half", seeds=1, settings={"epochs": 3})
    (run,) = Path("half/runs").iterdir()
    (run / OUTCOME).unlink()
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    short = tg.tasks.train("sums.py:Sums", epochs=1, cell="gru", seed=0, threads=1, out="short")
    assert short.why == "1 epoch done"
    for name in ("last.safetensors", "best.safetensors", "log.jsonl"):
        (run / name).write_bytes(Path("short", name).read_bytes())
    again = small(["gru"], "half", seeds=1, settings={"epochs": 3})
    assert again.outcomes[0].value == whole.outcomes[0].value == half.outcomes[0].value
    found = (run / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(found) == len(lines)
    first = Path("short/log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    assert found[: len(first)] == first  # the first epoch was not run again


def test_the_folder_of_another_comparison_is_left_alone(place: Path) -> None:
    small(["gru", "rnn"], "out", seeds=1)
    with pytest.raises(OptionError, match="out holds another comparison"):
        small(["gru", "mgu"], "out", seeds=1)
    Path("other").mkdir()
    Path("other/kept.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(OptionError, match="other holds something else"):
        small(["gru", "rnn"], "other")
    assert Path("other/kept.txt").read_text(encoding="utf-8") == "kept"


def test_a_run_that_fails_says_why_and_the_others_go_on(place: Path) -> None:
    found = small(["gru", "rnn"], settings={"epochs": 1, "bad": [True, False]}, seeds=1)
    assert [bool(each.failed) for each in found.outcomes] == [True, False, True, False]
    assert "bad was asked for" in found.outcomes[0].failed
    assert "gru bad=True failed:" in str(found) and "gru bad=False" in str(found)
    assert [each.failed != "" for each in found.standings] == [False, False, True, True]
    assert found.differences[0].mean >= 0  # whatever those that failed say of what is better


def test_a_run_that_failed_is_tried_again_and_those_that_are_done_are_not(place: Path) -> None:
    Path("own.py").write_text(CELL.replace("return h", "return h.missing"), encoding="utf-8")
    first = small(["gru", "own.py:Deep"], "out", seeds=1)
    assert [bool(each.failed) for each in first.outcomes] == [False, True]
    assert "own.py, line" in first.outcomes[1].failed and "missing" in first.outcomes[1].failed
    kept = {path: path.stat().st_mtime_ns for path in Path("out/runs").glob("gru-*/outcome.json")}
    Path("own.py").write_text(CELL, encoding="utf-8")
    again = small(["gru", "own.py:Deep"], "out", seeds=1)
    assert not any(each.failed for each in again.outcomes)
    assert kept == {path: path.stat().st_mtime_ns for path in Path("out/runs").glob("gru-*/outcome.json")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cells": []}, "cells to compare were expected"),
        ({"cells": ["gru", "gru"]}, "'gru' is to be compared with itself"),
        ({"cells": ["gru", "gruu"]}, "there is no cell 'gruu': did you mean gru?"),
        ({"cells": ["gru(a=1)"]}, "GRUCell has no option 'a'"),
        ({"seeds": 0}, "seeds must be at least one"),
        ({"seeds": [1, 1]}, "each once"),
        ({"match": "depth"}, "match must be width or parameters, got 'depth'"),
        ({"time_budget": 0.0}, "time_budget must be a number of seconds above 0"),
        ({"settings": {"epochs": 0}}, "epochs must be at least 1"),
        ({"settings": {"epochs": 1, "size": 3}}, "size"),
        ({"backend": "spark"}, "backend must be loky, dask, ray, got 'spark'"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_run(
    place: Path, options: dict[str, Any], said: str
) -> None:
    given: dict[str, Any] = {"cells": ["gru", "rnn"], "out": "out", **options}
    with pytest.raises((OptionError, TypeError), match=said.replace("(", r"\(").replace("?", r"\?")):
        small(given.pop("cells"), **given)
    assert not Path("out/runs").exists()


# --- As many weights -------------------------------------------------------------------------------------------


def test_cells_may_be_given_as_many_weights_as_the_first(place: Path) -> None:
    settings = {"epochs": 1, "hidden": [8, 16]}
    contest = planned_comparison(["gru", "rnn", "own.py:Deep"], "sums.py:Sums", 1, settings, "parameters", None)
    widths = {each.label: each.options["hidden"] for each in contest.contestants}
    sizes = {each.label: _size(each.cell, each.options["hidden"]) for each in contest.contestants}
    for hidden in (8, 16):
        assert widths[f"gru hidden={hidden}"] == hidden
        wanted = sizes[f"gru hidden={hidden}"]
        for cell in ("rnn", "Deep"):
            width = widths[f"{cell} hidden={hidden}"]
            name = "own.py:Deep" if cell == "Deep" else cell
            others = [abs(_size(name, width + step) - wanted) for step in (-1, 1)]
            assert abs(sizes[f"{cell} hidden={hidden}"] - wanted) <= min(others)


def _size(cell: str, hidden: int) -> int:
    found = find_task("sums.py:Sums")
    options, cell_ = found.task.options_and_cell({"cell": cell, "hidden": hidden}, False, lambda _: None)
    model: Any = found.new(options, cell_).build(np.random.default_rng(0))
    return int(model.size)


# --- Plans -----------------------------------------------------------------------------------------------------


class Typed(TrainingOptions):
    hidden: int = 4
    rate: float = 0.5
    fast: bool = False
    name: str = "a"


def test_settings_have_the_types_of_the_options() -> None:
    found = settings_of(["hidden=8,16", "rate=1e-3", "fast=true", "--batch-size=4", "name=b"], Typed)
    assert found == {"hidden": [8, 16], "rate": [1e-3], "fast": [True], "batch_size": [4], "name": ["b"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hidden", "NAME=VALUE was expected"),
        ("hidden=x", "hidden must be of the type int, got 'x'"),
        ("fast=1", "fast must be true or false, got '1'"),
        ("cell=gru", "cell is what is compared"),
        ("seed=3", "seed is what is compared, or repeated"),
        ("depth=3", "there is no option 'depth'; there are "),
    ],
)
def test_settings_that_are_none_are_told(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        settings_of([text], Typed)


def test_runs_with_other_options_have_other_folders() -> None:
    one, other = contestants_of(["gru"], {"hidden": [4]})[0], contestants_of(["gru"], {"hidden": [5]})[0]
    names = {folder_of(one, 0), folder_of(one, 1), folder_of(other, 0), folder_of(one, 0)}
    assert len(names) == 3 and all(name.startswith("gru-") for name in names)
    (odd,) = contestants_of(["a b/c.py:Mine(x=(1, 2))"], {})
    assert not set(folder_of(odd, 0)) & set("/ (),")


# --- Judging ---------------------------------------------------------------------------------------------------


def outcomes(values: dict[str, list[float | None]], higher: bool = True) -> list[Outcome]:
    return [
        Outcome(label=label, seed=seed, metric="accuracy", higher=higher, value=value, counted="examples", parameters=9)
        for label, listed in values.items()
        for seed, value in enumerate(listed)
    ]


def test_means_and_their_errors_are_the_usual_ones_and_the_best_comes_first() -> None:
    found = standings(outcomes({"a": [0.5, 0.7, 0.6], "b": [0.8, 0.9, 0.7]}))
    assert [each.label for each in found] == ["b", "a"]
    assert found[0].value == pytest.approx(0.8) and found[0].error == pytest.approx(0.1 / math.sqrt(3))
    assert [each.label for each in standings(outcomes({"a": [0.5], "b": [0.8]}, higher=False))] == ["a", "b"]
    assert standings(outcomes({"a": [0.5]}))[0].error is None


def test_one_without_a_number_comes_last_and_has_none() -> None:
    found = standings(outcomes({"a": [None, 0.9], "b": [0.1, 0.2]}))
    assert [each.label for each in found] == ["b", "a"] and found[1].value is None
    assert differences(outcomes({"a": [None, 0.9], "b": [0.1, 0.2]})) == []


def test_a_difference_is_paired_over_the_seeds() -> None:
    # Seeds differ by far more than the cells do: only in pairs is the difference seen.
    noise: list[Any] = [0.1, 0.5, 0.3, 0.9]
    (found,) = differences(outcomes({"a": noise, "b": [n + 0.01 + 0.001 * i for i, n in enumerate(noise)]}))
    assert (found.first, found.second) == ("b", "a") and found.mean == pytest.approx(0.0115)
    assert found.is_larger_than_noise and found.sentence == "b is better than a by 0.012 ± 0.0006: more than the noise"
    (level,) = differences(outcomes({"a": [0.1, 0.5, 0.3], "b": [0.5, 0.3, 0.2]}))
    assert not level.is_larger_than_noise and "no more than the noise" in level.sentence
    (lower,) = differences(outcomes({"a": [0.1, 0.2], "b": [0.5, 0.6]}, higher=False))
    assert lower.first == "a" and lower.mean == pytest.approx(0.4)


def test_one_seed_says_nothing_of_the_noise() -> None:
    (found,) = differences(outcomes({"a": [0.1], "b": [0.5]}))
    assert found.is_larger_than_noise is None and "one seed says nothing of the noise" in found.sentence


def test_the_limits_are_students_t() -> None:
    for count, limit in zip(range(2, 20), T_95, strict=False):
        assert Difference("a", "b", limit * 1.001, 1.0, count).is_larger_than_noise
        assert not Difference("a", "b", limit * 0.999, 1.0, count).is_larger_than_noise
    # Of many differences of no mean, one in twenty is taken for more than noise.
    rng = np.random.default_rng(0)
    for count in (2, 3, 5, 12):
        draws = rng.standard_normal((4000, count))
        errors = draws.std(axis=1, ddof=1) / math.sqrt(count)
        wrong = [
            Difference("a", "b", mean, error, count).is_larger_than_noise
            for mean, error in zip(draws.mean(axis=1), errors, strict=True)
        ]
        assert 0.03 < sum(map(bool, wrong)) / len(wrong) < 0.07


# --- Tables and the page ---------------------------------------------------------------------------------------


def test_the_table_is_at_most_80_columns_wide_and_has_every_contestant() -> None:
    text = text_table(outcomes({"lstm": [0.5, 0.7], "my-own-cell hidden=64": [0.8, 0.9]}), 80)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80 and lines[1].startswith("my-own-cell hidden=64  0.8500 ± 0.0500")
    assert text_table([Outcome(label="a", seed=0, failed="why")]) == "no run came to an end\na failed: why"


def test_csv_has_a_row_for_each_run_with_metrics_and_options() -> None:
    runs = [replace(each, metrics={"f1": 0.5}, settings={"hidden": 4}) for each in outcomes({"a": [0.5, 0.7]})]
    rows = list(csv.DictReader(csv_table(runs).splitlines()))
    assert [row["seed"] for row in rows] == ["0", "1"] and rows[1]["value"] == "0.7"
    assert rows[0]["f1"] == "0.5" and rows[0]["option hidden"] == "4"


def test_the_page_has_the_table_the_sentences_and_the_curves(place: Path) -> None:
    found = small(["gru", "own.py:Deep"], settings={"epochs": 3})
    found.save_html("page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    for part in ("<h1>gru, Deep on sums.py:Sums</h1>", "Larger than the noise?", "How far back", "<svg", "Deep"):
        assert part in page
    assert page.count("<svg") == 2 and "http" not in page.replace("http://www.w3.org", "")


# --- How far back ----------------------------------------------------------------------------------------------


class Reading(Module):
    def __init__(self, layer: Recurrent) -> None:
        self.recurrent = layer

    def loss(self, xs: Any, lengths: Any = None) -> Any:
        return self.recurrent(xs, lengths=lengths)[0].sum()


class Decaying(tg.models.Cell):
    """h' = r h + x: what was read d steps ago counts r**d."""

    def setup(self, rate: float = 0.5) -> None:
        self.rate = rate

    def step(self, x: Any, h: Any) -> Any:
        return self.rate * h + x


def test_the_gradients_norm_falls_as_the_cell_forgets() -> None:
    xs = np.random.default_rng(0).standard_normal((8, 3, 4))
    model = Reading(Recurrent(Decaying, 4, 4, dtype=np.float64))
    norms = reach(model, lambda: model.loss(xs))
    np.testing.assert_allclose(norms, 0.5 ** np.arange(8), rtol=1e-12)
    assert effective_memory(norms) == 4  # 1 - 0.5**4 is the first above 0.9 of the whole
    slow = Reading(Recurrent(Decaying, 4, 4, dtype=np.float64, rate=1.0))
    assert effective_memory(reach(slow, lambda: slow.loss(xs))) == 8


def test_padding_directions_and_gradients_that_are_there_are_left_alone() -> None:
    xs, lengths = np.random.default_rng(0).standard_normal((8, 3, 4)), np.array([8, 5, 2])
    model = Reading(GRU(4, 4, 2, bidirectional=True, dtype=np.float64))
    model.loss(xs).backward()
    before = [p.grad.copy() for p in model.parameters()]
    norms = reach(model, lambda: model.loss(xs, lengths))
    assert len(norms) == 5 and all(norm > 0 for norm in norms)
    for p, grad in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad, grad)


def test_there_is_no_reach_without_a_layer_a_past_or_a_gradient() -> None:
    model = Reading(GRU(4, 4))
    assert reach(model, lambda: None) == []
    assert reach(model, lambda: model.loss(np.ones((1, 2, 4), np.float32))) == []
    assert effective_memory([]) is None and effective_memory([0.0]) is None and effective_memory([math.nan]) is None


# --- The command -----------------------------------------------------------------------------------------------


def test_the_command_tells_what_it_does_and_resumes(place: Path) -> None:
    small_run = ["--task", "sums.py:Sums", "--seeds", "2", "--set", "epochs=1", "--jobs", "1"]
    result = invoke("gru", "own.py:Deep(depth=2)", *small_run, "--html", "page.html")
    assert result.exit_code == 0, result.output
    for said in ("This comparison goes to runs/compare.", "4 runs", "4/4 ", "Means over 2 seeds", "page.html"):
        assert said in result.output
    assert {path.name for path in Path("runs/compare").iterdir()} == {"plan.json", "runs", "runs.csv", "runs.jsonl"}
    lines = Path("runs/compare/runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["gru", "Deep(depth=2)"] * 2
    (run, *_) = sorted(Path("runs/compare/runs").iterdir())
    kept = kept_outcome(run)
    (run / OUTCOME).unlink()
    again = invoke("--resume", "runs/compare", "--jobs", "1")
    assert again.exit_code == 0, again.output
    assert (now := kept_outcome(run)) is not None and kept is not None and now.value == kept.value
    more = invoke("gru", "rnn", *small_run)
    assert "This comparison goes to runs/compare-2." in more.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["gru"], "at least two cells were expected"),
        (["gru", "rnn", "--set", "hidden=x"], "hidden must be of the type int"),
        (["gru", "rnn", "--task", "nothing"], "nothing"),
        (["--resume", "nowhere"], "nowhere holds no comparison"),
        (["gru", "--resume", "nowhere"], "leave out the cells"),
        (["gru", "rnn", "--html", "own.py"], "own.py is there already"),
        (["gru", "rnn", "--backend", "ray"], "pip install 'ray'"),
    ],
)
def test_mistakes_are_one_sentence(place: Path, args: list[str], said: str) -> None:
    result = invoke(*args)
    assert result.exit_code == 2 and said in result.output and "Traceback" not in result.output
    assert not Path("runs/compare/runs").exists()


@pytest.mark.slow
def test_processes_side_by_side_give_what_one_gives(place: Path) -> None:
    one, two = (small(["gru", "own.py:Deep"], jobs=jobs) for jobs in (1, 2))
    assert [each.value for each in one.outcomes] == [each.value for each in two.outcomes]


@pytest.mark.slow
def test_a_dask_cluster_of_two_workers_gives_what_one_process_gives(place: Path) -> None:
    distributed = pytest.importorskip("distributed")
    one = small(["gru", "own.py:Deep"])
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        two = small(["gru", "own.py:Deep"], jobs=2, backend="dask")
    assert [each.value for each in one.outcomes] == [each.value for each in two.outcomes]
