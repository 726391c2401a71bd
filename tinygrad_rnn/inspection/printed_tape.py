"""Tape: the Wengert list behind a result, to be printed, drawn and read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from tinygrad_rnn.backend import is_array
from tinygrad_rnn.inspection.stepped_tape import SteppedTape, origin
from tinygrad_rnn.pictures import table
from tinygrad_rnn.surroundings import Where
from tinygrad_rnn.tape import Alias, FreedTapeError, Leaf, Node, Output
from tinygrad_rnn.tensor import Tensor

DRAWN, WIDE = 60, 8
"""Nodes that a notebook draws at most, and operands of one of them: beyond, the list says more."""


HEAD = ("#", "op", "operands", "shape", "dtype", "bytes", "where")


class Tape:
    """The list of ops that a result was made by, oldest first (Wengert 1964). Printed, it is a line for each: its
    number, from 1, the op, its operands, shape, dtype and bytes, and where known the layer, gate and time step and the
    name.

    It holds the values of every op: let go of it to free them.

    Args:
        result: a Tensor on the tape.
        collapse: shows a run of equal time steps as its first and a count.

    Raises:
        ValueError: the Tensor is off the tape.
        FreedTapeError: its tape was freed.

    Example:
        >>> x = Parameter([1.0, 2.0], name="x")
        >>> print(tg.Tape((x * x).sum()))
        #  op    operands   shape  dtype    bytes  where
        ------------------------------------------------
        1  leaf             (2,)   float32      8  x
        2  mul   #1, #1     (2,)   float32      8
        3  sum   #2, False  ()     float32      4
    """

    def __init__(self, result: Tensor, collapse: bool = False) -> None:
        if not isinstance(result, Tensor) or result.node is None:
            raise ValueError("Tape: a Tensor on the tape was expected; nothing was recorded for this one")
        self.nodes = _reachable(result.node)
        self.collapse = collapse
        shown = (node for node in self.nodes if not isinstance(node, Output))
        self.numbers = {node: number for number, node in enumerate(shown, 1)}
        """Of every node but the parts of an op's several results."""
        self.leaves = {
            parent: value
            for node in self.nodes
            for parent, value in zip(node.parents, node.args, strict=False)
            if isinstance(parent, Leaf)
        } | ({result.node: result.data} if isinstance(result.node, Leaf) else {})

    def __len__(self) -> int:
        """The number of ops, leaves not counted."""
        return sum(1 for node in self.nodes if node.primitive is not None)

    def __str__(self) -> str:
        rows = [HEAD, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        right = (0, 5)
        lines = [
            "  ".join(
                cell.rjust(width) if i in right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])

    __repr__ = __str__

    def _rows(self) -> Iterator[tuple[str, ...]]:
        _check_alive(self.nodes)
        if not self.collapse:
            yield from map(self._row, self.numbers)
            return
        steps = [list(run) for _, run in groupby(self.numbers, key=_step)]
        for key, run in groupby(steps, key=_pattern):
            same = list(run)
            if key is None or len(same) == 1:
                yield from map(self._row, [node for nodes in same for node in nodes])
                continue
            yield from map(self._row, same[0])
            rest = [node for nodes in same[1:] for node in nodes]
            size = sum(_bytes(node.out) for node in rest)
            yield (
                "...",
                f"{len(same) - 1} more steps",
                f"{len(rest)} ops like these",
                "",
                "",
                f"{size:,}",
                "",
            )

    def _row(self, node: Node) -> tuple[str, ...]:
        out = self.leaves[node] if isinstance(node, Leaf) else node.out
        several = isinstance(out, tuple)
        one = out[0] if several else out
        return (
            str(self.numbers[node]),
            _op(node),
            self._operands(node),
            f"{len(out)} x {one.shape}" if several else str(one.shape),
            str(one.dtype),
            f"{_bytes(out):,}",
            self._name(node) if isinstance(node, Leaf) else _place(node),
        )

    def _operands(self, node: Node) -> str:
        words = []
        for parent, value in zip(node.parents, node.args, strict=True):
            if parent is not None:
                source, part = origin(parent)
                words.append(f"#{self.numbers[source]}" + ("" if part is None else f"[{part}]"))
            elif is_array(value):
                words.append(f"{value.dtype}{list(value.shape)}")
            elif value is not None:
                words.append(repr(value) if len(repr(value)) < 30 else type(value).__name__)
        return ", ".join(words + [f"{key}={value!r}" for key, value in node.params.items() if value is not None])

    def _name(self, node: Node) -> str:
        return node.name or f"leaf #{self.numbers[node]}" if isinstance(node, Leaf) else ""

    def _repr_html_(self) -> str:
        """In a notebook: the graph where it is small, with values and gradients, to be gone through; and the list."""
        listed = table(HEAD, self._rows())
        if len(self.numbers) > DRAWN or max(len(node.parents) for node in self.numbers) > WIDE:
            return listed
        names = {
            node: self._name(node) if isinstance(node, Leaf) else f"{_op(node)} #{number}"
            for node, number in self.numbers.items()
        }
        drawn = SteppedTape(self.nodes, self.numbers, names, self.leaves).html()
        return f"{drawn}<details><summary>{len(self)} ops</summary>{listed}</details>"

    def to_dot(self) -> str:
        """The graph for Graphviz: ops as ellipses, leaves as boxes, an arrow from each operand to its op."""
        lines = ["digraph tape {", "  rankdir=BT;", '  node [fontname="monospace", fontsize=10];']
        for node, number in self.numbers.items():
            leaf = node.primitive is None
            text = (
                self._name(node).replace("\\", "\\\\").replace('"', '\\"') if leaf else f"{_op(node)} #{number}"
            ) + f"\\n{self._row(node)[3]}"
            shape = 'box, style=filled, fillcolor="#e8f0fe"' if leaf else "ellipse"
            lines.append(f'  n{number} [shape={shape}, label="{text}"];')
            for parent in node.parents:
                if parent is not None:
                    source, part = origin(parent)
                    label = f' [label="{part}"]' if part is not None else ""
                    lines.append(f"  n{self.numbers[source]} -> n{number}{label};")
        return "\n".join([*lines, "}"])


def _check_alive(nodes: Iterable[Node]) -> None:
    if any(node.parents is None for node in nodes):
        raise FreedTapeError("Tape: a backward() has freed this tape; look at it before, or pass retain=True")


def _reachable(root: Node) -> list[Node]:
    seen = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        _check_alive([node])
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.number)


def _step(node: Node) -> Where | None:
    """The place of a node down to its time step: what the nodes of one step share."""
    for i, (key, _) in enumerate(node.where):
        if key == "step":
            return node.where[: i + 1]
    return None


def _pattern(nodes: list[Node]) -> Any:
    """Equal for time steps of one loop that do the same; None outside of loops."""
    step = _step(nodes[0])
    return None if step is None else (step[:-1], [(_op(node), _bytes(node.out)) for node in nodes])


def _op(node: Node) -> str:
    if isinstance(node, Alias):
        return "variable"
    return node.primitive.name if node.primitive is not None else "leaf"


def _place(node: Node) -> str:
    return ", ".join(f"{key} {value}" for key, value in node.where)


def _bytes(out: Any) -> int:
    parts = out if isinstance(out, tuple) else (out,)
    return sum(math.prod(part.shape) * part.dtype.itemsize for part in parts)
