"""The LSTM with peepholes (`PeepholeLSTMCell`) without one of its parts: the variants of Greff et al. 2017, but for
their full gate recurrence. All biases start at 0: to compare, give the whole one `forget_bias=0`."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.models.cell import Cell, TwoStates
from tinygrad_rnn.ops import sigmoid, tanh
from tinygrad_rnn.tensor import Parameter, Tensor


class _Peepholes(Cell):
    """A vector p.NAME for each gate of `sees`."""

    state = "h c"
    sees = ""

    def setup(self) -> None:
        self.p = {name: Parameter(np.zeros(self.hidden_size)) for name in self.sees.split()}


class NoInputGateCell(_Peepholes):
    """NIG: i = 1."""

    gates, sees = "f o g", "f o"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        f = sigmoid(self.f(x, h) + self.p["f"] * c)
        c = f * c + tanh(self.g(x, h))
        return sigmoid(self.o(x, h) + self.p["o"] * c) * tanh(c), c


class NoForgetGateCell(_Peepholes):
    """NFG: f = 1."""

    gates, sees = "i o g", "i o"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i = sigmoid(self.i(x, h) + self.p["i"] * c)
        c = c + i * tanh(self.g(x, h))
        return sigmoid(self.o(x, h) + self.p["o"] * c) * tanh(c), c


class NoOutputGateCell(_Peepholes):
    """NOG: o = 1."""

    gates, sees = "i f g", "i f"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i, f = sigmoid(self.i(x, h) + self.p["i"] * c), sigmoid(self.f(x, h) + self.p["f"] * c)
        c = f * c + i * tanh(self.g(x, h))
        return tanh(c), c


class NoInputActivationCell(_Peepholes):
    """NIAF: the block input is not squashed."""

    gates, sees = "i f o g", "i f o"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i, f = sigmoid(self.i(x, h) + self.p["i"] * c), sigmoid(self.f(x, h) + self.p["f"] * c)
        c = f * c + i * self.g(x, h)
        return sigmoid(self.o(x, h) + self.p["o"] * c) * tanh(c), c


class NoOutputActivationCell(_Peepholes):
    """NOAF: the cell is not squashed on its way out."""

    gates, sees = "i f o g", "i f o"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i, f = sigmoid(self.i(x, h) + self.p["i"] * c), sigmoid(self.f(x, h) + self.p["f"] * c)
        c = f * c + i * tanh(self.g(x, h))
        return sigmoid(self.o(x, h) + self.p["o"] * c) * c, c


class NoPeepholesCell(Cell):
    """NP: the gates do not see the cell. An LSTM whose forget bias starts at 0."""

    gates = "i f o g"
    state = "h c"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i, f, o = sigmoid(self.i(x, h)), sigmoid(self.f(x, h)), sigmoid(self.o(x, h))
        c = f * c + i * tanh(self.g(x, h))
        return o * tanh(c), c
