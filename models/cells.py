"""The three classic cells, as their equations."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.ops import hard_sigmoid, relu, sigmoid, tanh
from tinygrad_rnn.tensor import Parameter, Tensor

_GATES = {"sigmoid": sigmoid, "hard_sigmoid": hard_sigmoid}


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


class RNNCell(Cell):
    """Elman 1990: h' = tanh(x U + b + h W), or relu with `nonlinearity="relu"` (Le et al. 2015)."""

    gates = "n"

    def setup(self, nonlinearity: str = "tanh") -> None:
        self.nonlinearity = _one_of("nonlinearity", nonlinearity, ("tanh", "relu"))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return relu(self.n(x, h)) if self.nonlinearity == "relu" else tanh(self.n(x, h))


class GRUCell(Cell):
    """Cho et al. 2014: h' = (1-z) * n + z * h, with the reset gate r inside the candidate n.

    `reset="after"` (the default, as in PyTorch and cuDNN): n = tanh(x U + b + r * (h W)), and with
    `recurrent_bias=True` + r * (h W + c), the second bias that their weights have. `reset="before"` (the paper, and
    the WildML tutorial): n = tanh(x U + b + (r * h) W).
    `update="keep"`: z keeps the old state, as above; `update="write"`: h' = z * n + (1-z) * h (Chung et al. 2014).
    `gate="hard_sigmoid"`: z and r by clip(0.2 a + 0.5, 0, 1), as in the WildML tutorial."""

    gates = "z r n"

    def setup(
        self, reset: str = "after", update: str = "keep", recurrent_bias: bool = False, gate: str = "sigmoid"
    ) -> None:
        self.reset = _one_of("reset", reset, ("after", "before"))
        self.update = _one_of("update", update, ("keep", "write"))
        self.gate = _one_of("gate", gate, tuple(_GATES))
        if recurrent_bias:
            self.n.c = Parameter(np.zeros(self.hidden_size), name="n.c")

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        squash = _GATES[self.gate]
        z, r = squash(self.z(x, h)), squash(self.r(x, h))
        if self.reset == "after":
            n = tanh(self.n.input(x) + r * self.n.recurrent(h))
        else:
            n = tanh(self.n(x, r * h))
        return (1 - z) * n + z * h if self.update == "keep" else z * n + (1 - z) * h


class LSTMCell(Cell):
    """Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000, its bias `forget_bias` = 1 at the start
    (Jozefowicz et al. 2015)."""

    gates = "i f o g"
    state = "h c"

    def setup(self, forget_bias: float = 1.0) -> None:
        self.f.b.data += forget_bias

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, o = sigmoid(self.i(x, h)), sigmoid(self.f(x, h)), sigmoid(self.o(x, h))
        c = f * c + i * tanh(self.g(x, h))
        return o * tanh(c), c
