"""Loops that are linear in what they carry run in one pass, and come to what the plain loop comes to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.loops import one_pass
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS

LINEAR = ("mingru", "minlstm", "lru", "s4d", "mamba", "rg-lru", "qrnn", "sru")


def values(layer: Recurrent, xs: Any, lengths: Any = None) -> list[Any]:
    """Outputs, states and all gradients; and outputs and states of a pass that has none."""
    leaf = Tensor(xs, requires_grad=True)
    for p in layer.parameters():
        p.grad = None
    ys, state = layer(leaf, lengths=lengths)
    weights = np.random.default_rng(2).standard_normal(ys.shape)
    (ys * weights).sum().backward()
    with tg.no_grad():
        evaluated, last = layer(xs, lengths=lengths)
    found = [*(a.numpy() for a in (ys, *state, evaluated, *last)), leaf.grad]
    return [*found, *(p.grad for p in layer.parameters())]


def in_one_pass(monkeypatch: pytest.MonkeyPatch, steps_from: int = 1) -> list[int]:
    """From so many steps on; the list gets the steps of each pass."""
    passes: list[int] = []
    solved = one_pass._solved

    def noted(steps: int, *given: Any) -> Any:
        found = solved(steps, *given)
        if found is not None:
            passes.append(steps)
        return found

    monkeypatch.setattr(one_pass, "STEPS_FROM", steps_from)
    monkeypatch.setattr(one_pass, "_solved", noted)
    return passes


@given(st.sampled_from(LINEAR), st.integers(1, 40), st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, 99))
def test_values_and_gradients_are_those_of_the_plain_loop(
    name: str, steps: int, batch: int, both: bool, padded: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = Recurrent(CELLS[name], 2, 3, bidirectional=both, dtype=np.float64, rng=rng)
    for p in layer.parameters():
        p.data = p.data + 0.3 * rng.standard_normal(p.shape)
    xs = rng.standard_normal((steps, batch, 2))
    lengths = rng.integers(0, steps + 1, batch) if padded else None
    with pytest.MonkeyPatch.context() as patch:
        passes = in_one_pass(patch)
        with tg.compiled("numpy"):
            ours = values(layer, xs, lengths)
    with tg.compiled(False):
        plain = values(layer, xs, lengths)
    assert passes or padded
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("steps", [2, 8, 9])
def test_the_last_state_may_be_all_that_is_asked_for(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = in_one_pass(monkeypatch)
    xs, decay = np.random.default_rng(0).standard_normal((steps, 2)), Tensor(np.array([0.5, 0.9]))
    with tg.no_grad(), tg.compiled("numpy"):
        last, _ = tg.scan(lambda s, x: (decay * s + x, x), Tensor(np.ones(2)), Tensor(xs))
    assert passes == [steps]
    powers = decay.numpy() ** np.arange(steps, -1, -1)[:, None]
    np.testing.assert_allclose(last.numpy(), (powers * np.concatenate([np.ones((1, 2)), xs])).sum(axis=0))


class Grows(Cell):
    def setup(self) -> None:
        self.factor = Parameter(np.full(self.hidden_size, 1e30))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return self.factor * h + 0.0 * x.sum(axis=-1, keepdims=True)


def test_a_product_of_factors_that_is_no_number_is_left_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = in_one_pass(monkeypatch)
    layer = Recurrent(Grows, 2, 3)
    with tg.compiled("numpy"), np.errstate(all="ignore"):
        ys, _ = layer(np.ones((40, 1, 2), np.float32))
    assert not passes
    np.testing.assert_array_equal(ys.numpy(), 0.0)  # and not 0 times infinity


def test_short_sequences_and_many_entries_are_not_taken_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = in_one_pass(monkeypatch, one_pass.STEPS_FROM)
    with tg.compiled("numpy"):
        for name, steps, batch in (
            ("mingru", one_pass.STEPS_FROM - 1, 1),
            ("mingru", one_pass.STEPS_FROM, one_pass.CHANGING // 3 + 1),
            ("lru", one_pass.STEPS_FROM, one_pass.ENTRIES_TO // 6 + 1),
        ):
            Recurrent(CELLS[name], 2, 3)(np.ones((steps, batch, 2), np.float32))
        assert not passes
        Recurrent(CELLS["lru"], 2, 3)(np.ones((one_pass.STEPS_FROM, one_pass.CHANGING, 2), np.float32))
        Recurrent(CELLS["mingru"], 2, 3)(np.ones((one_pass.STEPS_FROM, 1, 2), np.float32))
    assert passes == [one_pass.STEPS_FROM] * 2


class Square(Cell):
    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.square(h) + x.sum(axis=-1, keepdims=True)


class Turns(Cell):
    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return h[:, ::-1] + x.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("cell", [Square, Turns])
def test_what_is_not_linear_entry_by_entry_stays_a_loop(cell: type[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    passes = in_one_pass(monkeypatch)
    with tg.compiled("numpy"):
        Recurrent(cell, 2, 3)(np.full((9, 1, 2), 0.01, np.float32))
    assert not passes
