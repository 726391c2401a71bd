"""An optimiser whose accumulators are split over ranks: each keeps, and updates, its rows of every parameter, and the
ranks then give each other what they have updated (Rajbhandari et al. 2020, "ZeRO", stage 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray, to_device, to_host
from tinygrad_rnn.optim.clipping import Trainable
from tinygrad_rnn.optim.optimizer import Optimizer
from tinygrad_rnn.ranks.processes import Ranks
from tinygrad_rnn.rowsparse import RowSparse


class _Piece:
    """The rows of a parameter that one rank updates."""

    def __init__(self, parameter: Trainable, ranks: Ranks) -> None:
        self.name, self.parameter, self.ranks = getattr(parameter, "name", ""), parameter, ranks
        self.grad: Any = None

    @property
    def data(self) -> Any:
        return self.of(self.parameter.data)

    @data.setter
    def data(self, value: Any) -> None:
        self.of(self.parameter.data)[...] = value

    def bounds(self, rank: int | None = None) -> tuple[int, int]:
        """From which row to which: this rank's, or another's."""
        count, size = _rows(self.parameter.data).shape[0], self.ranks.size
        rank = self.ranks.rank if rank is None else rank
        return count * rank // size, count * (rank + 1) // size

    def of(self, array: Any) -> Any:
        """This rank's rows of an array like the parameter's."""
        begin, end = self.bounds()
        return _rows(array)[begin:end]

    def take_gradient(self) -> None:
        """That of these rows."""
        grad = self.parameter.grad
        if not isinstance(grad, RowSparse):
            self.grad = None if grad is None else self.of(grad)
            return
        begin, end = self.bounds()
        own = slice(*map(int, np.searchsorted(to_host(grad.rows), (begin, end))))
        self.grad = RowSparse(grad.rows[own] - begin, grad.values[own], (end - begin, *grad.shape[1:]))


def _rows(array: Any) -> Any:
    """The array with an axis of rows, where it has none."""
    return array if array.ndim else array.reshape(1)


class SplitOptimizer(Optimizer):
    """The optimiser that `make` gives, of the rows of each parameter that are this rank's. To its user it is one of all
    parameters, whose gradients are the sums over all ranks; its `step`, `state_dict` and `load_state_dict` are called
    by all ranks, and what is saved is what an optimiser of one process saves.

    Args:
        parameters: as in `Optimizer`.
        ranks: those among which the rows are split.
        make: the optimiser of parameters by name.
    """

    def __init__(self, parameters: Any, ranks: Ranks, make: Callable[[Mapping[str, Trainable]], Optimizer]) -> None:
        self._own: list[Optimizer] = []  # none yet: setting a learning rate, as the next line does, must find it
        super().__init__(parameters, 0.0, 0.0)
        self.ranks = ranks
        for p in self.parameters.values():
            if isinstance(p.data, np.ndarray) and not (p.data.flags.c_contiguous and p.data.flags.writeable):
                p.data = np.array(p.data, order="C")  # the rows must be a view of it
        self._pieces = {name: _Piece(p, ranks) for name, p in self.parameters.items()}
        self._own.append(make(self._pieces))
        self.fade, self.weight_decay = self._inner.fade, self._inner.weight_decay

    @property
    def _inner(self) -> Optimizer:
        return self._own[0]

    @property
    def lr(self) -> float:
        """The learning rate, settable at any time."""
        return self._own[0].lr if self._own else 0.0

    @lr.setter
    def lr(self, value: float) -> None:
        for each in self._own:
            each.lr = value

    def step(self) -> bool:
        """Apply the gradients once, each rank to its rows, and gather them. Returns and raises as `Optimizer.step`
        does; a gradient that is of no use to one rank is to none."""
        for piece in self._pieces.values():
            piece.take_gradient()
        names, bad = [*self._pieces], self._inner.unusable()
        first = int(self.ranks.allgather_numbers([len(names) if bad is None else names.index(bad)]).min())
        if first < len(names):
            self.skipped += 1
            self.last_skip = self._pieces[names[first]].name or names[first]
            return False
        self._inner.step()
        self._gather()
        for piece in self._pieces.values():
            piece.grad = None
        return True

    def _gather(self) -> None:
        """Every rank gets the rows that the others have updated, in one go for each dtype. Of a gradient that moves
        the rows alone that it has, only these travel."""
        due = [
            (piece, _rows(piece.parameter.data)) for piece in self._pieces.values() if piece.parameter.grad is not None
        ]
        for dtype in dict.fromkeys(data.dtype for _, data in due):
            of_dtype = [(data, self._moved(piece)) for piece, data in due if data.dtype == dtype]
            parts = [to_host(data[moved[self.ranks.rank]]).reshape(-1) for data, moved in of_dtype]
            counts = [sum(_count(moved[rank], data) for data, moved in of_dtype) for rank in range(self.ranks.size)]
            found = self.ranks.allgather_rows(np.concatenate(parts), counts)
            begin = 0
            for rank in range(self.ranks.size):
                for data, moved in of_dtype:
                    end = begin + _count(moved[rank], data)
                    if rank != self.ranks.rank:
                        _put(data, moved[rank], found[begin:end])
                    begin = end

    def _moved(self, piece: _Piece) -> list[Any]:
        """The rows of a parameter that each rank has updated: a slice, or numbers."""
        bounds = [piece.bounds(rank) for rank in range(self.ranks.size)]
        grad = piece.parameter.grad
        if not (isinstance(grad, RowSparse) and self._inner.moves_rows_alone):
            return [slice(*each) for each in bounds]
        ends = np.searchsorted(to_host(grad.rows), [end for _, end in bounds])
        return np.split(grad.rows, ends[:-1])

    def state_dict(self) -> dict[str, Any]:
        """See `Optimizer.state_dict`: that of all ranks together."""
        found = self._inner.state_dict() | {"skipped": self.skipped}
        for key, value in found.items():
            if isinstance(value, np.ndarray):
                kind, _, name = key.partition(".")
                bounds = [self._pieces[name].bounds(rank) for rank in range(self.ranks.size)]
                whole = self.ranks.allgather_rows(value, [end - begin for begin, end in bounds])
                found[key] = whole if kind == "last" else whole.reshape(self.parameters[name].data.shape)
        return found

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """See `Optimizer.load_state_dict`: each rank takes its rows."""
        own = dict(saved)
        for key, value in saved.items():
            piece = self._pieces.get(key.partition(".")[2])
            if piece is not None and isinstance(value, np.ndarray):
                own[key] = piece.of(value)
        self._inner.load_state_dict(own)
        self.skipped = self._inner.skipped


def _count(rows: Any, data: Any) -> int:
    """How many entries these rows have."""
    count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    return int(count * np.prod(data.shape[1:], dtype=np.int64))


def _put(data: Any, rows: Any, entries: HostArray) -> None:
    """Entries into their rows."""
    if len(entries):
        data[rows] = to_device(entries, "cpu" if isinstance(data, np.ndarray) else "cuda").reshape(-1, *data.shape[1:])
