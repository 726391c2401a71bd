"""A gradient goes where something asked for one, and nowhere else: beside it, a state may overflow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import compiling, scanning
from tinygrad_rnn.loops.differentiating import differentiate
from tinygrad_rnn.loops.seeding import Plan, active_values, planned
from tinygrad_rnn.models import GRU, LSTM
from tinygrad_rnn.tensor import Parameter, Tensor

R = np.random.default_rng(0)

WILD: list[Callable[[Any], Any]] = [
    lambda v: ops.exp(ops.exp(v)),
    lambda v: v * v * 1e90,
    lambda v: 1.0 / (v - v),
    lambda v: ops.log(ops.abs(v - v)),
    lambda v: ops.sqrt(v - v),
    lambda v: v / ops.norm(v - v),
]
"""Values, or slopes, that are not finite, at once or after some steps."""

TAME: list[Callable[[Any, Any], Any]] = [
    lambda a, b: ops.tanh(a + b),
    lambda a, b: a * 0.5 - b,
    lambda a, b: ops.where(a > 0.0, a, b),
    lambda a, b: ops.sigmoid(a) * b,
    lambda a, b: ops.concatenate([a[:, 1:], b[:, :1]], axis=1),
    lambda a, b: ops.split(ops.stack([a, b]), 2)[0][0],
]


@st.composite
def wild_scans(draw: st.DrawFn) -> tuple[Any, ...]:
    """A step, its states, inputs and Parameters, and which of its last states and outputs a loss is made of."""
    steps, batch, hidden, count, outs = (draw(st.integers(a, b)) for a, b in [(1, 5), (1, 2), (1, 3), (1, 4), (1, 2)])
    numbers = st.integers(0, 10**6)
    plan = draw(st.lists(st.tuples(numbers, numbers, numbers, st.booleans()), min_size=1, max_size=6))
    ends = draw(st.lists(numbers, min_size=count + outs, max_size=count + outs))
    asked = draw(st.lists(st.booleans(), min_size=count + outs, max_size=count + outs).filter(any))
    live = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    rng = np.random.default_rng(draw(numbers))
    weights = [Parameter(0.5 * rng.standard_normal((hidden, hidden))) for _ in range(2)]
    first = [rng.standard_normal((batch, hidden)) for _ in range(count)]
    inputs = rng.standard_normal((steps, batch, hidden))

    def step(state: Any, x: Any) -> Any:
        pool = [*state, x @ weights[0]]
        for a, b, kind, wild in plan:
            left, right = pool[a % len(pool)], pool[b % len(pool)]
            value = WILD[kind % len(WILD)](left) if wild else TAME[kind % len(TAME)](left, right @ weights[b % 2])
            pool.append(value)
        found = [pool[-1 - end % len(pool)] for end in ends]
        return tuple(found[:count]), tuple(found[count:])

    return step, first, live, inputs, weights, asked


def loss_of(case: Any, states: Any, xs: Any) -> Any:
    step, _, _, _, _, asked = case
    last, ys = tg.scan(step, states, xs)
    weights = np.random.default_rng(0)
    pairs = zip([*last, *ys], asked, strict=True)
    return sum((ops.tanh(r) * weights.standard_normal(r.shape)).sum() for r, has in pairs if has)


def gradients(case: Any, on: bool) -> list[Any]:
    _, first, live, inputs, weights, _ = case
    with tg.compiled(on), np.errstate(all="ignore"):
        states = tuple(Tensor(s, requires_grad=has) for s, has in zip(first, live, strict=True))
        xs = Tensor(inputs, requires_grad=True)
        for w in weights:
            w.grad = None
        loss = loss_of(case, states, xs)
        if loss.requires_grad:
            loss.backward()
        return [t.grad for t in (*states, xs, *weights)]


def same_where_finite(fast: list[Any], plain: list[Any]) -> None:
    """A gradient of zeros and none at all count as one."""
    for a, b in zip(fast, plain, strict=True):
        if a is None or b is None:
            assert not np.any(0.0 if a is None else a) and not np.any(0.0 if b is None else b)
        else:
            finite = np.isfinite(b)
            np.testing.assert_allclose(a[finite], b[finite], rtol=1e-9, atol=1e-10)


@given(wild_scans())
def test_what_overflows_beside_the_gradient_does_not_count(case: Any) -> None:
    same_where_finite(gradients(case, True), gradients(case, False))


@given(wild_scans(), st.integers(1, 3))
def test_neither_does_it_in_parts_with_saved_states(case: Any, every: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        scan = tg.scan
        patch.setattr(tg, "scan", partial(scan, checkpoint_every=every))
        fast = gradients(case, True)
    same_where_finite(fast, gradients(case, False))


@given(wild_scans())
def test_neither_does_it_in_second_derivatives(case: Any) -> None:
    _, first, _, inputs, _, _ = case

    def slope(xs: Tensor) -> Any:
        loss = loss_of(case, tuple(map(Tensor, first)), xs)
        return loss if isinstance(loss, Tensor) else Tensor(loss)

    found = []
    for on in (True, False):
        with tg.compiled(on), np.errstate(all="ignore"):
            found.append(tg.hvp(slope, Tensor(inputs), Tensor(np.ones_like(inputs))).numpy())
    same_where_finite(found[:1], found[1:])


# --- By hand ---------------------------------------------------------------------------------------------------

T = 5


def beside(c: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """h' = 0.5 h + x, which is put out, beside a state that becomes c(h, c, x)."""

    def step(state: Any, x: Any) -> Any:
        h, old = state
        h = 0.5 * h + x
        return (h, c(h, old, x)), h

    return step


