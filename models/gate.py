"""Gate: one affine sum of what a cell reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_rnn.models import init
from tinygrad_rnn.models.module import Module, replaced
from tinygrad_rnn.surroundings import label
from tinygrad_rnn.tensor import Parameter, Tensor


class Gate(Module):
    """x @ U + b + h @ W: (B,I), (B,H) -> (B,H), with U (I,H), W (H,H), b (H,), and where a cell wants one a second bias
    c (H,) beside W. `mask`, of h's shape, multiplies h: the layer sets it for recurrent dropout.

    Args:
        name: what messages call it.
        input_size, hidden_size: I and H.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        scheme: how they are drawn: "default" (U Glorot uniform, W orthogonal) or "wildml" (within 1/sqrt(fan in)).
        reads: "x" leaves out h and W, "h" leaves out x and U.
        size: another number of columns than H.
        bias: False leaves out b.

    Example:
        >>> gate = models.Gate("z", 2, 3)
        >>> gate(Tensor(np.ones((1, 2), np.float32)), Tensor(np.ones((1, 3), np.float32))).shape
        (1, 3)
    """

    mask: Tensor | None = None
    c: Parameter | None = None
    U: Parameter
    W: Parameter
    b: Parameter

    def __init__(
        self,
        name: str,
        input_size: int,
        hidden_size: int,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        scheme: str = "default",
        reads: str = "xh",
        size: int | None = None,
        bias: bool = True,
    ) -> None:
        if reads not in ("xh", "x", "h"):
            raise ValueError(f"gate {name!r} must read xh, x or h, got {reads!r}")
        first, second = SCHEMES[scheme]
        rng = init.generator(rng)
        size = hidden_size if size is None else init.size("size", size)
        self.name, self.reads, self.bias = name, reads, bias
        if "x" in reads:
            self.U = Parameter(first(rng, (input_size, size)), dtype=dtype, name=f"{name}.U")
        if "h" in reads:
            self.W = Parameter(second(rng, (hidden_size, size)), dtype=dtype, name=f"{name}.W")
        if bias:
            self.b = Parameter(np.zeros(size), dtype=dtype, name=f"{name}.b")

    def rename(self, name: str) -> None:
        """Calls the gate, and its Parameters, by another name."""
        self.name = name
        for path, parameter in self.named_parameters():
            parameter.name = f"{name}.{path}"

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The whole sum: `gate(x, h)`, or of the one that it reads. Raises TypeError for another number of them."""
        if len(inputs) != len(self.reads):
            raise TypeError(f"gate {self.name!r} reads {', '.join(self.reads)}, got {len(inputs)} inputs")
        with label("gate", self.name):
            if self.reads == "h":
                return self._of_h(inputs[0]) + self.b if self.bias else self._of_h(inputs[0])
            return self._of_x(inputs[0]) + self._of_h(inputs[1]) if self.reads == "xh" else self._of_x(inputs[0])

    def input(self, x: Tensor) -> Tensor:
        """The part that does not depend on the state: x @ U + b."""
        with label("gate", self.name):
            return self._of_x(x)

    def recurrent(self, h: Tensor) -> Tensor:
        """The part that does: h @ W (+ c)."""
        with label("gate", self.name):
            return self._of_h(h)

    def with_recurrent(self, W: Tensor) -> Gate:
        """This gate, with W in the place of its own, of which it is made: masked, say, or antisymmetric."""
        other: Gate = replaced(self, {id(self.W): W})
        return other

    def _unfit(self, what: str, weight: str, given: Tensor) -> ValueError:
        """What to say of an argument that does not fit."""
        if what not in self.reads:
            return ValueError(f"gate {self.name!r} reads {self.reads} alone: it has no {weight}")
        rows = f"{getattr(self, weight).shape[0]} features as {what}, got {given.shape}"
        return ValueError(f"gate {self.name!r} reads {rows}; new_gate(..., {what}_size=) makes one that reads others")

    def _of_x(self, x: Tensor) -> Tensor:
        if "x" not in self.reads or x.shape[-1:] != self.U.shape[:1]:
            raise self._unfit("x", "U", x)
        return x @ self.U + self.b if self.bias else x @ self.U

    def _of_h(self, h: Tensor) -> Tensor:
        if self.mask is not None:
            if h.shape[:1] != self.mask.shape[:1]:
                rows = f"{self.mask.shape[0]} rows, got {h.shape[0]}"
                raise ValueError(f"gate {self.name!r}: with recurrent dropout it must read the whole batch of {rows}")
            h = h * self.mask
        if "h" not in self.reads or h.shape[-1:] != self.W.shape[:1]:
            raise self._unfit("h", "W", h)
        product = h @ self.W
        return product if self.c is None else product + self.c


SCHEMES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "default": (init.glorot, init.orthogonal),
    "wildml": (init.wildml, init.wildml),
}
"""By the name of the constructor's `init`: how U and W are drawn."""
