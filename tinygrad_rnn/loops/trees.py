"""Nested tuples, lists and dicts, in which states, inputs and outputs of a step may come, as in JAX. None holds
nothing; everything else is a leaf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def flat(tree: Any) -> list[Any]:
    """The leaves, those of a dict in the order of its keys."""
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in flat(part)]
    if isinstance(tree, dict):
        return [leaf for key in _keys(tree) for leaf in flat(tree[key])]
    return [] if tree is None else [tree]


def rebuild(tree: Any, leaves: Iterator[Any]) -> Any:
    """A tree like this one (named tuples too) with other leaves."""
    if isinstance(tree, dict):
        parts = {key: rebuild(tree[key], leaves) for key in _keys(tree)}
        return {key: parts[key] for key in tree}
    if isinstance(tree, tuple | list):
        return _like(tree, (rebuild(part, leaves) for part in tree))
    return None if tree is None else next(leaves)


def nesting(tree: Any) -> str:
    """How a tree is nested, `*` standing for a leaf; a named tuple is a tuple."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key!r}: {nesting(tree[key])}" for key in _keys(tree)) + "}"
    if isinstance(tree, list):
        return f"[{', '.join(map(nesting, tree))}]"
    if isinstance(tree, tuple):
        return f"({', '.join(map(nesting, tree))}{',' * (len(tree) == 1)})"
    return "None" if tree is None else "*"


def _keys(tree: dict[Any, Any]) -> list[Any]:
    return sorted(tree, key=repr)


def _like(tree: Any, parts: Iterable[Any]) -> Any:
    """A list of these, or a tuple, named as `tree` is."""
    if isinstance(tree, list):
        return list(parts)
    # Without `_make`, which is Python: its local variables would be taken for a step's own by `explain`.
    return tuple.__new__(type(tree), parts) if hasattr(tree, "_fields") else tuple(parts)
