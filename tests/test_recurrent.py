"""The recurrent layer and scan: whatever the batch, the padding, the directions and the carried state, every row gets
what its cells compute on it alone, in values and in gradients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from substitution import gradcheck_of_everything, randomised

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops, scan
from tinygrad_rnn.models import GRU, LSTM, RNN, Cell, GRUCell, LanguageModel, LSTMCell, Recurrent, RNNCell

F8 = NDArray[np.float64]


class Oscillator(Cell):
    """A cell without gates, with two states, and with an output wider than either."""

    state = "p q"

    def setup(self) -> None:
        self.A = Parameter(np.zeros((self.input_size, self.hidden_size)))
        self.w = Parameter(np.zeros(self.hidden_size))

    def step(self, x: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        p = ops.tanh(p + self.w * q + x @ self.A)
        return p, q - self.w * p

    def output(self, *state: Tensor) -> Tensor:
        return ops.concatenate(state, axis=-1)

    @property
    def output_size(self) -> int:
        return 2 * self.hidden_size


KINDS: dict[str, tuple[type[Cell], dict[str, Any]]] = {
    "rnn": (RNNCell, {}),
    "gru": (GRUCell, {}),
    "gru, reset before, recurrent bias": (GRUCell, {"reset": "before", "update": "write", "recurrent_bias": True}),
    "lstm": (LSTMCell, {}),
    "oscillator": (Oscillator, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def draw(*shape: int, seed: int = 1) -> F8:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def build(
    kind: str, inputs: int, hidden: Any, num_layers: int | None = None, bidirectional: bool = False, **options: Any
) -> Any:
    """A layer in float64 with random weights, its biases too, which depend on `seed`."""
    cell, cell_options = KINDS[kind]
    seed, options = options.pop("seed", 0), cell_options | options
    layer = Recurrent(cell, inputs, hidden, num_layers, bidirectional, dtype=np.float64, **options)
    return randomised(layer, seed)


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


# --- The reference: plain loops over one row ----------------------------------------------------------------


@dataclass
class Case:
    """A layer and what it is called with. `states[k][i]` is state i of cell k, (B,H_k)."""

    layer: Any
    xs: F8
    states: list[list[F8]] | None
    lengths: list[int] | None

    @property
    def given_state(self) -> Any:
        """As the layer takes it: per state name, one array or, where sizes differ, one per cell."""
        if self.states is None:
            return None
        columns = list(zip(*self.states, strict=True))
        return tuple(np.stack(c) if len({s.shape for s in c}) == 1 else tuple(c) for c in columns)

    @property
    def ends(self) -> list[int]:
        return [len(self.xs)] * self.xs.shape[1] if self.lengths is None else self.lengths


@st.composite
def cases(draw: st.DrawFn, with_lengths: bool | None = None, directions: int | None = None) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps, batch, inputs = draw(st.integers(0, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    hidden = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    bidirectional = draw(st.booleans()) if directions is None else directions == 2
    layer = build(
        draw(st.sampled_from(sorted(KINDS))),
        inputs,
        hidden if draw(st.booleans()) else hidden[0],
        bidirectional=bidirectional,
        residual=draw(st.booleans()),
        zoneout=draw(st.sampled_from([0.0, 0.3])),
        seed=int(rng.integers(2**32)),
    )
    states = None
    if draw(st.booleans()):
        states = [[rng.standard_normal((batch, c.hidden_size)) for _ in c.states] for c in layer.cells]
    lengths = None
    if draw(st.booleans()) if with_lengths is None else with_lengths:
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    return Case(layer, rng.standard_normal((steps, batch, inputs)), states, lengths)


def row_alone(layer: Any, x: Tensor, states: list[tuple[Tensor, ...]]) -> tuple[list[Tensor], list[tuple[Tensor, ...]]]:
    """One sequence (n,1,I) through the stack, with nothing but the cells' equations."""
    n, inputs, last = len(x), list(x), list[tuple[Tensor, ...]]()
    for _ in range(layer.num_layers):
        columns = []
        for direction in range(layer.directions):
            cell, state = layer.cells[len(last)], states[len(last)]
            outputs = [Tensor(0.0)] * n
            for t in reversed(range(n)) if direction else range(n):
                new = cell.advance(inputs[t], state)
                p = layer.zoneout
                state = tuple(p * o + (1 - p) * s for o, s in zip(state, new, strict=True)) if p else new
                outputs[t] = cell.output(*state)
            last.append(state)
            columns.append(outputs)
        outputs = [ops.concatenate(parts, axis=-1) for parts in zip(*columns, strict=True)]
        if layer.residual and n and outputs[0].shape == inputs[0].shape:
            outputs = [y + x for y, x in zip(outputs, inputs, strict=True)]
        inputs = outputs
    return inputs, last


