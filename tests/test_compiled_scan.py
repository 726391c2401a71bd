"""The compiled scan is the plain loop: the same values and derivatives, for whatever a step does."""

from __future__ import annotations

import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from garbage import nothing_left_for_the_collector
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import ops, scan
from tinygrad_rnn.loops import ScanWarning, compiling, executing, recorder, scanning, unroll
from tinygrad_rnn.models import GRU, LSTM, Cell, LSTMCell, Recurrent
from tinygrad_rnn.tensor import Parameter, Tensor

Step = Callable[[Any, Any], tuple[Any, Any]]


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def everything(
    run: Callable[..., Any], step: Step, state: list[Any], xs: list[Any], leaves: list[Parameter]
) -> list[Any]:
    """Last states, outputs, and the gradients of states, inputs and captured Parameters."""
    states = tuple(Tensor(s, requires_grad=True) for s in state)
    inputs = tuple(Tensor(x, requires_grad=True) for x in xs)
    for leaf in leaves:
        leaf.grad = None
    last, ys = run(step, states, inputs)
    results = [*last, *ys]
    rng = np.random.default_rng(0)
    sum((r * rng.standard_normal(r.shape)).sum() for r in results).backward()
    tensors = [*states, *inputs, *leaves]
    return [r.numpy() for r in results] + [np.zeros(t.shape) if t.grad is None else t.grad for t in tensors]


def agree(step: Step, state: list[Any], xs: list[Any], leaves: list[Parameter]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScanWarning)
        fast = everything(tg.scan, step, state, xs, leaves)
    for a, b in zip(fast, everything(unroll, step, state, xs, leaves), strict=True):
        close(a, b)


# --- Random steps ----------------------------------------------------------------------------------------------

UNARY: list[Callable[[Any], Any]] = [
    ops.tanh, ops.sigmoid, ops.sin, ops.softplus, ops.square, ops.neg, ops.softmax, ops.hard_sigmoid,
    lambda v: v - v.mean(axis=-1, keepdims=True),
    lambda v: v / ops.norm(v + 2.0, axis=1, keepdims=True),
    lambda v: v.T.reshape(v.shape) * 0.5,
    lambda v: ops.flip(v, -1) + v.sum(),
    lambda v: ops.concatenate([v[:, 1:], v[:, :1]], axis=1),
    lambda v: ops.stack(ops.unstack(v, 1)[::-1], axis=1),
    lambda v: ops.cumsum(v, 1) * 0.3,
    lambda v: ops.where(v > 0.1, v, 0.2 * v),
    lambda v: ops.scatter_add(v, (slice(None), 0), v[:, -1]),
    lambda v: ops.einsum("bh->b", v).reshape((-1, 1)) * 0.1 + v,
    lambda v: ops.prod(1.0 + 0.1 * v, axis=1, keepdims=True) * v,
    lambda v: v[:, np.arange(2 * v.shape[1]) % v.shape[1]].sum(axis=1, keepdims=True) - v,
    lambda v: v * v[:, np.arange(v.shape[1]) % 2 == 0].sum(axis=1, keepdims=True),
    lambda v: v[np.arange(v.shape[0]), np.zeros(v.shape[0], int)].reshape((-1, 1)) - v,
]  # fmt: skip
BINARY: list[Callable[[Any, Any], Any]] = [
    ops.add,
    ops.sub,
    ops.mul,
    ops.maximum,
    lambda a, b: a % (2.0 + b * b),
    lambda a, b: a / (2.0 + b * b),
    lambda a, b: ops.where(a > b, a, b),
]


