"""What a run prints fits into the terminal, whatever its width."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.cli.saying import say_samples
from tinygrad_rnn.training import display
from tinygrad_rnn.training.display import columns, entry, figure, header, row, shortened

WORDS = st.lists(st.text("abc,.", min_size=1, max_size=20), max_size=40)


@given(words=WORDS, label=st.text("xyz", max_size=9), width=st.integers(40, 200))
def test_an_entry_fits_and_loses_no_word(words: list[str], label: str, width: int) -> None:
    lines = entry(label, " ".join(words), width).split("\n")
    assert all(len(line) <= width for line in lines)
    assert lines[0][:10].strip() == label and all(line[:10].strip() == "" for line in lines[1:])
    assert " ".join(line[10:] for line in lines).split() == words


def test_an_entry_breaks_no_line_at_a_tie() -> None:
    text = entry("", f"aaaaaaaaaaaaaaaaaaaa bbbbb{display.TIE}ccccc", 40)
    assert text == " " * 10 + "aaaaaaaaaaaaaaaaaaaa\n" + " " * 10 + "bbbbb ccccc"


HEADER = header(["perplexity", "bits"], "tokens")
FIGURES = [("perplexity", "170.1"), ("bits", "7.41")]
NUMBERS = st.floats(0, 1e6, exclude_max=True) | st.just(float("nan")) | st.just(float("inf"))


@given(numbers=st.tuples(*[NUMBERS] * 6), label=st.text("xyz", min_size=1, max_size=12))
def test_a_row_has_its_figures_under_the_header_and_fits_into_80_columns(numbers: Any, label: str) -> None:
    train, valid, perplexity, bits, speed, lr = numbers
    figures = [("perplexity", figure(perplexity, 1)), ("bits", figure(bits, 2))]
    text = row(label, train, valid, figures, speed, "tokens", lr)
    ends = [match.end() for match in re.finditer(r"\S+", HEADER)]
    found = [match.end() for match in re.finditer(r"\S+", text)][1:]
    assert len(found) == len(ends)
    assert len(f"{text}  best") <= 80
    if all(not number >= 1000 for number in numbers) and not (len(label) > 10 and numbers[0] >= 100):
        assert found == ends


def test_a_row_is_what_it_says() -> None:
    assert row("epoch 3", 5.7391, 5.1364, FIGURES, 7600.4, "tokens", 5e-3) == (
        "epoch 3      5.739   5.136       170.1   7.41     7,600    0.005"
    )
    assert row("step 1234567", 5.7391, 5.1364, FIGURES, 7600.4, "tokens", 5e-3) == (
        "step 1234567 5.739   5.136       170.1   7.41     7,600    0.005"
    )
    assert figure(1e30, 1) == "1e+30" and figure(float("inf"), 1) == "inf"


PARTS = st.lists(st.tuples(st.integers(1, 9), st.text("abc", min_size=1, max_size=12)), min_size=1, max_size=6)


@given(parts=PARTS, room=st.integers(1, 90))
def test_what_is_left_out_of_a_line_matters_least(parts: list[tuple[int, str]], room: int) -> None:
    text = shortened(parts, room)
    assert len(text) <= room
    whole = ", ".join(part for _, part in parts)
    if len(whole) <= room:
        assert text == whole
    else:
        most = min(number for number, _ in parts)
        assert any(part[:room] in text for number, part in parts if number == most)


def test_the_width_is_that_of_the_terminal_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def fileno(self) -> int:
            return 7

    for told, expected in ((80, 80), (120, 110), (20, 40), (0, 110)):
        monkeypatch.setattr(os, "get_terminal_size", lambda number, told=told: os.terminal_size((told, 24)))
        assert columns(Terminal()) == expected
    assert columns(io.StringIO()) == 110


@pytest.mark.parametrize(("is_terminal", "indent"), [(True, "  "), (True, ""), (False, "  ")])
def test_sentences_to_look_at_end_their_lines_between_words_on_a_terminal_and_are_a_line_elsewhere(
    is_terminal: bool, indent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Output(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

        def fileno(self) -> int:
            return 7

    output, words = Output(), ["word"] * 30
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((42, 24)))
    say_samples([" ".join(words)], numbered=False, indent=indent)
    lines = output.getvalue().splitlines()
    assert output.getvalue().split() == words and (len(lines) > 1) == (is_terminal and indent != "")
    if len(lines) > 1:
        assert max(map(len, lines)) <= 42 and lines[0].startswith("  word") and lines[1].startswith("    word")
