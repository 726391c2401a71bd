"""detect_anomaly: which op made the first NaN, and where."""

from __future__ import annotations

import linecache
import zlib
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from tinygrad_rnn.backend import is_array, to_host, xp
from tinygrad_rnn.frames import user_frame
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.surroundings import Watcher, Where, watching
from tinygrad_rnn.tape import Box, Node, Primitive


class AnomalyError(FloatingPointError):
    """An op produced NaN or Inf, or an array that the tape needs was changed in place."""


def detect_anomaly() -> AbstractContextManager[None]:
    """`with detect_anomaly():` — every op is looked at, forward and backward, and the first that produces NaN or Inf
    raises AnomalyError naming it, the line of your code that called it, and the layer, cell, gate and time step where
    known. An array that the tape still needs and that was changed in place since is found too. Slow: for debugging.

    Run the forward pass inside it as well: only then are lines and checksums known to the backward pass."""
    return watching(_Detector())


class _Detector(Watcher):
    def __init__(self) -> None:
        self.sums: dict[Node, tuple[int, ...]] = {}

    def forward(self, node: Node | None, primitive: Primitive[Any], out: Any, where: Where) -> None:
        line = _user_line()
        bad = _not_finite(out)
        if bad:
            raise AnomalyError(f"{primitive.name} produced {bad} in the forward pass{_told(where)}, at {line}")
        if node is not None:
            node.where = (*node.where, ("line", line))
            self.sums[node] = _checksums(node)

    def backward(self, node: Node) -> None:
        before = self.sums.pop(node, None)
        if before is not None and before != _checksums(node):
            raise AnomalyError(
                f"an array that {_op_of(node)} needs for its gradient was changed in place after the forward "
                f"pass{_told(node.where)}"
            )

    def gradient(self, node: Node, position: int, gradient: Any) -> None:
        bad = _not_finite(gradient)
        if bad:
            seen = "line" in dict(node.where)
            hint = "" if seen else " (run the forward pass in detect_anomaly() too, to see the line)"
            place = f"{_told(node.where)}{hint}"
            raise AnomalyError(f"{_op_of(node)} produced {bad} in the gradient of its argument {position}{place}")


def _op_of(node: Node) -> str:
    """The name of the op that left it."""
    return node.primitive.name if node.primitive else "an op"


def _not_finite(value: Any) -> str:
    """ "NaN", "Inf" or nothing."""
    for part in value if isinstance(value, tuple) else (value,):
        numbers = _array_in(part)
        if numbers.dtype.kind == "f" and not bool(xp(numbers).isfinite(numbers).all()):
            return "NaN" if bool(xp(numbers).isnan(numbers).any()) else "Inf"
    return ""


def _array_in(part: Any) -> Any:
    """The array in it: a Tensor's, or that of the rows which a row-sparse gradient holds."""
    if isinstance(part, Box):
        return part.data
    return part.values if isinstance(part, RowSparse) else part


def _told(where: Where) -> str:
    place = ", ".join(f"{key} {value}" for key, value in where if key != "line")
    line = dict(where).get("line")
    return (f" ({place})" if place else "") + (f", at {line}" if line else "")


def _user_line() -> str:
    """The innermost line that is not this package's own."""
    frame, _ = user_frame()
    path, number = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(path, number).strip()
    return f"{path}:{number}" + (f": {source}" if source else "")


def _checksums(node: Node) -> tuple[int, ...]:
    values = [*node.args, *(node.out if isinstance(node.out, tuple) else (node.out,))]
    return tuple(zlib.crc32(np.ascontiguousarray(to_host(v)).tobytes()) for v in values if is_array(v))