@st.composite
def random_steps(draw: st.DrawFn) -> tuple[Step, list[Any], list[Any], list[Parameter]]:
    """A step that is a random expression over gates, states, inputs and Parameters."""
    steps, batch, features, hidden = (draw(st.integers(1, n)) for n in (5, 3, 3, 4))
    count = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    weights = [Parameter(0.5 * rng.standard_normal(s)) for s in [(features, hidden)] * 3 + [(hidden, hidden)] * 3]
    vectors = [Parameter(rng.standard_normal(hidden)) for _ in range(2)]
    plan = draw(
        st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 3)), min_size=1, max_size=9)
    )
    ends = draw(st.lists(st.integers(0, 10**6), min_size=count + 1, max_size=count + 1))

    def step(state: Any, inputs: Any) -> Any:
        (x,) = inputs
        pool = [*state, x @ weights[0] + vectors[0]]
        for a, b, kind in plan:
            left, right = pool[a % len(pool)], pool[b % len(pool)]
            if kind == 0:
                value = left @ weights[3 + b % 3] + x @ weights[b % 3]
            elif kind == 1:
                value = UNARY[b % len(UNARY)](left)
            elif kind == 2:
                value = BINARY[(a + b) % len(BINARY)](left, right)
            else:
                value = ops.sigmoid(left @ weights[3 + a % 3]) * vectors[1] + right
            pool.append(ops.tanh(value))
        return tuple(pool[-1 - end % len(pool)] for end in ends[:-1]), (pool[-1 - ends[-1] % len(pool)],)

    state = [rng.standard_normal((batch, hidden)) for _ in range(count)]
    return step, state, [rng.standard_normal((steps, batch, features))], [*weights, *vectors]


@given(random_steps())
def test_values_and_gradients_of_random_steps_are_those_of_the_plain_loop(case: Any) -> None:
    agree(*case)


@given(random_steps())
def test_second_derivatives_of_random_steps_are_those_of_the_plain_loop(case: Any) -> None:
    step, state, xs, _ = case

    def penalty(run: Callable[..., Any]) -> Any:
        def value(*inputs: Tensor) -> Any:
            last, ys = run(step, inputs[:-1], (inputs[-1],))
            return sum((r * r).sum() for r in (*last, *ys))

        def slope(*inputs: Tensor) -> Any:
            return sum((g * g).sum() for g in tg.grad(value, tuple(range(len(inputs))))(*inputs))

        return tg.grad(slope, tuple(range(len(state) + 1)))(*map(Tensor, (*state, *xs)))

    for a, b in zip(penalty(tg.scan), penalty(unroll), strict=True):
        close(a.numpy(), b.numpy())


@given(random_steps(), st.integers(1, 4))
def test_two_parts_with_the_carried_state_are_the_whole(case: Any, cut: int) -> None:
    step, state, (x,), _ = case
    cut = min(cut, len(x) - 1)
    if cut < 1:
        return
    states = tuple(map(Tensor, state))
    last, ys = tg.scan(step, states, (Tensor(x),))
    middle, early = tg.scan(step, states, (Tensor(x[:cut]),))
    end, late = tg.scan(step, middle, (Tensor(x[cut:]),))
    for a, b in zip(last, end, strict=True):
        close(a.numpy(), b.numpy())
    close(ys[0].numpy(), np.concatenate([early[0].numpy(), late[0].numpy()]))


# --- Steps that hand things on in odd ways ---------------------------------------------------------------------