def split_states(layer: Any, state: Any) -> list[tuple[Any, ...]]:
    """The layer's state (per name, all cells) as one tuple per cell."""
    return [tuple(column[k] for column in state) for k in range(len(layer.cells))]


def initial(case: Case) -> list[tuple[Tensor, ...]]:
    batch = case.xs.shape[1]
    if case.states is None:
        return [cell.initial_state(batch) for cell in case.layer.cells]
    return [tuple(Tensor(s, requires_grad=True) for s in each) for each in case.states]


# --- Every row gets what its cells compute on it alone ------------------------------------------------------


@given(case=cases())
def test_every_row_gets_what_its_cells_compute_on_it_alone(case: Case) -> None:
    """The batch, the padding and the vectorised directions are invisible; past its end a row's outputs are 0, its
    last state is that of its own last step, and without any step it keeps its initial state."""
    outputs, state = case.layer(case.xs, case.given_state, case.lengths)
    assert outputs.shape == (*case.xs.shape[:2], case.layer.output_size)
    starts = initial(case)
    for b, n in enumerate(case.ends):
        expected, last = row_alone(
            case.layer, Tensor(case.xs[:n, b : b + 1]), [tuple(s[b : b + 1] for s in each) for each in starts]
        )
        for t in range(len(case.xs)):
            close(outputs.numpy()[t, b], expected[t].numpy()[0] if t < n else 0.0)
        for ours, theirs in zip(split_states(case.layer, state), last, strict=True):
            for a, s in zip(ours, theirs, strict=True):
                close(a.numpy()[b], s.numpy()[0])


@given(case=cases())
def test_gradients_are_the_sums_of_what_every_row_gives_alone(case: Case) -> None:
    layer, xs, starts = case.layer, Tensor(case.xs, requires_grad=True), initial(case)
    leaves = [xs, *(s for each in starts for s in each if s.requires_grad), *layer.parameters()]
    weight = np.random.default_rng(5)
    on_outputs = weight.standard_normal((*case.xs.shape[:2], layer.output_size))
    on_states = [[weight.standard_normal(s.shape) for s in each] for each in starts]

    given_state = None if case.states is None else [list(column) for column in zip(*starts, strict=True)]
    outputs, state = layer(xs, given_state, case.lengths)
    total = (outputs * on_outputs).sum()
    for each, w in zip(split_states(layer, state), on_states, strict=True):
        total = sum(((s * v).sum() for s, v in zip(each, w, strict=True)), total)
    assume(total.requires_grad)
    total.backward()
    ours = [np.zeros(p.shape) if p.grad is None else p.grad for p in leaves]

    for p in leaves:
        p.grad = None
    alone = Tensor(0.0, dtype=np.float64)
    for b, n in enumerate(case.ends):
        expected, last = row_alone(layer, xs[:n, b : b + 1], [tuple(s[b : b + 1] for s in each) for each in starts])
        alone = sum(((y * on_outputs[t, b]).sum() for t, y in enumerate(expected)), alone)
        for each, w in zip(last, on_states, strict=True):
            alone = sum(((s * v[b]).sum() for s, v in zip(each, w, strict=True)), alone)
    close(total.item(), alone.item())
    if alone.requires_grad:
        alone.backward()
    for p, g in zip(leaves, ours, strict=True):
        close(g, np.zeros(p.shape) if p.grad is None else p.grad)


