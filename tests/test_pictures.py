"""What a notebook shows of a Tensor, a Tape and a model."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, pictures
from tinygrad_rnn.models import GRU, LanguageModel
from tinygrad_rnn.ops import tanh


def parsed(html: str) -> Any:
    return ElementTree.fromstring(f"<div>{html}</div>".replace('xmlns="http://www.w3.org/2000/svg"', ""))


def fills(html: str) -> list[str]:
    return [each.attrib["fill"] for each in parsed(html).iter("rect")]


def test_entries_are_blue_below_zero_white_at_it_and_red_above() -> None:
    html = pictures.heat_map(np.array([[-2.0, 0.0, 1.0, 2.0, np.nan, np.inf]]))
    assert fills(html) == ["rgb(33,102,172)", "rgb(247,247,247)", "rgb(212,136,145)", "rgb(178,24,43)", "#000", "#000"]
    assert "from -2 (blue) to 2 (red)" in html
    assert [each.text for each in parsed(html).iter("title")][:2] == ["[0, 0] -2", "[0, 1] 0"]


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


def test_a_small_tape_is_drawn_every_node_below_those_that_it_comes_from() -> None:
    w, x = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((4, 2)))
    loss = ((tanh(x @ w) + w.sum(axis=0)) ** 2).mean()
    tree = parsed(tg.Tape(loss)._repr_html_())
    boxes = {
        text.text: float(rect.attrib["y"])
        for rect, text in zip(tree.iter("rect"), list(tree.iter("text"))[::2], strict=True)
    }
    names = [re.sub(r" #\d+", "", str(name)) for name in boxes]
    assert sorted(names) == ["add", "leaf", "matmul", "mean", "pow", "sum", "tanh"]
    assert len(list(tree.iter("line"))) == 7
    for line in tree.iter("line"):
        assert float(line.attrib["y1"]) < float(line.attrib["y2"])
    assert len(list(tree.iter("tr"))) == 1 + 7


def test_a_large_tape_is_a_list() -> None:
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(50):
        y = tanh(y)
    html = tg.Tape(y)._repr_html_()
    assert "svg" not in html
    assert html.count("<tr>") == 52


def test_several_results_of_one_op_are_one_box() -> None:
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    layer = GRU(3, 2)
    outputs, (state,) = layer(Tensor(np.ones((4, 1, 3), np.float32)))
    tree = parsed(tg.Tape(outputs.sum() + state.sum() + x.sum())._repr_html_())
    assert len(list(tree.iter("rect"))) < 40


def test_a_model_is_a_table_of_its_parameters() -> None:
    model = LanguageModel(7, 3, 4)
    html = model._repr_html_()
    tree = parsed(html)
    rows = [[cell.text for cell in row] for row in tree.iter("tr")]
    assert rows[0] == ["parameter", "shape", "dtype", "mean", "deviation"]
    assert [row[0] for row in rows[1:]] == [name for name, _ in model.named_parameters()]
    assert f"<b>LanguageModel</b>: {model.size} parameters" in html
