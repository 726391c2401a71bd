"""Long texts in pieces, from which NLTK reads what it reads from the whole.

NLTK's regular expressions have a time limit on each text, which a paragraph of some megabytes exceeds. What they decide
at a place depends on the two words around it, so a text may be cut between two plain words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from tinygrad_rnn.data.messages import TextError

PIECE = 50_000
"""Characters of a piece, about: a third of a second of Punkt's work, of the five that NLTK allows."""

_BETWEEN_WORDS = re.compile(r"(?<!\S)[^\W_]+(?= [^\W_]+(?!\S))")


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """A text in pieces of about `size` characters, which joined by a space are the text. Each cut stands between two
    words of letters and digits alone; a text in which no two such words follow each other stays whole."""
    begin = 0
    while len(text) - begin > size and (cut := _BETWEEN_WORDS.search(text, begin + size)):
        yield text[begin : cut.end()]
        begin = cut.end() + 1
    yield text[begin:]


def punkt_sentences(punkt: Any, text: str, size: int = PIECE) -> list[str]:
    """What `punkt.tokenize(text)` gives, with at most about `size` characters at a time. Raises TextError."""
    found: list[str] = []
    for piece in pieces(text, size):
        with _in_time(piece):
            sentences = punkt.tokenize(piece)
        if found and sentences:  # a cut is within a sentence
            found[-1] += f" {sentences.pop(0)}"
        found += sentences
    return found


def split_words(tokenizer: Any, sentence: str, size: int = PIECE) -> list[str]:
    """What `tokenizer.tokenize(sentence)` gives, with at most about `size` characters at a time. Raises TextError."""
    found: list[str] = []
    for piece in pieces(sentence, size):
        with _in_time(piece):
            found += tokenizer.tokenize(piece)
    return found


def punkt_of(text: str, size: int = PIECE) -> Any:
    """NLTK's `PunktSentenceTokenizer(text)`, a model that learns from the text, which it reads by about `size`
    characters of a line at a time. Raises TextError."""
    import nltk.tokenize  # noqa: PLC0415  (takes half a second, and batches do not need it)

    with _in_time(text):
        return nltk.tokenize.PunktSentenceTokenizer(text, lang_vars=_piecewise()(size))


@cache
def _piecewise() -> Any:
    from nltk.tokenize.punkt import PunktLanguageVars  # noqa: PLC0415

    class Piecewise(PunktLanguageVars):  # type: ignore[misc]  # NLTK publishes no types
        """How Punkt reads English, a piece of a line at a time."""

        def __init__(self, size: int) -> None:
            self.size = size

        def word_tokenize(self, s: str) -> list[str]:
            return [token for piece in pieces(s, self.size) for token in super(Piecewise, self).word_tokenize(piece)]

    return Piecewise


@contextmanager
def _in_time(text: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise TextError(
            f"NLTK's rules were not done in their time with a part of {len(text):,} characters, {text[:40]!r}...: line "
            "breaks with --lines, or characters with --level char, do without them"
        ) from None
