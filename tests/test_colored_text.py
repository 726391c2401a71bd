"""A gate over a text: each token in the colour of its value."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.inspection.colored_text import ColoredText
from tinygrad_rnn.models import GRU, LSTM

WORDS = "the birds sing".split()


def parsed(text: ColoredText) -> Any:
    return ElementTree.fromstring(text._repr_html_())


def lines(text: ColoredText) -> list[Any]:
    """The text, once for each unit."""
    _, grid = parsed(text)
    return list(grid)[1::2]


def grounds(text: ColoredText) -> list[list[str]]:
    """The colours of each line."""
    return [
        [re.findall(r"background:(.*?);", span.attrib["style"])[0] for span in line.iter("span")]
        for line in lines(text)
    ]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1), min_size=1))
def test_the_text_is_there_whole_once_for_each_unit(tokens: list[str]) -> None:
    text = ColoredText(tokens, np.ones((len(tokens), 2)), units=[1, 0], between=" | ")
    assert ["".join(line.itertext()) for line in lines(text)] == 2 * [" | ".join(tokens)]
    assert [each.text for each in list(parsed(text)[1])[::2]] == ["unit 1", "unit 0"]


def test_a_share_goes_from_pale_to_red() -> None:
    assert grounds(ColoredText(WORDS, np.array([[0.0], [0.5], [1.0]]))) == [
        ["rgba(33,102,172,0.000)", "rgba(178,24,43,0.325)", "rgba(178,24,43,0.650)"]
    ]


def test_what_is_no_share_goes_from_blue_to_red_by_the_largest_that_is_shown() -> None:
    values = np.array([[-4.0, 9.0], [0.0, 9.0], [2.0, np.nan]])
    assert grounds(ColoredText(WORDS, values, units=[0])) == [
        ["rgba(33,102,172,0.650)", "rgba(33,102,172,0.000)", "rgba(178,24,43,0.325)"]
    ]
    text = ColoredText(WORDS, values, "0.forward.c", units=[1])
    assert grounds(text) == [["rgba(178,24,43,0.650)"] * 2 + ["#e6c700"]]
    assert "".join(parsed(text).find("div").itertext()) == "0.forward.c, from -9 to 9"


def test_a_token_tells_its_value_and_a_line_break_is_seen() -> None:
    text = ColoredText(["a<b", "\n", " "], np.array([[0.25], [0.5], [1.0]]))
    assert [span.attrib.get("title") for span in parsed(text).iter("span")][2:] == ["0.25", "0.5", "1"]
    assert "a&lt;b" in text._repr_html_() and "↵<br/>" in text._repr_html_()


def test_units_that_change_most_are_shown_unless_told() -> None:
    values = np.array([[0.0, 5, 0, 1, 9, 0], [1, 5, 8, 3, 0, 2]])
    assert ColoredText(["a", "b"], values).units == [2, 3, 4, 5]
    assert ColoredText(["a", "b"], values, units=[1]).units == [1]
    assert ColoredText(["a", "b"], values[:, :2]).units == [0, 1]


def test_in_a_terminal_it_is_numbers() -> None:
    assert repr(ColoredText(WORDS, np.array([[0.0], [0.5], [1.0]]), "z")) == "z 0: the 0.00 birds 0.50 sing 1.00"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"values \(T,H\) for 2 tokens were expected, got the shape \(3, 1\)"):
        ColoredText(["a", "b"], np.ones((3, 1)))
    for unit in (-1, 2):
        with pytest.raises(IndexError, match=f"there are units 0 ... 1 of z, got {unit}"):
            ColoredText(["a"], np.ones((1, 2)), "z", units=[0, unit])


def test_a_trace_lays_a_gate_over_the_text_that_was_read() -> None:
    layer = GRU(3, 5, dtype=np.float64)
    with tg.trace() as tr:
        layer(Tensor(np.random.default_rng(0).standard_normal((3, 2, 3))))
    text = tr.over(WORDS, "0.forward.z", row=1, between="")
    np.testing.assert_array_equal(text.values, tr["0.forward.z"][:, 1])
    assert (text.name, text.tokens, text.between) == ("0.forward.z", WORDS, "")
    assert tr.over(WORDS, "0.forward.z", units=[4]).units == [4]
    with pytest.raises(KeyError, match="nothing was traced as 'z'"):
        tr.over(WORDS, "z")


def test_the_names_of_a_trace_are_completed_in_ipython() -> None:
    with tg.trace() as tr:
        LSTM(3, 5)(Tensor(np.ones((3, 2, 3), np.float32)))
    assert tr._ipython_key_completions_() == list(tr)
    assert "0.forward.f" in tr._ipython_key_completions_()


def test_ipython_completes_the_names_of_a_trace() -> None:
    completer = pytest.importorskip("IPython.core.completer")
    with tg.trace() as tr:
        LSTM(3, 5)(Tensor(np.ones((3, 2, 3), np.float32)))
    with completer.provisionalcompleter():
        found = [*completer.IPCompleter(namespace={"tr": tr}).completions('tr["0.forward.f', 15)]
    assert {each.text for each in found} >= {"0.forward.f", "0.forward.f.pre"}
