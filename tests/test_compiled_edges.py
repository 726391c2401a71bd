"""What a recording could freeze, mix up or keep, and does not."""

from __future__ import annotations

import gc
import math
import warnings
import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import ScanWarning, compiling
from tinygrad_rnn.models import GRU
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.tape import primitive
from tinygrad_rnn.tensor import Parameter, Tensor

R = np.random.default_rng(0)


def leaf(*shape: int) -> Tensor:
    return Tensor(R.standard_normal(shape) * 0.5, requires_grad=True)


def flat(tree: Any) -> list[Tensor]:
    return [t for part in tree for t in flat(part)] if isinstance(tree, tuple) else [tree]


def agree(step: Callable[[Any, Any], Any], state: Any, xs: Any, *others: Tensor) -> None:
    """Compiled and plain, in values, dtypes and gradients."""
    leaves = [t for t in (*flat(state), *flat(xs), *others) if t.requires_grad]
    found = []
    for on in (True, False):
        for t in leaves:
            t.grad = None
        with tg.compiled(on):
            results = flat(tg.scan(step, state, xs))
        weights = np.random.default_rng(0)
        total: Any = sum((r * weights.standard_normal(r.shape)).sum() for r in results if r.dtype.kind == "f")
        total.backward()
        grads = [t.grad.dense() if isinstance(t.grad, RowSparse) else t.grad for t in leaves]
        found.append(
            [r.numpy() for r in results]
            + [np.zeros(t.shape) if g is None else g for t, g in zip(leaves, grads, strict=True)]
        )
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype
        tolerance = 1e-5 if a.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance / 10)


X, H = leaf(4, 2, 3), leaf(2, 3)
W, V, E, U = leaf(3, 3), leaf(3, 3), leaf(5, 3, 3), leaf(3, 0)
MASK = Tensor((R.random((4, 2, 1)) > 0.5).astype(float))

W32 = Tensor(R.standard_normal((3, 3)).astype(np.float32), requires_grad=True)
COLUMNS, IDS, ROUND = np.array([2, 0, 0]), Tensor(R.integers(0, 2, (4, 2))), np.array([[1, 0, 1], [0, 0, 1]]) > 0
B, C, M = leaf(3), leaf(2, 3), leaf(4, 3, 3)


