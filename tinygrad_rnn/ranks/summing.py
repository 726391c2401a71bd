"""The gradients of all ranks, added up: synchronous data parallelism, in which every rank then makes the same step.

Dense gradients lie in one flat buffer a dtype, in the order in which the backward pass is done with them, and their
sums begin, chunk by chunk, while it goes on (Li et al. 2020, section 3.2.3). Row-sparse ones travel as rows. Where
every rank has a GPU of its own all of it stays there, if CuPy has NCCL; otherwise it goes by way of the host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, HostArray, device_of, to_device, to_host, xp
from tinygrad_rnn.optim.clipping import Trainable
from tinygrad_rnn.ranks.processes import Carrier, Pending, Ranks
from tinygrad_rnn.ranks.rows import sum_of_rows, summed_in
from tinygrad_rnn.ranks.telling_walk import backward_telling
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.tape import Leaf
from tinygrad_rnn.tensor import Tensor

CHUNK = 1 << 20
"""Bytes, at least, of which a sum begins: smaller ones cost their latency, larger ones begin late."""

_NONE, _ROWS, _DENSE = 0.0, 1.0, 2.0
"""What kind of gradient a parameter has."""


@dataclass
class Traffic:
    """What adding up has cost this rank so far: the bytes that it gave into sums and of rows, the seconds of copying,
    and those for which it waited when its own backward pass was done."""

    dense_bytes: int = 0
    row_bytes: int = 0
    copying: float = 0.0
    waiting: float = 0.0


class GradientSum:
    """Adds up the gradients of all ranks. Each step calls `backward`, `exchange` and `finish`, on every rank.

    Args:
        ranks: those that take part.
        parameters: by name, the same on each; their `.grad` are None before `backward`.
    """

    def __init__(self, ranks: Ranks, parameters: Mapping[str, Trainable], chunk: int = CHUNK) -> None:
        self.ranks, self.parameters, self.chunk = ranks, parameters, chunk
        self.carrier = ranks.between_gpus() if _on_gpu(parameters) else None
        self.traffic = Traffic()
        self._plan: _Plan | None = None
        self._exchanged: HostArray | None = None

    def backward(self, loss: Tensor | None) -> None:
        """The backward pass of this rank's part of the loss, None for a rank that has no part; sums begin meanwhile."""
        plan, names = self._plan, {_leaf(p): name for name, p in self.parameters.items()}
        told: list[str] = []
        if plan is not None:
            plan.begin()

        def final(leaf: Leaf) -> None:
            name = names.get(leaf)
            if name is None:
                return  # nobody optimises it
            told.append(name)
            if plan is not None:
                self._put(plan, name)

        if loss is not None:
            backward_telling(loss, final)
        if plan is None:
            self._plan = plan = self._made_plan(told)
            plan.begin()
            for name in told:
                self._put(plan, name)
        plan.launch(self.carrier or self.ranks, self.traffic, rest=True)

    def _made_plan(self, told: list[str]) -> _Plan:
        """From the first backward pass: what comes in which order. Rank 0 always has a part of the loss."""
        kinds = self.ranks.allgather_numbers(self._kinds()).max(axis=0)
        order = [name for name in self.ranks.broadcast(told) if name in self.parameters]
        order += [name for name in self.parameters if name not in order]
        kind = dict(zip(self.parameters, kinds, strict=True))
        rows = [name for name in order if kind[name] == _ROWS]
        dense = {n: self.parameters[n].data for n in order if n not in rows}
        return _Plan(dense, rows, self.chunk, on_host=self.carrier is None)

    def _kinds(self) -> list[float]:
        return [
            _NONE if p.grad is None else _ROWS if isinstance(p.grad, RowSparse) else _DENSE
            for p in self.parameters.values()
        ]

    def _put(self, plan: _Plan, name: str) -> None:
        """Takes a dense gradient into its buffer, and begins what can be begun."""
        p = self.parameters[name]
        if name in plan.views:
            begin = perf_counter()
            g = p.grad.dense() if isinstance(p.grad, RowSparse) else p.grad
            plan.put(name, g if self.carrier else to_host(g))
            p.grad = None  # its memory is free; there will be a view of the buffer
            self.traffic.copying += perf_counter() - begin
            plan.launch(self.carrier or self.ranks, self.traffic)

    def exchange(self, numbers: Sequence[float]) -> HostArray:
        """The numbers of each rank, (size, n) float64, as many of each, which travel with what is to be known of the
        gradients."""
        plan = self._known_plan()
        rows = [self._rows(name) for name in plan.rows]
        counts = [0 if each is None else len(each.rows) for each in rows]
        known = [float(each is not None) for each in rows]
        there = [float(name in plan.there) for name in plan.views]
        found = self.ranks.allgather_numbers([*numbers, *counts, *known, *there])
        self._exchanged = found[:, len(numbers) :]
        return found[:, : len(numbers)]

    def finish(self, factor: float) -> None:
        """Gives each parameter the sum of its gradients on all ranks times a factor; None where none has any."""
        plan, begin = self._known_plan(), perf_counter()
        if self._exchanged is None:
            raise RuntimeError("finish: exchange() comes before it")
        count = len(plan.rows)
        counts = self._exchanged[:, :count].astype(np.int64)
        anywhere: list[bool] = np.any(self._exchanged[:, count:], axis=0).tolist()
        self._exchanged = None
        for name, of_ranks, there in zip(plan.rows, counts.T, anywhere[:count], strict=True):
            own = self._rows(name)
            p = self.parameters[name]
            if there:
                summed, travelled = sum_of_rows(self.ranks, own, of_ranks.tolist(), p.data, self.carrier)
                self.traffic.row_bytes += travelled
                p.grad = summed * factor
        plan.wait()
        self.traffic.waiting += perf_counter() - begin
        for flat in plan.flats.values():
            xp(flat).multiply(flat, factor, out=flat)
        for (name, view), there in zip(plan.views.items(), anywhere[count:], strict=True):
            data = self.parameters[name].data
            self.parameters[name].grad = _like(view, data) if there else None

    def _rows(self, name: str) -> RowSparse | None:
        grad = self.parameters[name].grad
        if grad is None or isinstance(grad, RowSparse):
            return grad
        return RowSparse(to_device(np.arange(len(grad)), device_of(grad)), grad, grad.shape)

    def _known_plan(self) -> _Plan:
        if self._plan is None:
            raise RuntimeError("backward() comes first")
        return self._plan


