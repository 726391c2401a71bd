"""What a step makes of weights alone is made before the scan, on the tape around it; its gradient is that of a sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tape, Tensor, ops
from tinygrad_rnn.loops.lifting import lifted
from tinygrad_rnn.loops.recorder import record_step

T, B, H = 4, 2, 3


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


class Scene:
    """A step that makes much of its weights, and all that it depends on."""

    def __init__(self) -> None:
        self.A, self.W, self.table = Parameter(draw(H)), Parameter(draw(H, H, seed=1)), Parameter(draw(5, H, seed=2))
        self.h, self.x = (
            Tensor(draw(B, H, seed=3), requires_grad=True),
            Tensor(draw(T, B, H, seed=4), requires_grad=True),
        )

    def step(self, h: Tensor, x: Tensor) -> Any:
        decay = ops.exp(-ops.exp(self.A))
        mixed = ops.tanh(self.W @ self.W.T) + self.table[np.array([0, 0, 3])]
        h = decay * h + ops.tanh(x @ mixed)
        return h, h * ops.take(self.table, 1) + ops.sum(self.W)

    def program(self) -> Any:
        return record_step(self.step, self.h, self.x)[0]

    def gradients(self, on: Any, asked: tuple[bool, bool] = (True, True)) -> list[Any]:
        leaves = [self.A, self.W, self.table, self.h, self.x]
        for leaf in leaves:
            leaf.grad = None
        with tg.compiled(on):
            last, ys = tg.scan(self.step, self.h, self.x)
        parts = [ops.sin(part).sum() for part, wanted in zip((last, ys), asked, strict=True) if wanted]
        sum(parts[1:], parts[0]).backward()
        return [0.0 if leaf.grad is None else getattr(leaf.grad, "dense", lambda g=leaf.grad: g)() for leaf in leaves]


def test_no_op_on_weights_alone_is_left_in_the_program() -> None:
    moving, before = lifted(Scene().program())
    fixed = {*moving.captured}
    assert len(before) >= 9
    assert not any(e.reads and fixed.issuperset(e.reads) for e in moving.equations)
    assert {e.primitive.name for e in before} >= {"exp", "tanh", "matmul", "sum"}


def test_a_step_without_such_ops_is_left_as_it_is() -> None:
    W = Parameter(draw(H, H))
    program, _, _ = record_step(lambda h, x: (ops.tanh(h @ W + x),) * 2, Tensor(draw(B, H)), Tensor(draw(T, B, H)))
    moving, before = lifted(program)
    assert moving is program and before == []


@pytest.mark.parametrize("asked", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("engine", ["numpy", True])
def test_values_and_gradients_are_those_of_the_plain_loop(engine: Any, asked: tuple[bool, bool]) -> None:
    scene = Scene()
    for fast, plain in zip(scene.gradients(engine, asked), scene.gradients(False, asked), strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-10, atol=1e-12)


def test_its_ops_stand_once_on_the_tape_and_not_once_a_step() -> None:
    scene = Scene()
    _, ys = tg.scan(scene.step, scene.h, scene.x)
    assert [line.split()[1:2] for line in str(Tape(ys.sum())).splitlines()].count(["exp"]) == 2


@settings(max_examples=15)
@given(st.integers(1, 4), st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 2]))
def test_in_parts_it_is_the_same(steps: int, truncate: Any, checkpoint_every: Any) -> None:
    found = []
    for on in (True, False):
        scene = Scene()
        with tg.compiled(on):
            last, ys = tg.scan(
                scene.step, scene.h, scene.x[:steps], truncate=truncate, checkpoint_every=checkpoint_every
            )
        (ops.sin(ys).sum() + last.sum()).backward()
        found.append([last.numpy(), ys.numpy(), scene.A.grad, scene.W.grad])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_second_derivatives_go_through_it() -> None:
    x, h = draw(T, B, H), draw(B, H)

    def total(A: Tensor) -> Tensor:
        last, ys = tg.scan(lambda h, x: (ops.exp(-ops.exp(A)) * h + x,) * 2, Tensor(h), Tensor(x))
        return ops.sin(last).sum() + ops.square(ys).mean()

    assert tg.gradcheck(total, draw(H), order=2)


def test_what_a_step_hands_on_or_puts_out_may_be_of_weights_alone() -> None:
    p = Parameter(draw(B, H))
    for on in (True, False):
        p.grad = None
        with tg.compiled(on):
            last, ys = tg.scan(lambda h, x: (ops.tanh(p), ops.exp(p)), Tensor(draw(B, H)), Tensor(draw(T, B, H)))
        np.testing.assert_allclose(last.numpy(), np.tanh(p.numpy()))
        np.testing.assert_allclose(ys.numpy(), np.broadcast_to(np.exp(p.numpy()), (T, B, H)))
        (last.sum() + ys.sum()).backward()
        np.testing.assert_allclose(p.grad, 1 - np.tanh(p.numpy()) ** 2 + T * np.exp(p.numpy()), rtol=1e-12)


def test_an_output_that_nothing_asks_for_sends_nothing_back_through_it() -> None:
    w = Parameter(np.array(2.0))
    with np.errstate(all="ignore"):
        _, (y, _) = tg.scan(
            lambda h, x: ((n := h + w * x), (n, ops.log(w - w))), Tensor(np.array(0.0)), Tensor(np.arange(1.0, 4.0))
        )
        y.sum().backward()
    assert w.grad == 10.0


def test_no_grad_within_a_step_holds_for_what_is_lifted() -> None:
    p = Parameter(draw(H))

    def step(h: Tensor, x: Tensor) -> Any:
        with tg.no_grad():
            scale = ops.exp(p)
        return h * ops.tanh(p) + x * scale, h

    grads = []
    for on in (True, False):
        p.grad = None
        with tg.compiled(on):
            tg.scan(step, Tensor(draw(B, H)), Tensor(draw(T, B, H)))[0].sum().backward()
        grads.append(p.grad)
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-12)


def test_explain_shows_it_before_the_scan(capsys: pytest.CaptureFixture[str]) -> None:
    scene = Scene()
    tg.explain(tg.scan, scene.step, scene.h, scene.x)
    said = capsys.readouterr().out
    before = said.partition("── Before the scan")[2].partition("── Forward")[0]
    assert "from weights alone, on the tape that is around the scan" in before and "decay = exp(" in before
    assert "exp(" not in said.partition("── Backward")[2]
