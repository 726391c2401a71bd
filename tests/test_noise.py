"""Zoneout and recurrent dropout are put where they make sense, whatever the cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.ops as ops
from tinygrad_rnn import Parameter, Tensor
from tinygrad_rnn.models import GRU, LSTM, Cell, GRUCell, Recurrent, RNNCell
from tinygrad_rnn.models.variants import MemoryCell, PhasedLSTMCell, QRNNCell
from tinygrad_rnn.ops import tanh

H = 4


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


# --- Zoneout leaves alone what a cell says ---------------------------------------------------------------------


class ClockworkCell(Cell):
    """Koutník et al. 2014: a unit is updated at the steps that its period divides."""

    gates = "n"
    state = "h t"
    kept = "t"
    periods = np.array([1.0, 2.0, 2.0, 4.0])

    def step(self, x: Tensor, h: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        turn = t / self.periods
        due = turn == ops.astype(ops.astype(turn, "int64"), turn.dtype)
        return ops.where(due, tanh(self.n(x, h)), h), t + 1


@pytest.mark.parametrize("noise", [False, True])
def test_a_clockwork_cell_under_zoneout_goes_by_its_clock(noise: bool) -> None:
    layer = Recurrent(ClockworkCell, 2, H, zoneout=0.1, dtype=np.float64, rng=np.random.default_rng(0))
    xs, rng = normal(9, 50, 2), np.random.default_rng(1) if noise else None
    outputs, (_, t) = layer(xs, rng=rng)
    assert (t.numpy() == 9).all()
    before = np.concatenate([np.zeros((1, 50, H)), outputs.numpy()[:-1]])
    changed = (abs(outputs.numpy() - before) > 1e-12).mean(axis=1)  # of 50 rows, which share
    due = np.arange(9)[:, None] % ClockworkCell.periods == 0
    assert (changed[~due] == 0).all()
    assert (changed[due] > 0.7).all()
    if not noise:
        assert (changed[due] == 1).all()


@pytest.mark.parametrize("noise", [False, True])
def test_a_phased_lstm_under_zoneout_keeps_its_period(noise: bool) -> None:
    layer = Recurrent(PhasedLSTMCell, 2, 3, zoneout=0.3, dtype=np.float64, periods=(4.0, 4.0))
    state: Any = None
    for step in range(1, 9):
        _, state = layer(normal(1, 5, 2, seed=step), state, rng=np.random.default_rng(step) if noise else None)
        np.testing.assert_allclose(np.exp(2j * np.pi * state[2].numpy()), np.exp(2j * np.pi * step / 4), rtol=1e-12)


@pytest.mark.parametrize(("cell", "kept"), [(QRNNCell, [1, 2, 3]), (MemoryCell, [2])])
def test_states_that_hold_the_last_input_or_a_memory_are_left_alone(cell: type[Cell], kept: list[int]) -> None:
    plain, zoned = (Recurrent(cell, 2, 3, zoneout=rate, dtype=np.float64) for rate in (0.0, 0.5))
    xs = normal(1, 5, 2)
    for rng in (None, np.random.default_rng(0)):
        for k, (a, b) in enumerate(zip(zoned(xs, rng=rng)[1], plain(xs)[1], strict=True)):
            assert np.array_equal(a.numpy(), b.numpy()) == (k in kept)


@pytest.mark.parametrize("lengths", [None, [5, 2, 0]])
def test_zoneout_beside_a_state_that_is_left_alone_is_what_its_formula_says(lengths: Any) -> None:
    """Written out for a cell of two states, the first of which is left alone."""

    class Pair(Cell):
        state = "t h"
        kept = "t"

        def step(self, x: Tensor, t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            return t + x, h * 0.5 + t

    layer = Recurrent(Pair, 2, 2, zoneout=0.3, dtype=np.float64)
    xs = normal(5, 3, 2)
    for seed in (None, 4):
        _, (t, h) = layer(xs, lengths=lengths, rng=None if seed is None else np.random.default_rng(seed))
        keep = np.full(xs.shape, 0.3) if seed is None else np.random.default_rng(seed).random(xs.shape, "f4") < 0.3
        one = other = np.zeros((3, 2))
        for step in range(5):
            new = keep[step] * other + (1 - keep[step]) * (other * 0.5 + one)
            live = np.ones((3, 1), bool) if lengths is None else step < np.array(lengths)[:, None]
            one, other = np.where(live, one + xs[step], one), np.where(live, new, other)
        np.testing.assert_allclose(t.numpy()[0], one, rtol=1e-12)
        np.testing.assert_allclose(h.numpy()[0], other, rtol=1e-12)


@pytest.mark.parametrize(
    ("declared", "error", "message"),
    [
        ("t", ValueError, r"Odd\.kept: 't' is none of its states \(h c\)"),
        ("c c", ValueError, r"Odd\.kept: 'c' is twice"),
        ("c:x", ValueError, r"Odd\.kept: 'c:x' is not a name"),
        (("c",), TypeError, r"Odd\.kept must be a string of names, got \('c',\)"),
    ],
)
def test_a_list_of_kept_states_that_makes_no_sense_is_refused(
    declared: Any, error: type[Exception], message: str
) -> None:
    class Odd(Cell):
        state = "h c"
        kept = declared

    with pytest.raises(error, match=message):
        Odd(2, 3)


# --- Recurrent dropout: each gate has a mask of its own --------------------------------------------------------


class Nested(Cell):
    """A cell within a cell, of another number of units or of the same."""

    gates = "n"
    state = "h inner"

    def setup(self, inner: int = 3) -> None:
        self.within = GRUCell(self.hidden_size, inner, dtype=np.float64, rng=self.rng)
        self.down = Parameter(np.ones((inner, self.hidden_size)))

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.within.hidden_size,)]

    def step(self, x: Tensor, h: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.within.step(h, inner)
        return tanh(self.n(x, h) + inner @ self.down), inner


@pytest.mark.parametrize("inner", [3, H])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_cell_within_a_cell_has_masks_of_its_own_rows(inner: int, compiled: bool) -> None:
    layer = Recurrent(Nested, 2, H, recurrent_dropout=0.5, dtype=np.float64, inner=inner)
    cell, xs, state = layer.cells[0], normal(1, 5, 2), (normal(1, 5, H, seed=1), normal(1, 5, inner, seed=2))
    with tg.compiled(compiled):
        outputs, _ = layer(xs, state, rng=np.random.default_rng(7))
    rng = np.random.default_rng(7)
    masks = [(rng.random((5, n), dtype=np.float32) >= 0.5) / 0.5 for n in (H, inner, inner, inner)]
    h, s = state[0][0], state[1][0]

    def gate(each: Any, x: Any, state: Any, mask: Any) -> Any:
        return x @ each.U.data + each.b.data, (state * mask) @ each.W.data

    def logistic(a: Any) -> Any:
        return 1 / (1 + np.exp(-a))

    z, r = (logistic(sum(gate(g, h, s, m))) for g, m in zip((cell.within.z, cell.within.r), masks[1:], strict=False))
    of_x, of_h = gate(cell.within.n, h, s, masks[3])
    s = (1 - z) * np.tanh(of_x + r * of_h) + z * s
    expected = np.tanh(sum(gate(cell.n, xs[0], h, masks[0])) + s @ cell.down.data)
    np.testing.assert_allclose(outputs.numpy()[0], expected, rtol=1e-12)


def test_masks_of_gates_are_drawn_in_their_order_once_a_sequence() -> None:
    layer = LSTM(2, H, recurrent_dropout=0.5, dtype=np.float64)
    xs = normal(6, 3, 2)
    outputs, _ = layer(xs, rng=np.random.default_rng(3))
    rng = np.random.default_rng(3)
    masks = [Tensor((rng.random((3, H), dtype=np.float32) >= 0.5) / 0.5) for _ in "ifog"]
    cell = layer.cells[0].masked(masks)
    state = cell.initial_state(3)
    for t in range(6):
        state = cell.advance(Tensor(xs[t]), state)
        np.testing.assert_allclose(outputs.numpy()[t], state[0].numpy(), rtol=1e-12)


def test_new_masks_compile_nothing_anew() -> None:
    from tinygrad_rnn.loops import compiling  # noqa: PLC0415  (its cache is looked at here alone)

    layer, xs, rng = GRU(2, H, 2, recurrent_dropout=0.5), np.ones((5, 3, 2), np.float32), np.random.default_rng(0)
    layer(xs, rng=rng)
    before = len(compiling._cache)
    first, second = (layer(xs, rng=rng)[0].numpy() for _ in range(2))
    assert len(compiling._cache) == before
    assert not np.array_equal(first, second)


def test_masks_of_another_number_than_the_gates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"RNNCell\.masked: 1 masks were expected, one for each gate that reads h"):
        RNNCell(2, 3).masked([])
