"""The text that validates: one's own, or a part of the corpus; and where that part would be unlike the rest."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_rnn.tasks.language.options import LanguageOptions

LONG_SENTENCE = 1000
"""Tokens. The gradient of a sentence that stands alone goes through all of it at once."""
_FEW_LINES = 20
_NEARLY_ALL = 0.9


def remarks_on_split(
    settings: LanguageOptions, parts: Sequence[tuple[str, int]], longest: int, nearly_sorted: bool
) -> list[str]:
    """What a user should know who splits a corpus so: `parts` are the texts that it is from by name and number of
    characters, `longest` is the number of tokens of its longest sentence."""
    remarks = []
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
    if nearly_sorted:
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


class LineOrder:
    """Whether lines that are seen one after the other stand in alphabetical order, forwards or backwards."""

    def __init__(self) -> None:
        self._lines = self._rising = self._falling = 0
        self._before: str | None = None

    def see(self, line: str) -> None:
        """Takes the next line into account, unless it is empty."""
        if not line.strip():
            return
        folded = line.casefold()
        self._lines += 1
        if self._before is not None:
            self._rising += self._before < folded
            self._falling += self._before > folded
        self._before = folded

    @property
    def nearly_sorted(self) -> bool:
        """Whether they do, but for a few; not of a few lines."""
        pairs = self._rising + self._falling
        return self._lines >= _FEW_LINES and bool(pairs) and max(self._rising, self._falling) >= _NEARLY_ALL * pairs