R = np.random.default_rng(1)
W = Parameter(R.standard_normal((3, 3)) * 0.5)
ODD: dict[str, Step] = {
    "a state handed on as it came": lambda s, x: ((s[0], ops.tanh(s[1] @ W + x[0])), (s[0] * s[1],)),
    "states exchanged": lambda s, x: ((s[1], s[0] + x[0]), (s[1],)),
    "one value for two states": lambda s, x: ((v := ops.tanh(s[0] @ W + s[1] + x[0]), v), (v,)),
    "a state that is the input": lambda s, x: ((x[0], s[0] * 0.5), (s[1],)),
    "a state that is a Parameter": lambda s, x: ((ops.broadcast_to(W[0], (2, 3)), s[0] + x[0]), (s[1] * W[1],)),
    "an output that does not depend on the state": lambda s, x: (s, (ops.tanh(x[0] @ W),)),
    "an output that is constant": lambda s, x: ((s[0] + x[0], s[1]), (ops.tanh(W),)),
    "a state that nothing depends on": lambda s, x: ((ops.zeros_like(s[0]), s[1] * x[0]), (s[1],)),
    "the product of two states": lambda s, x: ((ops.tanh(s[0] @ (s[1].T @ s[0])), s[1] + x[0]), (s[0],)),
    "a product in a sum and alone": lambda s, x: (
        (ops.tanh((p := ops.sin(s[0]) @ W) + ops.tanh(s[1]) @ W.T + x[0]), ops.tanh(p)),
        (p,),
    ),
    "a sum of products in a sum and alone": lambda s, x: (
        (ops.tanh((q := ops.sin(s[0]) @ W + ops.tanh(s[1]) @ W.T) + (s[0] * s[1]) @ W), ops.tanh(q - x[0])),
        (q,),
    ),
    "slices of a stack that are read together and apart": lambda s, x: (
        (
            (a := ops.sigmoid(s[0] @ W)) * (b := ops.sigmoid(s[0] @ (2 * W))) + x[0],
            ops.tanh((a * a) @ W + (b * b) @ W.T + (s[1] * b) @ (W * W)),
        ),
        (b,),
    ),
    "a view of a value that nothing else reads": lambda s, x: (
        (((s[0] * s[1]).T, z := ops.tanh(s[0] + x[0]))[0].T + z, s[1] * 0.5),
        (z,),
    ),
    "a choice that nothing else reads": lambda s, x: (
        (ops.tanh(ops.where(s[0] > 0.0, s[0] * s[1], s[1]) + x[0]), ops.where(x[0] > 0.0, s[1] + x[0], s[0])),
        (s[0],),
    ),
    "an input as the right operand": lambda s, x: ((ops.tanh(s[0] @ (x[0].T @ x[0])), s[1]), (s[0],)),
}


@pytest.mark.parametrize("name", ODD)
def test_what_a_step_may_hand_on(name: str) -> None:
    agree(ODD[name], [R.standard_normal((2, 3)) for _ in range(2)], [R.standard_normal((4, 2, 3))], [W])


def test_inputs_of_fewer_axes_broadcast_at_every_step_as_they_do_in_one() -> None:
    v = Parameter(R.standard_normal(3))

    def step(state: Any, inputs: Any) -> Any:
        x, row, number = inputs
        h = ops.tanh(state[0] @ W + x * row + number * v)
        return (h,), (x + row * number, h * row)

    agree(step, [R.standard_normal((2, 3))], [R.standard_normal(shape) for shape in ((2, 2, 3), (2, 3), (2,))], [W, v])


def test_gradients_that_are_one_array_are_given_to_two_leaves_as_two() -> None:
    a, b = (Tensor(np.ones((3, 2)), requires_grad=True) for _ in range(2))
    first = Parameter(np.ones(2))
    second = Parameter(np.ones(2))
    seed = np.arange(6.0).reshape(3, 2)
    _, ys = tg.scan(
        lambda s, x: (s * 0.5, x[0] + x[1] + first + second), Tensor(np.zeros(2), requires_grad=True), (a, b)
    )
    ys.backward(seed)
    for p, q in ((a, b), (first, second)):
        np.testing.assert_array_equal(p.grad, q.grad)
        assert not np.shares_memory(p.grad, q.grad)
    assert not np.shares_memory(a.grad, seed)


def test_large_values_which_are_worked_on_inside_the_loop_are_right_too() -> None:
    cell = LSTMCell(5, 80, dtype=np.float64)

    def step(state: Any, inputs: Any) -> Any:
        new = cell.advance(inputs[0], state)
        return new, (new[0],)

    agree(step, [R.standard_normal((40, 80)) for _ in range(2)], [R.standard_normal((3, 40, 5))], cell.parameters())


# --- When a program is made anew -------------------------------------------------------------------------------


def compilations(work: Callable[[], object]) -> int:
    made = []
    original = compiling.compile_program

    def counting(*args: Any) -> Any:
        made.append(args)
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "compile_program", counting)
        work()
    return len(made)


