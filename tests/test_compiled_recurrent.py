"""Layers of random cells, driven with everything that a layer offers: compiled they are the plain loop."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from example_counts import part_of_the_examples
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import ScanWarning
from tinygrad_rnn.models import GRU, LSTM, Cell, LSTMCell, Recurrent
from tinygrad_rnn.tensor import Parameter, Tensor


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


class RandomCell(Cell):
    """A random expression over gates, nested gates, states, peepholes and a layer norm; `plan` says which."""

    gates = "a b"
    state = "h c"

    def setup(self, plan: tuple[tuple[int, int, int], ...], ends: tuple[int, int]) -> None:
        self.plan, self.ends = plan, ends
        rng = np.random.default_rng(len(plan))
        self.p, self.scale, self.shift = (Parameter(rng.standard_normal(self.hidden_size)) for _ in range(3))

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        pool: list[Any] = [h, c]
        for kind, left, right in self.plan:
            u, v = pool[left % len(pool)], pool[right % len(pool)]
            if kind == 0:
                pool.append(ops.sigmoid(self.a(x, u)) * v)
            elif kind == 1:
                pool.append(ops.tanh(self.b(x, u * v)))  # a gate that reads a gated state
            elif kind == 2:
                pool.append(ops.tanh(self.b.recurrent(u) + self.p * v))
            elif kind == 3:
                centred = u - u.mean(axis=-1, keepdims=True)
                spread = ops.sqrt(ops.square(centred).mean(axis=-1, keepdims=True) + 0.1)
                pool.append(ops.tanh(centred / spread * self.scale + self.shift))
            elif kind == 4:
                pool.append(ops.where(u > v, u, 0.3 * v))
            else:
                pool.append(ops.tanh(u + 0.5 * v) - 0.1 * u * v)
        return pool[-1 - self.ends[0] % len(pool)], pool[-1 - self.ends[1] % len(pool)]


class Case:
    """A layer, what it is given, and whether it trains."""

    def __init__(self, layer: Recurrent, xs: Any, state: Any, lengths: Any, seed: int | None) -> None:
        self.layer, self.xs, self.state, self.lengths, self.seed = layer, xs, state, lengths, seed

    def run(self, compiled: bool) -> list[Any]:
        """Outputs, last states, and all gradients of a random weighting of them."""
        xs = Tensor(self.xs, requires_grad=True)
        state = tuple(Tensor(s, requires_grad=True) for s in self.state)
        rng = None if self.seed is None else np.random.default_rng(self.seed)
        self.layer.zero_grad()
        with warnings.catch_warnings(), tg.compiled(compiled):
            warnings.simplefilter("error", ScanWarning)
            outputs, last = self.layer(xs, state, self.lengths, rng)
        weights = np.random.default_rng(0)
        results = [outputs, *last]
        sum((r * weights.standard_normal(r.shape)).sum() for r in results).backward()
        leaves = [xs, *state, *self.layer.parameters()]
        return [r.numpy() for r in results] + [np.zeros(t.shape) if t.grad is None else t.grad for t in leaves]


@st.composite
def cases(draw: st.DrawFn, /, noisy: bool = True) -> Case:
    steps, batch, features, hidden = (draw(st.integers(1, n)) for n in (6, 3, 3, 4))
    number = st.integers(0, 100)
    plan = draw(st.lists(st.tuples(st.integers(0, 5), number, number), min_size=1, max_size=6))
    layers, both = draw(st.integers(1, 2)), draw(st.booleans())
    options: dict[str, Any] = {}
    if noisy:
        options |= {name: draw(st.sampled_from([0.0, 0.4])) for name in ("dropout", "recurrent_dropout", "zoneout")}
        options |= {"residual": draw(st.booleans())}
        options["dropout"] *= layers > 1  # it stands between layers
    layer = Recurrent(
        RandomCell, features, hidden, layers, both, plan=tuple(plan), ends=(draw(number), draw(number)),
        dtype=np.float64, rng=np.random.default_rng(draw(number)), **options,
    )  # fmt: skip
    rng = np.random.default_rng(draw(number))
    rows = layers * (1 + both)
    state = [rng.standard_normal((rows, batch, hidden)) for _ in range(2)]
    lengths = draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    seed = draw(st.none() | number) if noisy else None
    return Case(
        layer,
        rng.standard_normal((steps, batch, features)),
        state,
        None if lengths is None else np.array(lengths),
        seed,
    )


@given(cases())
def test_a_layer_of_random_cells_has_the_values_and_gradients_of_the_plain_loop(case: Case) -> None:
    for fast, plain in zip(case.run(True), case.run(False), strict=True):
        close(fast, plain)


@part_of_the_examples(0.5)
@given(cases(), st.integers(1, 8))
def test_checkpoints_change_no_value_and_no_gradient(case: Case, every: int) -> None:
    expected = case.run(True)
    case.layer.checkpoint_every = every
    for a, b in zip(case.run(True), expected, strict=True):
        close(a, b)


@given(cases(), st.integers(1, 8), st.none() | st.integers(1, 3))
def test_truncated_it_is_the_truncated_plain_loop(case: Case, k: int, every: int | None) -> None:
    case.layer.truncate, case.layer.checkpoint_every = k, every
    for fast, plain in zip(case.run(True), case.run(False), strict=True):
        close(fast, plain)


@given(cases(noisy=False), st.integers(1, 5))
def test_truncation_is_a_detached_state_between_parts(case: Case, k: int) -> None:
    cell = case.layer.cells[0]
    xs = case.xs

    def step(state: Any, x: Tensor) -> Any:
        new = cell.advance(x, state)
        return new, cell.put_out(x, new)

    def gradients(outputs: list[Tensor]) -> list[Any]:
        total: Any = sum((y * y).sum() for y in outputs)
        total.backward()
        found = [p.grad for p in cell.parameters()]
        case.layer.zero_grad()
        return [0.0 if g is None else g for g in found]

    case.layer.zero_grad()
    start = tuple(Tensor(s[0], requires_grad=True) for s in case.state)
    last, ys = tg.scan(step, start, Tensor(xs), truncate=k)
    state, parts = start, []
    for at in range(0, len(xs), k):
        state = tuple(s.detach() for s in state) if at else start
        state, part = tg.scan(step, state, Tensor(xs[at : at + k]))
        parts.append(part)
    close(ys.numpy(), np.concatenate([part.numpy() for part in parts]))
    for a, b in zip(last, state, strict=True):
        close(a.numpy(), b.numpy())
    for a, b in zip(gradients([ys]), gradients(parts), strict=True):
        close(a, b)


@given(cases(noisy=False), st.integers(0, 6))
def test_two_halves_with_the_carried_state_are_the_whole(case: Case, cut: int) -> None:
    layer, xs = case.layer, Tensor(case.xs)
    if layer.directions == 2:
        return  # what comes later is then part of what comes first
    cut = min(cut, len(case.xs))
    whole, last = layer(xs, tuple(case.state))
    first, middle = layer(Tensor(case.xs[:cut]), tuple(case.state))
    second, end = layer(Tensor(case.xs[cut:]), middle)
    close(whole.numpy(), np.concatenate([first.numpy(), second.numpy()]))
    for a, b in zip(last, end, strict=True):
        close(a.numpy(), b.numpy())


@given(cases(noisy=False))
def test_rows_of_a_batch_know_nothing_of_each_other(case: Case) -> None:
    together = case.run(True)
    for row in range(case.xs.shape[1]):
        here = slice(row, row + 1)
        lengths = None if case.lengths is None else case.lengths[here]
        alone, last = case.layer(case.xs[:, here], tuple(s[:, here] for s in case.state), lengths)
        close(alone.numpy(), together[0][:, here])
        for a, b in zip(last, together[1:], strict=False):
            close(a.numpy(), b[:, here])


@given(cases(noisy=False), st.sampled_from([0.0, 1e30, np.nan, np.inf]))
def test_what_stands_in_the_padding_changes_nothing(case: Case, filling: float) -> None:
    if case.lengths is None:
        case.lengths = np.full(case.xs.shape[1], len(case.xs))
    padding = np.arange(len(case.xs))[:, None] >= case.lengths
    expected = case.run(True)
    case.xs = np.where(padding[..., None], filling, case.xs)
    found = case.run(True)
    for a, b in zip(found, expected, strict=True):
        close(a, b)
    assert not found[3][padding].any()  # no gradient there


@pytest.mark.parametrize("layer", [GRU, LSTM])
def test_a_mixed_second_derivative_is_that_of_the_plain_loop(layer: Any) -> None:
    model = layer(2, 3, 2, True, dtype=np.float64, rng=np.random.default_rng(0))
    xs, v = (np.random.default_rng(n).standard_normal((4, 2, 2)) for n in (1, 2))

    def loss(xs: Tensor) -> Any:
        return (model(xs, lengths=np.array([4, 2]))[0] ** 2).sum()

    fast = tg.hvp(loss, xs, v).numpy()
    with tg.compiled(False):
        close(fast, tg.hvp(loss, xs, v).numpy())


def test_one_parameter_in_two_gates_and_one_cell_in_two_layers_get_the_sum_of_their_gradients() -> None:
    layer = LSTM(3, 3, 2, dtype=np.float64, rng=np.random.default_rng(0))
    first = layer.cells[0]
    first.i.W = first.f.W
    layer.cells[1] = first
    xs = np.random.default_rng(1).standard_normal((4, 2, 3))

    def gradients() -> list[Any]:
        layer.zero_grad()
        (layer(xs)[0] ** 2).sum().backward()
        return [p.grad for p in layer.parameters()]

    fast = gradients()
    with tg.compiled(False):
        for a, b in zip(fast, gradients(), strict=True):
            close(a, b)


def test_a_captured_tensor_that_is_on_the_tape_receives_its_gradient() -> None:
    cell = LSTMCell(2, 3, dtype=np.float64, rng=np.random.default_rng(0))
    context = Tensor(np.ones((2, 3)), requires_grad=True)

    def run() -> Any:
        gated = ops.tanh(context * 2.0)

        def step(state: Any, x: Tensor) -> Any:
            h, c = cell.advance(x, state)
            return (h * gated, c), h

        zeros = tuple(Tensor(np.zeros((2, 3))) for _ in range(2))
        _, ys = tg.scan(step, zeros, Tensor(np.ones((3, 2, 2))))
        context.grad = None
        (ys**2).sum().backward()
        return context.grad

    fast = run()
    with tg.compiled(False):
        close(fast, run())


def test_checkpoints_and_truncation_ask_for_a_whole_number_of_steps() -> None:
    xs, zero = Tensor(np.ones((3, 1))), Tensor(np.zeros(1))
    for name in ("truncate", "checkpoint_every"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, or None, got 0"):
            options: Any = {name: 0}
            tg.scan(lambda s, x: (s + x, s), zero, xs, **options)
        with pytest.raises(ValueError, match=name):
            GRU(2, 3, **options)
