"""What a notebook shows of a Tape: each value and each gradient in its place, and the walk step by step."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import FreedTapeError, Parameter, Tensor, ops
from tinygrad_rnn.inspection.inner_gradients import inner_gradients
from tinygrad_rnn.inspection.stepped_tape import brief
from tinygrad_rnn.models import GRU
from tinygrad_rnn.ops import tanh
from tinygrad_rnn.optim import SGD


def parsed(result: Tensor) -> Any:
    html = re.sub(r"<script>.*?</script>", "", tg.Tape(result)._repr_html_(), flags=re.DOTALL)
    return ElementTree.fromstring(f"<div>{html}</div>".replace('xmlns="http://www.w3.org/2000/svg"', ""))


def boxes(result: Tensor) -> dict[str, list[str]]:
    """By the name of each box what stands below it."""
    texts = [[str(text.text or "") for text in box.iter("text")] for box in parsed(result).iter("g")]
    return {name: lines for name, *lines in texts}


def said(result: Tensor, direction: str) -> list[str]:
    return [box.attrib[f"data-{direction}"] for box in parsed(result).iter("g")]


def neuron() -> tuple[Parameter, Parameter, Tensor]:
    w, b = Parameter(-1.5, name="w"), Parameter(0.25, name="b")
    return w, b, (tanh(w * 0.5 + b) - 1.0) ** 2


# --- Values and gradients --------------------------------------------------------------------------------------


def test_every_value_and_every_gradient_stands_in_its_box() -> None:
    _, _, loss = neuron()
    y = np.tanh(-0.5)
    by_y = 2 * (y - 1)
    by_sum = by_y * (1 - y * y)
    assert boxes(loss) == {
        "w": ["-1.5", f"∂ {0.5 * by_sum:.4g}"],
        "b": ["0.25", f"∂ {by_sum:.4g}"],
        "mul #3": ["-0.75", f"∂ {by_sum:.4g}"],
        "add #4": ["-0.5", f"∂ {by_sum:.4g}"],
        "tanh #5": [f"{y:.4g}", f"∂ {by_y:.4g}"],
        "sub #6": [f"{y - 1:.4g}", f"∂ {by_y:.4g}"],
        "pow #7": [f"{(y - 1) ** 2:.4g}", "∂ 1"],
    }


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_a_gradient_within_is_that_by_a_leaf_in_its_place(seed: int, steps: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    weights, start = Parameter(rng.standard_normal((size, size))), Tensor(rng.standard_normal(size))

    def after(state: Tensor, count: int) -> Tensor:
        for _ in range(count):
            state = tanh(state @ weights)
        return state

    middle = after(start, steps)
    loss = (after(middle, 2) ** 2).sum()
    assert middle.node is not None and loss.node is not None
    found = inner_gradients(loss.node, loss.data, tg.Tape(loss).nodes).of[middle.node]
    leaf = Tensor(middle.numpy(), requires_grad=True)
    (after(leaf, 2) ** 2).sum().backward()
    np.testing.assert_allclose(found, leaf.grad, rtol=1e-12)


def test_drawing_changes_no_gradient_and_frees_nothing() -> None:
    w, b, loss = neuron()
    first = tg.Tape(loss)._repr_html_()
    assert [p.grad for p in (w, b)] == [None, None]
    assert tg.Tape(loss)._repr_html_() == first
    loss.backward()
    found = [float(p.grad) for p in (w, b)]
    tg.Tape(w * b)._repr_html_()
    assert [p.grad for p in (w, b)] == found


@pytest.mark.parametrize("engine", ["machine", "numpy", False])
def test_the_backward_pass_after_a_drawing_is_what_it_is_without(engine: Any) -> None:
    rng = np.random.default_rng(0)
    xs, table = Tensor(rng.standard_normal((6, 2, 3))), rng.standard_normal((9, 3))

    def gradients(drawn: bool) -> list[Any]:
        w, u, e = Parameter(rng_of(1, (3, 3)), name="w"), Parameter(rng_of(2, (3, 3))), Parameter(table)
        with tg.compiled(engine):
            _, ys = tg.scan(lambda h, x: (tanh(x @ u + h @ w),) * 2, Tensor(np.zeros((2, 3))), xs)
            loss = (ys * ys).sum() + ops.softmax_cross_entropy(ys[-1] @ ops.take(e, [1, 2, 1]), [0, 1])
            html = tg.Tape(loss)._repr_html_() if drawn else ""
            assert ("∂" in html) == drawn
            loss.backward()
        return [w.grad, u.grad, e.grad.dense()]

    for without, after in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_array_equal(after, without)


def rng_of(seed: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape)


def test_an_embedding_and_several_results_of_an_op_have_their_gradients() -> None:
    table = Parameter(np.ones((9, 2)), name="table")
    first, second = ops.split(ops.take(table, np.array([1, 1])), [1])
    found = boxes(first.sum() * 3.0 + second.sum())
    assert found["table"] == ["9 x 2, norm 4.24", "∂ 9 x 2, norm 5.66"]
    assert found["split #3"] == ["1 x 2, norm 1.41; 1 x 2, norm 1.41", "∂ 1 x 2, norm 4.24; 1 x 2, norm 1.41"]
    assert boxes(first.sum())["split #3"][1] == "∂ 1 x 2, norm 1.41; none"


def test_where_there_can_be_no_gradient_values_alone_are_drawn_and_it_is_said_why() -> None:
    x = Parameter(np.ones(3), name="x")
    assert boxes(tanh(x))["x"] == ["[1, 1, 1]"]
    assert "No gradients: the result has the shape (3,), and is no single number." in tg.Tape(x)._repr_html_()
    loss = (x * x).sum()
    x.grad = np.ones(3)
    SGD([x], lr=0.1).step()
    assert boxes(loss)["sum #3"] == ["3"]
    assert "which an optimiser&#x27;s step has changed" in tg.Tape(loss)._repr_html_()


def test_a_freed_tape_says_so() -> None:
    _, _, loss = neuron()
    tape = tg.Tape(loss)
    loss.backward()
    for look in (tape._repr_html_, tape.__str__):
        with pytest.raises(FreedTapeError, match=r"Tape: a backward\(\) has freed this tape"):
            look()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.123456), "0.1235"),
        (np.array([[2]]), "2"),
        (np.array([1.0, -2.5]), "[1, -2.5]"),
        (np.ones((2, 2)), "2 x 2, norm 2"),
        (np.ones(5), "5, norm 2.24"),
        ([np.ones(1), None], "1; none"),
        (True, "1"),
        (np.zeros((0, 3)), "0 x 3, norm 0"),
    ],
)
def test_a_value_is_told_in_short(value: Any, text: str) -> None:
    assert brief(value) == text


# --- The steps -------------------------------------------------------------------------------------------------


def test_each_step_says_what_is_read_and_made_and_what_is_handed_back() -> None:
    _, _, loss = neuron()
    forward, backward = said(loss, "forward"), said(loss, "backward")
    assert forward[:4] == [
        "w is given, -1.5",
        "b is given, 0.25",
        "mul #3 reads w, 0.5 and makes -0.75",
        "add #4 reads mul #3, b and makes -0.5",
    ]
    assert backward[:4] == [
        "w keeps its gradient, -1.15",
        "b keeps its gradient, -2.3",
        "mul #3 has the gradient -2.3; its rules hand -1.15 to w",
        "add #4 has the gradient -2.3; its rules hand -2.3 to mul #3, -2.3 to b",
    ]


def test_gradients_of_several_uses_are_added_up_before_the_eyes() -> None:
    v = Parameter(3.0, name="v")
    assert said(v * v - v, "backward")[0] == "v keeps its gradient, -1 + 3 + 3 = 5"
    assert said(v * v, "backward")[0] == "v keeps its gradient, 3 + 3 = 6"
    assert said(v - v, "backward")[0] == "v keeps its gradient, 1 - 1 = 0"


def test_steps_are_as_many_as_boxes_and_twice_where_there_are_gradients() -> None:
    _, _, loss = neuron()
    (slider,) = parsed(loss).iter("input")
    assert slider.attrib["max"] == slider.attrib["value"] == "14"
    (slider,) = parsed(tanh(Parameter(np.ones(3)))).iter("input")
    assert slider.attrib["max"] == "2"


def test_pictures_have_no_ids_to_clash_and_nothing_that_works_only_with_scripts_is_seen_without() -> None:
    _, _, loss = neuron()
    tree = parsed(loss)
    assert not any("id" in each.attrib for each in tree.iter())
    hidden = {each.attrib["class"] for each in tree.iter("div") if "hidden" in each.attrib}
    assert hidden == {"tg-tape-controls", "tg-tape-said"}
    html = tg.Tape(loss)._repr_html_().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in html and "src=" not in html


# --- The graph -------------------------------------------------------------------------------------------------


def test_a_small_tape_is_drawn_every_node_below_those_that_it_comes_from() -> None:
    w, x = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((4, 2)))
    tree = parsed(((tanh(x @ w) + w.sum(axis=0)) ** 2).mean())
    tops = {box.attrib["data-box"]: float(next(box.iter("rect")).attrib["y"]) for box in tree.iter("g")}
    names = sorted(re.sub(r" #\d+", "", str(next(box.iter("text")).text)) for box in tree.iter("g"))
    assert names == ["add", "leaf", "matmul", "mean", "pow", "sum", "tanh"]
    arrows = [path.attrib for path in tree.iter("path")]
    assert len(arrows) == 7
    assert all(tops[arrow["data-from"]] < tops[arrow["data-to"]] for arrow in arrows)
    assert len(list(tree.iter("tr"))) == 1 + 7


def test_an_arrow_goes_to_the_next_row_or_around_the_boxes_between() -> None:
    a = Parameter(1.0, name="a")
    tree = parsed(tanh(tanh(a)) + a)
    rects = [{k: float(rect.attrib[k]) for k in ("x", "y", "width", "height")} for rect in tree.iter("rect")]
    lines = [path.attrib["d"].split(" M")[0] for path in tree.iter("path")]
    points = [[tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)", line)] for line in lines]
    assert sorted(map(len, points)) == [2, 2, 2, 5]
    assert all(path[0][1] < path[-1][1] for path in points)
    (around,) = [path for path in points if len(path) == 5]
    assert all(around[1][0] > rect["x"] + rect["width"] for rect in rects)


def test_boxes_do_not_overlap_and_lie_within_the_picture() -> None:
    parameters = [Parameter(float(i), name=f"parameter number {i}") for i in range(4)]
    tree = parsed(ops.stack(parameters).sum())
    (svg,) = tree.iter("svg")
    corners = sorted((*(float(rect.attrib[k]) for k in ("y", "x", "width", "height")),) for rect in tree.iter("rect"))
    for (y, x, wide, high), (below, right, _, _) in pairwise(corners):
        assert below >= y + high or right >= x + wide
        assert x >= 0 and x + wide <= float(svg.attrib["width"]) and y + high <= float(svg.attrib["height"])


def test_a_large_tape_is_a_list() -> None:
    y = x = Tensor(1.0, requires_grad=True)
    for _ in range(59):
        y = tanh(y)
    assert len(boxes(y)) == 60
    html = tg.Tape(tanh(y))._repr_html_()
    assert "svg" not in html
    assert html.count("<tr>") == 62
    assert x.grad is None


def test_several_results_of_one_op_are_one_box() -> None:
    first, second = ops.split(Tensor(np.ones((2, 3)), requires_grad=True), [1])
    assert len(list(parsed(first.sum() * second.sum()).iter("rect"))) == 5


def test_an_op_of_many_operands_is_a_list() -> None:
    outputs, _ = GRU(3, 2)(Tensor(np.ones((4, 1, 3), np.float32)))
    assert "svg" not in tg.Tape(outputs.sum())._repr_html_()


# --- In a browser ----------------------------------------------------------------------------------------------

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)

HARNESS = """<script>
const out = [...document.querySelectorAll('.tg-tape')].map((tape, i) => {
  const slider = tape.querySelector('input'), [back, on] = tape.querySelectorAll('button');
  const seen = [tape.querySelector('.tg-tape-controls').hidden];
  const look = () => seen.push([
    tape.querySelector('.tg-tape-said').textContent,
    [...tape.querySelectorAll('[data-box]')].map(box => [...box.querySelectorAll('text')].slice(1)
      .map(text => text.style.visibility === 'hidden' ? 0 : 1).join('')).join(' ')]);
  slider.value = 2; slider.oninput(); look(); on.onclick(); look();
  slider.value = 6; slider.oninput(); look(); back.onclick(); look();
  return seen;
});
document.body.innerHTML = '<pre id="out"></pre>';
document.getElementById('out').textContent = JSON.stringify(out);
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_in_a_browser_a_slider_goes_through_its_own_tape(tmp_path: Path) -> None:
    v = Parameter(3.0, name="v")
    picture = tg.Tape(v * v + v)._repr_html_()
    page = tmp_path / "tapes.html"
    page.write_text(f"<!doctype html><meta charset='utf-8'><body>{picture}{picture}{HARNESS}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([CHROMIUM, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    (text,) = re.findall(r'<pre id="out">(.*?)</pre>', done.stdout)
    assert json.loads(text) == 2 * [
        [
            False,
            ["2 of 6, forward: mul #2 reads v, v and makes 9", "10 10 00"],
            ["3 of 6, forward: add #3 reads mul #2, v and makes 12", "10 10 10"],
            ["6 of 6, backward: v keeps its gradient, 1 + 3 + 3 = 7", "11 11 11"],
            ["5 of 6, backward: mul #2 has the gradient 1; its rules hand 3 to v, 3 to v", "10 11 11"],
        ]
    ]
