"""Steps that take a gradient themselves, or stop one: they compile, and are checked as what they declare."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import CellError, Parameter, Tensor, check_cell, ops
from tinygrad_rnn.models import Cell, Recurrent

T, B, H = 4, 3, 3


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture(autouse=True)
def compiled_or_fail() -> Any:
    """A step that runs as a plain loop warns, which is an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", tg.ScanWarning)
        yield


# --- Gradients -------------------------------------------------------------------------------------------------

Inner = Callable[[Any, Any, Any], Any]


def descended(w: Any, h: Any, x: Any) -> Any:
    """A step of gradient descent on an inner loss, of a state."""
    return h - 0.1 * tg.grad(lambda h: ops.square(ops.tanh(h * w) - x).sum())(h)


def by_several(w: Any, h: Any, x: Any) -> Any:
    g_h, g_x = tg.grad(lambda h, x: (ops.sin(h * x) * w).sum(), (0, 1))(h, x)
    return g_h * 0.5 + ops.tanh(g_x)


def with_its_value(w: Any, h: Any, x: Any) -> Any:
    value, g = tg.value_and_grad(lambda h: (ops.exp(-ops.square(h)) * x).sum())(h)
    return g * w + 0.01 * value


def twice(w: Any, h: Any, x: Any) -> Any:
    return tg.grad(lambda h: tg.grad(lambda h: (ops.tanh(h) * x).sum())(h).sum())(h) * w


def pulled_back(w: Any, h: Any, x: Any) -> Any:
    out, pullback = tg.vjp(lambda h: ops.tanh(h * w), h)
    return out + pullback(x)[0]


def pushed_forward(w: Any, h: Any, x: Any) -> Any:
    out, tangent = tg.jvp(lambda h: ops.tanh(h * w), (h,), (x,))
    return out + 0.3 * tangent


def by_hessian(w: Any, h: Any, x: Any) -> Any:
    return 0.3 * tg.hvp(lambda h: (ops.tanh(h * w)).sum(), h, x)


def by_a_weight(w: Any, h: Any, x: Any) -> Any:
    return ops.tanh(h + x * tg.grad(lambda w: (ops.sin(w) * ops.sin(w)).sum())(w))


def of_nothing(w: Any, h: Any, x: Any) -> Any:
    """Of a function that does not depend on its argument, and one of the argument itself."""
    return tg.grad(lambda h: (x * w).sum())(h) + tg.grad(lambda h: h.sum())(h) * ops.tanh(x + h * w)


def through_it(w: Any, h: Any, x: Any) -> Any:
    """The state is used inside of the inner function and outside: two different things."""
    return h * tg.grad(lambda a: (a * h * w).sum())(h) + 0.1 * x


def by_jacobian(w: Any, h: Any, x: Any) -> Any:
    return 0.3 * tg.jacobian(lambda h: ops.tanh(h * w).sum(axis=-1))(h).sum(axis=0) + 0.1 * x


def with_a_stop(w: Any, h: Any, x: Any) -> Any:
    return 0.5 * tg.grad(lambda h: (ops.square(h) * ops.sin(h).detach() * w).sum())(h) + 0.1 * x


INNER: list[Inner] = [
    descended,
    by_several,
    with_its_value,
    twice,
    pulled_back,
    pushed_forward,
    by_hessian,
    by_a_weight,
    of_nothing,
    through_it,
    by_jacobian,
    with_a_stop,
]


def run(inner: Inner, w: Any, h: Any, xs: Any) -> list[Any]:
    """What a scan gives, and its gradients by all."""
    leaves = [Tensor(a, requires_grad=True) for a in (w, h, xs)]

    def step(state: Any, x: Any) -> Any:
        new = inner(leaves[0], state, x)
        return new, new * 2.0

    last, ys = tg.scan(step, leaves[1], leaves[2])
    (ops.square(ys).sum() + last.sum()).backward()
    return [last.numpy(), ys.numpy(), *(np.zeros(a.shape) if a.grad is None else a.grad for a in leaves)]


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("engine", ["machine", "numpy"])
def test_a_gradient_within_a_step_compiles_to_what_the_plain_loop_computes(inner: Inner, engine: str) -> None:
    values = draw(B, H), 0.5 * draw(B, H, seed=1), draw(T, B, H, seed=2)
    try:
        with tg.compiled(engine):
            fast = run(inner, *values)
    except ImportError:
        pytest.skip("llvmlite is not installed")
    with tg.compiled(False):
        plain = run(inner, *values)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("inner", [each for each in INNER if each is not with_a_stop])
