"""Where a step stops gradients, on purpose: `detach()`, `no_grad()`, `ops.straight_through`.

A function and its declared gradient then differ, and finite differences of the function would find fault with it. So
they are taken of the function that the gradient is declared to be of: one in which what is stopped stays as it was at
the point, and what goes straight through moves as its surrogate does.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinygrad_rnn.backend import Array
from tinygrad_rnn.frames import owner
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.recorder import Recorder, record_step
from tinygrad_rnn.loops.scanning import compiled, perform
from tinygrad_rnn.loops.trees import flat, rebuild
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.ops.surrogates import _straight_through
from tinygrad_rnn.surroundings import recording
from tinygrad_rnn.tape import _detached
from tinygrad_rnn.tensor import Tensor


def stops_at(e: Equation) -> bool:
    """Whether an op of a step has a result through which no gradient goes as it would."""
    if e.primitive is _straight_through:
        return True
    stopped = e.primitive is _detached or (e.primitive.differentiable and not e.graded)
    return stopped and e.outs[0].dtype.kind == "f"


class LinesOfStops(Recorder):
    """A recorder that writes down the user's lines in which gradients stop."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, None] = {}

    def __call__(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        made = super().__call__(primitive, args, params)
        if stops_at(self.equations[-1]):
            frame = sys._getframe(1)
            while frame.f_back is not None and owner(frame) == "engine":
                frame = frame.f_back
            file, number = frame.f_code.co_filename, frame.f_lineno
            line = linecache.getline(file, number).strip()
            self.lines[f"{Path(file).name}, line {number}: {line}"] = None
        return made


class Held:
    """What a cell's steps come to where gradients stop: noted in one run of a layer, and put in place again in others.
    They come to it in the same order, as plain loops."""

    def __init__(self) -> None:
        self._values: list[tuple[Array, Array | None]] = []
        self._noting = False
        self._next = 0

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Within it a run of the layer notes."""
        self._values, self._noting = [], True
        try:
            with compiled(False):
                yield
        finally:
            self._noting = False

    def put_in_place(self, f: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The function, which runs the layer once, with what was noted."""

        def held(*values: Tensor) -> Tensor:
            self._next = 0
            with compiled(False):
                return f(*values)

        return held

    def kind(self, cell: type[Cell]) -> type[Cell]:
        """The class, with steps that do as they are told here."""
        holding = self

        class Holding(cell):  # type: ignore[misc, valid-type]  # any class made with Cell
            def stepped(self, *given: Any) -> Any:
                return holding.through(super().stepped, given)

            def put_out(self, *given: Any) -> Any:
                return holding.through(super().put_out, given)

        Holding.__name__ = cell.__name__
        return Holding

    def through(self, method: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """What a method returns, with what is stopped in it noted or held."""
        with recording():  # whatever surrounds the layer: what the step itself says counts
            program, _, returned = record_step(lambda given, _: (given, method(*given)), given, ())
        made_by = {out: e for e in program.equations for out in e.outs if stops_at(e)}
        env = dict(zip(program.captured, program.operands, strict=True))
        env |= zip(program.states, flat(given), strict=True)
        perform(program.equations, env, lambda v, value: self._held(made_by[v], value, env) if v in made_by else value)
        return rebuild(returned, iter([env[v] for v in program.ys]))

    def _held(self, e: Equation, value: Tensor, env: dict[Var, Any]) -> Tensor:
        soft = env[e.args[1]] if e.primitive is _straight_through else None
        if self._noting:
            self._values.append((value.data, None if soft is None else soft.data))
            return value
        noted, noted_soft = self._values[self._next]
        self._next += 1
        return Tensor(noted) if soft is None else soft + (noted - noted_soft)
