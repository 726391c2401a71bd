"""Nested tuples, in which states, inputs and outputs of a step may come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def flat(tree: Any) -> list[Any]:
    """The leaves of nested tuples."""
    return [leaf for part in tree for leaf in flat(part)] if isinstance(tree, tuple) else [tree]


def rebuild(tree: Any, leaves: Iterator[Any]) -> Any:
    """Nested tuples like `tree` (named ones too) with other leaves."""
    return like(tree, (rebuild(part, leaves) for part in tree)) if isinstance(tree, tuple) else next(leaves)


def like(tree: Any, parts: Iterable[Any]) -> Any:
    """A tuple of these, named as `tree` is."""
    # Without `_make`, which is Python: its local variables would be taken for a step's own by `explain`.
    return tuple.__new__(type(tree), parts) if hasattr(tree, "_fields") else tuple(parts)
