"""What this room tells its user: errors in one sentence, and notes."""

from collections.abc import Callable

Note = Callable[[str], None]
"""Is told, in a sentence, what a user should know and need not act on."""


class TextError(ValueError):
    """A user's mistake about text, in one sentence."""
