"""What the reference has: the names in docs/reference, read by the program that builds it."""

from __future__ import annotations

import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PROGRAM: dict[str, Any] = runpy.run_path(str(DOCS / "docstrings.py")) if DOCS.is_dir() else {}
PAGES = sorted((DOCS / "reference").glob("*.rst"))
NAMES: list[str] = list(PROGRAM["named"](DOCS / "reference")) if PROGRAM else []
"""Full names, in the order of the pages; none where there are no docs beside the tests."""


def found(name: str) -> Any:
    """What a full name stands for."""
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)