@given(case=cases(with_lengths=True))
def test_nothing_in_the_padding_can_be_noticed_be_it_nan(case: Case) -> None:
    assume(len(case.xs))
    results = []
    for filling in (0.0, 1e300, np.nan, np.inf):
        xs = case.xs.copy()
        for b, n in enumerate(case.ends):
            xs[n:, b] = filling
        leaf = Tensor(xs, requires_grad=True)
        outputs, state = case.layer(leaf, case.given_state, case.lengths)
        case.layer.zero_grad()
        (outputs * outputs).sum().backward()
        gradients = [leaf.grad, *(p.grad for p in case.layer.parameters())]
        results.append([outputs.numpy(), *(s.numpy() for each in split_states(case.layer, state) for s in each)])
        results[-1] += [np.zeros(1) if g is None else g for g in gradients]
        for b, n in enumerate(case.ends):
            assert leaf.grad is None or not leaf.grad[n:, b].any()
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@given(case=cases(directions=1), cut=st.integers(0, 5))
def test_two_halves_with_the_carried_state_are_the_whole(case: Case, cut: int) -> None:
    whole, last = case.layer(case.xs, case.given_state, case.lengths)
    ends = np.array(case.ends)
    first, between = case.layer(case.xs[:cut], case.given_state, np.minimum(ends, len(case.xs[:cut])))
    second, end = case.layer(case.xs[cut:], between, np.maximum(ends - cut, 0))
    close(np.concatenate([first.numpy(), second.numpy()]), whole.numpy())
    for each, other in zip(split_states(case.layer, last), split_states(case.layer, end), strict=True):
        for a, b in zip(each, other, strict=True):
            close(a.numpy(), b.numpy())


@given(case=cases(), data=st.data())
def test_rows_of_a_batch_can_be_reordered_repeated_and_left_out(case: Case, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, case.xs.shape[1] - 1), max_size=5))
    states = None if case.states is None else [[s[rows] for s in each] for each in case.states]
    some = Case(case.layer, case.xs[:, rows], states, [case.ends[b] for b in rows])
    outputs, state = some.layer(some.xs, some.given_state, np.array(some.lengths, dtype=np.int64))
    whole, last = case.layer(case.xs, case.given_state, case.lengths)
    close(outputs.numpy(), whole.numpy()[:, rows])
    for each, other in zip(split_states(case.layer, state), split_states(case.layer, last), strict=True):
        for a, b in zip(each, other, strict=True):
            close(a.numpy(), b.numpy()[rows])


def test_a_backward_layer_reads_each_row_from_its_own_end() -> None:
    layer, xs, lengths = build("lstm", 2, 3, bidirectional=True), draw(6, 3, 2), [6, 2, 4]
    outputs, state = layer(xs, lengths=lengths)
    reverse = build("lstm", 2, 3)
    for own, p in zip(reverse.parameters(), layer.cells[1].parameters(), strict=True):
        own.data = p.data
    for b, n in enumerate(lengths):
        alone, last = reverse(xs[:n, b : b + 1][::-1])
        close(outputs.numpy()[:n, b, 3:], alone.numpy()[::-1, 0])
        close(state[0].numpy()[1, b], last[0].numpy()[0, 0])


# --- Derivatives against finite differences -----------------------------------------------------------------


def run_with_state(layer: Any, xs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
    outputs, last = layer(xs, state, [2, 1])
    return (outputs, *last)


QUICK = [("rnn", 2, False), ("rnn", 2, True), ("oscillator", 2, True), ("lstm", 1, False), ("gru", 1, True)]
"""Kinds, orders of derivatives and directions. With the second order the first is checked too."""
LONG = [(kind, 2, both) for kind in KINDS for both in (False, True) if (kind, 2, both) not in QUICK]


@pytest.mark.parametrize(
    ("kind", "order", "bidirectional"), [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in LONG)]
)
def test_derivatives_by_every_weight_input_and_state_agree_with_finite_differences(
    kind: str, order: int, bidirectional: bool
) -> None:
    layer = build(kind, 1, 2, 1 if bidirectional else 2, bidirectional, seed=3)
    cells, names = len(layer.cells), len(layer.cells[0].states)
    states = [draw(cells, 2, 2, seed=i) for i in range(names)]
    gradcheck_of_everything(layer, run_with_state, draw(2, 2, 1), *states, order=order)


@pytest.mark.slow
@given(case=cases())
def test_derivatives_of_any_layer_agree_with_finite_differences(case: Case) -> None:
    assume(len(case.xs) and max(case.ends))
    state = initial(case)
    columns = [tuple(c) for c in zip(*state, strict=True)]

    def of_xs(xs: Tensor) -> Any:
        return case.layer(xs, columns, case.lengths)[0]

    tg.gradcheck(of_xs, case.xs, order=2)


# --- Noise: always from the generator of the caller ---------------------------------------------------------


