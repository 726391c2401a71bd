"""Cells whose new state is a weighted sum, and whose weights need no product with the old state or next to none."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell, TwoStates
from tinygrad_rnn.ops import relu, sigmoid, tanh
from tinygrad_rnn.tensor import Parameter, Tensor


class RANCell(Cell):
    """Lee et al. 2017, eq. 3: recurrent additive network. The content is linear in the input alone, so that the cell
    is a weighted sum of inputs. (The paper's content has no bias.)"""

    gates = "n:x i f"
    state = "h c"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        c = sigmoid(self.i(x, h)) * self.n(x) + sigmoid(self.f(x, h)) * c
        return tanh(c), c


class IndRNNCell(Cell):
    """Li et al. 2018, eq. 2: each unit sees its own past alone, by one weight u, which starts at 1. (The paper bounds u
    for long sequences; here nothing does.)"""

    gates = "n:x"

    def setup(self) -> None:
        self.u = Parameter(np.ones(self.hidden_size))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return relu(self.n(x) + self.u * h)


class MinGRUCell(Cell):
    """Feng et al. 2024, section 3.1: a GRU whose gate and candidate do not see the state."""

    gates = "z:x n:x"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        z = sigmoid(self.z(x))
        n: Tensor = self.n(x)
        return (1 - z) * h + z * n


class MinLSTMCell(Cell):
    """Feng et al. 2024, section 3.2: forget and input gates do not see the state, and their sum is 1."""

    gates = "f:x i:x n:x"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        # Never 0 / 0; small beside gates that are nearly shut, and not so small that to divide by it overflows.
        least = float(np.finfo(x.dtype).smallest_subnormal) ** 0.8
        f, i = (sigmoid(gate(x)) + least for gate in (self.f, self.i))
        share = f / (f + i)
        h = share * h + (1 - share) * self.n(x)
        return h


class SRUCell(Cell):
    """Lei et al. 2018, eq. 1 to 4: gates see their own unit's cell, by one weight; the output is a highway between cell
    and input, which a matrix brings to H where I is another number. (The paper's content has no bias, and its highway
    may be scaled.)"""

    gates = "n:x f:x r:x"
    state = "c"
    output = "h"

    def setup(self) -> None:
        self.f_own, self.r_own = (Parameter(np.zeros(self.hidden_size)) for _ in range(2))
        if self.input_size != self.hidden_size:
            self.k = self.new_gate("k", "x")

    def step(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        f, r = sigmoid(self.f(x) + self.f_own * c), sigmoid(self.r(x) + self.r_own * c)
        c = f * c + (1 - f) * self.n(x)
        return c, r * c + (1 - r) * (x if self.input_size == self.hidden_size else self.k(x))


class QRNNCell(Cell):
    """Bradbury et al. 2017, eq. 2 and 4 (fo-pooling): gates read this input and the one before. What they will make of
    this one at the next step, its product with their second matrix, is carried as a state. (The paper has no
    biases.)"""

    gates = "n:x f:x o:x"
    state = "c n_before f_before o_before"
    kept = "n_before f_before o_before"  # the input before, not a unit's memory
    output = "h"

    def setup(self) -> None:
        self.next_n, self.next_f, self.next_o = (self.new_gate(name, "x") for name in ("next_n", "next_f", "next_o"))

    def step(self, x: Tensor, c: Tensor, n: Tensor, f: Tensor, o: Tensor) -> tuple[Tensor, ...]:
        n, f, o = tanh(self.n(x) + n), sigmoid(self.f(x) + f), sigmoid(self.o(x) + o)
        c = f * c + (1 - f) * n
        return c, self.next_n(x), self.next_f(x), self.next_o(x), o * c


class SCRNCell(Cell):
    """Mikolov et al. 2014, eq. 3 to 5: H fast units, and `context_size` slow ones (H unless told) that keep a share
    `alpha` of themselves. The output is both, side by side, (B,H+context_size). (The paper has no biases.)"""

    state = "h s"

    def setup(self, context_size: int | None = None, alpha: float = 0.95) -> None:
        self.context_size = self.hidden_size if context_size is None else init.size("context_size", context_size)
        self.alpha = init.rate("alpha", alpha)
        self.slow = self.new_gate("slow", "x", self.context_size)
        self.n = self.new_gate("n")
        self.P = Parameter(np.zeros((self.context_size, self.hidden_size)), name="P")

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.context_size,)]

    @property
    def output_size(self) -> int:
        return self.hidden_size + self.context_size

    def output(self, h: Tensor, s: Tensor) -> Tensor:
        return ops.concatenate([h, s], axis=-1)

    def step(self, x: Tensor, h: Tensor, s: Tensor) -> TwoStates:
        s = (1 - self.alpha) * self.slow(x) + self.alpha * s
        return sigmoid(self.n(x, h) + s @ self.P), s


class HighwayRNNCell(Cell):
    """Zilly et al. 2017, eq. 6 to 8, the gates coupled: `depth` highway layers within each time step; the input comes
    in at the first. (The paper starts the biases of t below 0.)"""

    gates = "n t"

    def setup(self, depth: int = 2) -> None:
        more = range(1, init.size("depth", depth))
        self.deeper = [(self.new_gate(f"n{k}", "h"), self.new_gate(f"t{k}", "h")) for k in more]

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        t = sigmoid(self.t(x, h))
        h = t * tanh(self.n(x, h)) + (1 - t) * h
        for n, gate in self.deeper:
            t = sigmoid(gate(h))
            h = t * tanh(n(h)) + (1 - t) * h
        return h
