"""Sums over many rows, wherever one is taken: in ops, gradients of biases and tables, and compiled loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_table import laid_out

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops, scan
from tinygrad_rnn.sums import SUMMED_AT_ONCE, group_sums, total

MILLION = 10**6
TENTH = float(np.float32(0.1))

Array = np.ndarray[Any, Any]


def error(found: Any, expected: Any) -> float:
    return float(np.max(np.abs(np.asarray(found, np.float64) / expected - 1)))


@given(data=st.data())
def test_a_sum_over_any_axes_of_any_layout_is_numpys_in_float64(data: Any) -> None:
    sizes = st.sampled_from(
        [0, 1, 2, 3, SUMMED_AT_ONCE - 1, SUMMED_AT_ONCE, SUMMED_AT_ONCE + 1, 3 * SUMMED_AT_ONCE + 7]
    )
    shape = tuple(data.draw(st.lists(sizes, min_size=1, max_size=2))) + tuple(
        data.draw(st.lists(st.integers(1, 3), max_size=2))
    )
    chosen = data.draw(st.permutations(range(len(shape))))[: data.draw(st.integers(0, len(shape)))]
    axis = data.draw(st.sampled_from([None, tuple(chosen), tuple(a - len(shape) for a in chosen)]))
    keepdims = data.draw(st.booleans())
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.bool_]))
    x = laid_out(data.draw, np.random.default_rng(0).integers(0, 2, shape).astype(dtype) / dtype(1)).astype(dtype)
    exact = np.sum(x, axis=axis, keepdims=keepdims, dtype=np.float64)
    found = total(x, axis, keepdims)
    assert found.dtype == np.sum(x[:0]).dtype and found.shape == exact.shape
    with np.errstate(over="ignore"):  # more than float16 can hold
        np.testing.assert_array_equal(found, exact.astype(dtype) if dtype == np.float16 else exact)


@pytest.mark.parametrize("shape, axis", [((MILLION, 2), 0), ((1000, 1000, 2), (0, 1)), ((2, 1000, 1000), (2, 1))])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_million_float32_summands_are_added_up_to_a_hundred_thousandth(shape: Any, axis: Any, order: Any) -> None:
    x = np.full(shape, 0.1, np.float32, order=order)
    assert error(ops.sum(Tensor(x), axis).numpy(), MILLION * TENTH) < 1e-5
    assert error(ops.mean(Tensor(x), axis).numpy(), TENTH) < 1e-5
    every_other = np.full((*shape[:-1], 2 * shape[-1]), 0.1, np.float32, order=order)[..., ::2]
    assert error(ops.sum(Tensor(every_other), axis).numpy(), MILLION * TENTH) < 1e-5


def by_bias() -> tuple[Tensor, Parameter]:
    b = Parameter(np.zeros(2, np.float32))
    return Tensor(np.zeros((MILLION, 2), np.float32)) + b, b


def by_reading(read: Any) -> Any:
    def made() -> tuple[Tensor, Parameter]:
        table = Parameter(np.zeros((3, 2), np.float32))
        return read(table, np.ones(MILLION, np.int64)), table

    return made


OVER_ROWS = {
    "a bias": by_bias,
    "w[ids]": by_reading(lambda w, ids: w[ids]),
    "w[list]": by_reading(lambda w, ids: w[ids.tolist()]),
    "w[ids, :]": by_reading(lambda w, ids: w[ids, :]),
    "w[ids, ids]": by_reading(lambda w, ids: ops.stack([w[ids, ids * 0], w[ids, ids]], 1)),
    "take": by_reading(ops.take),
    "take along the other axis": by_reading(lambda w, ids: ops.take(w.T, ids, axis=1).T),
    "broadcast_to": by_reading(lambda w, ids: ops.broadcast_to(w[1], (MILLION, 2))),
}


@pytest.mark.parametrize("kind", OVER_ROWS)
def test_gradients_over_a_million_rows_are_right_to_a_hundred_thousandth(kind: str) -> None:
    """One after the other, the rows would add up to a sum that is 1 % off."""
    out, leaf = OVER_ROWS[kind]()
    out.backward(np.full(out.shape, 0.1, np.float32))
    g = leaf.grad.dense() if hasattr(leaf.grad, "dense") else leaf.grad
    assert g.dtype == np.float32
    assert error(g[1] if g.ndim > 1 else g, MILLION * TENTH) < 1e-5


@pytest.mark.parametrize(
    "kind, shape",
    [pytest.param(True, (MILLION, 1, 2), marks=pytest.mark.slow), (True, (1000, 1000, 2)), (False, (1000, 1000, 2))],
)
def test_the_gradient_of_a_bias_in_a_scan_is_as_right(kind: Any, shape: tuple[int, ...]) -> None:
    b, xs = Parameter(np.zeros(2, np.float32)), Tensor(np.zeros(shape, np.float32))
    with tg.compiled(kind):
        _, ys = scan(lambda s, x: (s, x + b), Tensor(np.zeros(shape[1:], np.float32)), xs)
    ys.backward(np.full(shape, 0.1, np.float32))
    assert error(b.grad, MILLION * TENTH) < 1e-5


@given(data=st.data())
def test_groups_of_rows_are_added_up_as_one_by_one(data: Any) -> None:
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 255, 256, 257, 70_000]), min_size=1, max_size=4))
    width, dtype = data.draw(st.sampled_from([(), (1,), (2,), (3,)])), data.draw(st.sampled_from(["e", "f", "d"]))
    starts = np.cumsum([0, *sizes[:-1]])
    values = np.random.default_rng(0).uniform(0.5, 1.5, (sum(sizes), *width)).astype(dtype)
    with np.errstate(over="ignore"):  # 70,000 ones are more than float16 can hold
        found = group_sums(values, starts)
        exact = np.stack([values[a : a + n].sum(axis=0, dtype=np.float64) for a, n in zip(starts, sizes, strict=True)])
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_allclose(found, exact.astype(dtype), rtol={"e": 1e-3, "f": 1e-6, "d": 1e-12}[dtype])


def test_float16_adds_up_in_float32() -> None:
    ones = Tensor(np.ones((5000, 2), np.float16))
    assert (ops.sum(ones, 0).numpy() == 5000).all()
    b = Parameter(np.zeros(2, np.float16))
    (ones + b).backward(np.ones((5000, 2), np.float16))
    assert (b.grad == 5000).all() and b.grad.dtype == np.float16
    w = Parameter(np.zeros((2, 2), np.float16))
    w[np.ones(5000, int)].backward(np.ones((5000, 2), np.float16))
    assert (w.grad[1] == 5000).all() and w.grad.dtype == np.float16


def test_a_mean_over_more_entries_than_float16_can_count_has_its_value_and_gradient() -> None:
    x = Tensor(np.full(70_000, 2, np.float16), requires_grad=True)
    mean = x.mean()
    mean.backward()
    assert mean.item() == 2
    np.testing.assert_allclose(x.grad, 1 / 70_000, rtol=3e-3)  # float16 has 8 bits there


# --- Counts beyond what float16 holds ------------------------------------------------------------------------------

MANY = 70_000


def as_in_float64(f: Any, *arrays: Any, rtol: float, atol: float = 0.0) -> None:
    """Value and gradients in the narrow dtype of the arrays are those of float64, rounded."""
    narrow = [Tensor(x, requires_grad=True) for x in arrays]
    exact = [Tensor(x.astype(np.float64), requires_grad=True) for x in arrays]
    out, expected = f(*narrow), f(*exact)
    assert out.dtype == arrays[0].dtype
    np.testing.assert_allclose(out.numpy(), expected.numpy(), rtol=1e-3)
    out.backward()
    expected.backward()
    for a, b in zip(narrow, exact, strict=True):
        assert a.grad.dtype == a.dtype
        np.testing.assert_allclose(a.grad, b.grad, rtol=rtol, atol=atol)


R = np.random.default_rng(0)
LOGITS, TARGETS = R.standard_normal((MANY, 4)).astype(np.float16), R.integers(0, 4, MANY)
SMALLEST = 6e-8  # of float16, which a gradient of 1/70,000 is a few hundred of


def test_losses_over_many_rows_of_float16_are_means_over_all_of_them() -> None:
    as_in_float64(lambda z: ops.softmax_cross_entropy(z, TARGETS), LOGITS, rtol=1e-2, atol=2 * SMALLEST)
    as_in_float64(lambda z: ops.mse(z, 0 * z.detach()), LOGITS, rtol=1e-2, atol=2 * SMALLEST)
    ones = np.ones(MANY, np.float16)
    as_in_float64(lambda z: ops.binary_cross_entropy_with_logits(z, ones), LOGITS[:, 0], rtol=1e-2, atol=2 * SMALLEST)
    as_in_float64(
        lambda h, W, b: ops.linear_cross_entropy(h, W, b, TARGETS),
        *(LOGITS, R.standard_normal((4, 4)).astype(np.float16), np.zeros(4, np.float16)),
        rtol=1e-2,
        atol=4e-4,
    )


def test_reductions_over_many_entries_of_float16_count_them_all() -> None:
    zeros = Tensor(np.zeros(MANY, np.float16), requires_grad=True)
    np.testing.assert_allclose(ops.softmax(zeros).numpy(), 1 / MANY, rtol=3e-3)
    np.testing.assert_allclose(ops.log_softmax(zeros).numpy(), -np.log(MANY), rtol=1e-3)
    np.testing.assert_allclose(ops.logsumexp(zeros).numpy(), np.log(MANY), rtol=1e-3)
    zeros.max().backward()
    np.testing.assert_allclose(zeros.grad, 1 / MANY, rtol=3e-3)
    halves = Tensor((np.arange(MANY) % 2).astype(np.float16))
    assert ops.var(halves).item() == 0.25
    np.testing.assert_allclose(ops.norm(halves).item(), np.sqrt(MANY / 2), rtol=1e-3)


@pytest.mark.parametrize("classes", [2, 10, 300])
def test_the_bias_of_a_linear_cross_entropy_over_many_rows_is_as_right(classes: int) -> None:
    rows = MILLION if classes < 100 else 60_000
    h, targets = Tensor(np.zeros((rows, 1), np.float32)), np.zeros(rows, np.int64)
    W, b = Tensor(np.zeros((1, classes), np.float32)), Parameter(np.zeros(classes, np.float32))
    ops.linear_cross_entropy(h, W, b, targets, reduction="sum").backward()
    assert error(b.grad, rows * (1 / classes - (np.arange(classes) == 0))) < 1e-5


def test_running_sums_are_as_right() -> None:
    assert ops.cumsum(Tensor(np.ones(5000, np.float16))).numpy()[-1] == 5000
    x = Tensor(np.full((MILLION, 1), 0.1, np.float32), requires_grad=True)
    sums = ops.cumsum(x, 0)
    sums.backward(np.full(x.shape, 0.1, np.float32))
    expected = TENTH * np.arange(1, MILLION + 1)[:, None]
    assert sums.dtype == x.grad.dtype == np.float32
    assert error(sums.numpy(), expected) < 1e-6 and error(x.grad, expected[::-1]) < 1e-6