def test_recurrent_dropout_uses_one_mask_a_sequence_and_none_without_a_generator() -> None:
    layer = RNN(1, 200, recurrent_dropout=0.5, nonlinearity="relu", dtype=np.float64)
    cell = layer.cells[0]
    cell.n.U.data, cell.n.W.data = np.zeros((1, 200)), np.eye(200)  # the state is copied from step to step
    xs, ones = np.zeros((4, 2, 1)), np.ones((1, 2, 200))
    outputs, _ = layer(xs, ones, rng=np.random.default_rng(0))
    final = outputs.numpy()[-1]
    assert set(np.unique(final)) == {0.0, 16.0}  # dropped at every step, or scaled by 1/(1 - 0.5) at every step
    assert 0.3 < (final == 0).mean() < 0.7
    assert not np.array_equal(final[0], final[1])  # each row has its own mask
    again = layer(xs, ones, rng=np.random.default_rng(1))[0].numpy()[-1]
    assert not np.array_equal(final, again)  # and each sequence
    np.testing.assert_array_equal(layer(xs, ones)[0].numpy(), np.ones((4, 2, 200)))


def test_recurrent_dropout_works_in_every_layer_and_direction_and_not_on_the_input() -> None:
    layer = build("gru", 2, 3, 2, True, recurrent_dropout=0.5)
    outputs, _ = layer(draw(1, 4, 2), rng=np.random.default_rng(0))
    close(outputs.numpy(), layer(draw(1, 4, 2))[0].numpy())  # a first step reads a state of zeros
    state = (draw(4, 4, 3),)
    trained = layer(draw(1, 4, 2), state, rng=np.random.default_rng(0))[1][0].numpy()
    tested = layer(draw(1, 4, 2), state)[1][0].numpy()
    assert (np.abs(trained - tested).max(axis=(1, 2)) > 1e-3).all()


def test_zoneout_keeps_old_entries_of_each_state_and_their_expectation_without_a_generator() -> None:
    layer = build("lstm", 2, 50, zoneout=0.3)
    (cell,) = layer.cells
    xs, rng = draw(20, 3, 2), np.random.default_rng(0)
    state = layer.cells[0].initial_state(3)
    kept: list[list[float]] = [[], []]
    for t in range(len(xs)):
        new = cell.advance(Tensor(xs[t]), state)
        out, after = layer(xs[t : t + 1], tuple(s.reshape(1, 3, 50) for s in state), rng=rng)
        expectation = layer(xs[t : t + 1], tuple(s.reshape(1, 3, 50) for s in state))[1]
        for i, (old, fresh) in enumerate(zip(state, new, strict=True)):
            entries = after[i].numpy()[0]
            assert ((entries == old.numpy()) | np.isclose(entries, fresh.numpy(), rtol=1e-6, atol=1e-6)).all()
            kept[i].append(float((entries == old.numpy()).mean()))
            close(expectation[i].numpy()[0], 0.3 * old.numpy() + 0.7 * fresh.numpy())
        np.testing.assert_array_equal(out.numpy()[0], after[0].numpy()[0])
        state = tuple(a[0] for a in after)
    for share in kept:
        assert abs(float(np.mean(share)) - 0.3) < 0.02
    assert kept[0] != kept[1]  # h and c are drawn apart


def test_zoneout_is_drawn_anew_at_every_step() -> None:
    layer = build("rnn", 1, 300, zoneout=0.5)
    outputs = layer(draw(3, 1, 1), rng=np.random.default_rng(0))[0].numpy()[:, 0]
    first, second = outputs[1] == outputs[0], outputs[2] == outputs[1]
    assert 0.15 < (first & second).mean() < 0.35


def test_dropout_stands_between_layers_only() -> None:
    xs, rng = draw(4, 2, 3), np.random.default_rng(0)
    with pytest.warns(UserWarning, match="dropout=0.9 does nothing with num_layers=1: it stands between layers"):
        one = build("gru", 3, 3, 1, dropout=0.9)
    np.testing.assert_array_equal(one(xs, rng=rng)[0].numpy(), one(xs)[0].numpy())
    two = build("gru", 3, 3, 2, dropout=0.9)
    trained, state = two(xs, rng=rng)
    tested, expected = two(xs)
    np.testing.assert_array_equal(state[0].numpy()[0], expected[0].numpy()[0])  # the first layer knows nothing of it
    assert np.abs(state[0].numpy()[1] - expected[0].numpy()[1]).max() > 1e-3
    assert (trained.numpy() != 0).all()
    np.testing.assert_array_equal(tested.numpy(), two(xs)[0].numpy())