def test_a_step_made_anew_on_every_call_is_compiled_once() -> None:
    layer = GRU(3, 17)
    xs = np.ones((4, 2, 3), np.float32)
    assert compilations(lambda: [layer(xs) for _ in range(3)]) == 1
    assert compilations(lambda: layer(np.ones((9, 2, 3), np.float32))) == 0  # another number of steps
    assert compilations(lambda: layer(np.ones((4, 5, 3), np.float32))) == 1  # another batch size


class Scaled(Cell):
    gates = "n"
    factor = 1.0

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h)) * self.factor


def test_an_attribute_that_changed_between_two_calls_is_no_stale_constant() -> None:
    layer = Recurrent(Scaled, 2, 3, dtype=np.float64)
    xs = np.ones((1, 1, 2))
    before = layer(xs)[0].numpy()
    layer.cells[0].__dict__["factor"] = 3.0
    close(layer(xs)[0].numpy(), 3.0 * before)


def test_weights_that_were_rebound_are_read_anew() -> None:
    layer = LSTM(2, 3, dtype=np.float64)
    xs = np.ones((3, 1, 2))
    first = layer(xs)[0].numpy()
    for parameter in layer.parameters():
        parameter.data = parameter.data * 2.0
    with tg.compiled(False):
        expected = layer(xs)[0].numpy()
    close(layer(xs)[0].numpy(), expected)
    assert not np.allclose(first, expected)


def test_two_forward_passes_before_one_backward_pass_keep_to_themselves() -> None:
    layer = GRU(2, 3, dtype=np.float64)
    a, b = R.standard_normal((3, 2, 2)), R.standard_normal((3, 2, 2))

    def gradient(*inputs: Any) -> Any:
        layer.zero_grad()
        losses = [(layer(x)[0] ** 2).sum() for x in inputs]
        sum(losses[1:], losses[0]).backward()
        return [p.grad for p in layer.parameters()]

    for both, one, other in zip(gradient(a, b), gradient(a), gradient(b), strict=True):
        close(both, one + other)


def test_a_retained_tape_gives_the_same_gradient_twice() -> None:
    layer = LSTM(2, 3, dtype=np.float64)
    loss = (layer(R.standard_normal((3, 2, 2)))[0] ** 2).sum()
    loss.backward(retain=True)
    once = [p.grad.copy() for p in layer.parameters()]
    loss.backward()
    for p, g in zip(layer.parameters(), once, strict=True):
        close(p.grad, 2 * g)


def test_results_are_the_users_own_and_no_garbage_is_left() -> None:
    layer = GRU(2, 3, dtype=np.float64)
    xs = R.standard_normal((3, 2, 2))
    layer(xs)[0].sum().backward()
    with nothing_left_for_the_collector():
        outputs, (last,) = layer(xs)
        kept = outputs.numpy().copy(), last.numpy().copy()
        outputs.sum().backward()
        layer(R.standard_normal((3, 2, 2)))
        np.testing.assert_array_equal(outputs.numpy(), kept[0])
        np.testing.assert_array_equal(last.numpy(), kept[1])
        del outputs, last


def test_threads_scan_beside_each_other() -> None:
    layer = GRU(2, 3, dtype=np.float64)
    inputs = [R.standard_normal((5, 2, 2)) for _ in range(8)]
    expected = [layer(x)[0].numpy() for x in inputs]
    found: dict[int, Any] = {}

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = layer(inputs[i])[0].numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, x in enumerate(expected):
        np.testing.assert_array_equal(found[i], x)


# --- The plain loop, asked for and fallen back to --------------------------------------------------------------


