"""The drawings of docs/unrolled.rst: what they show is computed, whole without motion, and needs nothing else."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tinygrad_rnn import Tensor, jacobian, ops

HOME = Path(__file__).parents[1]
DRAWINGS = ("by_hand", "tape", "scan", "decay")
PHONE = 358
"""The width, in pixels, that Furo leaves of a screen of 390."""


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    path = HOME / "docs" / "unrolled.py"
    if not path.is_file():
        pytest.skip("the tests run without the checkout")
    return runpy.run_path(str(path))


def parsed(program: dict[str, Any], name: str) -> ElementTree.Element:
    return ElementTree.fromstring(program[name]().replace('xmlns="http://www.w3.org/2000/svg"', ""))


def shown_at(program: dict[str, Any], name: str, label: str, kind: str = "forward") -> list[int]:
    """The beats at which shapes with this text come up."""
    found = []
    for group in parsed(program, name).iter("g"):
        words = group.attrib.get("class", "").split()
        if kind in words and any(each.text == label for each in group.iter("text")):
            found += [int(word.removeprefix("beat")) for word in words if word.startswith("beat")]
    return found


def style(program: dict[str, Any], name: str) -> str:
    return next(parsed(program, name).iter("style")).text or ""


# --- What is shown ---------------------------------------------------------------------------------------------


def test_the_shares_are_those_of_a_product_of_derivatives(program: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    U, W, V = (rng.standard_normal(shape) for shape in ((3, 8), (8, 8), 8))
    W *= 1.4 / np.linalg.norm(W, 2)
    states = [np.zeros(8)]
    for x in (xs := rng.standard_normal((5, 3))):
        states.append(np.tanh(x @ U + states[-1] @ W))
    g = V
    norms: list[Any] = []
    for t in reversed(range(5)):
        norms.insert(0, np.linalg.norm(g))
        step = jacobian(lambda h, t=t: ops.tanh(Tensor(xs[t] @ U) + h @ Tensor(W)))(Tensor(states[t]))
        g = g @ step.numpy()
    np.testing.assert_allclose(program["reach"](), np.array(norms) / norms[-1], rtol=1e-10)
    assert 0.01 < min(program["reach"]()) < 0.2


def test_what_is_cut_is_no_longer_there_and_the_rest_is_as_before(program: dict[str, Any]) -> None:
    (_, whole, none), (_, kept, cut), (_, chunks, cuts) = program["rows"]()
    assert (none, cut, cuts) == ([], [3], [2, 4])
    assert kept == [0, 0, 0, *whole[3:]]
    assert chunks == [0, 0, 0, 0, 1]
    assert program["reach"](1) == chunks
    np.testing.assert_allclose(program["reach"](3), [0, 0, 0, *whole[3:]], rtol=1e-12)


def test_the_drawing_holds_the_shares_in_numbers_in_strokes_and_in_words(program: dict[str, Any]) -> None:
    tree, whole = parsed(program, "decay"), program["reach"]()
    texts = [each.text for each in tree.iter("text")]
    about = next(tree.iter("desc")).text or ""
    for share in whole:
        assert f"{share:.2f}" in texts
    assert ", ".join(f"{share:.2f}" for share in whole) in about
    widths = [float(width) for width in re.findall(r"stroke-width:([\d.]+)", ElementTree.tostring(tree, "unicode"))]
    strokes = sorted({round(1 + 7 * share, 2) for share in whole[:-1]})
    assert sorted({width for width in widths if width in strokes}) == strokes
    assert len([each for each in tree.iter("g") if "cut" in each.attrib.get("class", "").split()]) == 3 + 2


@pytest.mark.parametrize("name", ["by_hand", "tape"])
def test_a_step_comes_after_all_that_it_reads_and_its_gradient_after_those_of_later_ones(
    program: dict[str, Any], name: str
) -> None:
    forward = [shown_at(program, name, f"{letter}{t}") for t in "₁₂₃₄₅" for letter in "xhy"]
    assert forward == [[beat] for beat in range(15)]
    terms = [shown_at(program, name, f"h{a}ᵀδ{b}", "backward")[0] for a, b in zip("₀₁₂₃₄", "₁₂₃₄₅", strict=True)]
    assert terms == sorted(terms, reverse=True) and min(terms) >= 15 and max(terms) < 30


def test_the_tape_is_walked_newest_first(program: dict[str, Any]) -> None:
    assert [shown_at(program, "tape", str(i + 1))[0] for i in range(15)] == [*range(15)]
    at = {}
    for group in parsed(program, "tape").iter("g"):
        rect = group.find("rect")
        if rect is not None and float(rect.attrib["y"]) > 260 and "backward" in group.attrib["class"]:
            at[float(rect.attrib["x"])] = int(group.attrib["class"].split("beat")[1])
    assert [at[left] for left in sorted(at)] == [*range(29, 14, -1)]


def test_the_scan_does_at_once_what_does_not_wait_for_the_state(program: dict[str, Any]) -> None:
    beats = {letter: [shown_at(program, "scan", f"{letter}{t}")[0] for t in "₁₂₃₄₅"] for letter in "xhy"}
    assert beats == {"x": [0] * 5, "h": [1, 2, 3, 4, 5], "y": [6] * 5}
    assert shown_at(program, "scan", "dW = [h₀ h₁ …]ᵀ [δ₁ δ₂ …]: one product for all steps", "backward") == [13]


# --- How it is shown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_needs_nothing_else(program: dict[str, Any], name: str) -> None:
    html = program[name]().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"http|url\(|@import|src=|href=|<script", html)
    tree = parsed(program, name)
    assert [each.attrib["type"] for each in tree.iter("input")] == ["checkbox"]


@pytest.mark.parametrize("name", DRAWINGS)
def test_whoever_asks_for_less_motion_has_all_of_it_with_the_order_in_numbers(
    program: dict[str, Any], name: str
) -> None:
    rules = style(program, name)
    still = rules[rules.index("prefers-reduced-motion: reduce") :].partition("\n}")[0]
    assert "animation: none !important" in still and ".count { display: inline; }" in still
    assert "opacity" not in re.sub(r"@keyframes [^\n]+", "", rules).replace("fill-opacity", "")  # all is seen
    tree = parsed(program, name)
    for group in tree.iter("g"):
        for count in (each for each in group.iter("text") if each.attrib.get("class") == "count"):
            assert int(count.text or 0) == int(group.attrib["class"].split("beat")[1]) + 1
    counts = {int(each.text or 0) for each in tree.iter("text") if each.attrib.get("class") == "count"}
    assert counts == {*range(1, {"by_hand": 31, "tape": 31, "scan": 15, "decay": 10}[name])}


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_shape_has_its_motion_which_ends_with_it_in_sight(program: dict[str, Any], name: str) -> None:
    rules, tree = style(program, name), parsed(program, name)
    beats = {word for group in tree.iter("g") for word in group.attrib.get("class", "").split() if "beat" in word}
    names = dict(re.findall(r"\.(beat\d+) \{ animation: (\S+)", rules))
    assert beats == set(names)
    for moved in names.values():
        (frames,) = re.findall(rf"@keyframes {moved} \{{(.*)\}}\n", rules)
        moments = [float(each) for each in re.findall(r"([\d.]+)%", frames)]
        assert moments == sorted(moments) and moments[-1] == 100
        assert frames.strip().endswith("100% { opacity: 1; stroke-width: 1.4; }")
        assert frames.count("stroke-width") == frames.count("opacity")  # else it would change all the time


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_told_to_who_does_not_see_it_and_read_on_a_phone(program: dict[str, Any], name: str) -> None:
    tree = parsed(program, name)
    (svg,) = tree.iter("svg")
    ids = [each.attrib["id"] for each in tree.iter() if "id" in each.attrib]
    assert svg.attrib["aria-labelledby"].split() == ids[1:] and len(set(ids)) == 3
    assert all("".join(each.itertext()) for kind in ("title", "desc", "li") for each in tree.iter(kind))
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", style(program, name))]
    assert len(sizes) == 2 and min(sizes) * PHONE / width >= 11
    top = float(svg.attrib["viewBox"].split()[1])
    for each in tree.iter("text"):
        assert 0 <= float(each.attrib["x"]) <= width and top + 11 <= float(each.attrib["y"]) <= top + height


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_line_of_caption_stands_out_within_the_cycle(program: dict[str, Any], name: str) -> None:
    found = re.findall(r"-line\d+ \{ 0%.*?([\d.]+)% \{ opacity: 1; \} ([\d.]+)%, 100%", style(program, name))
    assert len(found) == len(list(parsed(program, name).iter("li")))
    assert all(0 <= float(begin) < float(end) <= 100 for begin, end in found)


def test_the_page_shows_every_drawing_and_the_build_makes_them(program: dict[str, Any]) -> None:
    text = (HOME / "docs" / "unrolled.rst").read_text(encoding="utf-8")
    assert re.findall(r":file: unrolled/(\w+)\.html", text) == [*DRAWINGS]
    assert '"unrolled.py"' in (HOME / "docs" / "conf.py").read_text(encoding="utf-8")


def test_the_drawings_do_not_share_names(program: dict[str, Any]) -> None:
    names = [each for name in DRAWINGS for each in re.findall(r'@keyframes (\S+)|id="(\S+)"', program[name]())]
    assert len(names) == len(set(names))
