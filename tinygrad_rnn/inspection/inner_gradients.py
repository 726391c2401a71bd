"""The gradients of all that lies between a result and its leaves: a backward pass that changes nothing, listened to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tinygrad_rnn.backend import xp
from tinygrad_rnn.surroundings import Watcher, watching
from tinygrad_rnn.tape import Node, walk


class InnerGradients(Watcher):
    """After a walk: of each node the gradient, and the shares of it that came from each use; of one with several
    results a list, None for those that nothing used."""

    def __init__(self) -> None:
        self.of: dict[Node, Any] = {}
        self.shares: dict[Node, list[tuple[Node, Any]]] = defaultdict(list)
        """By node who gave a share, and the share, in the order of the walk."""

    def backward(self, node: Node, gradient: Any) -> None:
        self.of[node] = gradient

    def gradient(self, node: Node, position: int, gradient: Any) -> None:
        self.shares[node.parents[position]].append((node, gradient))


def inner_gradients(root: Node, value: Any, nodes: Sequence[Node]) -> InnerGradients:
    """Of a scalar `value` on the tape, which `root` made of `nodes`. No leaf's `.grad` changes, and nothing is freed.
    Raises what a backward pass raises."""
    heard = InnerGradients()
    ends = [node for node in nodes if not any(node.parents)]
    with watching(heard):
        found = walk(root, xp(value).ones_like(value), retain=True, targets=ends)
    heard.of |= {node: gradient for node, gradient in zip(ends, found, strict=True) if gradient is not None}
    return heard
