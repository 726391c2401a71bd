"""A backward pass that says of each parameter when its gradient is final: what is to be done with it can begin while
the pass goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_rnn.backend import xp
from tinygrad_rnn.tape import Leaf, Node, Walk
from tinygrad_rnn.tensor import Tensor

WhenFinal = Callable[[Leaf], None]
"""Is told of a leaf whose `.grad` is final."""


def backward_telling(loss: Tensor, told: WhenFinal) -> None:
    """What `loss.backward()` does for a scalar, and `told` hears of each leaf when its gradient is final, which is when
    the last op that read it has been differentiated. Raises as `backward` does."""
    if loss.node is None or loss.size != 1:
        loss.backward()  # which says what is wrong
        return
    _Telling(loss.node, told).run(loss.node, xp(loss.data).ones_like(loss.data))


class _Telling(Walk):
    """A walk that collects a leaf's gradient as soon as nothing can be added to it."""

    __slots__ = ("ends", "told")

    def __init__(self, root: Node, told: WhenFinal) -> None:
        super().__init__(None, False, None, None)
        self.told, self.ends = told, _last_visited(root)

    def operation(self, node: Node, g: Any) -> None:
        super().operation(node, g)
        for leaf in self.ends.pop(node, ()):
            if (share := self.grads.get(leaf)) is not None:
                self.leaf(leaf, share)
                self.grads[leaf] = None  # it still waits for its turn

    def leaf(self, node: Leaf, g: Any) -> None:
        if g is not None:
            super().leaf(node, g)
            self.told(node)


def _last_visited(root: Node) -> dict[Node, list[Leaf]]:
    """By the node that is visited last, which is the oldest, of those that read them: the leaves that `root` came from.
    (A node that turns out to get no gradient is not visited; its leaves wait until all is done.)"""
    oldest: dict[Leaf, Node] = {}
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        for parent in node.parents or ():
            if isinstance(parent, Leaf):
                if parent not in oldest or node.number < oldest[parent].number:
                    oldest[parent] = node
            elif parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    found: dict[Node, list[Leaf]] = {}
    for leaf, node in oldest.items():
        found.setdefault(node, []).append(leaf)
    return found
