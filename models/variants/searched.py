"""A cell that a search found."""

from __future__ import annotations

from tinygrad_rnn.models.cell import Cell, TwoStates
from tinygrad_rnn.ops import relu, sigmoid, tanh
from tinygrad_rnn.tensor import Tensor


class NASCell(Cell):
    """Zoph & Le 2017, appendix A (the cell of figure 8 on the left), as the authors' NASCell of TensorFlow has it: a
    tree of eight pairs of products, found by reinforcement learning. The states: h and c, (B,H) each. (Their biases are
    an option, and so is a projection of h, which is left out.)"""

    gates = "a0 a1 a2 a3 a4 a5 a6 a7"
    state = "h c"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        first = tanh(tanh(sigmoid(self.a0(x, h)) * relu(self.a1(x, h))) + c)
        both = relu((x @ self.a3.U) * (self.a3.recurrent(h) + self.a3.b))
        second = tanh(sigmoid(self.a2(x, h)) + both)
        third = tanh(tanh(self.a4(x, h)) * sigmoid(self.a5(x, h)))
        fourth = sigmoid(tanh(self.a6(x, h)) + sigmoid(self.a7(x, h)))
        c = first * second
        return tanh(c * tanh(third + fourth)), c