def test_dropout_between_layers_zeroes_and_scales_what_the_second_layer_reads() -> None:
    layer = RNN(1, 100, 2, dropout=0.25, nonlinearity="relu", dtype=np.float64)
    first, second = layer.cells
    for cell, U in [(first, np.ones((1, 100))), (second, np.eye(100))]:
        cell.n.U.data, cell.n.W.data = U, np.zeros((100, 100))
    outputs = layer(np.ones((3, 8, 1)), rng=np.random.default_rng(0))[0].numpy()
    np.testing.assert_allclose(np.unique(outputs), [0, 4 / 3])
    assert abs((outputs == 0).mean() - 0.25) < 0.03
    assert not np.array_equal(outputs[0], outputs[1])


@every_kind
def test_the_same_generator_gives_the_same_noise(kind: str) -> None:
    rates = {"dropout": 0.3, "zoneout": 0.3, **({"recurrent_dropout": 0.3} if KINDS[kind][0].gates else {})}
    layer = build(kind, 2, 3, 2, True, **rates)
    one, two, other = (
        layer(draw(4, 3, 2), lengths=[4, 2, 0], rng=np.random.default_rng(s))[0].numpy() for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_noise_does_not_reach_rows_that_have_ended() -> None:
    layer = build("lstm", 2, 3, 2, True, dropout=0.5, recurrent_dropout=0.5, zoneout=0.5)
    initial_state = tuple(draw(4, 2, 3, seed=i) for i in range(2))
    outputs, state = layer(draw(5, 2, 2), initial_state, lengths=[0, 3], rng=np.random.default_rng(0))
    assert not outputs.numpy()[:, 0].any()
    assert not outputs.numpy()[3:, 1].any()
    for a, b in zip(state, initial_state, strict=True):
        np.testing.assert_array_equal(a.numpy()[:, 0], b[:, 0])


def test_gradients_under_noise_agree_with_finite_differences() -> None:
    layer = build("lstm", 1, 2, 2, dropout=0.5, recurrent_dropout=0.5, zoneout=0.5)
    tg.gradcheck(lambda xs: layer(xs, lengths=[3, 2], rng=np.random.default_rng(4))[0], draw(3, 2, 1), order=2)


# --- Shapes, sizes and dtypes -------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("noise", [False, True])
def test_float32_stays_float32_in_outputs_states_and_gradients(kind: str, noise: bool) -> None:
    cell, options = KINDS[kind]
    rates: dict[str, Any] = {"dropout": 0.3, "zoneout": 0.3} if noise else {}
    if noise and cell.gates:
        rates["recurrent_dropout"] = 0.3
    layer = Recurrent(cell, 2, 3, 2, True, residual=True, **rates, **options)
    xs = Tensor(draw(4, 3, 2).astype(np.float32), requires_grad=True)
    outputs, state = layer(xs, lengths=[4, 2, 0], rng=np.random.default_rng(0) if noise else None)
    assert {t.dtype for t in (outputs, *state)} == {np.dtype("f4")}
    (outputs.sum() + state[0].sum()).backward()
    assert {p.grad.dtype for p in [xs, *layer.parameters()] if p.grad is not None} == {np.dtype("f4")}


def test_a_layer_cast_to_another_dtype_works_in_it_from_then_on() -> None:
    layer = GRU(2, 3)
    assert layer.dtype == np.float32
    assert layer.astype(np.float64) is layer
    assert layer.dtype == np.float64
    outputs, state = layer(draw(4, 3, 2))
    assert {outputs.dtype, state[0].dtype} == {np.dtype("f8")}
    layer(draw(4, 3, 2), state)


def test_cells_come_layer_by_layer_and_forward_before_backward() -> None:
    layer = LSTM(2, [3, 5], bidirectional=True)
    assert [(c.input_size, c.hidden_size) for c in layer.cells] == [(2, 3), (2, 3), (6, 5), (6, 5)]
    assert layer.output_size == 10
    assert next(layer.named_parameters())[0] == "cells.0.i.U"
    outputs, state = GRU(2, 3, 2, True)(np.zeros((4, 5, 2), np.float32))
    assert (outputs.shape, len(state), state[0].shape) == ((4, 5, 6), 1, (4, 5, 3))


def test_layers_of_different_sizes_have_a_state_per_layer_that_carries_over() -> None:
    layer = build("lstm", 2, [3, 1])
    xs = draw(6, 2, 2)
    whole, _ = layer(xs)
    first, state = layer(xs[:4])
    assert [[part.shape for part in column] for column in state] == [[(2, 3), (2, 1)]] * 2
    close(np.concatenate([first.numpy(), layer(xs[4:], state)[0].numpy()]), whole.numpy())


def test_a_sequence_without_steps_returns_the_initial_state() -> None:
    layer, given_state = build("oscillator", 2, 3, 2, True), (draw(4, 2, 3), draw(4, 2, 3, seed=2))
    outputs, state = layer(np.zeros((0, 2, 2)), given_state)
    assert outputs.shape == (0, 2, 12)
    for a, b in zip(state, given_state, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


@every_kind
def test_a_batch_without_rows_works(kind: str) -> None:
    layer = build(kind, 2, 3, 2, True)
    outputs, state = layer(np.zeros((4, 0, 2)), lengths=np.zeros(0, np.int64))
    assert outputs.shape == (4, 0, layer.output_size)
    assert {s.shape for s in state} == {(4, 0, 3)}


def test_a_single_state_may_be_given_bare_or_in_a_tuple() -> None:
    layer, xs, h = build("gru", 2, 3), draw(4, 2, 2), draw(1, 2, 3)
    expected = layer(xs, (h,))[0].numpy()
    for state in (h, Tensor(h), [h], (Tensor(h),)):
        np.testing.assert_array_equal(layer(xs, state)[0].numpy(), expected)


@pytest.mark.parametrize("lengths", [[3, 0], (3, 0), np.array([3, 0], np.uint8), Tensor(np.array([3, 0]))])
def test_lengths_may_be_a_list_an_array_or_a_tensor(lengths: Any) -> None:
    layer, xs = build("gru", 2, 3), draw(4, 2, 2)
    np.testing.assert_array_equal(layer(xs, lengths=lengths)[0].numpy(), layer(xs, lengths=[3, 0])[0].numpy())


def test_a_seed_chooses_the_weights_and_layers_do_not_share_them() -> None:
    one, two, other = (GRU(3, 3, 2, True, rng=np.random.default_rng(s)).state_dict() for s in (1, 1, 2))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert not np.array_equal(one["cells.0.z.U"], other["cells.0.z.U"])
    assert len({one[f"cells.{k}.z.W"].tobytes() for k in range(4)}) == 4


def test_an_anomaly_is_reported_with_its_layer_direction_and_step() -> None:
    layer, xs = build("gru", 2, 3, 2, True), draw(4, 1, 2)
    layer.cells[3].n.b.data = np.array([0.0, np.nan, 0.0])
    with pytest.raises(tg.AnomalyError, match=r"(?s)layer.*1.*direction.*backward.*step.*0"), tg.detect_anomaly():
        layer(xs)


# --- scan ---------------------------------------------------------------------------------------------------


def test_scan_carries_a_state_and_stacks_what_the_steps_give() -> None:
    xs = Tensor(draw(5, 2))
    last, ys = scan(lambda s, x: (s + x, s * 2), Tensor(np.zeros(2)), xs)
    sums = np.cumsum(xs.numpy(), axis=0)
    close(last.numpy(), sums[-1])
    close(ys.numpy(), 2 * np.concatenate([np.zeros((1, 2)), sums[:-1]]))


def test_scan_takes_and_gives_tuples_within_tuples() -> None:
    a, b, c = Tensor(draw(4, 2)), Tensor(draw(4, 3)), Tensor(draw(4))

    def step(state: Any, x: Any) -> Any:
        (s, count), (u, (v, w)) = state, x
        return (s + u.sum() * w, count + 1), (s, (v * w, ()))

    (s, count), (before, (products, nothing)) = scan(step, (Tensor(np.zeros(())), Tensor(np.zeros(()))), (a, (b, c)))
    increments = a.numpy().sum(axis=1) * c.numpy()
    close(s.numpy(), increments.sum())
    assert count.item() == 4
    close(before.numpy(), np.cumsum(increments) - increments)
    close(products.numpy(), b.numpy() * c.numpy()[:, None])
    assert nothing == ()


def test_scan_differentiates_by_state_inputs_and_what_the_step_closes_over() -> None:
    def f(s: Tensor, xs: Tensor, w: Tensor) -> Any:
        return scan(lambda s, x: (ops.tanh(s * w + x), s * x), s, xs)

    tg.gradcheck(f, draw(2, 3), draw(4, 2, 3), draw(3), order=2)


@pytest.mark.parametrize(
    ("shapes", "found"), [([(0, 2)], [0]), ([(3, 2), (4, 2)], [3, 4]), ([()], [0]), ([(3,), ()], [0, 3])]
)
def test_scan_refuses_inputs_without_one_number_of_steps(shapes: list[Any], found: list[int]) -> None:
    xs = tuple(Tensor(np.zeros(shape)) for shape in shapes)
    message = f"scan: xs must share one number of steps (at least 1), got {found}"
    with pytest.raises(ValueError, match=re.escape(message)):
        scan(lambda s, x: (s, s), Tensor(np.zeros(2)), xs)


@pytest.mark.parametrize(("result", "name"), [(Tensor([1.0]), "Tensor"), ((1, 2, 3), "tuple"), ([1, 2], "list")])
def test_scan_refuses_a_step_that_does_not_return_a_state_and_an_output(result: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"the step must return \(state, y\), got {name}"):
        scan(lambda s, x: result, Tensor([1.0]), Tensor([1.0, 2.0]))


# --- Mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cell": "gru"}, TypeError, "cell must be a class made with Cell, or a list of such, got 'gru'"),
        ({"cell": GRUCell(2, 3)}, TypeError, "cell must be a class made with Cell"),
        ({"input_size": 0}, ValueError, "input_size must be a whole number of at least 1, got 0"),
        ({"hidden_size": -3}, ValueError, "hidden_size must be a whole number of at least 1, got -3"),
        ({"hidden_size": [3, 0]}, ValueError, "hidden_size must be a whole number of at least 1, got 0"),
        ({"hidden_size": []}, ValueError, "hidden_size must be a size, or a list with one per layer, got an empty"),
        ({"num_layers": 0}, ValueError, "num_layers must be a whole number of at least 1, got 0"),
        ({"hidden_size": [3, 4], "num_layers": 3}, ValueError, "num_layers must be 2, the number of hidden sizes"),
        ({"dropout": 1.0}, ValueError, "dropout must be at least 0 and below 1, got 1.0"),
        ({"recurrent_dropout": -0.1}, ValueError, "recurrent_dropout must be at least 0 and below 1, got -0.1"),
        ({"zoneout": float("nan")}, ValueError, "zoneout must be at least 0 and below 1, got nan"),
        ({"rng": 1}, TypeError, "rng must be a numpy.random.Generator"),
        ({"forget_bias": 1}, TypeError, "GRUCell: its options are reset, update, recurrent_bias, gate; got"),
    ],
)
def test_a_layer_that_cannot_be_built_says_why(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    options: dict[str, Any] = {"cell": GRUCell, "input_size": 2, "hidden_size": 3} | arguments
    with pytest.raises(error, match=re.escape(message)):
        Recurrent(**options)


XS = np.zeros((4, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"xs": XS[0]}, ValueError, "LSTM: xs must have the shape (T, B, 3), got (2, 3)"),
        ({"xs": XS[..., :2]}, ValueError, "LSTM: xs must have the shape (T, B, 3), got (4, 2, 2)"),
        ({"xs": XS.astype("f8")}, TypeError, "LSTM: xs must have the layer's dtype float32, got float64; cast one"),
        ({"xs": XS.astype(int)}, TypeError, "LSTM: xs must have the layer's dtype float32, got int64"),
        ({"state": np.zeros((1, 2, 5), "f4")}, ValueError, "state must be a tuple of 2 (h, c), got 1"),
        (
            {"state": (np.zeros((1, 2, 5), "f4"), np.zeros((1, 3, 5), "f4"))},
            ValueError,
            "LSTM: state 'c' must have the shape (1, 2, 5), got (1, 3, 5)",
        ),
        ({"state": (np.zeros((2, 5), "f4"),) * 2}, ValueError, "state 'h' must have the shape (1, 2, 5), got (2, 5)"),
        ({"state": (np.zeros((2, 2, 5), "f4"),) * 2}, ValueError, "shape (1, 2, 5), got (2, 2, 5)"),
        (
            {"state": (np.zeros((1, 2, 5)),) * 2},
            TypeError,
            "state 'h' must have the layer's dtype float32, got float64",
        ),
        ({"lengths": [4]}, ValueError, "lengths must be 2 whole numbers between 0 and 4, one per row"),
        ({"lengths": [4, 5]}, ValueError, "lengths must be 2 whole numbers between 0 and 4"),
        ({"lengths": [4, -1]}, ValueError, "lengths must be 2 whole numbers between 0 and 4"),
        ({"lengths": [4.0, 2.0]}, ValueError, "lengths must be 2 whole numbers between 0 and 4"),
        ({"lengths": [[4, 2]]}, ValueError, "lengths must be 2 whole numbers between 0 and 4"),
        ({"rng": 0}, TypeError, "rng must be a numpy.random.Generator"),
    ],
)
def test_a_call_that_does_not_fit_says_why(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        LSTM(3, 5)(**({"xs": XS} | arguments))


def test_recurrent_dropout_of_a_cell_without_gates_is_refused() -> None:
    layer = build("oscillator", 2, 3, recurrent_dropout=0.5)
    with pytest.raises(ValueError, match="recurrent_dropout needs a gate that reads h, and Oscillator has none"):
        layer(draw(4, 2, 2), rng=np.random.default_rng(0))


@pytest.mark.parametrize("kind", [GRU, LSTM, RNN])
def test_dropout_of_a_single_layer_is_warned_of_at_the_users_line(kind: Any) -> None:
    with pytest.warns(UserWarning, match="dropout=0.5 does nothing with num_layers=1") as caught:
        kind(2, 3, dropout=0.5)
    assert [each.filename for each in caught] == [__file__]
    for layers in (2, [3, 3]):
        sizes = (layers,) if isinstance(layers, list) else (3, layers)
        kind(2, *sizes, dropout=0.5)
    kind(2, 3, recurrent_dropout=0.5)


# --- Cells that are put in another's place ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "cell", "error", "message"),
    [
        (1, GRUCell(2, 3), ValueError, "GRU.cells[1] must have input_size 3, as what is below it, got 2"),
        (0, GRUCell(2, 4), ValueError, "GRU.cells[1] must have input_size 4, as what is below it, got 3"),
        (1, GRUCell(3, 4), ValueError, "GRU.cells must put out 3 features, got 4"),
        (1, None, TypeError, "GRU.cells[1] must be a Cell, got NoneType"),
        (1, GRU(3, 3), TypeError, "GRU.cells[1] must be a Cell, got GRU"),
    ],
)
def test_a_cell_in_anothers_place_that_does_not_fit_is_refused(
    k: int, cell: Any, error: type[Exception], message: str
) -> None:
    layer, xs = GRU(2, 3, 2), np.zeros((2, 2, 2), np.float32)
    layer.cells[k] = cell
    with pytest.raises(error, match=re.escape(message)):
        layer(xs)


