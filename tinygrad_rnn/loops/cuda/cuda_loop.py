"""Running a loop on a GPU: what is where at each step, and what is started."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.buffers import LINE
from tinygrad_rnn.loops.cuda.device import gpu_of
from tinygrad_rnn.loops.cuda.kernel_source import entries, kernels
from tinygrad_rnn.loops.cuda.parts import Device, Lying, MatrixProduct, PassStart, Start, Work
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.machine.addresses import OutsidePieces, weight_matrix
from tinygrad_rnn.loops.machine.lines import Product
from tinygrad_rnn.loops.machine.schedule import LoopSchedule
from tinygrad_rnn.loops.machine.views import Piece
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.machine.refusal import NotInMachineCode


class CudaLoop:
    """A loop as kernels of CUDA and products of cuBLAS; it offers the same `run` as `emitting.Emitted`. Raises
    NotInMachineCode."""

    def __init__(self, layout: Layout, schedule: LoopSchedule) -> None:
        self.layout, self.schedule = layout, schedule
        self._outside = OutsidePieces(layout, schedule)
        self._numbers = {piece: n for n, piece in enumerate(schedule.memory)}
        self.source = kernels(schedule, self._outside.ringed)
        self._products = [part for part in schedule.parts if isinstance(part, Product)]
        self._lefts = {view: _lying(view.shape, view.strides) for part in self._products for view in part.lefts}
        multiplied = {view.piece for part in self._products for view in (*part.lefts, part.out)} - schedule.scratch
        self._multiplied = sorted(self._numbers[piece] for piece in multiplied)
        self._ringed = self._those(self._outside.ringed)
        self._in_scratch = self._those(schedule.scratch)
        self._made = self._those({line.out.piece for part in schedule.parts for line in getattr(part, "lines", [part])})
        self._scratch_places, self._scratch_bytes = self._placed_scratch()
        self._devices: dict[Device, tuple[list[Any], dict[Hashable, Any]]] = {}
        """Of each its kernels, and what it keeps for this loop."""

    def _those(self, pieces: set[Piece]) -> np.ndarray:
        return np.array([piece in pieces for piece in self.schedule.memory], bool)

    def _placed_scratch(self) -> tuple[dict[int, int], int]:
        """Where what lasts as long as a step does is, in a piece of memory for all of it, and how large that is."""
        places, size = {}, 0
        for n, piece in enumerate(self.schedule.memory):
            if piece in self.schedule.scratch:
                places[n] = size
                size += -(-piece.size * piece.dtype.itemsize // LINE) * LINE
        return places, size

    def run(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> None:
        """`env` holds what the loop reads from outside and the arrays for what it stores; `rings` the two arrays of
        each ringed state."""
        device = gpu_of(next(iter(env.values())))
        if device not in self._devices:
            count = len(self.schedule.parts) - len(self._products)
            self._devices[device] = device.compiled(self.source, count), {}
        compiled, kept = self._devices[device]
        numbers = [0] * (2 * len(self.schedule.memory))
        for n, place in self._scratch_places.items():
            numbers[2 * n] = place
        held = self._outside.fill(numbers, steps, env, rings, device.address)
        matrices = {
            right: weight_matrix(env[right.piece.var], right) for part in self._products for right in part.rights
        }
        work = Work(
            kernels=compiled,
            steps=steps,
            parts=tuple(self._parts(matrices)),
            table=np.array(numbers, np.int64).reshape(-1, 2),
            ringed=self._ringed,
            scratch=self._in_scratch,
            made=self._made,
            scratch_bytes=self._scratch_bytes,
            arrays={n: held[n] for n in self._multiplied},
            matrices=tuple(matrices.values()),
        )
        device.run(work, kept)

    def _parts(self, matrices: dict[Any, Array]) -> list[Start]:
        """What is started at each step."""
        parts: list[Start] = []
        numbers = {right: n for n, right in enumerate(matrices)}
        passes = 0
        for part in self.schedule.parts:
            if not isinstance(part, Product):
                parts.append(PassStart(passes, entries(part), bool(part.folded)))
                passes += 1
                continue
            dtype = part.out.piece.dtype
            for g, (left, right) in enumerate(zip(part.lefts, part.rights, strict=True)):
                x = matrices[right]
                parts.append(
                    MatrixProduct(
                        sizes=(*left.shape, right.shape[1]),  # type: ignore[arg-type]  # there are three
                        left=self._numbers[left.piece],
                        left_offset=left.offset * dtype.itemsize,
                        left_lies=self._lefts[left],
                        right=numbers[right],
                        right_lies=_lying(x.shape, tuple(stride // dtype.itemsize for stride in x.strides)),
                        out=self._numbers[part.out.piece],
                        out_offset=part.out.offset * dtype.itemsize,
                        out_lies=Lying(part.out.strides[0]),
                        adds=g > 0,
                        type_code=dtype.char,
                    )
                )
        return parts


def _lying(shape: tuple[int, ...], strides: tuple[int, ...]) -> Lying:
    """How a matrix with these strides in entries lies. Raises NotInMachineCode."""
    (rows, columns), (down, across) = shape, strides
    for far, near, count, length, turned in ((down, across, rows, columns, False), (across, down, columns, rows, True)):
        leading = far if count > 1 else length
        if (near == 1 or length == 1) and leading >= length:
            return Lying(leading, turned)
    raise NotInMachineCode("a matrix is multiplied neither of whose axes is in one piece")
