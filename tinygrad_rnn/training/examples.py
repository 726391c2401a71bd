"""What a run learns from: its examples, their identity, their parts, and their batches on a device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from tinygrad_rnn.backend import to_device


@dataclass(frozen=True)
class Source:
    """Examples and what they are called; those to validate on, and those for the result, where they are files of their
    own; and the SHA-256 of all."""

    name: str
    sha256: str
    examples: Sequence[Any]
    valid: Sequence[Any] | None = None
    test: Sequence[Any] | None = None


@dataclass(frozen=True)
class Data:
    """The part of the examples to train on, the part that chooses the best model, the part for the result (which may be
    empty), and what is known of them all, as JSON values."""

    train: Sequence[Any]
    valid: Sequence[Any]
    test: Sequence[Any]
    about: dict[str, Any]


OWN = "its own"
"""What the examples are called that a task has itself."""


class TaskError(ValueError):
    """A task that does not keep to what is asked of tasks; the message says what was expected, and of what."""


def digest_of(examples: Iterable[Any]) -> str:
    """SHA-256 of examples made of texts, numbers, arrays, and lists, tuples and dictionaries of these. Raises TaskError
    for anything else."""
    digest = hashlib.sha256()
    for each in examples:
        digest.update(json.dumps(each, default=_plain, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """What JSON has no word for, as what it has."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        return [value.dtype.str[1:], value.shape, hashlib.sha256(little.tobytes()).hexdigest()]
    raise TaskError(
        f"an example must be of texts, numbers, arrays, lists, tuples and dictionaries, got {type(value).__name__}"
    )


class LazyBatches(Sequence[Any]):
    """The batches of parts of the examples, each made when it is asked for."""

    def __init__(self, parts: Iterable[Any], collate: Callable[[Any], Any]) -> None:
        self._parts, self._collate = parts if isinstance(parts, Sequence) else list(parts), collate

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> LazyBatches: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return LazyBatches(self._parts[index], self._collate)
        return self._collate(self._parts[index])

    def __iter__(self) -> Iterator[Any]:
        return map(self._collate, self._parts)


class IdsOnHost(tuple[Any, ...]):
    """A batch whose integers and booleans stay on the host where the model is on a GPU, so that what must be known of
    them (lengths, whether ids are in a table, how many count) nobody waits for: layers, the embedding and losses take
    them from there."""

    __slots__ = ()

    def to(self, device: str) -> IdsOnHost:
        """The same with its floating-point numbers on "cpu" or "cuda"."""
        return IdsOnHost(_floats_moved(part, device) for part in self)


def _floats_moved(part: Any, device: str) -> Any:
    if isinstance(part, tuple):
        return tuple(_floats_moved(each, device) for each in part)
    return to_device(part, device) if isinstance(part, np.ndarray) and part.dtype.kind == "f" else part


def moved(batch: Any, device: str) -> Any:
    """A batch with its arrays on "cpu" or "cuda": an array, what has a method `to`, or tuples, lists and dictionaries
    of these; anything else as it is."""
    if device == "cpu":
        return batch
    if isinstance(batch, np.ndarray):
        return to_device(batch, device)
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {name: moved(part, device) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [moved(part, device) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch
