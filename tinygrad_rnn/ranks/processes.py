"""The processes that train one model together, each a *rank*; and the one that is by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tinygrad_rnn.backend import Array, HostArray


class Pending(Protocol):
    """A collective operation that has begun."""

    def test(self) -> bool:
        """Whether it is done. Libraries without a thread of their own get on with it while they are asked."""

    def wait(self) -> None:
        """Until it is done."""


class Done:
    """One that needed no time."""

    def test(self) -> bool:
        return True

    def wait(self) -> None:
        """It is done."""


class Carrier(Protocol):
    """What carries arrays between ranks: all call the same operations in the same order."""

    def begin_allreduce(self, numbers: Array) -> Pending:
        """Begins to put the sum over all ranks in the place of an array of one piece, which is not to be touched until
        that is done."""

    def allgather_rows(self, rows: Array, counts: Sequence[int]) -> Array:
        """The rows (counts[rank], ...) of each rank, one under the other in the order of the ranks."""


class Ranks:
    """What one of the processes knows of all, and does with them: this one is by itself. The names are MPI's. Each
    operation but `abort` is collective: all ranks call the same ones in the same order.

    Attributes:
        rank: its number, from 0, which alone prints, logs and saves.
        size: how many there are.
        beside: how many of them, itself too, have the processors that this one has.
        place: its number among those of its machine, from 0.
        parted: whether this rank is done with the others: its errors do not concern them any more.
    """

    rank = 0
    size = 1
    beside = 1
    place = 0
    parted = False

    def allgather(self, value: Any) -> list[Any]:
        """The value of each rank, which can be pickled."""
        return [value]

    def allgather_numbers(self, numbers: Sequence[float]) -> HostArray:
        """The numbers of each rank, as many of each, (size, n) float64."""
        return np.array([numbers], dtype=np.float64)

    def allgather_rows(self, rows: HostArray, counts: Sequence[int]) -> HostArray:
        """As a `Carrier` of arrays on the host."""
        return rows

    def broadcast(self, value: Any) -> Any:
        """The value that rank 0 has."""
        return value

    def begin_allreduce(self, numbers: HostArray) -> Pending:
        """As a `Carrier` of arrays on the host."""
        return Done()

    def between_gpus(self) -> Carrier | None:
        """What carries arrays from the GPU of one rank to that of another; None where they go by way of the host."""
        return None

    def all_failed(self, seconds: float) -> bool:
        """Whether each of the ranks calls this too, within so many seconds."""
        return True

    def abort(self, code: int) -> None:
        """Ends all ranks with this exit code, whatever they do."""


ONE_PROCESS = Ranks()
"""A process by itself."""


def dealt(rows: Any, ranks: Ranks) -> Any:
    """Those of the rows of all that are this rank's: every `size`-th, so that of rows in the order of their lengths
    each rank has as many long ones."""
    return rows[ranks.rank :: ranks.size]
