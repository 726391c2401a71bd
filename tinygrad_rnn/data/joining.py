# ruff: noqa: RUF001  (curly quotation marks are meant)
"""From the words of a sentence back to its text: between which of them no space stands, and how quotes were typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_TO_THE_LEFT = set(", . ; : ? ! % ) ] } > ” » '' … n't 's 'm 'd 'll 're 've".split())
_TO_THE_RIGHT = set("( [ { < « „ `` $".split())
_TAKEN_APART = {
    *(("can", "not"), ("gim", "me"), ("gon", "na"), ("got", "ta"), ("lem", "me"), ("wan", "na"), ("d", "'ye")),
    *(("more", "'n"), ("'t", "is"), ("'t", "was")),
}
"""Words that the tokenizer takes apart, by Robert MacIntyre's list."""
_SCHEMES = {"http", "https", "ftp", "ftps", "file"}
_MAILBOX, _DOMAIN = re.compile(r"[\w.+-]+"), re.compile(r"[\w-]+(\.[\w-]+)+")
_GOES_ON = {"?": r"[^=]*=", "&": r"[^=]*=|\w+$", "#": r"\w", "%": r"[0-9A-Fa-f]{2}"}
"""Signs within the address of a page, and how what follows them begins."""
_QUOTED = re.compile(r"'(?!(?:[stmdn]|ll|re|ve|tis|twas|ye)$)\w+", re.IGNORECASE)
"""What NLTK 3.9.1 makes of the first word in single quotation marks."""
_AFTER_APOSTROPHE = set("s t m d n ll re ve".split())
_BEFORE_APOSTROPHE = {"o", "d", "l"}
"""As in o'clock, and in French."""


def join_words(words: Sequence[str]) -> str:
    """The sentence that `tokens.words` takes apart into these words, as near as rules can tell: brackets, quotation
    marks, contractions, e-mail addresses and addresses of pages have no spaces within."""
    joints = {*_signs(words), *_contractions(words), *_straight(words), *_curly(words), *_addresses(words)}
    shown = ['"' if word in ("``", "''") else word for word in words]
    return "".join(("" if i == 0 or i in joints else " ") + word for i, word in enumerate(shown))


def as_typed(words: Sequence[str], text: str) -> list[str]:
    """The words of a text with its quotation marks as the text has them, and not as the tokenizer calls them."""
    marks = iter(re.findall(r"``|''|\"", text))
    return [next(marks, '"') if word in ("``", "''") else word for word in words]


# Each rule yields the joints that it knows of: i where no space stands before word i.


def _signs(words: Sequence[str]) -> Iterator[int]:
    for i, word in enumerate(words):
        if word.lower() in _TO_THE_LEFT or word == "--" or (word == "..." and i):
            yield i
        if word in _TO_THE_RIGHT or word == "--" or (word == "..." and not i):
            yield i + 1
        if word == "#" and i + 1 < len(words) and words[i + 1].isalnum():
            yield i + 1


def _contractions(words: Sequence[str]) -> Iterator[int]:
    for i in range(1, len(words)):
        if (words[i - 1].lower(), words[i].lower()) in _TAKEN_APART:
            yield i


def _straight(words: Sequence[str]) -> Iterator[int]:
    """Single quotation marks, which are apostrophes too: they open and close in turn, unless one is left over after an
    s, as in "the boys' game", or follows an o, as in "o' the"."""
    places = [i for i, word in enumerate(words) if word == "'" or _QUOTED.fullmatch(word)]
    opened = False
    for left, i in zip(range(len(places), 0, -1), places, strict=True):
        before = words[i - 1].lower() if i else ""
        apostrophe = (before.endswith("s") and left % 2 == 1) or before == "o"
        if words[i] != "'":
            opened = True
        elif opened or apostrophe or i + 1 == len(words):
            yield i
            opened = False
        else:
            yield i + 1
            opened = left > 1


def _curly(words: Sequence[str]) -> Iterator[int]:
    """Curly quotation marks: the single one that closes is the apostrophe too, and German closes with the double one
    that others open with."""
    opened = low = False
    for i, word in enumerate(words):
        before, after = words[i - 1] if i else "", words[i + 1] if i + 1 < len(words) else ""
        if word == "‘":
            yield i + 1
            opened = True
        elif word == "’":
            within = after.lower() in _AFTER_APOSTROPHE or (not opened and before.lower() in _BEFORE_APOSTROPHE)
            closes = opened or before[-1:].isalnum() or not after
            if closes:
                yield i
            if not closes or (within and before[-1:].isalnum()):
                yield i + 1
            opened = opened and within
        elif word == "„":
            low = True
        elif word == "“":
            yield i if low else i + 1
            low = False


def _addresses(words: Sequence[str]) -> Iterator[int]:
    within = False
    for i, word in enumerate(words[:-1]):
        before, after = words[i - 1] if i else "", words[i + 1]
        mail = word == "@" and _MAILBOX.fullmatch(before) and _DOMAIN.fullmatch(after)
        scheme = word == ":" and before.lower() in _SCHEMES and after.startswith("//")
        goes_on = within and word in _GOES_ON and re.match(_GOES_ON[word], after)
        if mail or scheme or goes_on:
            yield i
            yield i + 1
        within = bool(scheme or goes_on or (within and before in _GOES_ON) or word.startswith(("//", "www.")))
