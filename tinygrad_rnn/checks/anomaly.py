"""detect_anomaly: which op made the first NaN, and where."""

from __future__ import annotations

import linecache
import math
import zlib
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from tinygrad_rnn.backend import is_array, to_host, xp
from tinygrad_rnn.frames import user_frame
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.surroundings import Watcher, Where, watching
from tinygrad_rnn.tape import Alias, Box, Leaf, Node, Output, Primitive


class AnomalyError(FloatingPointError):
    """An op produced NaN or Inf, or an array that the tape needs was changed in place."""


def detect_anomaly() -> AbstractContextManager[None]:
    """`with detect_anomaly():` — every op of this thread is looked at, forward and backward, and the first that
    produces NaN or Inf raises AnomalyError naming it, the line of your code that called it, and the layer, cell, gate
    and time step where known. Where the NaN or Inf was in what the op was given, the data is named instead: which
    argument, what it is (a Parameter by its name), and the index of its first such entry. An array that the tape still
    needs and that was changed in place since is found too. Slow: for debugging.

    An infinity that was given on purpose is none, and neither is what ops make of it, until one makes NaN of it: as a
    number, or in an array that no gradient goes through and that holds one other number at most (a mask of 0 and -inf,
    a running maximum's beginning). One among data is told.

    Run the forward pass inside it as well: only then are lines and checksums known to the backward pass.

    Example:
        >>> with tg.detect_anomaly():
        ...     ops.log(Tensor([1.0, 0.0]))
        Traceback (most recent call last):
        ...
        tinygrad_rnn.checks.anomaly.AnomalyError: log produced Inf in the forward pass, at ...
    """
    return watching(_Detector())


class _Detector(Watcher):
    def __init__(self) -> None:
        self.sums: dict[Node, tuple[int, ...]] = {}
        self.given: dict[int, Any] = {}
        """By their ids the results that hold an infinity on purpose: it was given to an op."""

    def forward(
        self, node: Node | None, primitive: Primitive[Any], args: Any, parents: Any, out: Any, where: Where
    ) -> None:
        line = _user_line()
        bad = _not_finite(out)
        if bad == "Inf" and self._is_given(args, parents):
            self.given |= {id(part): part for part in (out if isinstance(out, tuple | list) else (out,))}
        elif bad:
            place = f"{_told(where)}, at {line}"
            if data := _data_at_fault(primitive, args, parents):
                raise AnomalyError(f"{data}; {primitive.name} passed it on{place}")
            raise AnomalyError(f"{primitive.name} produced {bad} in the forward pass{place}")
        if node is not None:
            node.where = (*node.where, ("line", line))
            self.sums[node] = _checksums(node)

    def _is_given(self, args: Any, parents: Any) -> bool:
        """Whether an op was given an infinity on purpose, and none that was not."""
        found = False
        for value, parent in zip(args, parents, strict=True):
            if isinstance(value, float) and math.isinf(value):
                found = True
            elif is_array(value) and _not_finite(value):
                if id(value) not in self.given and (parent is not None or not _is_a_mask(value)):
                    return False
                found = True
        return found

    def begin(self, seed: Any) -> None:
        bad = _not_finite(seed)
        if bad:
            raise AnomalyError(f"the gradient that the backward pass was given holds {bad}, at {_user_line()}")

    def backward(self, node: Node, gradient: Any) -> None:
        before = self.sums.pop(node, None)
        if before is not None and before != _checksums(node):
            raise AnomalyError(
                f"an array that {_op_of(node)} needs for its gradient was changed in place after the forward "
                f"pass{_told(node.where)}"
            )
        bad = _not_finite(gradient)
        if bad:  # and each share of it was looked at
            raise AnomalyError(
                f"the gradients by the uses of the result of {_op_of(node)}, finite each, add up to {bad}"
                f"{_told(node.where)}"
            )

    def gradient(self, node: Node, position: int, gradient: Any) -> None:
        bad = _not_finite(gradient)
        if bad:
            seen = "line" in dict(node.where)
            hint = "" if seen else " (run the forward pass in detect_anomaly() too, to see the line)"
            said = f"{_op_of(node)} produced {bad} in the gradient of its argument {position}"
            if node.primitive and (data := _data_at_fault(node.primitive, node.args, node.parents)):
                said = f"{data}; {said}"
            raise AnomalyError(f"{said}{_told(node.where)}{hint}")


def _data_at_fault(primitive: Primitive[Any], args: Any, parents: Any) -> str:
    """The first argument that holds NaN or Inf itself, and what it is; nothing where all are finite."""
    for i, (value, parent) in enumerate(zip(args, parents, strict=True)):
        if isinstance(value, float) and not math.isfinite(value):
            return f"{primitive.argument(i)} of {primitive.name} is the number {value}"
        bad = _not_finite(value) if is_array(value) else ""
        if bad:
            finite = to_host(xp(value).isfinite(value))
            first = [int(index) for index in np.argwhere(~finite)[0]]
            return f"{primitive.argument(i)} of {primitive.name} holds {bad} already, first at {first}: " + _source_of(
                parent, value
            )
    return ""


def _source_of(node: Node | None, value: Any) -> str:
    """Where an argument came from."""
    while isinstance(node, Alias):
        node = node.parents[0]
    if isinstance(node, Leaf):
        return f"parameter {node.name} of shape {value.shape}" if node.name else f"a leaf of shape {value.shape}"
    if isinstance(node, Output):
        node = node.parents[0]
    if node is not None:
        return f"the result of {_op_of(node)} from before detect_anomaly()"
    return f"an array of shape {value.shape} that is no result of an op on the tape"


def _op_of(node: Node) -> str:
    """The name of the op that left it."""
    return node.primitive.name if node.primitive else "an op"


def _is_a_mask(value: Any) -> bool:
    """Whether an array holds infinities and one other number at most."""
    others = value[xp(value).isfinite(value)]
    return len(others) == 0 or bool((others == others[0]).all())


def _not_finite(value: Any) -> str:
    """ "NaN", "Inf" or nothing."""
    found = ""
    for part in value if isinstance(value, tuple | list) else (value,):
        numbers = _array_in(part)
        if numbers is None:  # a result that nothing used
            continue
        if numbers.dtype.kind == "f" and not bool(xp(numbers).isfinite(numbers).all()):
            if bool(xp(numbers).isnan(numbers).any()):
                return "NaN"
            found = "Inf"
    return found


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
