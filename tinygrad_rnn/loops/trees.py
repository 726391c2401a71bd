"""Nested tuples, lists and dicts, in which states, inputs and outputs of a step may come, as in JAX. None holds
nothing; everything else is a leaf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_SEQUENCES = (tuple, list)


def flat(tree: Any) -> list[Any]:
    """The leaves, those of a dict in the order of its keys."""
    leaves: list[Any] = []
    _add_leaves(tree, leaves)
    return leaves


def _add_leaves(tree: Any, leaves: list[Any]) -> None:
    if isinstance(tree, _SEQUENCES):
        for part in tree:
            _add_leaves(part, leaves)
    elif isinstance(tree, dict):
        for key in _keys(tree):
            _add_leaves(tree[key], leaves)
    elif tree is not None:
        leaves.append(tree)


def rebuild(tree: Any, leaves: Iterator[Any]) -> Any:
    """A tree like this one (named tuples too) with other leaves."""
    if isinstance(tree, dict):
        parts = {key: rebuild(tree[key], leaves) for key in _keys(tree)}
        return {key: parts[key] for key in tree}
    if isinstance(tree, _SEQUENCES):
        return _like(tree, [rebuild(part, leaves) for part in tree])
    return None if tree is None else next(leaves)


def prefix_leaves(prefix: Any, tree: Any) -> list[Any]:
    """For each leaf of `tree` what `prefix` has in its place: a tree that begins as this one does, and where it ends
    holds what is meant for all that is below. Raises ValueError where it does not begin so."""
    if not isinstance(prefix, tuple | list | dict):
        return [prefix] * len(flat(tree))
    if tree is None:
        return []
    if isinstance(prefix, dict) and isinstance(tree, dict) and prefix.keys() == tree.keys():
        return [leaf for key in _keys(tree) for leaf in prefix_leaves(prefix[key], tree[key])]
    if isinstance(tree, tuple | list) and not isinstance(prefix, dict) and len(prefix) == len(tree):
        return [leaf for part, below in zip(prefix, tree, strict=True) for leaf in prefix_leaves(part, below)]
    raise ValueError(f"{nesting(tree)} was expected, or what it begins with, got {nesting(prefix)}")


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
