"""Labels: a set of names as ids, and ids as names."""

from __future__ import annotations

import operator
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.vocabulary import Ids

_SHOWN = 10
"""How many names a message lists."""


class Labels:
    """Names and their ids from 0: the classes of texts, the tags of words, the symbols of a transcript.

    Unlike a Vocabulary they have no marks for padding, sentence ends and what is unknown: a model that chooses among
    labels chooses one of them.

    Args:
        names: in the order of their ids, all different.

    Example:
        >>> labels = data.Labels.build(["spam", "ham", "spam"])
        >>> labels.encode(["spam", "ham"]), labels.decode([0])
        (array([1, 0]), ['ham'])
    """

    def __init__(self, names: Iterable[str]) -> None:
        """The labels of these names, in this order. Raises TextError for none, for a name that stands twice, and for
        one that is no text."""
        if isinstance(names, str):
            raise TextError(f"the names of labels must be a list, got the text {reprlib.repr(names)}")
        self.names: tuple[str, ...] = tuple(names)
        if not self.names:
            raise TextError("labels need a name, got none")
        for name in self.names:
            if not isinstance(name, str):
                raise TextError(f"the name of a label must be a text, got {name!r}")
        self._ids = {name: id for id, name in enumerate(self.names)}
        if len(self._ids) != len(self.names):
            twice = next(name for name, count in Counter(self.names).items() if count > 1)
            raise TextError(f"the names of labels must differ, got {twice!r} twice")

    @classmethod
    def build(cls, values: Iterable[str]) -> Labels:
        """The different names among the values, sorted, so that their ids depend on no order. Raises TextError."""
        return cls(sorted(cls(values if isinstance(values, str) else dict.fromkeys(values))))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def __eq__(self, other: object) -> bool:
        return self.names == other.names if isinstance(other, Labels) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"Labels({self._shown()})"

    @overload
    def encode(self, names: str, unknown: int | None = None) -> int: ...  # type: ignore[overload-overlap]  # one text is one name

    @overload
    def encode(self, names: Iterable[str], unknown: int | None = None) -> Ids: ...

    def encode(self, names: str | Iterable[str], unknown: int | None = None) -> int | Ids:
        """The id of a name, or the ids (N,) int64 of several. A name that is none of the labels gets the id `unknown`
        (-1, say, that a loss leaves out); raises TextError where that is None."""
        if isinstance(names, str):
            return self._id(names, unknown)
        return np.array([self._id(name, unknown) for name in names], dtype=np.int64)

    @overload
    def decode(self, ids: int) -> str: ...

    @overload
    def decode(self, ids: Iterable[Any]) -> list[str]: ...

    def decode(self, ids: int | Iterable[Any]) -> str | list[str]:
        """The name of an id, or the names of several. Raises TextError for an id that no label has."""
        return [self._name(id) for id in ids] if np.ndim(ids) else self._name(ids)  # type: ignore[arg-type, union-attr]  # ndim tells which

    def to_list(self) -> list[str]:
        """The names in the order of their ids."""
        return list(self.names)

    @classmethod
    def from_list(cls, names: Sequence[str]) -> Labels:
        """What `to_list` gave. Raises TextError."""
        return cls(names)

    def _id(self, name: str, unknown: int | None) -> int:
        found = self._ids.get(name, unknown)
        if found is None:
            raise TextError(f"there is no label {name!r}; the {len(self):,} labels are {self._shown()}")
        return found

    def _name(self, id: Any) -> str:
        try:
            number = operator.index(id)
        except TypeError:
            raise TextError(f"the id of a label must be an integer, got {id!r}") from None
        if not 0 <= number < len(self):
            raise TextError(f"the id of a label must be from 0 to {len(self) - 1:,}, got {number:,}")
        return self.names[number]

    def _shown(self) -> str:
        more = len(self) - _SHOWN
        listed = ", ".join(map(repr, self.names[:_SHOWN]))
        return f"{listed} and {more:,} more" if more > 0 else listed
