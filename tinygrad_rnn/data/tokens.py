"""Texts to sentences of tokens, words or characters, and back. NLTK does the linguistics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Literal

from tinygrad_rnn.data.joining import join_words
from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.data.pieces import punkt_of, punkt_sentences, split_words

Level = Literal["word", "char"]


def sentences(text: str, lines: bool = False, note: Note | None = None) -> list[str]:
    """The sentences of a text, none of them empty; a blank line always ends one. `lines`: one a line.

    NLTK's Punkt (Kiss & Strunk 2006) finds them with NLTK's English model where that is installed, and otherwise
    with a model that it learns from this text itself, without labels; `note` is then told so."""
    if lines:
        return [line.strip() for line in text.split("\n") if line.strip()]
    import nltk.tokenize  # noqa: PLC0415  (takes half a second, and batches do not need it)

    punkt: Any
    try:
        punkt = nltk.tokenize.PunktTokenizer("english")
    except LookupError:
        if note is not None:
            note(
                "NLTK's Punkt model is not installed, so sentences are found by one trained on this text "
                "(python -m nltk.downloader punkt_tab installs it)."
            )
        punkt = punkt_of(text)
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    return [sentence for paragraph in paragraphs for sentence in punkt_sentences(punkt, paragraph)]


def words(sentence: str, lowercase: bool = True) -> list[str]:
    """The words and punctuation marks of a sentence, by the rules of the Penn Treebank: "don't" is do, n't."""
    return split_words(_word_tokenizer(), sentence.lower() if lowercase else sentence)


@cache
def _word_tokenizer() -> Any:
    # What nltk.word_tokenize(..., preserve_line=True) runs; without that option it would ask for Punkt's data.
    import nltk.tokenize  # noqa: PLC0415

    return nltk.tokenize.NLTKWordTokenizer()


_MARKS = r"!-/:-@\[-^`{-~\u00a1\u00ab\u00bb\u00bf\u2010-\u205e\u3001-\u303f\uff01-\uff0f"
# What is no mark is a part of a word: a vowel sign of Hindi is no letter to Python.
_WORD_OR_MARK = re.compile(rf"[^\s{_MARKS}]+(?:['\u2019-][^\s{_MARKS}]+)*|[{_MARKS}]")


def words_and_marks(text: str) -> list[str]:
    """The words of a text of any number of sentences, with the apostrophes and hyphens within them, and each other mark
    by itself. `words` is for one sentence: it takes a full stop elsewhere for a part of the word."""
    return _WORD_OR_MARK.findall(text)


def characters(sentence: str) -> list[str]:
    """The characters (code points) of a sentence."""
    return list(sentence)


def tokenize(
    text: str | Iterable[str],
    level: Level | str = "word",
    lines: bool = False,
    lowercase: bool | None = None,
    note: Note | None = None,
) -> list[list[str]]:
    """Sentences of tokens, from one text or several; no sentence is empty.

    Words are lower-cased unless told otherwise, characters are not. At the character level each text stays one
    unbroken sequence, newlines included, as char-rnn reads it; with `lines` every line is a sequence of its own
    (names, say). Raises TextError where nothing is left."""
    texts = [text] if isinstance(text, str) else list(text)
    if level == "word":
        lowercase = True if lowercase is None else lowercase
        # One text for all, so that Punkt learns from all of it; the blank line keeps their sentences apart.
        found = [words(sentence, lowercase) for sentence in sentences("\n\n".join(texts), lines, note)]
    elif level == "char":
        whole = [text.lower() for text in texts] if lowercase else texts
        found = [characters(part) for part in (sentences("\n".join(whole), lines=True) if lines else whole)]
    else:
        raise TextError(f'level must be "word" or "char", got {level!r}')
    kept = [tokens for tokens in found if tokens]
    if not kept:
        raise TextError("the text must have at least one token, got none")
    return kept


def detokenize(tokens: Sequence[str], level: Level | str = "word") -> str:
    """A readable sentence from its tokens, as near to what `tokenize` was given as rules can tell."""
    if level == "char":
        return "".join(tokens)
    return join_words(tokens)