def rows_and_products(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    product = x @ W
    return ops.tanh(product + B + s @ V), product + 2.0 * B


def sums_and_sigmoids(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = x @ W + s @ W, x @ V + s @ V
    gates = ops.sigmoid(a) * ops.sigmoid(b)
    return ops.tanh(gates + b), gates * a


def small_integers(s: Tensor, x: Tensor) -> tuple[Tensor, Any]:
    scores = ops.softmax(x) + ops.log_softmax(x) + ops.gelu(x) + ops.square(x > 3)
    return s * 0.9 + scores, (ops.sum(x, axis=0), ops.prod(x, axis=0), ops.mean(x), ops.logsumexp(x, axis=1), s + x)


def small_integers_in_the_loop(s: tuple[Tensor, Tensor], x: Tensor) -> tuple[tuple[Tensor, Tensor], Any]:
    h, n = s
    h = 0.5 * h + ops.softmax(n) * ops.sigmoid(n) + ops.square(n > 50) + 0.01 * ops.sum(n, axis=0)
    return (h, n + x), (h, ops.mean(n, axis=0), ops.logsumexp(n, axis=1), ops.prod(n, axis=1))


CASES: dict[str, tuple[Any, ...]] = {
    "a list beside a Tensor": (lambda s, x: (s * [0.1, 0.7, 0.2] + x, s), H, X),
    "an infinite limit": (lambda s, x: (ops.clip(s + x, a_max=1.0), s), H, X),
    "an infinite number": (lambda s, x: (ops.softmax(ops.where(x > 0.5, -math.inf, s + x)), s), H, X),
    "a mask of numbers": (lambda s, i: (ops.where(i[1], ops.tanh(s + i[0]), s), s), H, (X, MASK)),
    "a row on the left of a product": (lambda s, x: (ops.tanh(B + x @ W) + s @ V, s), H, X, W, V, B),
    "a row with an axis of 1": (lambda s, x: (ops.tanh(x @ W + B.reshape((1, 3)) + s), s), H, X, W, B),
    "a row of the input": (lambda s, x: (ops.tanh(x @ W + x[:1] + s), s), H, X, W),
    "a number added to a product": (lambda s, x: (ops.tanh(x @ W + B[0] + s), s), H, X, W, B),
    "a matrix added to a product": (lambda s, x: (ops.tanh(x @ W + C) + s @ V, s), H, X, W, V, C),
    "a matrix that changes": (lambda s, i: (ops.tanh(i[0] @ i[1] + B + s @ V), s), H, (X, M), V, B),
    "a row of another dtype": (lambda s, x: (ops.tanh(ops.astype(x, "float32") @ W32 + B) + s, s), H, X, W32, B),
    "a matrix of another dtype": (lambda s, x: (ops.tanh(ops.astype(x, "float32") @ W + B) + s, s), H, X, W, B),
    "a product read with a row and without": (rows_and_products, H, X, W, V, B),
    "a sum read after its sigmoid": (sums_and_sigmoids, H, X, W, V),
    "an option by keyword": (lambda s, x: (s + ops.swapaxes(x @ W, axis1=0, axis2=1).T, s), H, X, W),
    "a weight of three axes": (lambda s, x: (s + ops.tanh(x @ E).sum(0), s), H, X, E),
    "numbers as inputs": (lambda s, x: (s + ops.norm(x), (x > 0).sum()), leaf(), leaf(4)),
    "an integer state": (
        lambda s, x: ((s[0] * ops.reciprocal(s[1]) + x, s[1] + 1), s[0]), (H, Tensor(np.ones(3, int))), X,
    ),
    "small integers as inputs": (small_integers, H, Tensor(R.integers(0, 100, (4, 2, 3)).astype(np.uint8))),
    "a state of small integers": (
        small_integers_in_the_loop,
        (H, Tensor(np.ones((2, 3), np.int8))), Tensor(R.integers(0, 100, (4, 2, 3)).astype(np.int8)),
    ),
    "two gates that are not written in place": (lambda s, x: (ops.relu(s @ W) + ops.relu(s @ V) + x, s), H, X, W, V),
    "three of them": (lambda s, x: (ops.relu(s @ W) + ops.relu(s @ V) + ops.softplus(s @ W.T) + x, s), H, X, W, V),
    "one value in two sums": (
        lambda s, x: ((ops.tanh((s[0] + s[1]) @ W + (x + s[0]) @ V), s[0] * 0.5), s[1]), (H, leaf(2, 3)), X, W, V,
    ),
    "one value in two columns": (
        lambda s, x: (
            (ops.tanh(((a := ops.tanh(s[0])) + (b := ops.sin(s[1]))) @ W + (ops.tanh(x * s[0]) + a) @ V), b), a,
        ),
        (H, leaf(2, 3)), X, W, V,
    ),
    "a square and a product": (
        lambda s, x: (
            (ops.tanh((a := ops.tanh(s[0])) * a @ W + (ops.sin(s[1]) * ops.tanh(s[1] + x)) @ V), s[1] * 0.5), a,
        ),
        (H, leaf(2, 3)), X, W, V,
    ),
    "two sums of products and one more each": (
        lambda s, x: (
            (
                ops.tanh((ops.tanh(s[0]) @ W + ops.sin(s[1]) @ V) + s[0] @ W.T),
                ops.tanh((ops.tanh(s[1] + x) @ W + ops.sin(s[0] * x) @ V) + s[0] @ V.T),
            ),
            s[0],
        ),
        (H, leaf(2, 3)), X, W, V,
    ),
    "quotients and remainders": (
        lambda s, x: ((s * 0.5 + s % 0.7 + ops.floor(3.0 * s) // (2.0 + x * x)) % 5.0 - ops.log_sigmoid(s), 2 * x % s),
        H, X,
    ),
    "quotients and remainders of small integers": (
        lambda s, x: ((s[0] * 0.5 + s[1] % 3, (s[1] + x) // 2), (ops.floor(x), x % s[1], s[1] // 3)),
        (H, Tensor(np.full((2, 3), 100, np.int8))), Tensor(R.integers(1, 100, (4, 2, 3)).astype(np.int8)),
    ),
    "entries along an axis, of the state and of what a step makes": (
        lambda s, x: (
            ops.tanh(s @ W + ops.take_along_axis(s, ops.argmax(s + x, axis=1)[:, None], 1)),
            (ops.take_along_axis(s * x, COLUMNS[None]), ops.take_along_axis(s @ V, [[2, 0]], -1)),
        ),
        H, X, W, V,
    ),
    "entries along an axis, of inputs and weights": (
        lambda s, x: (
            ops.tanh(s @ W + ops.take_along_axis(ops.square(x[0]), x[1][:, None], axis=1)),
            (
                ops.take_along_axis(V, x[1][None, :1] % 3, axis=0),
                ops.take_along_axis(ops.sin(x[0]), COLUMNS, axis=None),
                ops.take_along_axis(ops.sin(x[0][:1]), COLUMNS[:, None], 1),
            ),
        ),
        H, (X, IDS), W, V,
    ),
    "repeated entries": (
        lambda s, x: (
            ops.tanh(s @ W + ops.repeat(x[:, 0], 3).reshape((2, 3)) + ops.repeat(s[:1], 2, axis=0)),
            (ops.repeat(ops.sin(x), COLUMNS, axis=-1), ops.repeat(s * V[:2], [0, 3], 0), ops.repeat(B, 2)),
        ),
        H, X, W, V, B,
    ),
    "reductions of what counts": (
        lambda s, i: (
            ops.tanh(s @ W + ops.sum(s, axis=1, keepdims=True, where=i[1] > 0) + s.max(initial=-9.0, where=s < i[0])),
            (
                ops.mean(i[0] * s, axis=1, where=ROUND), ops.min(i[0], axis=0, initial=0.1, where=i[1]),
                ops.prod(V, axis=0, where=V > 0), ops.var(s, axis=1, where=[True, False, True]), i[0].max(initial=0.2),
            ),
        ),
        H, (X, MASK), W, V,
    ),
    "losses of what counts": (
        lambda s, i: (ops.tanh(s @ W + i[0]), (ops.mse(s, i[0], i[1]), ops.mse(i[0], V[:2], [1.0, 0, 2], "none"))),
        H, (X, MASK), W, V,
    ),
    "no features": (lambda s, x: (ops.tanh(s + x @ U), s), leaf(2, 0), X),
    "a product that is put out": (
        lambda s, x: ((n := (p := ops.tanh(s[0]) @ W) + ops.tanh(s[1] + x) @ V, n * 0.5), p), (H, leaf(2, 3)), X, W, V,
    ),
    "constant arrays in an index": (
        lambda s, x: (ops.tanh(s[:, COLUMNS] @ W + x[COLUMNS[1:] % 2] + x[None, 0, COLUMNS]), s[:, Tensor(COLUMNS)]),
        H, X,
    ),
    "constant arrays in an index, of what differs with time": (
        lambda s, x: (ops.tanh(s @ W + ops.square(x)[..., COLUMNS] + ops.sin(x)[:, 0, None]), x[0, COLUMNS]), H, X, W,
    ),
    "arrays that move their axis to the front": (
        lambda s, x: (ops.tanh(s @ W + E[0, :, COLUMNS].sum(axis=1)), E[COLUMNS[1], x.shape[0]:, COLUMNS] * x[0]),
        H, X, E,
    ),
    "lists in an index": (lambda s, x: (ops.tanh(s[:, [2, 0, 0]] @ W + x), x[[1, 0], [2, 0]]), H, X, W),
    "a constant mask": (
        lambda s, x: (s * 0.5, (s[:, COLUMNS > 0], x[MASK.data[0, :, 0] > 0], E[:, COLUMNS == 0])), H, X, E,
    ),
    "a mask of two axes": (lambda s, x: (ops.tanh(s @ W), (s[ROUND], ops.scatter(x[ROUND], ROUND, (2, 3)))), H, X, W),
    "whole numbers of no axes in an index": (
        lambda s, x: (ops.tanh(s @ W + x), (s[:, np.array(1)], x[Tensor(np.array(1))], s[np.int64(0), COLUMNS[0]])),
        H, X,
    ),
    "a table of one row": (lambda s, x: (ops.tanh(s @ W + ops.take(V[:1], COLUMNS[1:] * 0)), x), H, X, V),
    "an index that comes with each step": (
        lambda s, x: (ops.tanh(s @ W + V[x[1]]), (s[:, x[1]], x[0][x[1], x[1]], ops.square(x[0])[..., x[1]])),
        H, (X, IDS), V,
    ),
    "a sum of products that is put out": (
        lambda s, x: (
            (n := (p := ops.tanh(s[0]) @ W + ops.tanh(s[1] + x) @ V) + ops.sin(s[2]) @ V.T, n * 0.5, n * 0.3), p,
        ),
        (H, leaf(2, 3), leaf(2, 3)), X, W, V,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_compiled_it_is_the_plain_loop(name: str) -> None:
    agree(*CASES[name])


def test_what_is_computed_without_a_gradient_has_none() -> None:
    def step(s: Tensor, x: Tensor) -> Any:
        with tg.no_grad():
            k = ops.tanh(s @ W)
        return s * 0.5 + x + k, k

    agree(step, H, X, W)


def test_what_is_detached_has_no_gradient_and_the_step_is_compiled() -> None:
    """A softmax that subtracts its largest entry, say, and another term that a step holds fixed."""

    def step(s: Tensor, x: Tensor) -> Any:
        products = s @ W
        shares = ops.exp(products - ops.max(products, axis=1, keepdims=True).detach())
        new = shares / shares.sum(axis=1, keepdims=True) + x * s.sum().detach()
        return new, new * products.detach()

    agree(step, H, X, W)

    def second(compiled: bool) -> Any:
        def squares(x: Tensor) -> Tensor:
            return ops.square(tg.grad(lambda x: tg.scan(step, H.detach(), x)[1].sum())(x)).sum()

        with tg.compiled(compiled):
            return tg.grad(squares)(Tensor(X.data)).numpy()

    np.testing.assert_allclose(second(True), second(False), rtol=1e-9, atol=1e-12)


def test_programs_that_differ_in_what_is_state_and_what_is_input_are_told_apart() -> None:
    a, b, c, d = leaf(3), leaf(3), leaf(4, 3), leaf(4, 3)
    agree(lambda s, x: ((n := s + x[0]), (n * x[1], x[0])), a, (c, d))
    agree(lambda s, x: (((n := s[0] + s[1]), n * x), s[1]), (a, b), c)
    agree(lambda s, x: ((n := s * b + x, n)), a, c, b)
    agree(lambda s, x: ((n := s * x[1] + x[0], n)), a, (c, d))


def test_a_weight_that_asks_for_a_gradient_after_one_that_did_not_has_one() -> None:
    def gradients(*asks: bool) -> list[Any]:
        frozen = [Tensor(np.full((3, 3), 0.5), requires_grad=ask) for ask in asks]
        xs = Tensor(np.ones((4, 2, 3)), requires_grad=True)
        last, _ = tg.scan(lambda s, x: ((n := ops.tanh(s @ frozen[0] + x @ frozen[1]), n)), Tensor(np.ones((2, 3))), xs)
        last.sum().backward()
        return [t.grad for t in (*frozen, xs)]

    none = gradients(False, False)
    for asks in ((True, False), (False, True), (True, True)):
        found = gradients(*asks)
        assert [g is not None for g in found] == [*asks, True]
        np.testing.assert_array_equal(found[-1], none[-1])


def test_named_tuples_stay_named() -> None:
    State = namedtuple("State", "h c")

    def step(s: Any, x: Any) -> Any:
        return State(s.h + x.h, s.c * 0.5), State(s.c, x.c)

    for on in (True, False):
        with tg.compiled(on):
            last, ys = tg.scan(step, State(leaf(2), leaf(2)), State(leaf(4, 2), leaf(4, 2)), truncate=2)
        assert (last.h.shape, ys.c.shape) == ((2,), (4, 2))


RNG = np.random.default_rng(1)
ROWS = iter(np.arange(300.0).reshape(100, 3))
NOISY: dict[str, Callable[[Any, Any], Any]] = {
    "noise": lambda s, x: (s, x + RNG.standard_normal(3)),
    "a dropped weight": lambda s, x: (s, x @ ops.dropout(W, 0.5, RNG)),
    "an iterator": lambda s, x: (s, x + next(ROWS)),
}


@pytest.mark.parametrize("name", NOISY)
def test_arrays_that_a_step_draws_anew_are_not_frozen(name: str) -> None:
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ScanWarning)  # told once
            _, ys = tg.scan(NOISY[name], Tensor(np.zeros((2, 3))), Tensor(np.ones((4, 2, 3))))
        assert not np.array_equal(ys.numpy()[0], ys.numpy()[1])


def test_an_option_that_is_a_list_and_changes_later_is_not_the_programs() -> None:
    shape = [2, 3]

    def step(s: Tensor, x: Tensor) -> Any:
        return ops.tanh(s.reshape(shape)).T.reshape(6) + x, s

    agree(step, leaf(6), leaf(4, 6))
    shape[:] = [3, 2]
    agree(step, leaf(6), leaf(4, 6))
    shape[:] = [2, 3]
    agree(step, leaf(6), leaf(4, 6))


def test_outputs_are_neither_the_users_arrays_nor_each_other() -> None:
    x = np.ones((4, 2))
    last, (a, b, c, d) = tg.scan(lambda s, x: ((n := ops.tanh(s + x)), (n, n, x, V[0, :2])), leaf(2), Tensor(x))
    arrays = [a.data, b.data, c.data, d.data, last.data]
    assert not any(np.shares_memory(p, q) for i, p in enumerate(arrays) for q in (x, V.data, *arrays[:i]))


def test_a_gradient_that_is_broadcast_is_an_array_of_its_own() -> None:
    x = leaf(4, 2, 3)
    q = x * x
    _, ys = tg.scan(lambda s, x: (s * 0.5, ops.tanh(x.sum(-1))), leaf(2), x)
    ((ys * ys).sum() + q.sum()).backward()
    assert x.grad.flags.writeable


def test_outputs_that_are_not_real_numbers_are_not_on_the_tape() -> None:
    _, (more, which) = tg.scan(lambda s, x: (s + x, (s > x, ops.argmax(s, axis=1))), H, X)
    assert not more.requires_grad and not which.requires_grad


@pytest.mark.slow
def test_the_cache_keeps_no_model_and_no_tape_alive() -> None:
    compiling._cache.clear()
    model = GRU(3, 41)
    parameter = weakref.ref(model.parameters()[0])
    model(np.ones((4, 2, 3), np.float32))[0].sum().backward()
    del model
    gc.collect()
    assert parameter() is None


@pytest.mark.parametrize("name", ["zip", "<lambda>", "options", "tanh", "loop", "steps", "two", "s0"])
def test_a_primitive_of_any_name_can_stand_in_a_step(name: str) -> None:
    def zip(x: Any) -> Any:
        return np.sin(x)

    zip.__name__ = name
    sine: Any = tg.primitive(zip)
    sine.vjp(lambda g, out, x: g * ops.cos(x))
    agree(lambda s, x: (sine(s + 2.0 * x) * (s + x), s), H, X)


def test_a_row_sparse_gradient_of_one_of_several_results_is_made_dense() -> None:
    x = Parameter(R.standard_normal((2, 4, 3)))
    ops.take(ops.unstack(x)[0], np.array([1, 3])).sum().backward()
    expected = np.zeros((2, 4, 3))
    expected[0, [1, 3]] = 1.0
    np.testing.assert_array_equal(x.grad, expected)


@primitive
def halved(x: Any) -> Any:
    """x / 2."""
    return x / 2


halved.vjp(lambda g, out, x: g * (0.5 if x.data.size else 0.0))


def test_a_step_with_an_op_whose_rule_looks_at_numbers_runs_as_a_plain_loop_and_that_rule_is_named() -> None:
    with pytest.warns(ScanWarning, match=r"the rule of op 'halved' looks at the numbers.*py:\d+: halved\.vjp"):
        _, ys = tg.scan(lambda s, x: (ops.tanh(halved(s @ W) + x), s), H, X)
    assert ys.shape == (4, 2, 3)


def test_a_table_that_a_step_reads_by_numbers_has_its_gradient() -> None:
    table, ids = leaf(7, 3), Tensor(R.integers(0, 7, (4, 2)))
    agree(lambda s, i: (ops.tanh(s @ W + ops.take(table, i) + table[i]), ops.take(table, i, axis=0)), H, ids, table, W)


def test_a_table_that_only_a_step_reads_gets_a_gradient_of_the_rows_that_were_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table, ids = leaf(1000, 3), Tensor(R.integers(0, 7, (4, 2)))
    both, steady = leaf(1000, 3), np.array([5, 5])

    def step(s: Tensor, i: Tensor) -> Any:
        return ops.tanh(s @ W + ops.take(table, i) * 0.5), ops.square(s) * both[steady] + 2 * ops.take(both, i)

    _, ys = tg.scan(step, H, ids)
    ys.sum().backward()
    assert isinstance(table.grad, RowSparse) and set(table.grad.rows) <= {*range(7)}
    found, dense = table.grad.dense(), both.grad.dense() if isinstance(both.grad, RowSparse) else both.grad
    table.grad = both.grad = None
    with tg.compiled(False):
        tg.scan(step, H, ids)[1].sum().backward()
    np.testing.assert_allclose(found, table.grad.dense(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dense, both.grad if isinstance(both.grad, np.ndarray) else both.grad.dense(), atol=1e-14)
    tg.explain(tg.scan, step, H, ids)
    assert "in the rows" in capsys.readouterr().out


def test_a_step_may_name_a_dtype_by_its_numpy_class() -> None:
    agree(lambda s, x: ((n := ops.tanh(s + ops.astype(ops.astype(4 * x, np.int32), np.float64)), n)), H, X)
