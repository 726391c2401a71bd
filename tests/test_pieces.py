"""A long text in pieces is read as the whole is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nltk.tokenize
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import TextError, tokenize
from tinygrad_rnn.data.pieces import PIECE, pieces, punkt_of, punkt_sentences, split_words
from tinygrad_rnn.data.tokens import sentences, words

LEARNT = """Mr. Smith went to Dr. No at 5 p.m. on Friday. He left e.g. at noon. Is it so? "No!" she said. (It was.)
A. Jones and B. Brown came, i.e. the two of them. They left. It was 3. Then 4. Mr. Brown saw Mr. Smith. Dr. No stayed.
cannot wanna"""
SIGNS = [*".?!\"'()[]{}<>,:;-_\u2014\u201c\u201d\u2019«»", "...", ". . .", "--", "!?", "''", "``", "'t", "it's"]
BITS = [*LEARNT.split(), *SIGNS, "词", "x" * 7]
texts = st.lists(st.sampled_from(BITS), max_size=40).map(" ".join) | st.text(
    "aB1.!?\"')(, -\u201d\n\u3000\x85é", max_size=60
)
sizes = st.integers(1, 30)


@given(texts, sizes)
def test_pieces_joined_by_a_space_are_the_text_and_each_is_cut_between_two_plain_words(text: str, size: int) -> None:
    found = list(pieces(text, size))
    assert " ".join(found) == text
    for before, after in pairwise(found):
        assert before.split()[-1].isalnum() and after.split()[0].isalnum()
        assert len(before) >= size


def test_a_text_of_plain_words_is_cut_into_pieces_of_about_the_size() -> None:
    assert list(pieces("one two three four five", 8)) == ["one two three", "four five"]
    assert list(pieces("one, two, three, four.", 4)) == ["one, two, three, four."]
    assert list(pieces("short", 50)) == ["short"]


@pytest.fixture(scope="module")
def punkt() -> Any:
    return nltk.tokenize.PunktSentenceTokenizer(LEARNT)


@given(texts, sizes)
def test_the_sentences_of_the_pieces_are_those_of_the_whole(punkt: Any, text: str, size: int) -> None:
    one_line = " ".join(text.split())
    assert punkt_sentences(punkt, one_line, size) == punkt.tokenize(one_line)


@given(texts, sizes)
def test_the_words_of_the_pieces_are_those_of_the_whole(text: str, size: int) -> None:
    tokenizer = nltk.tokenize.NLTKWordTokenizer()
    assert split_words(tokenizer, text, size) == tokenizer.tokenize(text)


@given(texts, sizes)
def test_punkt_learns_from_the_pieces_what_it_learns_from_the_whole(text: str, size: int) -> None:
    text = f"{LEARNT}\n{text}"
    plain, pieced = nltk.tokenize.PunktSentenceTokenizer(text)._params, punkt_of(text, size)._params
    for name in ("abbrev_types", "collocations", "sent_starters", "ortho_context"):
        assert getattr(plain, name) == getattr(pieced, name)


def test_no_call_of_nltk_is_given_more_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes long for, it is not asked at once."""
    longest: list[int] = []

    def counting(cls: Any, name: str) -> None:
        method = getattr(cls, name)

        def counted(self: Any, text: str, *rest: Any) -> Any:
            longest.append(len(text))
            return method(self, text, *rest)

        monkeypatch.setattr(cls, name, counted)

    def missing(*_: object) -> None:
        raise LookupError("punkt_tab")

    counting(nltk.tokenize.PunktSentenceTokenizer, "tokenize")
    counting(nltk.tokenize.punkt.PunktLanguageVars, "word_tokenize")
    counting(nltk.tokenize.NLTKWordTokenizer, "tokenize")
    monkeypatch.setattr(nltk.tokenize, "PunktTokenizer", missing)
    text = "The cat sat on the mat and so did the other cat of whom nobody knew a thing. " * 800
    assert len(sentences(text)) == 800 and len(words(text.replace(".", ""))) == 18 * 800
    assert PIECE < max(longest) < PIECE + 100 < len(text)


def test_where_nltk_is_not_done_in_time_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object) -> None:
        raise TimeoutError("the pattern may be pathological")

    monkeypatch.setattr(nltk.tokenize.NLTKWordTokenizer, "tokenize", late)
    with pytest.raises(TextError, match=r"a part of 8 characters, 'some, so'.*--lines.*--level char"):
        tokenize("some, so")