def test_steps_that_differ_only_in_what_goes_where_or_in_an_option_are_two_programs() -> None:
    steps: list[Any] = [
        lambda h, x: (h - x, h),
        lambda h, x: (x - h, h),
        lambda h, x: (h - x, x),
        lambda h, x: (ops.softmax(h + x, axis=0), h),
        lambda h, x: (ops.softmax(h + x, axis=1), h),
    ]
    start, xs = np.random.default_rng(0).standard_normal((3, 3)), np.random.default_rng(1).standard_normal((4, 3, 3))
    for step in steps:
        found, expected = scan(step, Tensor(start), Tensor(xs)), scan(step, Tensor(start), Tensor(xs), compiled=False)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_the_switch_makes_every_scan_a_plain_loop_whose_tape_can_be_read() -> None:
    layer = GRU(2, 3)
    xs = np.ones((3, 1, 2), np.float32)
    fast = layer(xs)[0]
    assert "scan" in str(tg.Tape(fast))
    with tg.compiled(False):
        plain = layer(xs)[0]
        assert "step 2" in str(tg.Tape(plain))
    assert "scan" in str(tg.Tape(layer(xs)[0]))
    np.testing.assert_allclose(fast.numpy(), plain.numpy(), rtol=1e-6)


def test_one_scan_can_be_asked_to_be_a_plain_loop() -> None:
    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return s + x, s

    _, ys = tg.scan(step, Tensor(0.0, requires_grad=True), Tensor(np.ones(3, np.float32)), compiled=False)
    assert "step 1" in str(tg.Tape(ys))


