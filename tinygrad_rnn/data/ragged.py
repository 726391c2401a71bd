"""Sequences of ids of different lengths, end to end in one array: in memory, or where they are many in a file, so that
a text may be larger than memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, overload

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.cache import cache_folder

IN_MEMORY = 1 << 22
"""Ids that are kept in memory, of 4 bytes each; more of them go to a file without a name in the user's cache folder,
which is gone when nothing uses it any more."""
AT_A_TIME = 1 << 18
"""Ids that are worked on at a time, of those that may be in a file."""


_PARTS_AT_A_TIME = 1 << 16


class Ragged(Sequence[HostArray]):
    """Sequences of ids, each (T,) int64: sequence i is `flat[ends[i - 1] : ends[i]]`, with `flat` (N,) int32."""

    def __init__(self, flat: HostArray, ends: HostArray) -> None:
        self.flat, self.ends = flat, np.asarray(ends, dtype=np.int64)

    @classmethod
    def of(cls, sequences: Iterable[Any]) -> Ragged:
        """The same sequences, of any integers."""
        if isinstance(sequences, Ragged):
            return sequences
        writer = RaggedWriter()
        for sequence in sequences:
            writer.extend(np.asarray(sequence))
            writer.end()
        return writer.finish()

    @property
    def begins(self) -> HostArray:
        """(S,) where each begins."""
        return np.concatenate(([0], self.ends[:-1])) if len(self.ends) else self.ends

    @property
    def lengths(self) -> HostArray:
        """(S,)"""
        return self.ends - self.begins

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> HostArray: ...
    @overload
    def __getitem__(self, index: slice) -> Ragged: ...
    def __getitem__(self, index: int | slice) -> HostArray | Ragged:
        if isinstance(index, slice):
            return self.picked(range(len(self))[index])
        place = range(len(self))[index]
        return self.flat[self.ends[place - 1] if place else 0 : self.ends[place]].astype(np.int64)

    def __iter__(self) -> Iterator[HostArray]:
        return (self[i] for i in range(len(self)))

    def blocks(self) -> Iterator[HostArray]:
        """All ids end to end, (N,) int64 in parts."""
        for begin in range(0, len(self.flat), AT_A_TIME):
            yield self.flat[begin : begin + AT_A_TIME].astype(np.int64)

    def picked(self, places: Sequence[int] | HostArray) -> Ragged:
        """The sequences of these numbers, in this order; neighbours are not copied."""
        if isinstance(places, range) and places.step == 1:
            begin = int(self.ends[places.start - 1]) if places.start and len(places) else 0
            end = int(self.ends[places.stop - 1]) if len(places) else 0
            return Ragged(self.flat[begin:end], self.ends[places.start : places.stop] - begin)
        writer = RaggedWriter()
        for place in places:
            writer.extend(self[int(place)])
            writer.end()
        return writer.finish()

    def cut(self, place: int) -> tuple[Ragged, Ragged]:
        """What comes before the id of this number and what comes from it on; a sequence that it lies within is cut."""
        within = np.searchsorted(self.ends, place, side="left")
        first, rest = [*self.ends[:within], place], self.ends[within:] - place
        head = Ragged(self.flat[:place], np.array(first if place else []))
        return head, Ragged(self.flat[place:], rest[rest > 0])

    def translated(self, table: HostArray, before: int | None = None, after: int | None = None) -> Ragged:
        """The sequences with `table[id]` for each id, and with the ids `before` and `after` around each sequence."""
        writer = RaggedWriter()
        for begin, end in zip(self.begins, self.ends, strict=True):
            if before is not None:
                writer.extend([before])
            for place in range(begin, end, AT_A_TIME):
                writer.extend(table[self.flat[place : min(place + AT_A_TIME, end)]])
            if after is not None:
                writer.extend([after])
            writer.end()
        return writer.finish()


class RaggedWriter:
    """Makes a Ragged from ids that come one part after the other."""

    def __init__(self) -> None:
        self._small: list[HostArray] = []
        """What was added since the last block."""
        self._blocks: list[HostArray] = []
        """What is in memory."""
        self._waiting = self._length = 0
        self._ends: list[int] = []
        self._file: Any = None

    def extend(self, ids: Any) -> None:
        """Adds ids (N,) to the sequence that has not ended."""
        self._small.append(np.asarray(ids, dtype=np.int32))
        self._length += len(ids)
        self._waiting += len(ids)
        if len(self._small) >= _PARTS_AT_A_TIME or self._waiting >= AT_A_TIME:
            self._join()

    def end(self) -> None:
        """Ends the sequence."""
        self._ends.append(self._length)

    def finish(self) -> Ragged:
        """All sequences that have ended."""
        self._join()
        if self._file is None:
            flat: HostArray = np.concatenate([np.zeros(0, dtype=np.int32), *self._blocks])
        else:
            with self._file as file:
                file.flush()
                flat = np.memmap(file, dtype=np.int32, mode="r", shape=(self._length,))
        return Ragged(flat, np.array(self._ends, dtype=np.int64))

    def _join(self) -> None:
        """Makes a block of what came in small parts, and puts the blocks into a file where they are too many."""
        if self._small:
            self._blocks.append(np.concatenate(self._small))
            self._small, self._waiting = [], 0
        if self._file is None and self._length > IN_MEMORY:
            self._file = _file_without_name()
        if self._file is not None:
            for block in self._blocks:
                self._file.write(block.data)
            self._blocks = []


def _file_without_name() -> Any:
    """A file in the user's cache folder, or where the system has such files: often in memory. Raises OSError."""
    folder = cache_folder()
    if folder is not None:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=folder)
    return tempfile.TemporaryFile()