class _Chunk:
    """A piece of a flat buffer whose sum begins at once."""

    def __init__(self, numbers: Array, names: list[str]) -> None:
        self.numbers, self.names = numbers, names


class _Plan:
    """Where dense gradients lie, in which order their sums begin, and which parameters have row-sparse ones."""

    def __init__(self, dense: Mapping[str, Any], rows: Sequence[str], chunk: int, on_host: bool) -> None:
        self.rows = list(rows)
        self.flats: dict[Any, Array] = {}
        self.views: dict[str, Array] = {}
        self.chunks: list[_Chunk] = []
        self.there: set[str] = set()
        """Those whose gradient this rank has in this step."""
        self._begun: list[Pending] = []
        sizes = Counter[Any]()
        for data in dense.values():
            sizes[summed_in(data)] += data.size
        lib = np if on_host else xp(next(iter(dense.values()), None))
        self.flats = {dtype: lib.zeros(size, dtype) for dtype, size in sizes.items()}
        self._lay_out(dense, chunk)

    def _lay_out(self, dense: Mapping[str, Any], chunk: int) -> None:
        begins, ends = dict.fromkeys(self.flats, 0), dict.fromkeys(self.flats, 0)
        open_names: dict[Any, list[str]] = {dtype: [] for dtype in self.flats}

        def close(dtype: Any) -> None:
            piece = self.flats[dtype][begins[dtype] : ends[dtype]]
            self.chunks.append(_Chunk(piece, open_names[dtype]))
            begins[dtype], open_names[dtype] = ends[dtype], []

        for name, data in dense.items():
            dtype = summed_in(data)
            end = ends[dtype] + data.size
            self.views[name] = self.flats[dtype][ends[dtype] : end].reshape(data.shape)
            ends[dtype] = end
            open_names[dtype].append(name)
            if (end - begins[dtype]) * dtype.itemsize >= chunk:
                close(dtype)
        for dtype, names in open_names.items():
            if names:
                close(dtype)

    def begin(self) -> None:
        """A new step."""
        self.there.clear()
        self._begun.clear()

    def put(self, name: str, gradient: Array) -> None:
        """Takes one gradient into its place."""
        self.views[name][...] = gradient
        self.there.add(name)

    def launch(self, carrier: Carrier, traffic: Traffic, rest: bool = False) -> None:
        """Begins the sums of chunks that are whole, in their order, which is that of all ranks; of the `rest` too, in
        which gradients that this rank has not are 0."""
        for chunk in self.chunks[len(self._begun) :]:
            missing = [name for name in chunk.names if name not in self.there]
            if missing and not rest:
                break
            for name in missing:
                self.views[name][...] = 0
            traffic.dense_bytes += chunk.numbers.nbytes
            self._begun.append(carrier.begin_allreduce(chunk.numbers))
        for each in self._begun:
            each.test()

    def wait(self) -> None:
        """Until all sums are there."""
        for each in self._begun:
            each.wait()


def _leaf(parameter: Trainable) -> Any:
    return getattr(parameter, "node", None)


def _on_gpu(parameters: Mapping[str, Trainable]) -> bool:
    return {device_of(p.data) for p in parameters.values()} == {"cuda"}


def _like(gradient: Array, data: Any) -> Any:
    """A gradient in the dtype of a parameter's array, where that is."""
    found = to_device(gradient, device_of(data))
    return found if found.dtype == data.dtype else found.astype(data.dtype)
