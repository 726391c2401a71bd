"""What a notebook shows of a Tensor and a model."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tinygrad_rnn import Parameter, Tensor, pictures
from tinygrad_rnn.models import LanguageModel


def parsed(html: str) -> Any:
    return ElementTree.fromstring(f"<div>{html}</div>".replace('xmlns="http://www.w3.org/2000/svg"', ""))


def fills(html: str) -> list[str]:
    return [each.attrib["fill"] for each in parsed(html).iter("rect")]


def test_entries_are_blue_below_zero_white_at_it_and_red_above() -> None:
    html = pictures.heat_map(np.array([[-2.0, 0.0, 1.0, 2.0, np.nan, np.inf]]))
    assert fills(html) == [
        "rgb(33,102,172)",
        "rgb(247,247,247)",
        "rgb(212,136,145)",
        "rgb(178,24,43)",
        *["#e6c700"] * 2,
    ]
    assert "from -2 (blue) to 2 (red); 2 not finite (yellow)" in html
    assert "from 0 (white) to 3 (red)<" in pictures.heat_map(np.array([0, 3]))
    assert "from -3 (blue) to 0 (white)<" in pictures.heat_map(np.array([0, -3]))
    assert [each.text for each in parsed(html).iter("title")][:2] == ["[0, 0] -2", "[0, 1] 0"]


def test_a_square_tells_its_index_and_blocks_of_rows_stand_apart() -> None:
    squares = list(parsed(pictures.heat_map(np.arange(24.0).reshape(2, 3, 4))).iter("rect"))
    assert squares[-1].find("title").text == "[1, 2, 3] 23"
    tops = sorted({int(square.attrib["y"]) for square in squares})
    assert np.diff(tops).tolist() == [11, 11, 16, 11, 11]
    (last,) = list(parsed(pictures.heat_map(np.arange(3.0))).iter("rect"))[2:]
    assert last.find("title").text == "[2] 2"


def test_numbers_are_there_where_they_are_few() -> None:
    assert "<pre" in Tensor(np.ones(60))._repr_html_()
    assert "<pre" not in Tensor(np.ones(61))._repr_html_()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 3), (1, 1)])
def test_every_entry_of_a_small_array_is_a_square(shape: tuple[int, ...]) -> None:
    assert len(fills(pictures.heat_map(np.zeros(shape)))) == np.prod(shape)


def test_of_a_large_array_the_beginning_is_drawn_and_that_is_said() -> None:
    html = pictures.heat_map(np.zeros((100, 70)))
    assert len(fills(html)) == pictures.ROWS * pictures.COLUMNS
    assert "the first 24 x 48 of (100, 70)" in html


@pytest.mark.parametrize("data", [np.zeros((0, 3)), np.zeros((3, 0)), np.array(1.5), np.array(["a"]).size > 2])
def test_what_has_no_entries_to_draw_is_text(data: Any) -> None:
    html = Tensor(data)._repr_html_()
    assert "svg" not in html
    assert "Tensor(" in html


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_a_tensor_is_a_heat_map_with_its_name_and_shape(dtype: Any) -> None:
    html = Parameter(np.ones((2, 3)), name="z.<U>")._repr_html_() + Tensor(np.ones((2, 3), dtype))._repr_html_()
    assert "<b>Parameter</b> z.&lt;U&gt; (2, 3) float64" in html
    assert f"<b>Tensor</b>  (2, 3) {np.dtype(dtype)}" in html
    assert len(fills(html)) == 12


def test_a_model_is_a_table_of_its_parameters() -> None:
    model = LanguageModel(7, 3, 4)
    html = model._repr_html_()
    tree = parsed(html)
    rows = [[cell.text for cell in row] for row in tree.iter("tr")]
    assert rows[0] == ["parameter", "shape", "dtype", "mean", "deviation"]
    assert [row[0] for row in rows[1:]] == [name for name, _ in model.named_parameters()]
    assert f"<b>LanguageModel</b>: {model.size} parameters" in html
