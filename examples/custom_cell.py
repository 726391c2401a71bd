"""A cell of your own in eight lines, checked, trained, and compared with a GRU.

The task is a latch: a letter now and then, dots in between, and at every step the question is what the last letter
was. A cell must hold it through any number of dots, and let go of it at once.

    python examples/custom_cell.py
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, no_grad, ops
from tinygrad_rnn.models import Cell, Embedding, GRUCell, Linear, Module, Recurrent
from tinygrad_rnn.ops import sigmoid, tanh
from tinygrad_rnn.optim import Adam

LETTERS = ".abcd"


class MinimalGatedUnit(Cell):
    """Zhou et al. 2016: a GRU with one gate for both purposes."""

    gates = "f n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        f = sigmoid(self.f(x, h))
        return (1 - f) * h + f * tanh(self.n(x, f * h))


class Latch(Module):
    """ids (T,B) -> logits (T,B,letters)."""

    def __init__(self, cell: type[Cell]) -> None:
        rng = np.random.default_rng(0)
        self.embedding = Embedding(len(LETTERS), 8, rng=rng)
        self.recurrent = Recurrent(cell, 8, 16, rng=rng)
        self.output = Linear(16, len(LETTERS), rng=rng)

    def __call__(self, ids: np.ndarray) -> Tensor:
        return self.output(self.recurrent(self.embedding(ids))[0])


def strings(rng: np.random.Generator, steps: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """What is shown and what is asked for: ..b...a. and ..bbbbaa"""
    shown = rng.integers(1, len(LETTERS), (steps, batch)) * (rng.random((steps, batch)) < 0.15)
    asked = shown.copy()
    for t in range(1, steps):
        asked[t] = np.where(shown[t], shown[t], asked[t - 1])
    return shown, asked


def text(ids: np.ndarray) -> str:
    return "".join(LETTERS[i] for i in ids)


cell = MinimalGatedUnit(2, 3, dtype=np.float64)
tg.gradcheck(cell.step, np.ones((2, 2)), np.full((2, 3), 0.5), order=2)
print("The derivatives of the new cell agree with finite differences, to second order.\n")

for kind in (MinimalGatedUnit, GRUCell):
    model, rng = Latch(kind), np.random.default_rng(1)
    optimizer = Adam(model.parameters(), lr=0.01)
    for _ in range(250):
        shown, asked = strings(rng, 30, 32)
        loss = ops.softmax_cross_entropy(model(shown), asked)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shown, asked = strings(np.random.default_rng(2), 60, 500)
    with no_grad():
        answers = model(shown).numpy().argmax(axis=-1)
    right = (answers == asked).mean()
    print(f"{kind.__name__}: {model.recurrent.size} weights, {right:.2%} right on strings twice as long")
    print(f"    shown  {text(shown[:, 0])}\n    says   {text(answers[:, 0])}\n")
    assert right > 0.97
