"""A step that takes derivatives itself is compiled, and what comes out can be differentiated again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, check_cell, ops
from tinygrad_rnn.models import Cell

STEPS, SIZE = 3, 2
Function = Callable[[Tensor], Tensor]
TAKEN: dict[str, Callable[[Function, Tensor, Tensor], Tensor]] = {
    "grad": lambda f, h, v: tg.grad(lambda h: (f(h) * v).sum())(h),
    "value_and_grad": lambda f, h, v: v * tg.value_and_grad(lambda h: f(h).sum())(h)[0],
    "vjp": lambda f, h, v: tg.vjp(f, h)[1](v)[0],
    "jvp": lambda f, h, v: tg.jvp(f, (h,), (v,))[1],
    "the value of jvp": lambda f, h, v: tg.jvp(f, (h,), (v,))[0],
    "hvp": lambda f, h, v: tg.hvp(lambda h: f(h).sum(), h, v),
}
"""By the name of the transform: what it makes of a function, at a point and in a direction."""


def run(engine: Any, name: str) -> list[Any]:
    """Outputs, and the gradients of all that the step reads."""
    rng = np.random.default_rng(0)
    w, h, xs = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in (SIZE, SIZE, (STEPS, SIZE)))

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new = TAKEN[name](lambda h: ops.tanh(h * w + x), h, w * x) + h
        return new, new

    with tg.compiled(engine):
        _, ys = tg.scan(step, h, xs)
        (ys * rng.standard_normal(ys.shape)).sum().backward()
    return [ys.numpy(), w.grad, h.grad, xs.grad]


@pytest.mark.filterwarnings("error::tinygrad_rnn.loops.ScanWarning")
@pytest.mark.parametrize("name", TAKEN)
def test_a_derivative_within_a_step_is_that_of_the_plain_loop_and_so_are_its_gradients(name: str) -> None:
    for ours, plain in zip(run("numpy", name), run(False, name), strict=True):
        assert ours is not None
        np.testing.assert_allclose(ours, plain, rtol=1e-12)


class Learning(Cell):
    """A step of gradient descent for each input."""

    gates = "k:x v:x"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        k, v = self.k(x), self.v(x)
        return h - 0.1 * tg.grad(lambda h: ops.square(ops.tanh(h * k) - v).sum())(h)


def test_a_gradient_within_a_step_is_not_taken_for_one_that_stops() -> None:
    notes = [row.what for row in check_cell(Learning, show=False).rows if row.held is None]
    assert set(notes) <= {"GPU = CPU"}
