"""One direction of a scan, ready to run: what comes before the loop, the loop, and what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_rnn.backend import Array
from tinygrad_rnn.loops.batching import run_whole
from tinygrad_rnn.loops.cuda.cuda_loop import CudaLoop
from tinygrad_rnn.loops.cuda.one_kernel import InOneKernel
from tinygrad_rnn.loops.cuda.one_kernel_source import entry_states
from tinygrad_rnn.loops.emitting import Emitted
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.machine.schedule import LoopSchedule
from tinygrad_rnn.loops.one_pass import InOnePass
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.splitting import Parts
from tinygrad_rnn.machine.refusal import NotInMachineCode


class Loop:
    """A split and merged program."""

    def __init__(
        self,
        parts: Parts,
        layout: Layout,
        schedule: LoopSchedule | None = None,
        why_not: str = "",
        linear: bool = False,
        on_gpu: bool = False,
    ) -> None:
        self.parts, self.layout, self.schedule = parts, layout, schedule
        """With a schedule it becomes machine code, or kernels for a GPU."""
        self.why_not = why_not
        """If it does not and was to, why."""
        self.linear = linear
        """Whether what it carries can be found in one pass."""
        self.on_gpu = on_gpu
        self.body: Any = None
        """What runs the loop, once there is any: to read what a loop consists of takes no LLVM."""

    def emit(self) -> None:
        """Makes what runs the loop. Raises NotInMachineCode for what cannot be had for a GPU."""
        if self.body is None and self.on_gpu and self.schedule is not None:
            self.body = _gpu_loop(self.layout, self.schedule)
        elif self.body is None:  # (no cached_property, which holds a lock in Python 3.11 that a fork would inherit)
            try:
                if self.schedule is None:
                    self.body = InOnePass(self.layout) if self.linear else Emitted(self.layout)
                else:
                    self.body = _machine_loop(self.layout, self.schedule)
            except NotInMachineCode as error:
                self.body, self.why_not = Emitted(self.layout), str(error)

    def run(self, steps: int, env: Env, start: Sequence[Array]) -> list[Array]:
        """Runs all parts: `env` holds captured operands and, with a time axis, what is timed, and is filled with
        everything else; `start` is the carry of the first step. Returns the last carry."""
        self.layout.show_slices(env)
        for equation in self.parts.once:
            values = [env[a] if isinstance(a, Var) else a for a in equation.args]
            self._put(env, equation, equation.primitive.forward(*values, **equation.params))
        self._run_whole(self.parts.before, env, steps)
        rings, ends = self.layout.allocate(steps, env, start)
        self.emit()
        self.body.run(steps, env, rings)
        self._run_whole(self.parts.after, env, steps)
        return [ends[c] for c in self.layout.carry]

    def _run_whole(self, equations: list[Equation], env: Env, steps: int) -> None:
        for equation in equations:
            values = [env[a] if isinstance(a, Var) else a for a in equation.args]
            timed = [isinstance(a, Var) and a in self.layout.timed for a in equation.args]
            self._put(env, equation, run_whole(equation, values, timed, steps))

    def _put(self, env: Env, equation: Equation, result: Any) -> None:
        for out, value in zip(equation.outs, result if equation.several else (result,), strict=True):
            env[out] = value
            self.layout.show(env, out)


def _gpu_loop(layout: Layout, schedule: LoopSchedule) -> InOneKernel | CudaLoop:
    states = entry_states(layout, schedule)
    return CudaLoop(layout, schedule) if states is None else InOneKernel(layout, schedule, states)


def _machine_loop(layout: Layout, schedule: LoopSchedule) -> Any:
    from tinygrad_rnn.loops.machine.running import MachineLoop  # noqa: PLC0415  (LLVM is optional, and large)

    return MachineLoop(layout, schedule)
