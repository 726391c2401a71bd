"""Running a loop whose entries do not meet on a GPU: it is started once, for all steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.loops.cuda.device import gpu_of
from tinygrad_rnn.loops.cuda.kernel_source import THREADS, entries
from tinygrad_rnn.loops.cuda.one_kernel_source import PARTS_TO, WARP, EntryState, OneKernel
from tinygrad_rnn.loops.cuda.parts import Device
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.machine.addresses import OutsidePieces
from tinygrad_rnn.loops.machine.schedule import LoopSchedule
from tinygrad_rnn.loops.program import Var

STEPS_EACH = 8
"""The fewest steps that are worth a thread of their own."""
THREADS_ENOUGH = 1 << 17
"""With which a GPU is busy: more of them, each of which goes through its steps twice, do not pay."""


class InOneKernel:
    """A loop with these states, and no others; it offers the same `run` as `emitting.Emitted`."""

    def __init__(self, layout: Layout, schedule: LoopSchedule, states: list[EntryState]) -> None:
        self._outside = OutsidePieces(layout, schedule)
        kernel = OneKernel(schedule, states, self._outside.ringed)
        self.source, self.is_linear = kernel.module(), kernel.linear is not None
        self._rows = len(schedule.memory) + 1
        self._entries = entries(kernel.part)
        self._kernels: dict[Device, Any] = {}

    def run(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> None:
        """`env` holds what the loop reads from outside and the arrays for what it stores; `rings` the two arrays of
        each ringed state."""
        device = gpu_of(next(iter(env.values())))
        if device not in self._kernels:
            (self._kernels[device],) = device.compiled(self.source, 1)
        numbers = [0] * (2 * self._rows)
        held = self._outside.fill(numbers, steps, env, rings, device.address)
        parts = parts_of_time(steps, self._entries) if self.is_linear else 1
        numbers[-2] = parts
        lanes = WARP if parts > 1 else THREADS
        blocks = -(-self._entries // lanes)
        device.start(self._kernels[device], blocks, parts * lanes, np.array(numbers, np.int64).reshape(-1, 2), steps)
        del held  # until here: memory that is given to others later is used by what is started later


def parts_of_time(steps: int, entries: int) -> int:
    """How many threads share the steps of an entry, where that can be done."""
    parts = 1
    while 2 * parts <= min(PARTS_TO, steps // STEPS_EACH) and 2 * parts * entries <= THREADS_ENOUGH:
        parts *= 2
    return parts
