"""Grammars of known entropy, and examples of long memory: what is drawn is what its definition says."""

from __future__ import annotations

import itertools
import math
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data.grammars import GRAMMARS, STRING_END, dyck
from tinygrad_rnn.data.long_memory import adding, counting, temporal_order, to_copy

seeds = st.integers(0, 2**32 - 1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- Grammars --------------------------------------------------------------------------------------------------


@given(seeds, st.sampled_from(sorted(GRAMMARS)))
def test_a_drawn_string_is_one_of_the_language_and_no_other_that_begins_so(seed: int, name: str) -> None:
    grammar = GRAMMARS[name]
    text = grammar.draw(rng(seed))
    assert set(text) <= set(grammar.symbols) - {STRING_END} and grammar.draw(rng(seed)) == text
    assert 0 < grammar.nats(text) < math.inf
    if name != "dyck":
        assert all(grammar.nats(text[:i]) == math.inf for i in range(len(text)))
    assert grammar.nats(text + STRING_END) == math.inf


@given(seeds)
def test_every_symbol_of_reber_but_the_first_and_the_last_is_one_of_two(seed: int) -> None:
    text = GRAMMARS["reber"].draw(rng(seed))
    assert math.isclose(GRAMMARS["reber"].nats(text), (len(text) - 2) * math.log(2))


@given(seeds)
def test_an_embedded_string_ends_as_it_began_around_a_string_of_reber(seed: int) -> None:
    text = GRAMMARS["embedded-reber"].draw(rng(seed))
    assert text[0] == "B" and text[1] in "TP" and text[-2:] == text[1] + "E"
    nats = GRAMMARS["reber"].nats(text[2:-2]) + math.log(2)
    assert math.isclose(GRAMMARS["embedded-reber"].nats(text), nats)
    other = text[:-2] + ("P" if text[1] == "T" else "T") + "E"
    assert GRAMMARS["embedded-reber"].nats(other) == math.inf


@pytest.mark.parametrize("text", "BTXSE BPVVE BTSXXTVVE BTXXVPSE BPTVPXVVE".split())
def test_strings_of_the_literature_are_reber_s(text: str) -> None:
    assert GRAMMARS["reber"].nats(text) < math.inf


@pytest.mark.parametrize("text", ["", "BE", "BTXS", "BTXSEE", "BTTXSE", "BPXSE", "btxse", "B.E"])
def test_other_strings_are_not(text: str) -> None:
    assert GRAMMARS["reber"].nats(text) == math.inf


def test_a_string_is_drawn_as_often_as_its_probability_says() -> None:
    generator, count = rng(), 2000
    drawn = [GRAMMARS["reber"].draw(generator) for _ in range(count)]
    for text in ("BTXSE", "BPVVE", "BTSXSE"):
        p = math.exp(-GRAMMARS["reber"].nats(text))
        assert abs(drawn.count(text) / count - p) < 4 * math.sqrt(p * (1 - p) / count)


@given(seeds, st.integers(1, 4), st.integers(1, 4))
def test_brackets_close_in_order_and_are_not_nested_deeper(seed: int, kinds: int, depth: int) -> None:
    text = dyck(kinds, depth).draw(rng(seed))
    nested = max(itertools.accumulate((1 if each in "([{<" else -1 for each in text), initial=0))
    assert nested <= depth
    while (shorter := re.sub(r"\(\)|\[\]|\{\}|<>", "", text)) != text:
        text = shorter
    assert text == ""


def test_the_probabilities_of_short_strings_of_brackets_are_those_found_by_hand() -> None:
    flat, deep = dyck(1, 1), dyck(2, 2)
    assert math.isclose(math.exp(-flat.nats("()" * 3)), 1 / 16) and flat.nats("(())") == math.inf
    assert math.isclose(math.exp(-deep.nats("([])")), 1 / 4 * 1 / 4 * 1 * 1 / 2 * 1 / 2)
    texts = ("".join(each) for length in range(0, 7, 2) for each in itertools.product("()[]", repeat=length))
    assert math.isclose(sum(math.exp(-deep.nats(text)) for text in texts), (64 + 16 + 12 + 9) / 128)  # 0 to 3 pairs


# --- Examples of long memory -----------------------------------------------------------------------------------


@given(seeds, st.integers(2, 30))
def test_a_number_in_each_half_is_marked_and_their_sum_is_the_output(seed: int, length: int) -> None:
    for rows, total in adding(rng(seed), 5, length):
        assert rows.shape == (length, 2) and rows.dtype == np.float32
        first, second = np.flatnonzero(rows[:, 1])
        assert first < length // 2 <= second and {rows[first, 1], rows[second, 1]} == {1.0}
        assert math.isclose(total, float(rows[first, 0]) + float(rows[second, 0]), rel_tol=1e-6)
        assert rows[:, 0].min() >= 0 and rows[:, 0].max() < 1


def test_always_to_say_one_has_the_error_of_the_literature() -> None:
    sums = np.array([total for _, total in adding(rng(), 20000, 4)])
    assert abs(np.mean((sums - 1) ** 2) - 1 / 6) < 0.004


@given(seeds, st.integers(10, 60))
def test_two_symbols_tell_and_stand_where_they_should(seed: int, length: int) -> None:
    for text, told in temporal_order(rng(seed), 5, length):
        places = [i for i, symbol in enumerate(text) if symbol in "XY"]
        tenth = length // 10
        assert len(text) == length and len(places) == 2 and "".join(text[i] for i in places) == told
        assert tenth <= places[0] < 2 * tenth and 5 * tenth <= places[1] < 6 * tenth


@given(seeds, st.integers(1, 12))
def test_what_must_follow_a_symbol_of_anbn_is_said_and_nothing_else(seed: int, longest: int) -> None:
    for text, follows in counting(rng(seed), 8, longest):
        n = len(text) // 2
        assert text == "a" * n + "b" * n and 1 <= n <= longest
        assert all(right in ("?", after) for right, after in zip(follows, text[1:] + ".", strict=True))
        assert follows.count("?") == n


@pytest.mark.parametrize("draw", [partial(temporal_order, length=20), to_copy, partial(counting, longest=99)])
def test_the_same_seed_draws_the_same_and_another_does_not(draw: Any) -> None:
    assert draw(rng(1), 9) == draw(rng(1), 9) != draw(rng(2), 9)


def test_ten_symbols_are_to_be_said_again() -> None:
    assert all(text == again and len(text) == 10 and set(text) <= {*"abcdefgh"} for text, again in to_copy(rng(), 9))