OVERFLOWS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "at once": lambda h, c, x: 1.0 / (x - x),
    "after some steps": lambda h, c, x: ops.exp(3.0 * c + h),
    "at the last step": lambda h, c, x: 1.0 / (x - T * 1.0),
}


@pytest.mark.parametrize("name", OVERFLOWS)
def test_a_state_that_nothing_reads_may_overflow(name: str) -> None:
    x = Tensor(np.arange(1.0, T + 1), requires_grad=True)
    with np.errstate(all="ignore"):
        (_, c), ys = tg.scan(beside(OVERFLOWS[name]), (Tensor(np.array(1.0)), Tensor(np.array(1.0))), x)
        assert not np.isfinite(c.item())
        ys.sum().backward()
    # Each x[t] is in y[t], y[t + 1], ... with the factors 1, 0.5, 0.25, ...: 2 - 0.5 ** (T - 1 - t) in all.
    np.testing.assert_allclose(x.grad, 2.0 - 0.5 ** np.arange(T)[::-1], rtol=1e-15)


def test_the_last_value_of_a_state_that_was_read_before_may_overflow() -> None:
    def step(state: Any, x: Any) -> Any:
        h, c = state
        h = 0.5 * h + c
        return (h, 1.0 / (x - T)), h  # c of the last step is 1 / 0

    x = Tensor(np.arange(1.0, T + 1), requires_grad=True)
    with np.errstate(all="ignore"):
        _, ys = tg.scan(step, (Tensor(np.array(0.0)), Tensor(np.array(0.0))), x)
        ys.sum().backward()
    # c of step t is read from step t + 1 on; its slope is -1 / (x[t] - T) ** 2.
    expected = np.append(-((np.arange(1, T) - T) ** -2.0) * (2.0 - 0.5 ** np.arange(T - 1)[::-1]), 0.0)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-14)


def test_an_output_that_nothing_asks_for_may_overflow() -> None:
    w = Parameter(np.array(2.0))
    xs = np.arange(1.0, 4.0)
    with np.errstate(all="ignore"):
        _, (y, _) = tg.scan(lambda h, x: ((n := h + w * x), (n, ops.log(w - w))), Tensor(np.array(0.0)), Tensor(xs))
        y.sum().backward()
    assert w.grad == 1.0 + (1.0 + 2.0) + (1.0 + 2.0 + 3.0)


def test_a_state_whose_gradient_leads_nowhere_has_none() -> None:
    w = Parameter(np.array(2.0))

    def step(state: Any, x: Any) -> Any:
        h, n = state  # n is 0, and the slope of its root infinite: a gradient of it would be NaN, and warn
        return (h + w * x * ops.sqrt(n + 1.0), n * 1.0), ops.sqrt(n) * h

    _, ys = tg.scan(step, (Tensor(np.array(0.0)), Tensor(np.array(0.0))), Tensor(np.arange(1.0, 4.0)))
    ys.sum().backward()
    assert w.grad == 0.0


def with_a_factor_that_a_rule_makes_too(state: Any, x: Any) -> Any:
    """The rule of sigmoid has the 1 - z of the step, which is therefore not kept; but here it is not asked for."""
    s, c = state
    z = ops.sigmoid(s)
    with tg.no_grad():
        factor = 1.0 - z
    return (ops.tanh(s + x), ops.log(z - z) * c), factor * x


def with_half_of_a_split(state: Any, x: Any) -> Any:
    """The rule of split makes zeros like the other half, which nothing else reads, nor the state that it is made of."""
    s, c = state
    a, b = ops.split(s + x, 2, axis=-1)
    return (ops.concatenate([a, a], axis=-1) * 0.5, ops.exp(b) * c), a


@pytest.mark.parametrize("step", [with_a_factor_that_a_rule_makes_too, with_half_of_a_split])
def test_what_only_a_smaller_backward_step_reads_is_there(step: Any) -> None:
    found = []
    for on in (True, False):
        x = Tensor(np.random.default_rng(0).standard_normal((4, 2, 6)), requires_grad=True)
        s = Tensor(np.ones((2, 6)), requires_grad=True)
        with tg.compiled(on), np.errstate(all="ignore"):
            _, ys = tg.scan(step, (s, Tensor(np.ones((2, 6 if step is not with_half_of_a_split else 3)))), x)
        (ys * ys).sum().backward()
        found.append([x.grad, s.grad])
    same_where_finite(*found)