def test_its_gradient_agrees_with_finite_differences(inner: Inner) -> None:
    def total(w: Tensor, h: Tensor, xs: Tensor) -> Tensor:
        last, ys = tg.scan(lambda state, x: (inner(w, state, x),) * 2, h, xs)
        return ops.tanh(last).sum() + ops.sin(ys).sum()

    assert tg.gradcheck(total, draw(2, 2), 0.5 * draw(2, 2, seed=1), draw(2, 2, 2, seed=2), tolerance=1e-5)


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_a_gradient_is_right_under_no_grad_and_for_any_shape(
    steps: int, rows: int, units: int, recording: bool
) -> None:
    w, h, xs = draw(rows, units), draw(rows, units, seed=1), draw(steps, rows, units, seed=2)
    with tg.recording(recording):
        _, ys = tg.scan(lambda state, x: (descended(Tensor(w), state, x),) * 2, Tensor(h), Tensor(xs))
    state = h
    for t in range(steps):
        squashed = np.tanh(state * w)
        state = state - 0.1 * 2 * (squashed - xs[t]) * (1 - squashed**2) * w
        np.testing.assert_allclose(ys.numpy()[t], state, rtol=1e-10, atol=1e-12)


class Learns(Cell):
    """The weights of an inner linear model are the state, and a step of descent on its loss is the step."""

    gates = "k:x v:x"
    state = "W"

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size, self.hidden_size)]

    def output(self, x: Tensor, W: Tensor) -> Tensor:
        return ops.einsum("bi,bij->bj", self.k(x), W)

    def step(self, x: Tensor, W: Tensor) -> Any:
        k, v = self.k(x), self.v(x)
        return W - 0.1 * tg.grad(lambda W: 0.5 * ops.square(ops.einsum("bi,bij->bj", k, W) - v).sum())(W)


@pytest.mark.slow
def test_a_cell_that_learns_within_its_step_passes_the_battery_and_is_the_delta_rule() -> None:
    report = check_cell(Learns, show=False)
    assert {row.what for row in report.rows if row.held is None} <= {"GPU = CPU", "zoneout is on units alone"}
    layer, xs = Recurrent(Learns, 2, H, dtype=np.float64), draw(T, B, 2)
    _, (W,) = layer(xs)
    cell: Any = layer.cells[0]
    for b in range(B):
        expected = np.zeros((H, H))
        for t in range(T):
            k, v = (gate(Tensor(xs[t, b : b + 1])).numpy()[0] for gate in (cell.k, cell.v))
            expected = expected - 0.1 * np.outer(k, k @ expected - v)
        np.testing.assert_allclose(W.numpy()[0, b], expected, rtol=1e-10, atol=1e-14)


def test_backward_within_a_step_is_told_to_be_grad() -> None:
    p = Parameter(draw(B, H))

    def step(state: Any, x: Any) -> Any:
        (state * p).sum().backward()
        return state + x, x

    with pytest.warns(tg.ScanWarning, match=r"calls backward\(\): tinygrad_rnn\.grad gives a gradient within a step"):
        tg.scan(step, Tensor(draw(B, H)), Tensor(draw(T, B, H)))


# --- Stops -----------------------------------------------------------------------------------------------------

NOTE = "gradients stop nowhere"
LINES = Path(__file__).read_text(encoding="utf-8").splitlines()


def stop_note(cell: type[Cell]) -> str:
    (figure,) = (row.figure for row in check_cell(cell, show=False).rows if row.what == NOTE and row.held is None)
    return figure


