"""A tape as a picture with values and gradients, and a slider that goes through it: forward, then backward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from tinygrad_rnn.backend import is_array, to_host
from tinygrad_rnn.inspection.bundled_files import bundled
from tinygrad_rnn.inspection.graphs import BACKWARD, FONT, FORWARD, GRADIENT, GraphBox, graph
from tinygrad_rnn.inspection.inner_gradients import InnerGradients, inner_gradients
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.tape import Leaf, Node, Output

_SHOWN = 4
"""Entries of an array whose numbers are told; of a larger one its shape and its norm are."""


class SteppedTape:
    """`nodes` are those of the tape, oldest first; `numbers` are of those that are drawn, `names` what each is called
    and `leaves` the values of what the tape begins with."""

    def __init__(
        self, nodes: Sequence[Node], numbers: Mapping[Node, int], names: Mapping[Node, str], leaves: Mapping[Leaf, Any]
    ) -> None:
        self.numbers, self.names, self.leaves = numbers, names, leaves
        self.gradients, self.without = InnerGradients(), ""
        root = nodes[-1]
        result = self._value(root)
        if result.size != 1:
            self.without = f"No gradients: the result has the shape {result.shape}, and is no single number."
            return
        try:
            self.gradients = inner_gradients(root, result, nodes)
        except (RuntimeError, TypeError) as error:  # as a backward pass would
            self.without = f"No gradients: {error}."

    def html(self) -> str:
        """The picture as it is after both passes; where scripts run, controls to go through them."""
        boxes = [self._box(node) for node in self.numbers]
        steps = len(boxes) if self.without else 2 * len(boxes)
        legend = "Under its name each op has its value"
        if self.without:
            legend += f". {escape(self.without)}"
        else:
            color = f"color:{BACKWARD};color:{GRADIENT}"
            legend += f', and <span style="{color}">∂ the gradient</span> of the result by it.'
        controls = (
            '<div class="tg-tape-controls" hidden=""><button type="button" aria-label="a step back">◀</button> '
            f'<input type="range" min="1" max="{steps}" value="{steps}" aria-label="step" '
            'style="width:12em;max-width:55%;vertical-align:middle"/> '
            '<button type="button" aria-label="a step on">▶</button></div>'
            '<div class="tg-tape-said" aria-live="polite" style="min-height:3em" hidden="">'
            "Move the slider: forward, then backward.</div>"
        )
        return (
            f'<div class="tg-tape" data-forward="{FORWARD}" data-backward="{BACKWARD}">{controls}'
            f'<div class="tg-tape-drawing" style="overflow:auto;max-height:42em">{graph(boxes)}</div>'
            f'<div style="{FONT}">{legend}</div></div><script>{bundled("tape.js")}</script>'
        )

    def _value(self, node: Node) -> Any:
        return self.leaves[node] if isinstance(node, Leaf) else node.out

    def _box(self, node: Node) -> GraphBox:
        sources = tuple(self.numbers[origin(parent)[0]] for parent in node.parents if parent is not None)
        lines = [self.names[node], brief(self._value(node))]
        said = [("forward", self._forward(node))]
        if not self.without:
            found = node in self.gradients.of
            lines.append(f"∂ {brief(self.gradients.of[node])}" if found else "")
            said.append(("backward", self._backward(node) if found else f"no gradient comes to {self.names[node]}"))
        return GraphBox(self.numbers[node], tuple(lines), sources, isinstance(node, Leaf), tuple(said))

    def _forward(self, node: Node) -> str:
        """What this line of the tape computed, and from what."""
        value = brief(self._value(node))
        if isinstance(node, Leaf):
            return f"{self.names[node]} is given, {value}"
        read = [
            brief(argument) if parent is None else self._called(parent)
            for argument, parent in zip(node.args, node.parents, strict=True)
            if parent is not None or is_array(argument) or isinstance(argument, int | float)
        ]
        return f"{self.names[node]} reads {', '.join(read) or 'nothing'} and makes {value}"

    def _backward(self, node: Node) -> str:
        """Which gradient comes to this line, and what it hands on."""
        gradient = brief(self.gradients.of[node])
        shares = [brief(share) for _, share in self.gradients.shares[node]]
        if len(shares) > 1:
            gradient = f"{' + '.join(shares)} = {gradient}".replace("+ -", "- ")
        if isinstance(node, Leaf):
            return f"{self.names[node]} keeps its gradient, {gradient}"
        handed = [
            f"{brief(share)} to {self._called(parent)}"
            for parent in dict.fromkeys(node.parents)
            if parent is not None
            for giver, share in self.gradients.shares[parent]
            if giver is node
        ]
        return f"{self.names[node]} has the gradient {gradient}; its rules hand {', '.join(handed) or 'nothing'}"

    def _called(self, node: Node) -> str:
        source, part = origin(node)
        return self.names[source] + ("" if part is None else f"[{part}]")


def origin(node: Node) -> tuple[Node, int | None]:
    """The op that a node is a result of, and which of several it is."""
    return (node.parents[0], node.index) if isinstance(node, Output) else (node, None)


def brief(value: Any) -> str:
    """A number, the numbers of a small vector, or the shape and the norm of what is larger."""
    if isinstance(value, tuple | list):
        return "; ".join(map(brief, value))
    if value is None:
        return "none"
    if isinstance(value, RowSparse):
        value = value.dense()
    array = np.asarray(to_host(value) if is_array(value) else value)
    if array.size == 1:
        return f"{array.item():.4g}"
    if array.ndim == 1 and array.size <= _SHOWN:
        return f"[{', '.join(f'{each:.3g}' for each in array.tolist())}]"
    norm = np.linalg.norm(array.astype(np.float64))
    return f"{' x '.join(map(str, array.shape))}, norm {norm:.3g}"