# --- How often, and what is compiled ---------------------------------------------------------------------------


def plans(layer: Any, xs: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Callable[..., Plan]:
    seen: list[Any] = []
    compile_one = compiling.compiled_program

    def spy(program: Any, needs: Any, engine: Any) -> Any:
        seen.append((program, needs))
        return compile_one(program, needs, engine)

    monkeypatch.setattr(scanning, "compiled_program", spy)
    layer(xs, **options)
    program, needs = seen[0]
    active = active_values(program, compiling._wanted(program, needs))
    return lambda *given: planned(program, active, given)


XS = np.ones((4, 2, 3))
ASKED = [(False, False, True), (True, True, True), (True, False, False), (False, True, False), (True, False, True)]


@pytest.mark.parametrize("given", ASKED)
@pytest.mark.parametrize("kind", ["plain", "zoneout", "zoneout in training"])
def test_an_lstm_has_one_backward_loop_whatever_of_it_is_asked_for(
    kind: str, given: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = LSTM(3, 4, zoneout=0.1 if "zoneout" in kind else 0.0, dtype=np.float64)
    options: dict[str, Any] = {"rng": np.random.default_rng(0)} if "training" in kind else {}
    plan = plans(layer, XS, monkeypatch, **options)(*given)
    if given == (False, True, False):  # of c alone: at the last step the output gate has no part in it
        assert plan.patterns == ((False, True, False), (True, True, True))
    else:
        assert {*plan.patterns} == {(True, True, True)}


@pytest.mark.parametrize("outputs", [True, False])
def test_an_lstm_with_lengths_has_one_backward_loop_and_its_states_are_outputs_too(
    outputs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plans(LSTM(3, 4, dtype=np.float64), XS, monkeypatch, lengths=np.array([4, 2]))
    assert {*plan(False, False, outputs, True, True).patterns} == {(True,) * 5}


def test_loops_for_what_is_asked_for_are_compiled_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling._cache.clear()
    made: list[Any] = []

    def spy(program: Any, wanted: Any, active: Any, pattern: Any, *rest: Any) -> Any:
        made.append(pattern)
        return differentiate(program, wanted, active, pattern, *rest)

    monkeypatch.setattr(compiling, "differentiate", spy)

    def step(state: Any, x: Any) -> Any:
        states = tuple(ops.tanh(s + x) for s in state)
        return states, tuple(s * 2.0 for s in states)

    def ask(*which: int) -> None:
        x = Tensor(np.ones((3, 2)), requires_grad=True)
        _, ys = tg.scan(step, tuple(Tensor(np.ones(2)) for _ in range(5)), x)
        sum(ys[i].sum() for i in which).backward()

    for _ in range(3):
        ask(0, 1, 2, 3, 4)
    assert len(made) == 1
    for _ in range(3):
        ask(0)
    assert len(made) == 2 and sum(made[1]) == 2
    for i in range(5):
        for j in range(i):
            ask(i, j)
    (compiled,) = compiling._cache.values()
    assert compiled.others is not None
    assert len(compiled.others._loops) <= 8 and len(compiled.others._plans) <= 8


def test_a_gru_of_which_only_the_last_state_is_asked_for_compiles_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling._cache.clear()
    layer = GRU(3, 4, dtype=np.float64)
    layer(XS)[0].sum().backward()
    monkeypatch.setattr(compiling, "differentiate", None)
    layer(XS)[1][0].sum().backward()
    outputs, (last,) = layer(XS)
    (outputs.sum() + last.sum()).backward()


def test_a_state_that_the_last_output_does_not_read_costs_no_loop_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling._cache.clear()
    w = Parameter(np.array(0.5))
    found = []
    for on in (True, False):
        with tg.compiled(on):
            state = (Tensor(np.array(1.0)), Tensor(np.array(1.0)))
            _, ys = tg.scan(lambda s, x: ((n := w * s[0] + s[1] * x, ops.exp(w * x)), n), state, Tensor(np.ones(4)))
        if on:
            monkeypatch.setattr(compiling, "differentiate", None)
        w.grad = None
        ys.sum().backward()
        found.append([w.grad])
    same_where_finite(*found)


def test_patterns_that_go_round_are_found() -> None:
    plan = Plan(((True,), (False,), (True,)), 1)
    assert [(p, s.start, s.stop) for p, s in plan.segments(6)] == [
        ((True,), 5, 6), ((False,), 4, 5), ((True,), 3, 4), ((False,), 2, 3), ((True,), 1, 2), ((False,), 0, 1),
    ]  # fmt: skip
    steady = Plan(((False,), (True,)), 1)
    assert [(p, s.start, s.stop) for p, s in steady.segments(6)] == [((False,), 5, 6), ((True,), 0, 5)]
