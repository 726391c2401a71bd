"""Scripts and styles that pages and pictures carry within themselves."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def bundled(name: str) -> str:
    """The text of a file in `assets`."""
    return (files("tinygrad_rnn.inspection") / "assets" / name).read_text(encoding="utf-8")
