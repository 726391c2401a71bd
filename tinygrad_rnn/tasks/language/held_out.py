"""The text that validates: one's own, or a part of the corpus; and where that part would be unlike the rest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.data.readers import read_csv, read_texts
from tinygrad_rnn.data.tokens import tokenize
from tinygrad_rnn.tasks.language.options import LanguageOptions

LONG_SENTENCE = 1000
"""Tokens. The gradient of a sentence that stands alone goes through all of it at once."""
_FEW_LINES = 20
_NEARLY_ALL = 0.9


def read_validation_text(settings: LanguageOptions, note: Note) -> tuple[list[list[str]], str]:
    """The sentences of `settings.valid`, read and split as the corpus is, and the text that they are from. Raises
    TextError."""
    path = str(settings.valid)
    if settings.csv is None:
        texts = [text for _, text in read_texts([path], settings.encoding, note)]
    else:
        skip = settings.skip_initial_space
        texts = read_csv(path, settings.column, settings.encoding, skip_initial_space=skip)
    found = tokenize(texts, level=settings.level, lines=settings.lines, lowercase=settings.lowercased, note=note)
    return found, "\x00".join(texts)


def remarks_on_split(
    settings: LanguageOptions, parts: Sequence[tuple[str, int]], sentences: Sequence[Sequence[str]]
) -> list[str]:
    """What a user should know who splits this corpus so: sentences, and `parts`, the texts that it is from by name
    and number of characters."""
    remarks = []
    longest = max(map(len, sentences))
    if not settings.streams and longest > LONG_SENTENCE:
        remarks.append(
            f"The longest sentence has {longest:,} tokens, and is learnt from at once, which takes memory "
            "(--batching stream cuts the text into windows)."
        )
    if settings.valid is not None or settings.shuffled:
        return remarks
    other = "--valid FILE names a text of its own" + (
        "" if settings.streams or settings.unbroken else ", --shuffle draws sentences"
    )
    if len(parts) > 1:
        names = _in_the_end(parts, settings.valid_fraction)
        alone = f"{names[0]} alone" if len(names) == 1 else " and ".join(names)
        remarks.append(f"The validation part is the end of these texts, of {alone} ({other}).")
    if _nearly_sorted(_lines_of(settings, sentences)):
        remarks.append(
            "The lines stand in alphabetical order, and the validation part is the end of it, unlike the rest "
            f"({other})."
        )
    return remarks


def _in_the_end(parts: Sequence[tuple[str, int]], fraction: float) -> list[str]:
    """The names of the texts that the last `fraction` of the characters comes from."""
    left, names = fraction * sum(size for _, size in parts), []
    for name, size in reversed(parts):
        if left > 0:
            names.append(name)
        left -= size
    return names[::-1]


def _lines_of(settings: LanguageOptions, sentences: Sequence[Sequence[str]]) -> list[str]:
    if settings.unbroken:
        return [line for text in sentences for line in "".join(text).split("\n") if line.strip()]
    return [("" if settings.level == "char" else " ").join(tokens) for tokens in sentences]


def _nearly_sorted(lines: list[str]) -> bool:
    """Whether they stand in alphabetical order, forwards or backwards, but for a few."""
    if len(lines) < _FEW_LINES:
        return False
    pairs = [(a, b) for a, b in pairwise(line.casefold() for line in lines) if a != b]
    rising = sum(a < b for a, b in pairs)
    return bool(pairs) and max(rising, len(pairs) - rising) >= _NEARLY_ALL * len(pairs)
