"""Relatives of the GRU: one state, and gates that choose between the old and a new one."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.layers import LayerNorm
from tinygrad_rnn.ops import sigmoid, tanh
from tinygrad_rnn.tensor import Parameter, Tensor


class LayerNormGRUCell(Cell):
    """Ba et al. 2016, supplement, eq. 31 to 34: every product is normalised, here gate by gate; the reset gate stands
    after the product. z writes, as in the paper."""

    gates = "z r n"

    def setup(self) -> None:
        self.of_x = {gate: LayerNorm(self.hidden_size) for gate in "zrn"}
        self.of_h = {gate: LayerNorm(self.hidden_size) for gate in "zrn"}

    def from_x(self, name: str, x: Tensor) -> Tensor:
        """LN(x U) + b."""
        gate = getattr(self, name)
        part: Tensor = self.of_x[name](x @ gate.U) + gate.b
        return part

    def from_h(self, name: str, h: Tensor) -> Tensor:
        """LN(h W)."""
        return self.of_h[name](getattr(self, name).recurrent(h))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        z, r = (sigmoid(self.from_x(name, x) + self.from_h(name, h)) for name in "zr")
        n = tanh(self.from_x("n", x) + r * self.from_h("n", h))
        return (1 - z) * h + z * n


class MGUCell(Cell):
    """Zhou et al. 2016, eq. 7: minimal gated unit, a GRU whose reset and update gates are one."""

    gates = "f n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        f = sigmoid(self.f(x, h))
        return (1 - f) * h + f * tanh(self.n(x, f * h))


class _Mutated(Cell):
    """Jozefowicz et al. 2015 add x to vectors of H entries: where I is another number, a matrix brings it there."""

    gates = "z r n"

    def setup(self) -> None:
        if self.input_size != self.hidden_size:
            self.k = self.new_gate("k", "x")

    def widened(self, x: Tensor) -> Tensor:
        """x, or x U + b: (B,H)."""
        return x if self.input_size == self.hidden_size else self.k(x)


class MUT1Cell(_Mutated):
    """Jozefowicz et al. 2015, MUT1: the update gate does not see the state."""

    gates = "z:x r n:h"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        z, r = sigmoid(self.z(x)), sigmoid(self.r(x, h))
        return tanh(self.n(r * h) + tanh(self.widened(x))) * z + h * (1 - z)


class MUT2Cell(_Mutated):
    """Jozefowicz et al. 2015, MUT2: the reset gate sees the input as it is."""

    gates = "z r:h n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        z, r = sigmoid(self.z(x, h)), sigmoid(self.widened(x) + self.r(h))
        return tanh(self.n(x, r * h)) * z + h * (1 - z)


class MUT3Cell(Cell):
    """Jozefowicz et al. 2015, MUT3: the update gate sees the state squashed."""

    gates = "z r n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        z, r = sigmoid(self.z(x, tanh(h))), sigmoid(self.r(x, h))
        return tanh(self.n(x, r * h)) * z + h * (1 - z)


class UGRNNCell(Cell):
    """Collins et al. 2017, eq. 5 to 7: update gate RNN, one gate between the old state and a plain RNN's."""

    gates = "g n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        g = sigmoid(self.g(x, h))
        return g * h + (1 - g) * tanh(self.n(x, h))


class JANETCell(Cell):
    """van der Westhuizen & Lasenby 2018, eq. 4: an LSTM with nothing but its forget gate, which writes by
    1 - sigmoid(s - beta). (The paper draws the forget biases for the lengths expected.)"""

    gates = "f n"

    def setup(self, beta: float = 1.0, forget_bias: float = 1.0) -> None:
        self.beta = beta
        self.f.b.data += forget_bias

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        s = self.f(x, h)
        return sigmoid(s) * h + (1 - sigmoid(s - self.beta)) * tanh(self.n(x, h))


class FastGRNNCell(Cell):
    """Kusupati et al. 2018, eq. 2: a GRU whose gate and candidate have the same matrices, and each a bias of its own;
    what is written is zeta (1 - z) + nu, two numbers that are learnt through a sigmoid. State: h (B,H). (Left out are
    low rank, sparsity and whole numbers of W and U, by which the paper's models become small.)"""

    gates = "n"

    def setup(self, zeta: float = 1.0, nu: float = -4.0) -> None:
        self.zeta, self.nu = Parameter(np.full(1, zeta)), Parameter(np.full(1, nu))  # before the sigmoid
        self.z_b = Parameter(np.zeros(self.hidden_size))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        both = x @ self.n.U + self.n.recurrent(h)
        z, n = sigmoid(both + self.z_b), tanh(both + self.n.b)
        return (sigmoid(self.zeta) * (1 - z) + sigmoid(self.nu)) * n + z * h
