"""Texts to sentences of tokens, words or characters, and back. NLTK does the linguistics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Literal

from tinygrad_rnn.data.joining import join_words
from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.data.pieces import punkt_of, punkt_sentences, split_words

Level = Literal["word", "char"]

_AT_A_TIME = 1 << 16
"""Characters of which a list is made, which takes ten times as much memory as they do."""
LEARNT_FROM = 50_000_000
"""Characters that Punkt learns from at most, where it has not been installed."""


def sentences(text: str, lines: bool = False, note: Note | None = None) -> list[str]:
    """The sentences of a text, none of them empty; a blank line always ends one. `lines`: one a line.

    NLTK's Punkt (Kiss & Strunk 2006) finds them with NLTK's English model where that is installed, and otherwise
    with a model that it learns from this text itself (of a very long one from its first LEARNT_FROM characters),
    without labels; `note` is then told so."""
    return list(_sentences([text], lines, note))


def _sentences(parts: Iterable[str], lines: bool, note: Note | None = None) -> Iterator[str]:
    """What `sentences` finds, in a text that comes in parts of whole lines: one paragraph is in memory at a time."""
    units, split = _units(parts, lines, note)
    for unit in units:
        yield from split(unit)


def _units(
    parts: Iterable[str], lines: bool, note: Note | None = None
) -> tuple[Iterator[str], Callable[[str], Iterable[str]]]:
    """The lines, or paragraphs, of a text, and what gives the sentences of one."""
    if lines:
        return (line.strip() for part in parts for line in part.split("\n") if line.strip()), lambda line: [line]
    punkt, parts = _punkt(iter(parts), note)
    return _paragraphs(parts), lambda paragraph: punkt_sentences(punkt, paragraph)


def _punkt(parts: Iterator[str], note: Note | None) -> tuple[Any, Iterator[str]]:
    """What finds sentences, and the parts of the text."""
    import nltk.tokenize  # noqa: PLC0415  (takes half a second, and batches do not need it)

    try:
        return nltk.tokenize.PunktTokenizer("english"), parts
    except LookupError:
        if note is not None:
            note(
                "NLTK's Punkt model is not installed, so sentences are found by one trained on this text "
                "(python -m nltk.downloader punkt_tab installs it)."
            )
        head, length = [], 0
        for part in parts:
            head.append(part)
            length += len(part)
            if length >= LEARNT_FROM:
                break
        return punkt_of("".join(head)), chain(head, parts)


def _paragraphs(parts: Iterable[str]) -> Iterator[str]:
    """What stands between blank lines, each as one line."""
    block: list[str] = []
    for part in parts:
        for line in part.removesuffix("\n").split("\n"):
            if line.strip():
                block.append(line)
            elif block:
                yield " ".join(" ".join(block).split())
                block = []
    if block:
        yield " ".join(" ".join(block).split())


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
    r"""Sentences of tokens, from one text or several; no sentence is empty.

    Args:
        text: one, or several.
        level: "word", or "char": then each text stays one unbroken sequence, newlines included, as char-rnn reads it.
        lines: every line is a sequence of its own (names, say).
        lowercase: words are lower-cased unless told otherwise, characters are not.
        note: is told what one should know of how sentences were found.

    Raises:
        TextError: nothing is left.

    Example:
        >>> data.tokenize("Ada\nBob", level="char", lines=True)
        [['A', 'd', 'a'], ['B', 'o', 'b']]
    """
    texts = [text] if isinstance(text, str) else list(text)
    found: list[list[str]] = [[]]
    for tokens, ended in token_runs(([each] for each in texts), level, lines, lowercase, note):
        found[-1] += tokens
        if ended and found[-1]:
            found.append([])
    if len(found) < 2:
        raise TextError(NO_TOKEN)
    return found[:-1]


def token_runs(
    texts: Iterable[Iterable[str]], level: Level | str, lines: bool, lowercase: bool | None, note: Note | None = None
) -> Iterator[tuple[list[str], bool]]:
    """The tokens of texts, each of which comes in parts of whole lines, as `tokenize` finds them: some tokens of a
    sentence, and whether it ends with them. Raises TextError."""
    if level not in ("word", "char"):
        raise TextError(f'level must be "word" or "char", got {level!r}')
    if level == "word":
        units, sentences_of = word_units(texts, lines, lowercase, note)
        for unit in units:
            yield from ((sentence, True) for sentence in sentences_of(unit))
        return
    for text in texts:
        parts = (part.lower() for part in text) if lowercase else text
        if lines:
            yield from ((characters(line), True) for line in _sentences(parts, lines=True))
        else:
            for part in parts:
                yield from ((characters(part[i : i + _AT_A_TIME]), False) for i in range(0, len(part), _AT_A_TIME))
            yield [], True


def word_units(
    texts: Iterable[Iterable[str]], lines: bool, lowercase: bool | None, note: Note | None = None
) -> tuple[Iterator[str], Callable[[str], Iterator[list[str]]]]:
    """Parts of texts, in each of which sentences and their words are found without looking at another: paragraphs, or
    lines; and what finds them in one."""
    # One text for all, so that Punkt learns from all of it; the blank line keeps their sentences apart.
    whole = (part for number, text in enumerate(texts) for part in chain(["\n\n"] * bool(number), text))
    units, split = _units(whole, lines, note)
    return units, lambda unit: (words(sentence, lowercase is None or lowercase) for sentence in split(unit))


NO_TOKEN = "the text must have at least one token, got none"


def detokenize(tokens: Sequence[str], level: Level | str = "word") -> str:
    """A readable sentence from its tokens, as near to what `tokenize` was given as rules can tell.

    Args:
        tokens: of a sentence.
        level: "word" or "char".

    Example:
        >>> data.detokenize(["a", "rose", ",", "is", "n't", "it", "?"])
        "a rose, isn't it?"
    """
    if level == "char":
        return "".join(tokens)
    return join_words(tokens)
