"""What this room tells its user: errors in one sentence, and notes."""

import re
from collections.abc import Callable

Note = Callable[[str], None]
"""Is told, in a sentence, what a user should know and need not act on."""


def unheard(sentence: str) -> None:
    """A note that nobody reads."""


_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys and does not show: control characters but newline and tab, and marks that turn the direction of
writing round; and halves of characters, which no encoding has."""


def printable(text: str) -> str:
    """The text as it may be sent to a terminal: what would not be seen there is written out, as \\x1b."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class TextError(ValueError):
    """A user's mistake about text, in one sentence."""
