"""A cell that addresses a memory, and one that thinks for as long as it wants."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.gate import Gate
from tinygrad_rnn.ops import sigmoid, softmax, softplus, tanh
from tinygrad_rnn.tensor import Parameter, Tensor


class MemoryCell(Cell):
    """After Graves et al. 2014, sections 3.1 to 3.3.1: a tanh RNN beside a memory of `slots` rows of `width` numbers (H
    unless told), read and written at the rows that are like a key. States: h (B,H), what was read (B,width), and what
    was written (B,slots,width), to which `start`, the same for all sequences, is added."""

    gates = "n"
    state = "h read written"
    kept = "written"

    def setup(self, slots: int = 8, width: int | None = None) -> None:
        self.slots = init.size("slots", slots)
        self.width = self.hidden_size if width is None else init.size("width", width)
        rng = init.generator(self.rng)
        self.start = Parameter(rng.standard_normal((self.slots, self.width)), name="start")  # or all rows were alike
        self.R = Parameter(init.glorot(rng, (self.width, self.hidden_size)), name="R")
        self.read_key, self.write_key, self.erase, self.add = (
            self.new_gate(name, "h", self.width) for name in ("read_key", "write_key", "erase", "add")
        )
        self.read_focus, self.write_focus = (self.new_gate(name, "h", 1) for name in ("read_focus", "write_focus"))

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.width,), (self.slots, self.width)]

    def where(self, key: Gate, focus: Gate, h: Tensor, memory: Tensor) -> Tensor:
        """Eq. 5 and 6: softmax over the slots of focus * cosine(key, slot): (B,slots)."""
        wanted = tanh(key(h))
        length = ops.sqrt((wanted * wanted).sum(axis=-1, keepdims=True) + 1e-6)
        lengths = ops.sqrt((memory * memory).sum(axis=-1) + 1e-6)
        likeness = (memory * wanted.reshape((-1, 1, self.width))).sum(axis=-1) / (lengths * length)
        return softmax(softplus(focus(h)) * likeness)

    def step(self, x: Tensor, h: Tensor, read: Tensor, written: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = tanh(self.n(x, h) + read @ self.R)
        memory = self.start + written
        at = self.where(self.write_key, self.write_focus, h, memory).reshape((-1, self.slots, 1))
        erase, add = (each.reshape((-1, 1, self.width)) for each in (sigmoid(self.erase(h)), tanh(self.add(h))))
        memory = memory * (1 - at * erase) + at * add  # eq. 3 and 4
        at = self.where(self.read_key, self.read_focus, h, memory).reshape((-1, self.slots, 1))
        return h, (at * memory).sum(axis=1), memory - self.start  # eq. 2


class AdaptiveTimeCell(Cell):
    """Graves 2016, eq. 3 to 12: a tanh RNN that takes several steps on one input, until the chances that it gives
    of being done add up to 1 - `epsilon`, `most` at most; its new state is their mean under these chances. It notes
    "ponder" (B,), the number of steps and the remainder, which is to be added to a loss with a small weight
    (`--penalty ponder=0.001`). All `most` steps are made for every row, as a loop that is compiled does the same
    whatever the numbers are; those after a row is done have no share."""

    gates = "n"

    def setup(self, epsilon: float = 0.01, most: int = 10) -> None:
        self.epsilon, self.most = init.rate("epsilon", epsilon), init.size("most", most)
        self.halt = self.new_gate("halt", "h", 1)
        self.halt.b.data += 1.0  # few steps at the start
        self.fresh = Parameter(np.zeros(self.hidden_size), name="fresh")  # of the flag that the input is new

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        spent = ponder = ops.zeros_like(x[:, :1])
        going, means = spent == 0, []
        for n in range(self.most):
            total = self.n(x, h)
            h = tanh(total + self.fresh if n == 0 else total)
            chance = sigmoid(self.halt(h))
            done = (spent + chance >= 1 - self.epsilon) if n < self.most - 1 else going
            share = ops.where(going, ops.where(done, 1 - spent, chance), 0.0)
            means.append(share * h)
            ponder = ponder + ops.where(going, ops.where(done, 2 - spent, 1.0), 0.0)
            spent = spent + share
            going = ops.logical_and(going, ops.logical_not(done))
        self.note("ponder", ponder[:, 0])
        return sum(means[1:], means[0])
