"""Where the pieces of a loop lie when it runs: numbers for the table that compiled code reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.machine.schedule import LoopSchedule
from tinygrad_rnn.loops.machine.views import Piece, StridedView
from tinygrad_rnn.loops.program import Var


class OutsidePieces:
    """Of a schedule's pieces in memory, those that the caller has: what is stored or read with a time axis, what is the
    same at every step, and the two arrays of each ringed state."""

    def __init__(self, layout: Layout, schedule: LoopSchedule) -> None:
        self.layout = layout
        states = {v for pair in layout.ringed for v in pair}
        self.ringed = {Piece(v) for v in states}
        self._outside = [
            (2 * n, piece, piece.var in layout.timed)
            for n, piece in enumerate(schedule.memory)
            if piece not in schedule.scratch and piece.var not in states
        ]
        """Of each, its place in the table, and whether it has a time axis."""
        places = {piece.var: 2 * n for n, piece in enumerate(schedule.memory)}
        self._rings = [(places[v], c, v is n) for c, n in layout.ringed for v in (c, n) if v in places]

    def fill(
        self,
        numbers: list[int],
        steps: int,
        env: Env,
        rings: dict[Var, tuple[Array, Array]],
        address: Callable[[Array], int],
    ) -> dict[int, tuple[Array, ...]]:
        """Puts two numbers for each into the table: its address at step 0, and in bytes how much further it lies at
        each step (of a ring, at every other one). Returns, by the number of the piece, the arrays in which they lie,
        which must live as long as the loop runs."""
        held: dict[int, tuple[Array, ...]] = {}
        for place, piece, timed in self._outside:
            x: Any = env[piece.var]
            if piece.slice is not None:
                x = x[:, piece.slice] if timed else x[piece.slice]
            if timed and x.strides[0] == 0 and steps > 1:
                x, timed = x[0], False  # noqa: PLW2901  (the same at every step)
            if not (x[0] if timed else x).flags.c_contiguous:
                x = xp(x).ascontiguousarray(x)
            held[place // 2] = (x,)
            first, stride = address(x), x.strides[0] if timed else 0
            backwards = timed and self.layout.reverse
            numbers[place : place + 2] = (first + (steps - 1) * stride, -stride) if backwards else (first, stride)
        for place, c, second in self._rings:
            held[place // 2] = rings[c]
            a, b = map(address, rings[c])
            numbers[place : place + 2] = (b, a - b) if second else (a, b - a)
        return held


def weight_matrix(matrices: Array, right: StridedView) -> Array:
    """By which a product multiplies."""
    K, N = right.shape
    return matrices if matrices.ndim == 2 else matrices.reshape(-1, K, N)[right.offset // (K * N)]
