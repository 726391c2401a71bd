"""What a model of a task did, drawn: charts, heat maps, the page of `inspect --html` and the picture of `--plot`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from commands import fails, works
from hypothesis import given
from hypothesis import strategies as st
from small_tasks import classify_run, steps

from tinygrad_rnn import Tensor
from tinygrad_rnn.inspection.charts import chart
from tinygrad_rnn.inspection.matrices import matrix
from tinygrad_rnn.inspection.plots import FIGURE_WIDTH, draw_views
from tinygrad_rnn.inspection.views import Chart, HeatMap, View
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.tasks.looking import confusions


def parsed(svg: str) -> Any:
    return ElementTree.fromstring(f"<div>{svg}</div>".replace(' tabindex="0"', ""))


def heat_map(values: Any, **options: Any) -> HeatMap:
    rows, columns = ([f"{name}{i}" for i in range(n)] for name, n in zip("rc", np.shape(values), strict=True))
    return HeatMap("A title", np.array(values, float), rows, columns, **options)


def test_views_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"values must have the shape \(2, 1\) of its rows and columns, got \(1, 2\)"):
        HeatMap("", np.zeros((1, 2)), ["a", "b"], ["c"])
    for wrong in ({"lines": {"a": np.zeros(2)}}, {"lines": {}, "bands": {"b": (np.zeros(3), np.zeros(2))}}):
        with pytest.raises(ValueError, match=r"must have the shape \(3,\) of x, got \(2,\)"):
            Chart("", np.arange(3.0), **wrong)


@given(st.lists(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=2), min_size=1, max_size=3))
def test_a_cell_is_as_strong_as_its_value_and_tells_it(values: list[list[float]]) -> None:
    cells = list(parsed(matrix(heat_map(values))).iter("rect"))
    most = max(abs(value) for row in values for value in row) or 1.0
    flat = [value for row in values for value in row]
    for cell, value in zip(cells, flat, strict=True):
        assert float(cell.attrib["fill-opacity"]) == pytest.approx(abs(value) / most, abs=1e-3)
        assert cell.attrib["class"] == ("low" if value < 0 else "high")
        assert cell.find("title").text.endswith(f": {value:.4g}")


def test_cells_stand_in_rows_and_columns_and_counts_are_written_into_them() -> None:
    svg = parsed(matrix(heat_map([[0, 5], [2, np.nan]], counts=True, row_title="right", column_title="said")))
    places = [(float(c.attrib["x"]), float(c.attrib["y"])) for c in svg.iter("rect")]
    assert places[0][1] == places[1][1] < places[2][1] == places[3][1] and places[0][0] == places[2][0] < places[1][0]
    assert [cell.attrib["class"] for cell in svg.iter("rect")] == ["high", "high", "high", "none"]
    assert [text.text for text in svg.iter("text")] == ["r0", "5", "r1", "2", "nan", "c0", "c1", "said →", "← right"]


def test_names_are_left_out_shortened_or_turned_where_there_is_no_room() -> None:
    frames = HeatMap("", np.ones((1, 100)), ["a"], [str(i) for i in range(100)])
    shown = [each.text for each in parsed(matrix(frames)).iter("text")]
    assert shown[1:4] == ["0", "2", "4"] and len(shown) == 51
    words = HeatMap("", np.ones((1, 2)), ["<b>" * 20], ["a long name", " "])
    texts = list(parsed(matrix(words)).iter("text"))
    assert texts[0].text == "<b>" * 5 + "<b…" and texts[2].text == "␣" and "rotate" in texts[1].attrib["transform"]
    assert parsed(matrix(HeatMap("", np.zeros((0, 0)), [], []))) is not None


def test_lines_have_gaps_and_bands_lie_behind_them() -> None:
    x = np.arange(6.0)
    line = np.array([0.0, 1.0, np.nan, 3.0, 4.0, np.inf])
    svg = chart(Chart("", x, {"what came": line}, {"nine in ten": (line - 1, line + 1)}, "step", "value"))
    drawn = parsed(svg)
    assert [len(each.attrib["points"].split()) for each in drawn.iter("polyline")] == [2, 2]
    assert [len(each.attrib["points"].split()) for each in drawn.iter("polygon")] == [4, 4]
    assert svg.index("<polygon") < svg.index("<polyline") and svg.count("<circle") == 4
    assert [each.attrib["class"] for each in drawn.iter("span")] == ["blue", "red"]
    assert chart(Chart("", x, {"nothing": x * np.nan})) == ""
    assert "nan" not in chart(Chart("", np.zeros(1), {"one": np.ones(1)}))


def test_the_same_views_are_drawn_as_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    x = np.arange(3.0)
    views: list[View] = [
        heat_map([[1, 0, 3]], counts=True),
        heat_map([[-1, np.nan]]),
        Chart("A chart", x, {"line": x}, {"band": (x - 1, x + 1)}, "step", "value"),
    ]
    figure = draw_views(views)
    assert [place.get_title("left") for place in figure.axes] == ["A title", "A title", "A chart"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "3"]
    figure.savefig(tmp_path / "views.png")


def test_a_picture_of_few_squares_is_no_wider_than_they_need() -> None:
    pytest.importorskip("matplotlib")
    square, long = np.ones((4, 4)), np.ones((4, 40))
    few, many = (draw_views([heat_map(values.tolist(), counts=True)]) for values in (square, long))
    assert few.get_figwidth() < 4 < many.get_figwidth() == FIGURE_WIDTH
    few.draw_without_rendering()  # lays it out
    box = few.axes[0].get_window_extent()
    assert box.width == pytest.approx(box.height) and box.width > 0.3 * few.get_figwidth() * few.dpi


# --- Of a checkpoint -------------------------------------------------------------------------------------------

OWN = """
import numpy as np
from tinygrad_rnn.inspection.views import Chart
from tinygrad_rnn.tasks.classify import Classify

