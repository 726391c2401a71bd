"""Running a loop's machine code: addresses for all that it reads and makes, and rows of the batch for each thread."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, address
from tinygrad_rnn.buffers import LINE, SMALLEST, empty_buffer
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.machine.addresses import OutsidePieces, weight_matrix
from tinygrad_rnn.loops.machine.loop_code import loop_code
from tinygrad_rnn.loops.machine.schedule import LoopSchedule
from tinygrad_rnn.loops.machine.views import StridedView
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
        self._outside = OutsidePieces(layout, schedule)
        self.ringed = self._outside.ringed
        for rights in self.schedule.rights:
            product_functions(rights[0].piece.dtype)
        self._linked = Linked(object_code_of(self.schedule.text(self.ringed), self._code))
        self._function = _BY_NUMBER(self._linked.address("loop"))
        self.work, self._memory = schedule.work, _LoopMemory(schedule)

    def _code(self) -> Any:
        return loop_code(self.schedule, self.ringed, register_bytes())

    def run(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> None:
        """`env` holds what the loop reads from outside and the arrays for what it stores; `rings` the two arrays of
        each ringed state."""
        self.ready(steps, env, rings)()

    def ready(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> Callable[[], None]:
        """The same, to be run as often as wanted, on what the arrays then hold; but weights are what they are now."""
        table, held = self._table(steps, env, rings)
        at, rows = address(table), self.schedule.rows or 1
        parts = 1 if self.schedule.rows is None else max(1, min(shares(steps * self.work), -(-rows // TALL)))
        cuts = cut(rows, parts, TALL)

        def run(held: list[Array] = held) -> None:
            in_threads(parts, lambda i: self._function(steps, cuts[i], cuts[i + 1], at))

        return run

    def _table(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> tuple[Array, list[Array]]:
        """The numbers that the code reads (see `loop_code.py`), and the arrays that must live as long as it runs. The
        matrices are packed."""
        memory, start = self._memory.new()
        numbers = self._memory.table(start)
        held = [memory, *chain(*self._outside.fill(numbers, steps, env, rings, address).values())]
        for right, place in self._memory.packed:
            pack(weight_matrix(env[right.piece.var], right), start + place)
        table = np.array(numbers, np.int64)
        held.append(table)
        return table, held


class _LoopMemory:
    """What lies in memory while a loop runs, in one array: each piece that lasts as long as a step does, and the packed
    matrices of each product."""

    def __init__(self, schedule: LoopSchedule) -> None:
        self.bytes = 0
        self.packed: list[tuple[StridedView, int]] = []
        """Of each matrix of each product, in bytes, where in the memory it begins."""
        self._known: list[int] = [0] * (2 * len(schedule.memory) + len(schedule.rights))
        """The table's numbers: of what lies here, where in the memory it begins; the others are 0."""
        self._places: list[int] = []
        """The places in the table of what lies here."""
        for n, piece in enumerate(schedule.memory):
            if piece in schedule.scratch:
                self._add(2 * n, piece.size * piece.dtype.itemsize)
        for n, rights in enumerate(schedule.rights, 2 * len(schedule.memory)):
            (K, N), dtype = rights[0].shape, rights[0].piece.dtype
            size = packed_size(K, N, dtype) * dtype.itemsize
            start = self._add(n, len(rights) * size)
            self.packed += [(right, start + i * size) for i, right in enumerate(rights)]

    def _add(self, place: int, size: int) -> int:
        start = self._known[place] = self.bytes
        self._places.append(place)
        self.bytes += -(-size // LINE) * LINE
        return start

    def new(self) -> tuple[Array, int]:
        """Memory for it, and the address at which it begins: where a line of the cache does."""
        size = self.bytes + LINE
        memory = empty_buffer((size,), np.dtype(np.uint8)) if size >= SMALLEST else np.empty(size, np.uint8)
        start = address(memory)
        return memory, start + -start % LINE

    def table(self, start: int) -> list[int]:
        """The numbers of a loop's table, those that are known where the memory begins at `start`."""
        numbers = self._known.copy()
        for place in self._places:
            numbers[place] += start
        return numbers
