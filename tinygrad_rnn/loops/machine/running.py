"""Running a loop's machine code: addresses for all that it reads and makes, and rows of the batch for each thread."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, address
from tinygrad_rnn.buffers import LINE, SMALLEST, empty_buffer
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.machine.loop_code import loop_code
from tinygrad_rnn.loops.machine.schedule import LoopSchedule
from tinygrad_rnn.loops.machine.views import Piece, StridedView
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.machine.multiplying import pack, product_functions
from tinygrad_rnn.machine.object_files import object_code_of
from tinygrad_rnn.machine.product import TALL, packed_size
from tinygrad_rnn.machine.refusal import NotInMachineCode
from tinygrad_rnn.machine.sharing import cut
from tinygrad_rnn.machine.target import Linked, multiplies_and_adds, register_bytes
from tinygrad_rnn.threads import in_threads, shares

_BY_NUMBER = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class MachineLoop:
    """A loop as machine code; it offers the same `run` as `emitting.Emitted`. Raises NotInMachineCode."""

    def __init__(self, layout: Layout, schedule: LoopSchedule) -> None:
        if not multiplies_and_adds():
            raise NotInMachineCode("this processor has no instruction that multiplies and adds (FMA)")
        self.layout, self.schedule = layout, schedule
        self.ringed = {Piece(v) for pair in layout.ringed for v in pair}
        for rights in self.schedule.rights:
            product_functions(rights[0].piece.dtype)
        self._linked = Linked(object_code_of(self.schedule.text(self.ringed), self._code))
        self._function = _BY_NUMBER(self._linked.address("loop"))
        self.room, self.work = _LoopMemory(schedule), schedule.work

    def _code(self) -> Any:
        return loop_code(self.schedule, self.ringed, register_bytes())

    def run(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> None:
        """`env` holds what the loop reads from outside and the arrays for what it stores; `rings` the two arrays of
        each ringed state."""
        self.ready(steps, env, rings)()

    def ready(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> Callable[[], None]:
        """The same, to be run as often as wanted, on what the arrays then hold; but weights are what they are now."""
        schedule = self.schedule
        self.layout.show_slices(env)
        table, held = _Table(self, steps, env, rings).filled()
        held.append(table)
        at, rows = address(table), schedule.rows or 1
        parts = 1 if schedule.rows is None else max(1, min(shares(steps * self.work), -(-rows // TALL)))
        cuts = cut(rows, parts, TALL)

        def run(held: list[Array] = held) -> None:
            in_threads(parts, lambda i: self._function(steps, cuts[i], cuts[i + 1], at))

        return run


class _LoopMemory:
    """What lies in memory while a loop runs, in one array: where in it, in bytes, each piece begins that lasts as long
    as a step does, and the packed matrices of each product."""

    def __init__(self, schedule: LoopSchedule) -> None:
        self.bytes = 0
        self.pieces: dict[Piece, int] = {
            piece: self._taken(piece.size * piece.dtype.itemsize)
            for piece in schedule.memory
            if piece in schedule.scratch
        }
        self.packed: list[list[int]] = []
        """Of each product, of each of its matrices."""
        for rights in schedule.rights:
            (K, N), dtype = rights[0].shape, rights[0].piece.dtype
            size = packed_size(K, N, dtype) * dtype.itemsize
            start = self._taken(len(rights) * size)
            self.packed.append([start + n * size for n in range(len(rights))])

    def _taken(self, size: int) -> int:
        start = self.bytes
        self.bytes += -(-size // LINE) * LINE
        return start

    def new(self) -> tuple[Array, int]:
        """Memory for it, and the address at which it begins: where a line of the cache does."""
        size = self.bytes + LINE
        memory = empty_buffer((size,), np.dtype(np.uint8)) if size >= SMALLEST else np.empty(size, np.uint8)
        start = address(memory)
        return memory, start + -start % LINE


class _Table:
    """The numbers that the code reads: see `loop_code.py`."""

    def __init__(self, of: MachineLoop, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> None:
        self.of, self.steps, self.env = of, steps, env
        self.rings: dict[Var, tuple[Array, Array]] = {}
        for c, n in of.layout.ringed:
            self.rings[c], self.rings[n] = rings[c], rings[c][::-1]
        self.held: list[Array] = []
        """Arrays that must live as long as the code runs."""

    def filled(self) -> tuple[Array, list[Array]]:
        """The table, and what must be held."""
        schedule, room = self.of.schedule, self.of.room
        memory, start = room.new()
        self.held.append(memory)
        numbers: list[int] = []
        for piece in schedule.memory:
            if piece in room.pieces:
                numbers += (start + room.pieces[piece], 0)
            elif piece.var in self.rings:
                first, second = map(address, self.rings[piece.var])
                numbers += (first, second - first)
            else:
                numbers += self._known(piece)
        for rights, places in zip(schedule.rights, room.packed, strict=True):
            numbers.append(start + places[0])
            for right, place in zip(rights, places, strict=True):
                pack(self._matrix(right), start + place)
        return np.array(numbers, np.int64), self.held

    def _known(self, piece: Piece) -> tuple[int, int]:
        """Of what is in `env`."""
        timed = piece.var in self.of.layout.timed
        x = self.env[piece.var]
        if piece.slice is not None:
            x = x[:, piece.slice] if timed else x[piece.slice]
        if not timed:
            x = np.ascontiguousarray(x)
            self.held.append(x)
            return address(x), 0
        if x.strides[0] == 0 and len(x) > 1:  # the same at every step
            x = np.ascontiguousarray(x[0])
            self.held.append(x)
            return address(x), 0
        if not x[0].flags.c_contiguous:
            x = np.ascontiguousarray(x)
        self.held.append(x)
        first, stride = address(x), x.strides[0]
        return (first + (self.steps - 1) * stride, -stride) if self.of.layout.reverse else (first, stride)

    def _matrix(self, right: StridedView) -> Array:
        """By which a product multiplies."""
        matrices, (K, N) = self.env[right.piece.var], right.shape
        return matrices if matrices.ndim == 2 else matrices.reshape(-1, K, N)[right.offset // (K * N)]