class Own(Classify):
    def views(self, model, examples):
        return [Chart(f"Of {len(examples)} examples", np.arange(3.0), {"a line": np.arange(3.0)})]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    lines = [f"{'a' if i % 3 else 'b'}\t{'x ' * (i % 5)}{'y' if i % 3 else 'z'}\n" for i in range(60)]
    (folder / "text.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    options = ["--data", folder / "text.tsv", *"--hidden 3 --embedding 3 --epochs 2 --quiet".split()]
    works("train", f"{folder / 'own.py'}:Own", *options, "--out", folder / "run")
    return folder


def test_the_page_of_a_task_has_curves_results_confusions_and_its_views(place: Path, tmp_path: Path) -> None:
    best = place / "run" / "best.safetensors"
    works("inspect", best, "--task", f"{place / 'own.py'}:Own", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings == ["While it was trained", "Which label was taken for which", "Of 6 examples"]
    for part in ("nats per example: training, with dropout from", "accuracy: validation from", "<dt>F1</dt>", "6 test"):
        assert part in page
    # Where the examples are gone, the page says so, and shows the rest.
    lonely = tmp_path / "elsewhere" / "best.safetensors"
    lonely.parent.mkdir()
    shutil.copy(best, lonely)
    moved = place / "moved.tsv"
    (place / "text.tsv").rename(moved)
    try:
        works("inspect", lonely, "--task", f"{place / 'own.py'}:Own", "--html", tmp_path / "page.html")
        error = fails("inspect", lonely, "--task", f"{place / 'own.py'}:Own", "--plot", tmp_path / "views.png")
    finally:
        moved.rename(place / "text.tsv")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "nothing is shown of what the model does" in page and "no log.jsonl lies beside the checkpoint" in page
    assert "there is nothing to draw" in error and not (tmp_path / "views.png").exists()


def test_a_picture_is_written_where_nothing_is_yet(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    best, task = place / "run" / "best.safetensors", ["--task", f"{place / 'own.py'}:Own"]
    works("inspect", best, *task, "--plot", tmp_path / "views.svg")
    assert "Of 6 examples" in re.sub("<!--|-->", "", (tmp_path / "views.svg").read_text())
    for options, message in (
        (["--plot", tmp_path / "views.svg"], "is there already: it stays as it is"),
        (["--plot", tmp_path / "views.txt"], r"a picture ends in .png, .svg, .pdf, got"),
        (["--plot", tmp_path / "x.png", "--html", tmp_path / "x.html"], "one of them at a time"),
        (["--html", tmp_path / "x.html", "--text", "x"], "--text is for language models"),
    ):
        assert re.search(message, fails("inspect", best, *task, *options))
    (tmp_path / "views.svg").write_text("mine", encoding="utf-8")
    for kind in ("--plot", "--html"):
        assert "stays as it is without --overwrite" in fails("inspect", best, *task, kind, tmp_path / "views.svg")
        assert (tmp_path / "views.svg").read_text(encoding="utf-8") == "mine"
    for kind in ("--plot", "--html"):
        works("inspect", best, *task, kind, tmp_path / "views.svg", "--overwrite")
        assert "Of 6 examples" in re.sub("<!--|-->", "", (tmp_path / "views.svg").read_text(encoding="utf-8"))


def test_views_that_are_none_are_told_and_numbers_of_views_are_arrays(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    own, best = tmp_path / "own.py", tmp_path / "run" / "best.safetensors"
    whole = own.read_text(encoding="utf-8")
    for answer, message in (
        ("None", "Own.views: TypeError: 'NoneType' object is not iterable"),
        ("Chart('one', np.ones(1), {})", "Own.views: TypeError: 'Chart' object is not iterable"),
        ("['two']", "Own.views must give HeatMap and Chart, got str"),
    ):
        assert "        return [" in whole
        own.write_text(
            whole.replace("        return [", f"        return {answer}\n        return ["), encoding="utf-8"
        )
        assert message in fails("inspect", best, "--task", f"{own}:Own", "--html", tmp_path / "page.html")
    with pytest.raises(TypeError, match="values must be a NumPy array, got Tensor"):
        HeatMap("one", Tensor(np.ones((1, 1))), "a", "b")  # type: ignore[arg-type]  # as a user might
    with pytest.raises(TypeError, match="said must be a NumPy array, got list"):
        Chart("one", np.arange(2), {"said": [1, 2]})  # type: ignore[dict-item]  # as a user might


def test_confusions_are_drawn_of_labels_that_are_not_too_many(digits: Path) -> None:
    run = classify_run(digits)
    steps(run, 1)
    found = run.measured(run.data.test)
    (view,) = confusions(run.task, found)
    assert isinstance(view, HeatMap) and view.counts and view.values.sum() == len(run.data.test)

    class Many(Classify):
        def labels_in(self, outputs: Sequence[Any]) -> list[str]:
            return [f"{output}{i}" for i, output in enumerate([*outputs] * 9)]

    many = Many(Classify.Options(), run.task.cell)
    assert confusions(many, found) == []
