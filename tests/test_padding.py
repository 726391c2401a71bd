"""Padding does not count, even where a step computed on it would have no finite derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
import tinygrad_rnn.ops as ops
from tinygrad_rnn import Parameter, Tensor
from tinygrad_rnn.models import GRU, LSTM, Cell, Embedding, Recurrent, within_lengths
from tinygrad_rnn.ops import tanh

H = 2
"""Inputs and hidden units, of which the cells here have the same number."""


class Directed(Cell):
    """Sees the direction of its input alone: at 0 it has none."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return tanh(self.n(x / abs(x), h))


class Logarithmic(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return tanh(self.n(ops.log(x * x), h))


class Differing(Cell):
    """A row's own last input after its end would make the logarithm's argument 0."""

    gates = "n"
    state = "h last"

    def step(self, x: Tensor, h: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        return tanh(self.n(ops.log(abs(x - last)), h)), x


class OfUnitLength(Cell):
    """A state without a length has no direction."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return tanh(self.n(x, h / ops.sqrt((h * h).sum(axis=-1, keepdims=True)))) + x


class PutsOutLogarithms(Cell):
    gates = "n"

    def output(self, h: Tensor) -> Tensor:
        return ops.log(abs(h))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return tanh(self.n(x, h))


class WithAMatrix(Cell):
    """A state (B,2,H), and one of a single number."""

    gates = "n"
    state = "h m count"

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (2, self.hidden_size), (1,)]

    def step(self, x: Tensor, h: Tensor, m: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = m / abs(m)
        h = tanh(self.n(x, h) + (m * rows).sum(axis=1) / count)
        return h, m + ops.log(abs(x)).reshape((-1, 1, self.hidden_size)), count + 1


CELLS: list[type[Cell]] = [Directed, Logarithmic, Differing, OfUnitLength, PutsOutLogarithms, WithAMatrix]
Values = list[Any]


class Case:
    """A layer, and a batch of rows of different lengths for it. Rows without a step begin where no step could."""

    def __init__(self, layer: Recurrent, lengths: list[int], more: int, filling: float, seed: int) -> None:
        self.layer, self.lengths = layer, np.array(lengths)
        rng = np.random.default_rng(seed)
        steps, batch = max(lengths, default=0) + more, len(lengths)
        self.xs = rng.standard_normal((steps, batch, H))
        self.xs[np.arange(steps)[:, None] >= self.lengths] = filling
        shapes = layer.cells[0].state_shapes
        self.state = [rng.uniform(0.5, 1.5, (len(layer.cells), batch, *shape)) for shape in shapes]
        for s in self.state:
            s[:, self.lengths == 0] = 0
        outputs, last = layer(Tensor(self.xs), tuple(map(Tensor, self.state)), self.lengths)
        self.weights = [rng.standard_normal(r.shape) for r in (outputs, *last)]

    def run(self, rows: slice, padded: bool) -> tuple[Values, Values, Values]:
        """Results of these rows, the gradients by what they have of their own, and by the Parameters, of a weighted sum
        of all results; the rows as a batch, or the only one by itself without padding."""
        steps = len(self.xs) if padded else int(self.lengths[rows][0])
        xs = Tensor(self.xs[:steps, rows], requires_grad=True)
        state = [Tensor(s[:, rows], requires_grad=True) for s in self.state]
        self.layer.zero_grad()
        outputs, last = self.layer(xs, tuple(state), self.lengths[rows] if padded else None)
        weights = [self.weights[0][:steps, rows], *(w[:, rows] for w in self.weights[1:])]
        sum((r * w).sum() for r, w in zip((outputs, *last), weights, strict=True)).backward()
        own = [np.zeros(leaf.shape) if leaf.grad is None else leaf.grad for leaf in (xs, *state)]
        shared = [np.zeros(p.shape) if p.grad is None else p.grad for p in self.layer.parameters()]
        return [r.numpy() for r in (outputs, *last)], own, shared


@st.composite
def cases(draw: st.DrawFn) -> Case:
    layer = Recurrent(
        draw(st.sampled_from(CELLS)), H, H, draw(st.integers(1, 2)), draw(st.booleans()) and draw(st.booleans()),
        zoneout=draw(st.sampled_from([0.0, 0.2])), truncate=draw(st.sampled_from([None, None, 2])),
        checkpoint_every=draw(st.sampled_from([None, None, 2])), residual=draw(st.booleans()), dtype=np.float64,
        rng=np.random.default_rng(draw(st.integers(0, 99))),
    )  # fmt: skip
    if layer.directions == 2:  # two layers of two directions are no stack of layers of H inputs: one is enough
        layer.num_layers, layer.cells, layer.output_size = 1, layer.cells[:2], 2 * H
        layer.truncate = None  # read backwards, a row's k-th steps are others in a batch
    lengths = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    filling = draw(st.sampled_from([0.0, 1.0, np.nan, np.inf]))
    return Case(layer, lengths, draw(st.integers(0, 2)), filling, draw(st.integers(0, 99)))


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * max(1.0, float(np.abs(b).max(initial=0.0))))


@pytest.mark.filterwarnings("error")
@given(cases(), st.booleans())
def test_each_row_has_the_values_and_gradients_that_it_has_alone(case: Case, compiled: bool) -> None:
    with tg.compiled(compiled):
        results, own, shared = case.run(slice(None), padded=True)
        apart = [case.run(slice(b, b + 1), padded=False) for b in range(len(case.lengths))]
    for b, (alone, gradients, _) in enumerate(apart):
        n, here = case.lengths[b], slice(b, b + 1)
        close(results[0][:n, here], alone[0])
        assert not results[0][n:, b].any()
        close(own[0][:n, here], gradients[0])
        assert not own[0][n:, b].any()
        for a, s in zip([*results[1:], *own[1:]], [*alone[1:], *gradients[1:]], strict=True):
            close(a[:, here], s)
    for g, each in zip(shared, zip(*(found for *_, found in apart), strict=True), strict=True):
        close(g, sum(each))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("compiled", [True, False])
def test_second_derivatives_too_are_those_of_the_rows(cell: type[Cell], compiled: bool) -> None:
    layer = Recurrent(cell, H, H, dtype=np.float64, rng=np.random.default_rng(3))
    case = Case(layer, [2, 4, 0, 3], 1, np.nan, 7)
    names = [name for name, _ in layer.named_parameters()]
    values = [Tensor(p.data) for p in layer.parameters()]
    along = [np.random.default_rng(4).standard_normal(v.shape) for v in values]

    def second(rows: slice, padded: bool) -> Values:
        steps = len(case.xs) if padded else int(case.lengths[rows][0])

        def total(*weights: Tensor) -> Any:
            model = layer.with_values(dict(zip(names, weights, strict=True)))
            state = tuple(Tensor(s[:, rows]) for s in case.state)
            outputs, _ = model(Tensor(case.xs[:steps, rows]), state, case.lengths[rows] if padded else None)
            return (outputs * outputs).sum()

        def slope(*weights: Tensor) -> Any:
            found = tg.grad(total, tuple(range(len(weights))))(*weights)
            return sum((g * a).sum() for g, a in zip(found, along, strict=True))

        return [g.numpy() for g in tg.grad(slope, tuple(range(len(values))))(*values)]

    with tg.compiled(compiled):
        together = second(slice(None), True)
        apart = [second(slice(b, b + 1), False) for b in range(4) if case.lengths[b]]
    for g, each in zip(together, zip(*apart, strict=True), strict=True):
        close(g, sum(each))


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_under_noise_gradients_of_padded_rows_are_those_of_finite_differences(
    cell: type[Cell], bidirectional: bool
) -> None:
    sizes = (cell, H, H, 1, bidirectional)
    layer = Recurrent(*sizes, recurrent_dropout=0.4, zoneout=0.3, dtype=np.float64, rng=np.random.default_rng(3))
    case = Case(layer, [2, 4, 0], 1, np.nan, 7)
    names = [name for name, _ in layer.named_parameters()]

    def outputs(*weights: Tensor) -> Tensor:
        model = layer.with_values(dict(zip(names, weights, strict=True)))
        return model(Tensor(case.xs), tuple(map(Tensor, case.state)), case.lengths, np.random.default_rng(5))[0]

    tg.gradcheck(outputs, *(p.data for p in layer.parameters()), tolerance=1e-5)


class ReadsSparseStates(Cell):
    """A gate that must not be 0, of a state that is 0 in places."""

    gates = "n:h"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.relu(x) + 0 * ops.log(abs(self.n(h)))


def test_a_padded_step_has_the_masks_of_the_row_on_whose_state_it_computes() -> None:
    layer = Recurrent(ReadsSparseStates, H, H, recurrent_dropout=0.5, dtype=np.float64)
    layer.cells[0].n.W.data = np.ones((H, H))
    xs, states = np.zeros((3, 2, H)), np.zeros((1, 2, H))
    xs[:, 0, 0] = xs[:, 1, 1] = states[:, 0, 0] = states[:, 1, 1] = 1
    for seed in range(99):
        mask = np.random.default_rng(seed).random((2, H), dtype=np.float32) >= 0.5
        if mask.tolist() == [[True, False], [False, True]]:
            break
    outputs, _ = layer(Tensor(xs), Tensor(states), [3, 1], np.random.default_rng(seed))
    outputs.sum().backward()
    assert all(np.isfinite(p.grad).all() for p in layer.parameters())


class PutsOutTheLogarithmOfADifference(Cell):
    """Of states that are never equal, unless zoneout keeps the one and not the other."""

    state = "a b"

    def output(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.log(abs(a - b))

    def setup(self) -> None:
        self.w = Parameter(np.ones(self.hidden_size))

    def step(self, x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.w * b, self.w * b + x


def test_a_padded_step_keeps_the_entries_that_the_longest_row_keeps() -> None:
    layer = Recurrent(PutsOutTheLogarithmOfADifference, 1, 1, zoneout=0.5, dtype=np.float64)
    for seed in range(999):
        rng = np.random.default_rng(seed)
        a, b = (rng.random((2, 2, 1), dtype=np.float32) < 0.5 for _ in range(2))
        if not (a | b)[:, 0].any() and not (a | b)[0, 1] and b[1, 1] and not a[1, 1]:
            break
    outputs, _ = layer(Tensor(np.ones((2, 2, 1))), None, [2, 1], np.random.default_rng(seed))
    outputs.sum().backward()
    assert all(np.isfinite(p.grad).all() for p in layer.parameters())


# --- How many steps there are ----------------------------------------------------------------------------------


class Counting(Cell):
    """Notes how many steps the plain loop made."""

    made = 0

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        type(self).made += 1
        return h + x


@pytest.mark.parametrize("lengths", [[3, 1], [3, 3], [0, 0]])
def test_no_step_is_made_past_the_longest_row(lengths: list[int]) -> None:
    layer, Counting.made = Recurrent(Counting, H, H, dtype=np.float64), 0
    with tg.compiled(False):
        outputs, (last,) = layer(np.ones((7, 2, H)), lengths=lengths)
    assert Counting.made == max(lengths)
    expected = np.where(np.arange(7)[:, None] < lengths, np.arange(1.0, 8)[:, None], 0)
    np.testing.assert_array_equal(outputs.numpy(), np.repeat(expected[..., None], H, axis=2))
    np.testing.assert_array_equal(last.numpy(), np.repeat(np.array([lengths]).T[None], H, axis=2))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("given_state", [False, True])
def test_where_no_row_has_a_step_there_are_zeros_the_first_state_and_gradients_of_zero(
    bidirectional: bool, given_state: bool
) -> None:
    layer = LSTM(2, 3, 2, bidirectional, dtype=np.float64)
    xs = Tensor(np.full((4, 2, 2), np.nan), requires_grad=True)
    state = tuple(np.full((2 + 2 * bidirectional, 2, 3), k + 1.0) for k in range(2)) if given_state else None
    outputs, last = layer(xs, state, lengths=[0, 0])
    assert outputs.shape == (4, 2, 3 * (1 + bidirectional))
    assert not outputs.numpy().any()
    for k, s in enumerate(last):
        assert (s.numpy() == (k + 1.0 if given_state else 0.0)).all()
    outputs.sum().backward()
    assert xs.grad is not None
    assert not xs.grad.any()
    assert not any(p.grad.any() for p in layer.parameters())


def test_the_longest_row_need_not_be_the_first() -> None:
    layer = GRU(2, 3, dtype=np.float64)
    xs = np.random.default_rng(0).standard_normal((5, 3, 2))
    order = [2, 0, 1]
    one, _ = layer(xs, lengths=[1, 2, 5])
    other, _ = layer(xs[:, order], lengths=[5, 1, 2])
    np.testing.assert_allclose(other.numpy(), one.numpy()[:, order], rtol=1e-12)


def test_lengths_that_change_from_batch_to_batch_compile_nothing_anew() -> None:
    from tinygrad_rnn.loops import compiling  # noqa: PLC0415  (its cache is looked at here alone)

    layer, xs = LSTM(2, 3, rng=np.random.default_rng(0)), np.ones((5, 3, 2), np.float32)
    layer(xs, lengths=[5, 2, 1])[0].sum().backward()
    before = len(compiling._cache)
    for lengths in ([1, 2, 5], [4, 3, 3], [0, 4, 1], [2, 1, 1]):
        layer(xs, lengths=lengths)[0].sum().backward()
    assert len(compiling._cache) == before


# --- Elsewhere -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_padding_row_of_a_table_may_hold_anything(value: float) -> None:
    table = Embedding(4, 3, padding=0, dtype=np.float64)
    table.weight.data[0] = value
    vectors = table(np.array([[1, 0], [2, 0]]))
    assert not vectors.numpy()[:, 1].any()
    slopes = np.ones((2, 2, 3))
    slopes[:, 1] = np.nan
    (vectors * slopes).sum().backward()
    gradient: Any = table.weight.grad
    np.testing.assert_array_equal(gradient.dense(), [[0] * 3, [1] * 3, [1] * 3, [0] * 3])


def test_steps_within_lengths_are_told_by_booleans() -> None:
    xs = np.zeros((3, 2, 1))
    for live in (within_lengths(Tensor(xs), [2, 0]), within_lengths(xs, np.array([2, 0]))):
        assert live.tolist() == [[[True], [False]], [[True], [False]], [[False], [False]]]
    with pytest.raises(ValueError, match=r"lengths must be 2 whole numbers between 0 and 3, one per row, got"):
        within_lengths(xs, [2, 4])
    with pytest.raises(ValueError, match=r"xs must have the shape \(T,B,...\), got \(3,\)"):
        within_lengths(xs[:, 0, 0], [1])


@pytest.mark.parametrize("pool", [ops.max, ops.mean, ops.sum])
def test_outputs_are_pooled_over_the_steps_of_each_row_alone(pool: Any) -> None:
    lengths = [4, 1, 2]
    xs = np.random.default_rng(0).standard_normal((4, 3, 2))
    live = within_lengths(xs, lengths)
    padded = np.where(live, xs, np.nan)
    initial = {"initial": -np.inf} if pool is ops.max else {}
    leaf = Tensor(padded, requires_grad=True)
    pooled = pool(leaf, axis=0, where=live, **initial)
    (pooled**2).sum().backward()
    for row, length in enumerate(lengths):
        alone = Tensor(xs[:length, row], requires_grad=True)
        expected = pool(alone, axis=0)
        (expected**2).sum().backward()
        np.testing.assert_allclose(pooled.numpy()[row], expected.numpy(), rtol=1e-14)
        np.testing.assert_allclose(leaf.grad[:length, row], alone.grad, rtol=1e-14)
        assert not leaf.grad[length:, row].any()