def test_a_cell_too_many_is_refused_and_one_that_fits_is_not() -> None:
    layer, xs = GRU(2, 3, 2), np.ones((2, 2, 2), np.float32)
    before = layer(xs)[0].numpy()
    layer.cells[1] = RNNCell(3, 3)
    assert not np.array_equal(layer(xs)[0].numpy(), before)
    layer.cells.append(GRUCell(3, 3))
    with pytest.raises(ValueError, match=r"GRU\.cells must be 2, by layer and direction, got 3"):
        layer(xs)


# --- As a function of its Parameters ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS])
def test_a_layer_that_was_cast_takes_values_of_the_new_dtype(kind: str) -> None:
    cell, options = KINDS[kind]
    layer = Recurrent(cell, 2, 3, 2, **options).astype(np.float64)
    values = {name: Tensor(p.data) for name, p in layer.named_parameters()}
    xs = draw(4, 3, 2)
    copy = layer.with_values(values)
    assert copy.dtype == np.float64
    np.testing.assert_array_equal(copy(xs)[0].numpy(), layer(xs)[0].numpy())


def test_values_of_another_dtype_make_a_model_of_that_dtype() -> None:
    model = LanguageModel(7, 4, 4, rng=np.random.default_rng(0))
    wide = model.with_values({name: Tensor(p.data.astype(np.float64)) for name, p in model.named_parameters()})
    ids = np.array([[1, 2], [3, 4]])
    logits, (state,) = wide(ids)
    assert {logits.dtype, state.dtype} == {np.dtype("f8")}
    np.testing.assert_allclose(logits.numpy(), model.astype(np.float64)(ids)[0].numpy(), rtol=1e-12)


def test_a_layer_without_parameters_can_be_cast() -> None:
    class Leaky(Cell):
        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return 0.5 * h + x

    layer = Recurrent(Leaky, 2, 2).astype(np.float64)
    assert layer.dtype == np.float64
    outputs, (state,) = layer(draw(4, 3, 2))
    assert {outputs.dtype, state.dtype} == {np.dtype("f8")}
