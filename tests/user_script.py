"""What a user writes, as type checkers see it: not run by pytest, but checked with mypy and pyright against an editable
install and against the wheel, where the package must be found and its functions must say what they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.models import GRU, Cell, Gate, LanguageModel, Recurrent
from tinygrad_rnn.optim import RMSprop, clip_by_norm


class MinimalGatedUnit(Cell):
    """Zhou et al. 2016."""

    gates = "f n"
    f: Gate
    n: Gate

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        f = ops.sigmoid(self.f(x, h))
        return (1 - f) * h + f * ops.tanh(self.n(x, f * h))


def loss(x: Tensor, w: Tensor) -> Tensor:
    return ops.softmax_cross_entropy(x @ w, np.array([0, 1]), reduction="sum")


x, w = Tensor(np.ones((2, 3))), Parameter(np.ones((3, 4)))
assert_type(tg.grad(loss), Callable[..., Tensor])
assert_type(tg.grad(loss)(x, w), Tensor)
assert_type(tg.grad(loss, argnums=(0, 1))(x, w), tuple[Tensor, ...])
assert_type(tg.value_and_grad(loss)(x, w), tuple[Tensor, Tensor])
assert_type(tg.value_and_grad(loss, (0, 1))(x, w), tuple[Tensor, tuple[Tensor, ...]])
assert_type(tg.jacobian(lambda x: x * x)(x), Tensor)
assert_type(tg.hvp(lambda x: (x**3).sum(), x, x), Tensor)
assert_type(tg.vjp(loss, x, w)[0], Tensor)
assert_type(ops.tanh(x) + 1, Tensor)
assert_type(tg.models.GRU(3, 4), GRU)

outputs, state = Recurrent(MinimalGatedUnit, 3, 4)(Tensor(np.ones((5, 2, 3), np.float32)))
assert_type(outputs, Tensor)
assert_type(state, tuple[Any, ...])

model = LanguageModel(10, 4, 4, cell=MinimalGatedUnit)
optimizer = RMSprop(model.parameters(), lr=1e-3)
ids = np.zeros((3, 2), np.int64)
nats, _ = model.loss(ids, ids)
nats.backward()
clip_by_norm(model.parameters(), 1.0)
optimizer.step()