def plainly(step: Step, state: Any, xs: Any) -> tuple[Any, list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = tg.scan(step, state, xs)
    return result, caught


def test_a_step_that_looks_at_values_runs_as_a_plain_loop_and_says_once_which_line_is_why() -> None:
    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return (s + x if float(x.sum()) > 0 else s - x), s  # looks at a value

    xs = Tensor(np.array([[1.0], [-2.0], [3.0]]))
    (last, _), caught = plainly(step, Tensor(np.zeros(1)), xs)
    assert last.item() == 6.0
    assert len(caught) == 1
    assert "looks at a value" in str(caught[0].message)
    assert not plainly(step, Tensor(np.zeros(1)), xs)[1]


def test_a_step_that_draws_random_numbers_is_not_frozen() -> None:
    rng = np.random.default_rng(0)

    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return s + x, ops.dropout(x, 0.5, rng)

    (_, ys), caught = plainly(step, Tensor(np.zeros(50)), Tensor(np.ones((3, 50))))
    assert len(caught) == 1
    assert not np.array_equal(ys.numpy()[0], ys.numpy()[1])


def test_a_step_that_does_something_else_each_time_is_not_frozen() -> None:
    calls = [0]

    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        calls[0] += 1
        return s + x * float(calls[0]), s

    _, caught = plainly(step, Tensor(np.zeros(())), Tensor(np.ones(3)))
    assert "something else each time" in str(caught[0].message)


def test_a_state_that_changes_its_shape_runs_as_a_plain_loop() -> None:
    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.concatenate([s, x]), x

    (last, _), caught = plainly(step, Tensor(np.zeros(1)), Tensor(np.ones((3, 2))))
    assert last.shape == (7,)
    assert "changes its shape" in str(caught[0].message)


def test_the_reason_is_said_once_for_a_step_and_place_whatever_the_step_is_called() -> None:
    def made(name: str) -> Step:
        def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            return s + x.item(), s

        step.__qualname__ = name
        return step

    xs = Tensor(np.ones(3))
    first = [str(w.message) for w in plainly(made("first"), Tensor(0.0), xs)[1]]
    assert (
        len(first) == 1 and "scan of first" in first[0] and re.search(r"py:\d+: return s \+ x.item\(\), s$", first[0])
    )
    assert not plainly(made("second"), Tensor(0.0), xs)[1]


def test_a_reason_that_no_line_of_the_step_has_names_the_step() -> None:
    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return s.astype(np.float64), s

    (caught,) = plainly(step, Tensor(0.0), Tensor(np.ones(3)))[1]
    assert "from float32 of () to float64 of ()" in str(caught.message)
    assert re.search(r"py:\d+: def step\(", str(caught.message))


def test_a_step_that_cannot_be_written_as_code_runs_as_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def emitted(*_: Any) -> Any:
        raise NotImplementedError("nobody has written this yet")

    monkeypatch.setattr(executing, "_machine_loop", emitted)
    monkeypatch.setattr(executing, "Emitted", emitted)
    monkeypatch.setattr(compiling, "_cache", OrderedDict())
    with pytest.warns(ScanWarning, match="runs as a plain loop, because nobody has written this yet"):
        last, _ = scan(lambda s, x: (s * s + x, s), Tensor(np.ones(2)), Tensor(np.ones((4, 2))))
    assert last.numpy().tolist() == [677, 677]


def test_an_error_in_a_step_is_the_one_of_the_plain_loop() -> None:
    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tg.scan(step, Tensor(0.0), Tensor(np.ones(3)))


def test_a_scan_within_a_step_is_a_plain_loop_within_the_program() -> None:
    inner_xs = R.standard_normal((2, 2, 3))

    def step(state: Any, inputs: Any) -> Any:
        inner, _ = tg.scan(lambda s, x: (ops.tanh(s @ W + x), s), state[0], Tensor(inner_xs))
        return (inner + inputs[0],), (inner,)

    agree(step, [R.standard_normal((2, 3))], [R.standard_normal((3, 2, 3))], [W])


def test_what_was_said_last_is_remembered_and_what_was_said_first_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_REMEMBERED", 2)
    seen: OrderedDict[Any, None] = OrderedDict()
    assert [scanning._first_time(seen, key) for key in "abcc"] == [True, True, True, False]
    assert list(seen) == ["b", "c"]


@pytest.mark.parametrize("options", [{}, {"truncate": 2}, {"checkpoint_every": 2}, {"compiled": False}])
def test_in_reverse_the_last_step_comes_first_and_outputs_stay_in_their_places(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    W, xs, h = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 3), (5, 2, 3), (2, 3)))

    def step(h: Any, x: Any) -> Any:
        h = ops.tanh(x["a"] + h @ W)
        return h, {"h": h, "x": x["a"]}

    found = []
    for turned in (False, True):
        for leaf in (W, xs, h):
            leaf.grad = None
        given = {"a": ops.flip(xs, 0)} if turned else {"a": xs}
        last, ys = scan(step, h, given, reverse=not turned, **options)
        ys = {name: ops.flip(y, 0) for name, y in ys.items()} if turned else ys
        (last.sum() + (ys["h"] ** 2).sum() + (ys["x"] * ys["h"]).sum()).backward()
        found.append([last.numpy(), *(ys[name].numpy() for name in "hx"), W.grad, xs.grad, h.grad])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_in_reverse_without_inputs_only_the_order_of_outputs_turns() -> None:
    _, forward = scan(lambda n, _: (n + 1, n), Tensor(np.zeros(())), None, length=4)
    last, backward = scan(lambda n, _: (n + 1, n), Tensor(np.zeros(())), None, length=4, reverse=True)
    assert forward.numpy().tolist() == backward.numpy().tolist()[::-1] == [0, 1, 2, 3]
    assert last.item() == 4


def test_the_warning_of_a_plain_loop_is_one_of_the_line_that_scans() -> None:
    def step(h: Any, x: Any) -> Any:
        return (h if h.numpy().size else x), x

    for options in ({}, {"reverse": True}, {"truncate": 1}):
        scanning._explained.clear()
        with pytest.warns(ScanWarning) as heard:
            scan(step, Tensor(np.ones(2)), Tensor(np.ones((3, 2))), **options)
        assert [w.filename for w in heard] == [__file__]


def test_a_step_is_the_same_step_when_the_ops_of_its_first_recording_have_been_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder, "_REMEMBERED", 2)  # as in a process that has met thousands of others
    w, rows = Parameter(np.ones((3, 3))), 7  # of shapes that no other test has
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, ys = tg.scan(
            lambda h, x: (ops.tanh(h @ w + x) * 0.7,) * 2, Tensor(np.ones((rows, 3))), Tensor(np.ones((5, rows, 3)))
        )
    assert ys.shape == (5, rows, 3)