class Detaches(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Any:
        kept = h.detach()
        return ops.tanh(self.n(x, kept)) * (1.0 + h)


class RecordsNothing(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Any:
        with tg.no_grad():
            scale = ops.tanh(self.n(x, h)).max(axis=-1, keepdims=True)
        return ops.tanh(self.n(x, h)) * scale


class Spikes(Cell):
    """A leaky unit that fires above 1, with a surrogate gradient, and begins anew when it has fired."""

    gates = "n"
    state = "s v"

    def step(self, x: Tensor, s: Tensor, v: Tensor) -> Any:
        v = 0.9 * v * (1.0 - s.detach()) + self.n(x, s)
        return ops.straight_through(v > 1.0, ops.sigmoid(4.0 * (v - 1.0))), v


class PutsOutStopped(Detaches):
    def output(self, h: Tensor) -> Tensor:
        return h + 0.5 * ops.square(h).detach()


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        (Detaches, "kept = h.detach()"),
        pytest.param(
            RecordsNothing, "scale = ops.tanh(self.n(x, h)).max(axis=-1, keepdims=True)", marks=pytest.mark.slow
        ),
        pytest.param(
            Spikes, "return ops.straight_through(v > 1.0, ops.sigmoid(4.0 * (v - 1.0))), v", marks=pytest.mark.slow
        ),
        pytest.param(PutsOutStopped, "return h + 0.5 * ops.square(h).detach()", marks=pytest.mark.slow),
    ],
)
def test_a_stop_gradient_is_a_note_with_its_line_and_no_failure(cell: type[Cell], line: str) -> None:
    (number,) = (n for n, text in enumerate(LINES, 1) if text.strip() == line)
    assert f"{Path(__file__).name}, line {number}: {line}" in stop_note(cell)


@pytest.mark.slow
def test_gradients_that_go_through_are_told_so() -> None:
    rows = {row.what: row for row in check_cell(Learns, show=False).rows}
    assert rows[NOTE].held and rows[NOTE].figure == "nothing stops them"


@tg.primitive
def _wrongly_squared(x: Any) -> Any:
    return x * x


_wrongly_squared.vjp(lambda g, out, x: g * x)  # it is 2 x


class WrongBesideAStop(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(x, h.detach())) * (1.0 + _wrongly_squared(h))


class WrongBehindASurrogate(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Any:
        n = self.n(x, h)
        return ops.tanh(_wrongly_squared(ops.straight_through(n > 0.0, ops.sigmoid(n))) + n)


@pytest.mark.parametrize("cell", [WrongBesideAStop, pytest.param(WrongBehindASurrogate, marks=pytest.mark.slow)])
def test_a_wrong_rule_beside_a_stop_is_found_all_the_same(cell: type[Cell]) -> None:
    with pytest.raises(CellError, match="first derivatives = finite differences"):
        check_cell(cell, show=False)


class NotAsDeclared(Cell):
    """A stop that is made behind the battery's back is no declared one."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(x, h)) * (1.0 + _stopped(h))


@tg.primitive
def _stopped(x: Any) -> Any:
    return x * 1.0


_stopped.vjp(None)


@pytest.mark.slow
def test_a_rule_that_gives_no_gradient_is_no_stop() -> None:
    with pytest.raises(CellError, match="first derivatives = finite differences"):
        check_cell(NotAsDeclared, show=False)


# --- straight_through ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_straight_through_is_the_hard_value_with_the_gradient_of_the_soft_one(dtype: Any) -> None:
    x = Tensor(draw(5, 4).astype(dtype), requires_grad=True)
    for hard, expected in (
        (x > 0.0, x.numpy() > 0),
        (ops.sign(x), np.sign(x.numpy())),
        (ops.floor(x), np.floor(x.data)),
    ):
        y = ops.straight_through(hard, ops.tanh(x))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.numpy(), expected)
        x.grad = None
        (y * 3.0).sum().backward()
        np.testing.assert_allclose(x.grad, 3 * (1 - np.tanh(x.numpy()) ** 2), rtol=1e-6)


def test_its_second_derivative_is_that_of_the_soft_value() -> None:
    x = draw(4)

    def f(x: Tensor) -> Any:
        return ops.straight_through(x > 0.0, ops.sin(x)).sum()

    np.testing.assert_allclose(tg.hvp(f, Tensor(x), Tensor(np.ones(4))).numpy(), -np.sin(x), rtol=1e-12)


def test_the_hard_value_gets_no_gradient() -> None:
    a, b = (Tensor(draw(3, seed=seed), requires_grad=True) for seed in (0, 1))
    ops.straight_through(a * 2.0, b * 3.0).sum().backward()
    assert a.grad is None
    np.testing.assert_array_equal(b.grad, np.full(3, 3.0))


def test_values_of_two_shapes_are_refused_and_arrays_give_an_array() -> None:
    with pytest.raises(ValueError, match=r"straight_through: hard must have the shape \(3,\) of soft, got \(4,\)"):
        ops.straight_through(Tensor(draw(4)), Tensor(draw(3)))
    np.testing.assert_array_equal(ops.straight_through(np.array([True, False]), np.ones(2)), [1.0, 0.0])
