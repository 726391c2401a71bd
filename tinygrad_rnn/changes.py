"""Which arrays were changed in place, and when: a tape holds arrays, and an optimiser writes into them."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

from tinygrad_rnn.backend import Array

order = itertools.count(1)
"""The numbers of nodes and of changes, in the order in which they came."""


class Change(weakref.ref[Any]):
    """The last change of an array, which it refers to and does not keep: its number, and the name of what was changed.
    In a copy of whatever holds it, None: the array's copy was not changed."""

    __slots__ = ("key", "name", "number")
    key: int
    name: str
    number: int

    def __reduce__(self) -> Any:
        return type(None), ()


class Changes:
    """The last change of each array that was changed in place, while the array is there.

    Whoever writes into arrays that a tape may hold takes a `number` first, and gives it to the change of each."""

    def __init__(self) -> None:
        self.newest = 0
        """The number of the last change of all: a node that is newer holds nothing that was changed since."""
        self._known: dict[int, Change] = {}

    def number(self) -> int:
        """The number of changes that are about to be made."""
        number = next(order)
        self.newest = max(self.newest, number)  # another thread may have been here
        return number

    def to(self, array: Array, name: str) -> Change:
        """The change of an array, or of the one whose memory it shows. `name` is what the user calls it."""
        owner = _owner(array)
        change = self.of(owner)
        if change is None:
            change = self._known[id(owner)] = Change(owner, self._forget)
            change.key, change.number = id(owner), 0
        change.name = name
        return change

    def of(self, array: Any) -> Change | None:
        """The same of an array that may never have been changed: None then."""
        owner = _owner(array)
        change = self._known.get(id(owner))
        return change if change is not None and change() is owner else None

    def _forget(self, change: Change) -> None:
        if self._known.get(change.key) is change:
            del self._known[change.key]


changes = Changes()


def _owner(array: Any) -> Any:
    """The array that has the memory of a view. (A dtype has a shape and a base, itself; it has no strides.)"""
    while hasattr(base := getattr(array, "base", None), "strides"):
        array = base
    return array
