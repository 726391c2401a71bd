"""Ops at the edges of their domains: zeros, infinities, the limits of a dtype, nothing at all. A warning is an error
here, and no NaN comes out where there is a number to give."""

from __future__ import annotations

import tracemalloc
import warnings
from decimal import Decimal, localcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
from example_counts import part_of_the_examples
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import compiled, ops
from tinygrad_rnn.checks.derivatives import gradcheck
from tinygrad_rnn.loops import scan
from tinygrad_rnn.ops import losses
from tinygrad_rnn.ops.rows import Reduction
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.transforms import grad, jacobian, value_and_grad, vjp

FLOATS = [np.float16, np.float32, np.float64]


def gradients(f: Any, *xs: Any) -> list[Any]:
    """Of the sum of `f`'s entries, which itself is not computed: it might be beyond the dtype."""
    out, pullback = vjp(f, *map(np.asarray, xs))
    return [g.numpy() for g in pullback(np.ones(out.shape, out.dtype))]


# --- Zeros -----------------------------------------------------------------------------------------------------


def test_powers_of_zero_have_the_gradients_of_their_limits() -> None:
    by_base, by_exponent = gradients(lambda x, y: x**y, [0.0, 0.0, 0.0, 2.0], [0.0, 1.0, 2.0, 0.0])
    np.testing.assert_array_equal(by_base, [0, 1, 0, 0])
    np.testing.assert_allclose(by_exponent, [0, 0, 0, np.log(2)])
    for exponent, expected in ((0, 0), (1, 1), (2, 0), (3, 0)):
        assert gradients(lambda x, n=exponent: x**n, [0.0])[0].tolist() == [expected]
    assert jacobian(grad(lambda x: x**2))(np.array(0.0)).item() == 2
    np.testing.assert_array_equal(gradients(lambda y: 0.0**y, [1.0, 2.0])[0], [0, 0])


@pytest.mark.filterwarnings("ignore:divide by zero")  # NumPy's, where there is a pole
def test_a_power_of_zero_falls_without_bound_as_its_exponent_goes_below_zero() -> None:
    """As PyTorch has it, and JAX: 0 ** y is infinite for y < 0."""
    by_base, by_exponent = gradients(lambda x, y: x**y, [0.0, 0.0, 0.0, 0.0, -0.0], [-1.0, -0.5, 0.0, 1.0, -3.0])
    np.testing.assert_array_equal(by_base, [-np.inf, -np.inf, 0, 1, -np.inf])
    np.testing.assert_array_equal(by_exponent, [-np.inf, -np.inf, 0, 0, np.inf])
    np.testing.assert_array_equal(gradients(lambda y: 0.0**y, [-1.0, 0.0, 1.0])[0], [-np.inf, 0, 0])
    assert np.isnan(gradients(lambda x, y: x**y, [0.0], [np.nan])[1]).all()


def test_negative_bases_with_whole_exponents_are_differentiable() -> None:
    assert gradcheck(lambda x: x**3, np.array([-1.5, -0.5, 2.0]), order=2)
    np.testing.assert_allclose(gradients(lambda x: x ** Tensor([3.0, 2.0]), [-1.5, -0.5])[0], [6.75, -1.0])


@given(st.lists(st.sampled_from([0.0, 2.0, -1.0]), max_size=6))
def test_products_with_any_number_of_zeros_are_right_to_second_order(entries: list[float]) -> None:
    assert gradcheck(ops.prod, np.array(entries), order=2)


def test_the_norm_of_nothing_and_of_zero_has_gradient_zero() -> None:
    value, g = value_and_grad(ops.norm)(np.zeros(3))
    assert value.item() == 0 and g.numpy().tolist() == [0, 0, 0]
    rows = gradients(lambda x: ops.norm(x, axis=1), [[0.0, 0.0], [3.0, 4.0]])[0]
    np.testing.assert_allclose(rows, [[0.0, 0.0], [0.6, 0.8]])
    assert gradients(ops.norm, np.zeros((0, 2)))[0].shape == (0, 2)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_the_norm_has_no_second_derivative_at_zero(power: int) -> None:
    """NaN, as PyTorch, JAX and HIPS autograd have it, and not the 0 that a constant gradient would have."""
    first = grad(lambda x: ops.norm(x) ** power)
    assert first(np.zeros(2)).numpy().tolist() == [0, 0]
    assert np.isnan(jacobian(first)(np.zeros(2)).numpy()).all()
    rows = jacobian(grad(lambda x: (ops.norm(x, axis=1) ** 2).sum()))(np.array([[0.0, 0.0], [3.0, 4.0]])).numpy()
    assert np.isnan(rows[0, :, 0]).all()
    np.testing.assert_allclose(rows[1, :, 1], 2 * np.eye(2), atol=1e-15)
    assert not rows[0, :, 1].any()


def test_kinks_have_the_gradients_that_the_documentation_names() -> None:
    zero = [0.0]
    assert gradients(ops.abs, zero)[0] == 0
    assert gradients(ops.relu, zero)[0] == 0
    assert gradients(ops.sign, zero)[0] == 0
    assert [float(g[0]) for g in gradients(ops.maximum, zero, zero)] == [0.5, 0.5]
    assert [float(g[0]) for g in gradients(ops.minimum, zero, zero)] == [0.5, 0.5]
    assert gradients(ops.max, [1.0, 3.0, 3.0, 3.0, 3.0])[0].tolist() == [0, 0.25, 0.25, 0.25, 0.25]
    assert gradients(lambda x: ops.min(x, axis=0), [[1.0, 2.0], [1.0, 3.0]])[0].tolist() == [[0.5, 1], [0.5, 0]]
    assert gradients(lambda x: ops.clip(x, 0.0, 1.0), [0.0, 0.5, 1.0, 1.5])[0].tolist() == [1, 1, 1, 0]


def test_a_quotient_that_is_rounded_down_is_flat_and_a_remainder_follows_its_jumps() -> None:
    """With the signs of NumPy: a remainder has that of the divisor, and is what the quotient leaves."""
    x, y = np.array([7.5, -7.5, 7.5, -7.5, 1.0]), np.array([2.0, 2.0, -2.0, -2.0, 0.1])
    assert ops.floor_divide(Tensor(x), y).numpy().tolist() == [3, -4, -4, 3, 9]  # 0.1 is a little more than a tenth
    np.testing.assert_array_equal(ops.mod(Tensor(x), y).numpy(), np.mod(x, y))
    by_x, by_y = gradients(lambda x, y: x % y, x, y)
    assert (by_x.tolist(), by_y.tolist()) == ([1] * 5, [-3, 4, 4, -3, -9])
    assert [g.tolist() for g in gradients(lambda x, y: x // y, x, y)] == [[0] * 5] * 2
    assert gradients(ops.floor, np.array([1.0, -0.5]))[0].tolist() == [0, 0]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")  # NumPy's own
def test_division_by_zero_and_by_infinity_leaves_what_it_leaves_in_numpy() -> None:
    x, y = np.array([1.0, -1.0, 0.0, 1.0, -1.0]), np.array([0.0, 0.0, 0.0, np.inf, np.inf])
    np.testing.assert_array_equal((Tensor(x) // y).numpy(), x // y)
    np.testing.assert_array_equal((Tensor(x) % y).numpy(), x % y)
    whole: Any = Tensor(np.array([3, -3]))
    assert (whole // 0).numpy().tolist() == (whole % 0).numpy().tolist() == [0, 0]
    assert gradients(lambda x: x % np.inf, x)[0].tolist() == [1] * 5


def test_bounds_that_cross_send_the_gradient_to_the_upper_one_as_numpy_does() -> None:
    low, high = np.array([2.0, 2.0]), np.array([1.0, 1.0])
    x = np.array([0.0, 5.0])
    np.testing.assert_array_equal(ops.clip(x, low, high), np.clip(x, low, high))
    assert [g.tolist() for g in gradients(ops.clip, x, low, high)] == [[0, 0], [0, 0], [1, 1]]


def test_the_branch_that_was_not_chosen_gets_gradient_zero_even_if_it_is_not_a_number() -> None:
    chosen, other = gradients(lambda x, y: ops.where(np.array([True, False]), x, y), [1.0, np.nan], [np.inf, 2.0])
    assert chosen.tolist() == [1, 0] and other.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_variance_without_degrees_of_freedom_is_infinite_and_never_negative(dtype: Any) -> None:
    """As NumPy and PyTorch have it: a sum of squares over 0, which is NaN where that is 0 as well."""
    x = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 2.0]], dtype)
    for ddof in (3, 4, 9):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = np.var(x, axis=1, ddof=ddof)
        found = ops.var(Tensor(x), axis=1, ddof=ddof)
        np.testing.assert_array_equal(found.numpy(), expected)
        assert found.dtype == dtype and expected[0] == np.inf
        assert np.isnan(gradients(lambda x, n=ddof: ops.var(x, axis=1, ddof=n), x)[0]).all()
    assert ops.var(Tensor(x), ddof=6).item() == np.inf
    assert np.isnan(ops.var(Tensor(np.ones(1, dtype)), ddof=1).item())


# --- Infinities and limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_and_its_kin_hold_at_the_limits_of_the_dtype(dtype: Any) -> None:
    top = np.finfo(dtype).max
    x = np.array([[top, -top, 0], [top, top, -top], [-top, -top, -top]], dtype)
    expected: Any = np.array([[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]])
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(ops.softmax(Tensor(x)).numpy(), expected, rtol=tolerance)
    assert ops.logsumexp(Tensor(x), axis=1).numpy().tolist() == [top, top, -top]
    np.testing.assert_allclose(gradients(lambda x: ops.logsumexp(x, axis=1), x)[0], expected, rtol=tolerance)
    assert not np.isnan(ops.log_softmax(Tensor(x)).numpy()).any()
    for f in (ops.softmax, ops.log_softmax):
        assert np.isfinite(gradients(lambda x, f=f: f(x)[:, 0], x)[0]).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("fused", [False, True])
def test_cross_entropy_has_no_nan_at_the_limits_of_the_dtype(dtype: Any, fused: bool) -> None:
    top = np.finfo(dtype).max
    logits = np.array([[top, -top], [top, top], [0, -top], [-top, top]], dtype)
    targets = [0, 1, 0, 1]

    def loss(z: Any) -> Any:
        if fused:
            return ops.linear_cross_entropy(z, np.eye(2, dtype=dtype), None, targets, reduction="sum")
        return ops.softmax_cross_entropy(z, targets, reduction="sum")

    value, g = value_and_grad(loss)(logits)
    assert value.item() == pytest.approx(np.log(2), rel=2e-3)
    np.testing.assert_allclose(g.numpy(), [[0.0, 0.0], [0.5, -0.5], [0.0, 0.0], [0.0, 0.0]], rtol=1e-3)


def test_a_target_of_probability_zero_costs_infinity_and_has_a_finite_gradient() -> None:
    value, g = value_and_grad(lambda z: ops.softmax_cross_entropy(z, [1]))(np.array([[0.0, -np.inf]]))
    assert value.item() == np.inf and g.numpy().tolist() == [[1, -1]]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("fused", [False, True])
def test_rows_that_do_not_count_may_hold_masked_classes(fused: bool, reduction: Reduction) -> None:
    """A class ruled out by -inf, and rows whose loss it would make infinite, but which are ignored."""
    z = np.array([[-np.inf, 0.0, 1.0], [-np.inf, 2.0, 1.0]])
    z_finite = np.where(np.isinf(z), -1e3, z)

    def loss(z: Any, targets: Any, weights: Any, ignore_index: Any) -> Any:
        options: Any = {"weights": weights, "ignore_index": ignore_index, "reduction": reduction}
        if fused:
            h = np.zeros((2, 1)) + np.array([[1.0], [0.0]])
            bias = z[1]
            return ops.linear_cross_entropy(h, (z[0] - bias).reshape((1, 3)), bias, targets, **options)
        return ops.softmax_cross_entropy(z, targets, **options)

    z = z_finite if fused else z
    for targets, weights, ignore_index in (([-1, 1], None, -1), ([0, 1], [0.0, 1.0], None)):
        value, g = value_and_grad(lambda z, *rest: loss(z, *rest).sum())(z, targets, weights, ignore_index)
        assert value.item() == pytest.approx(np.log(1 + np.exp(-1)))
        assert np.isfinite(g.numpy()).all()
        np.testing.assert_allclose(g.numpy()[1, 1:].sum(), 0, atol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("fused", [False, True])
def test_a_smoothed_loss_has_no_nan_at_the_limits_of_the_dtype(dtype: Any, fused: bool) -> None:
    """Where a class is impossible, its share of the target costs infinity, and the gradient is what it always is."""
    top = np.finfo(dtype).max
    logits = np.array([[top, -top, 0], [0, top, top], [0, -top, -top], [-top, 0, 1]], dtype)

    def loss(z: Any) -> Any:
        if fused:
            options: Any = {"reduction": "sum", "label_smoothing": 0.3}
            return ops.linear_cross_entropy(z, np.eye(3, dtype=dtype), None, [0, 1, 2, 0], **options)
        return ops.softmax_cross_entropy(z, [0, 1, 2, 0], reduction="sum", label_smoothing=0.3)

    value, g = value_and_grad(loss)(logits)
    assert value.item() == np.inf and value.dtype == dtype
    e = np.exp(1)
    likely = np.array([[1, 0, 0], [0, 0.5, 0.5], [1, 0, 0], [0, 1 / (1 + e), e / (1 + e)]])
    expected = likely - 0.7 * np.eye(3)[[0, 1, 2, 0]] - 0.1
    np.testing.assert_allclose(g.numpy(), expected, rtol=2e-3, atol=1e-3)
    twice = grad(lambda z: ops.square(grad(loss)(z)).sum())(logits)
    assert np.isfinite(twice.numpy()).all()


def test_a_smoothed_loss_of_many_classes_in_float16_is_that_of_the_same_logits_in_float64() -> None:
    logits = (np.random.default_rng(0).normal(0, 9, (2, 9000))).astype(np.float16)
    found, wide = (
        ops.linear_cross_entropy(np.eye(2, dtype=x.dtype), Tensor(x), None, [3, 4], label_smoothing=0.5).item()
        for x in (logits, logits.astype(float))
    )
    assert found == pytest.approx(wide, rel=2e-3)


def test_a_class_ruled_out_by_minus_infinity_costs_a_smoothed_loss_infinity_and_no_nan() -> None:
    for target in (0, 1):
        loss = partial(ops.softmax_cross_entropy, targets=[target], label_smoothing=0.5)
        value, g = value_and_grad(loss)(np.array([[0.0, -np.inf]]))
        assert value.item() == np.inf and g.numpy().tolist() == [[0.25, -0.25] if target == 0 else [0.75, -0.75]]


RUBBISH = {"minus infinity throughout": (-np.inf, -np.inf), "infinity": (np.inf, 0.0), "no number": (np.nan, 1.0)}


@pytest.mark.parametrize("rubbish", RUBBISH)
@pytest.mark.parametrize("fused", [False, True])
@given(
    counting=st.lists(st.booleans(), min_size=1, max_size=6),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    by_weight=st.booleans(),
    dtype=st.sampled_from(FLOATS),
    order=st.sampled_from(["C", "F"]),
    smoothing=st.sampled_from([0.0, 0.1]),
)
def test_what_stands_in_rows_that_do_not_count_reaches_neither_losses_nor_gradients(
    rubbish: str,
    fused: bool,
    counting: list[bool],
    reduction: Reduction,
    by_weight: bool,
    dtype: Any,
    order: Any,
    smoothing: float,
) -> None:
    """All is as if the other rows were the whole batch, to the second derivative."""
    rng, kept = np.random.default_rng(len(counting)), np.array(counting)
    h, W, b = (rng.normal(size=shape).astype(dtype) for shape in ((len(kept), 3), (3, 4), (4,)))
    if fused:
        h[~kept, 0] = RUBBISH[rubbish][0]
    else:
        W, b = np.eye(3, dtype=dtype), np.zeros(3, dtype)
        h[~kept] = RUBBISH[rubbish][1]
        h[~kept, 0] = RUBBISH[rubbish][0]
    W = np.asarray(W, order=order)
    targets, weights = rng.integers(0, 3, len(kept)), rng.uniform(0.5, 1, len(kept))

    def loss(targets: Any, options: dict[str, Any]) -> Any:
        options |= {"reduction": reduction, "label_smoothing": smoothing}
        if fused:
            return lambda h, W, b: ops.linear_cross_entropy(h, W, b, targets, **options)
        return lambda h, W, b: ops.softmax_cross_entropy(h, targets, **options)

    if by_weight:
        ours = loss(targets, {"weights": np.where(kept, weights, 0)})
    else:
        ours = loss(np.where(kept, targets, -1), {"weights": weights, "ignore_index": -1})
    theirs = loss(targets[kept], {"weights": weights[kept]})

    def twice(f: Any) -> Any:
        """The gradient of a gradient's squares."""
        inner = grad(lambda *xs: f(*xs).sum(), argnums=(0, 1, 2))
        return lambda *xs: sum(((g * g).sum() for g in inner(*xs) if g is not None), Tensor(np.zeros((), dtype)))

    found, expected = ours(*map(Tensor, (h, W, b))).numpy(), theirs(*map(Tensor, (h[kept], W, b))).numpy()
    np.testing.assert_array_equal(found[kept] if reduction == "none" else found, expected)
    assert reduction != "none" or not found[~kept].any()
    for f, g in ((ours, theirs), (twice(ours), twice(theirs))):
        (by_h, *rest), (kept_by_h, *others) = gradients(f, h, W, b), gradients(g, h[kept], W, b)
        np.testing.assert_array_equal(by_h[kept], kept_by_h)
        assert not by_h[~kept].any()
        for x, y in zip(rest, others, strict=True):
            np.testing.assert_array_equal(x, y)
            assert np.isfinite(x).all()


@pytest.mark.parametrize("rubbish", [np.nan, np.inf])
@pytest.mark.parametrize("loss", [ops.mse, ops.binary_cross_entropy_with_logits], ids=["mse", "binary"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_entries_of_no_weight_may_hold_anything(loss: Any, rubbish: float, reduction: Reduction, dtype: Any) -> None:
    """Steps past the end of a row, say: all is as if they were not there, to the second derivative."""
    x, t = np.random.default_rng(0).uniform(0, 1, (2, 4, 3, 2)).astype(dtype)
    kept = (np.arange(4)[:, None] < [2, 4, 1])[..., None]  # (T,B,1)
    x[np.broadcast_to(~kept, x.shape)], t[np.broadcast_to(~kept, t.shape)] = rubbish, -rubbish
    here = np.broadcast_to(kept, x.shape)
    ours = partial(loss, weights=kept, reduction=reduction)
    theirs = partial(loss, reduction=reduction)
    found = ours(Tensor(x), Tensor(t)).numpy()
    expected = theirs(Tensor(x[here]), Tensor(t[here])).numpy()
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(found[here] if reduction == "none" else found, expected, rtol)
    assert found.dtype == dtype and (reduction != "none" or not found[~here].any())
    for f, g in ((ours, theirs), *((grad(lambda x, t, f=f: (f(x, t) ** 2).sum()) for f in (ours, theirs)),)):
        for by_all, by_kept in zip(gradients(f, x, t), gradients(g, x[here], t[here]), strict=True):
            np.testing.assert_allclose(by_all[here], by_kept, rtol=8 * rtol, atol=rtol)
            assert not by_all[~here].any()


def test_weights_of_a_squared_error_weigh_and_where_all_are_0_the_mean_is_0() -> None:
    x, t, w = np.array([1.0, 2.0, 4.0]), np.zeros(3), [3, 1, 0]
    assert ops.mse(Tensor(x), t, w).item() == 7 / 4
    assert ops.mse(Tensor(x), t, w, "sum").item() == 7
    assert ops.mse(Tensor(x), t, w, "none").numpy().tolist() == [3, 4, 0]
    assert ops.mse(Tensor(x), t, [[True, False, True]][0]).item() == 8.5
    value, g = value_and_grad(lambda x: ops.mse(x, t, [0, 0, 0]))(x)
    assert value.item() == 0 and not g.numpy().any()
    assert np.isnan(ops.mse(Tensor(x), t, [1.0, np.nan, 0.0]).item())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_weight_that_is_no_number_is_not_taken_for_one_that_leaves_a_row_out(reduction: Reduction) -> None:
    h, weights = Tensor(np.ones((3, 2))), [1.0, np.nan, 0.0]
    plain = ops.softmax_cross_entropy(h, [0, 1, 0], weights, reduction=reduction)
    fused = ops.linear_cross_entropy(h, np.eye(2), None, [0, 1, 0], weights, reduction=reduction)
    assert np.isnan(plain.item()) and np.isnan(fused.item())


def test_the_product_with_all_classes_is_made_for_the_rows_that_count_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def product(a: Any, b: Any, out: Any) -> None:
        seen.append(a.shape)
        np.matmul(a, b, out=out)

    monkeypatch.setattr(losses, "product", product)
    h, W = Tensor(np.ones((9, 2)), requires_grad=True), Tensor(np.ones((2, 5)), requires_grad=True)
    ops.linear_cross_entropy(h, W, None, np.zeros(9, int), weights=np.arange(9) > 6).backward()
    assert seen == [(2, 2), (2, 5), (2, 2)]  # the logits, the gradients of h and of W


def test_a_batch_in_which_nothing_counts_costs_nothing() -> None:
    for f in (
        lambda z: ops.softmax_cross_entropy(z, [7, 7], ignore_index=7),
        lambda z: ops.linear_cross_entropy(z, np.eye(3), None, [7, 7], ignore_index=7),
        lambda z: ops.softmax_cross_entropy(z, [0, 1], weights=[0.0, 0.0]),
    ):
        value, g = value_and_grad(f)(np.ones((2, 3)))
        assert value.item() == 0 and not g.numpy().any()
    for empty in (
        lambda z: ops.softmax_cross_entropy(z, np.zeros(0, int)),
        lambda z: ops.linear_cross_entropy(z, np.eye(3), None, np.zeros(0, int)),
        lambda z: ops.mse(z, np.zeros((0, 3))),
        lambda z: ops.binary_cross_entropy_with_logits(z, np.zeros((0, 3))),
    ):
        value, g = value_and_grad(empty)(np.zeros((0, 3)))
        assert value.item() == 0 and g.shape == (0, 3)


def test_logsumexp_of_nothing_but_minus_infinity_is_minus_infinity_with_gradient_zero() -> None:
    value, g = value_and_grad(ops.logsumexp)(np.full(3, -np.inf))
    assert value.item() == -np.inf and g.numpy().tolist() == [0, 0, 0]
    value, g = value_and_grad(ops.logsumexp)(np.array([-np.inf, 1.0]))
    assert value.item() == 1 and g.numpy().tolist() == [0, 1]


def test_logsumexp_of_plus_infinity_has_no_gradient_there_and_none_elsewhere() -> None:
    """NaN for what is infinite and 0 for the rest, as PyTorch has it."""
    for x, expected in (
        ([np.inf, 1.0, 2.0], [np.nan, 0, 0]),
        ([np.inf, np.inf, 0.0], [np.nan, np.nan, 0]),
        ([-np.inf, np.inf], [0, np.nan]),
        ([np.nan, 1.0], [np.nan, np.nan]),
    ):
        value, g = value_and_grad(ops.logsumexp)(np.array(x))
        np.testing.assert_array_equal(value.numpy(), np.max(x))
        np.testing.assert_array_equal(g.numpy(), expected)
    rows = gradients(lambda x: ops.logsumexp(x, axis=1), [[np.inf, 1.0], [0.0, 0.0]])[0]
    np.testing.assert_array_equal(rows, [[np.nan, 0], [0.5, 0.5]])


SATURATING = [ops.sigmoid, ops.log_sigmoid, ops.tanh, ops.softplus, ops.hard_sigmoid, ops.elu, ops.relu, ops.erf]


@pytest.mark.parametrize("f", SATURATING)
@pytest.mark.parametrize("dtype", FLOATS)
def test_activations_saturate_without_a_warning(f: Any, dtype: Any) -> None:
    x = np.array([-np.finfo(dtype).max, -100, 100, np.finfo(dtype).max], dtype)
    value, g = f(Tensor(x)).numpy(), gradients(f, x)[0]
    assert value.dtype == g.dtype == dtype
    assert np.isfinite(value).all() and np.isfinite(g).all()


# --- As exact far out as near 0 ---------------------------------------------------------------------------------

LOWEST = {np.float16: -17.3, np.float32: -88.0, np.float64: -708.0}
"""Down to where: below it the logistic function comes to the end of what a dtype holds."""


def logistic(x: Any) -> Any:
    """1 / (1 + exp(-x)) of a float64 number, to 40 digits, and rounded once."""
    with localcontext() as context:
        context.prec = 40
        return float(1 / (1 + (-Decimal(float(x))).exp()))


def ulps(found: Any, expected: Any) -> float:
    """The largest distance, in units of the last digit of `found`'s dtype where the right value (float64) lies."""
    unit = np.spacing(np.abs(np.asarray(expected)).astype(found.dtype)).astype(np.float64)
    return float(np.max(np.abs(found.astype(np.float64) - expected) / unit, initial=0))


def far_out(dtype: Any, count: int = 400) -> Any:
    """Numbers from the lowest one up to where the logistic function is 1."""
    x = np.linspace(LOWEST[dtype], 45, count) + np.random.default_rng(0).uniform(-0.05, 0.05, count)
    return np.maximum(x, LOWEST[dtype]).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_logistic_function_is_exact_to_four_ulp_as_far_down_as_the_dtype_goes(dtype: Any) -> None:
    x = far_out(dtype)
    expected = np.array([logistic(v) for v in x])
    assert ulps(ops.sigmoid(Tensor(x)).numpy(), expected) <= 4
    _, ys = scan(lambda s, x: (s, ops.sigmoid(x + s)), Tensor(np.zeros((), dtype)), Tensor(x))
    assert ulps(ys.numpy(), expected) <= 4
    _, ys = scan(lambda s, x: ((y := ops.sigmoid(x + 0 * s)), y), Tensor(np.zeros((), dtype)), Tensor(x))
    assert ulps(ys.numpy(), expected) <= 4  # in the loop itself, since the next state depends on it


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_derived_from_the_logistic_function_is_exact_far_down_too(dtype: Any) -> None:
    x = far_out(dtype)
    x = x[x < -1]
    exact = np.array([logistic(v) for v in x])
    assert ulps(gradients(ops.softplus, x)[0], exact) <= 4
    assert ulps(gradients(ops.sigmoid, x)[0], exact * (1 - exact)) <= 6
    assert ulps(gradients(grad(lambda x: ops.softplus(x).sum()), x)[0], exact * (1 - exact)) <= 6
    x, exact = (v[x > np.log(np.finfo(dtype).tiny)] for v in (x, exact))  # below, the result has fewer digits itself
    assert ulps(gradients(lambda x: ops.log(ops.sigmoid(x)), x)[0], 1 - exact) <= 6


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_logistic_function_ends_at_0_and_1_and_keeps_what_is_no_number(dtype: Any) -> None:
    top = np.finfo(dtype).max
    x = np.array([-np.inf, -top, -LOWEST[dtype], top, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(ops.sigmoid(Tensor(x)).numpy(), np.array([0, 0, 1, 1, 1, np.nan], dtype))
    np.testing.assert_array_equal(gradients(ops.sigmoid, x)[0], np.array([0, 0, 0, 0, 0, np.nan], dtype))
    _, ys = scan(lambda s, x: ((y := ops.sigmoid(x + 0 * s)), y), Tensor(np.zeros((), dtype)), Tensor(x[:-1]))
    np.testing.assert_array_equal(ys.numpy(), np.array([0, 0, 1, 1, 1], dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_logarithm_of_the_logistic_function_is_exact_at_both_ends(dtype: Any) -> None:
    """Where the function is 1, and where it is less than the dtype holds."""
    x = np.concatenate([far_out(dtype, 100), -far_out(dtype, 100)])
    with localcontext() as context:
        context.prec = 60
        odds = [(-Decimal(float(v))).exp() for v in x]
        exact = np.array([-float((1 + odd).ln() if odd > 1e-20 else odd) for odd in odds])
    assert ulps(ops.log_sigmoid(Tensor(x)).numpy(), exact) <= 4
    slope = np.array([logistic(-v) for v in x])
    held = slope > np.finfo(dtype).tiny
    assert ulps(gradients(ops.log_sigmoid, x)[0][held], slope[held]) <= 4
    top = np.finfo(dtype).max
    ends = np.array([-np.inf, -top, top, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(ops.log_sigmoid(Tensor(ends)).numpy(), np.array([-np.inf, -top, 0, 0, np.nan], dtype))
    np.testing.assert_array_equal(gradients(ops.log_sigmoid, ends)[0], np.array([1, 1, 0, 0, np.nan], dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_sure_and_right_answer_costs_what_it_costs(dtype: Any) -> None:
    """log1p(exp(-x)), which softplus(x) - x is not: in float32 that is 0 from x = 17 on."""
    x = np.array([3, 7, 9, *(() if dtype == np.float16 else (20, 40, 80))], dtype)
    exact = np.array([-np.log1p(-logistic(-v)) for v in x])
    for sign, target in ((1, np.ones_like(x)), (-1, np.zeros_like(x))):
        loss = partial(ops.binary_cross_entropy_with_logits, targets=target, reduction="none")
        assert ulps(loss(Tensor(sign * x)).numpy(), exact) <= 4
        assert ulps(-sign * gradients(loss, sign * x)[0], np.array([logistic(-v) for v in x])) <= 4
    if dtype == np.float32:
        assert ops.binary_cross_entropy_with_logits(Tensor([20.0]), [1.0]).item() == pytest.approx(2.0611536e-9)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("fused", [False, True])
def test_a_sure_and_right_class_costs_what_it_costs(dtype: Any, fused: bool) -> None:
    """Of three classes with the logits x, 0, 0: log1p(2 exp(-x)), which is lost in the logarithm of a sum near 1."""
    x = np.array([3, 7, 9, *(() if dtype == np.float16 else (20, 40, 80))], dtype)
    odds = 2 * np.exp(-x.astype(np.float64))
    logits = np.stack([0 * x, x, 0 * x], axis=1)

    def loss(z: Any) -> Any:
        if fused:
            return ops.linear_cross_entropy(z, np.eye(3, dtype=dtype), None, np.ones(len(x), int), reduction="none")
        return ops.softmax_cross_entropy(z, np.ones(len(x), int), reduction="none")

    assert ulps(loss(Tensor(logits)).numpy(), np.log1p(odds)) <= 4
    by_logits = gradients(loss, logits)[0]
    share = odds / (1 + odds)
    assert ulps(by_logits, np.stack([share / 2, -share, share / 2], axis=1)) <= 6


def test_binary_cross_entropy_is_right_for_any_logit() -> None:
    x = np.array([1e30, -1e30, 800.0, -800.0])
    t = np.array([1.0, 0.0, 0.0, 1.0])
    value, g = value_and_grad(lambda x: ops.binary_cross_entropy_with_logits(x, t, reduction="sum"))(x)
    assert value.item() == 1600
    assert g.numpy().tolist() == [0, 0, 1, -1]
    assert np.isnan(ops.binary_cross_entropy_with_logits(Tensor([np.nan]), [1.0]).item())


@pytest.mark.parametrize("kind", ["float32", "uint8", "int64", "bool", "list"])
def test_binary_cross_entropy_of_infinite_logits_is_0_where_they_are_right_and_infinite_elsewhere(kind: str) -> None:
    targets: Any = [1, 0, 0, 1] if kind == "list" else np.array([1, 0, 0, 1], kind)
    x = np.array([np.inf, -np.inf, np.inf, -np.inf], np.float32)

    def loss(x: Any) -> Any:
        return ops.binary_cross_entropy_with_logits(x, targets, reduction="none")

    value = loss(Tensor(x)).numpy()
    assert value.tolist() == [0, 0, np.inf, np.inf] and value.dtype == np.float32
    assert gradients(loss, x)[0].tolist() == [0, 0, 1, -1]
    assert gradients(grad(lambda x: loss(x).sum()), x)[0].tolist() == [0, 0, 0, 0]


GELU = [-1.2668496733247969e-4, -1.0157295653584566e-18, -2.1317785344932148e-32]
GELU_DERIVATIVE = [-5.0364966122642149e-4, -9.1389373739066393e-18, -2.5578956616748956e-31]
GELU_TANH = [-7.024594819237269e-5, -1.3364595947348725e-28, -1.6359854493534811e-61]
GELU_TANH_DERIVATIVE = [-3.3512319712267076e-4, -2.5157352850674252e-27, -5.2904033525225585e-60]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_that_go_to_zero_keep_their_digits_on_the_way(dtype: Any) -> None:
    """Values and derivatives at -4, -9 and -12, where (1 + erf) and (1 + tanh) are made of the digits of 1 alone;
    calculated with mpmath to 30 digits, of Phi the normal distribution function."""
    x = np.array([-4.0, -9.0, -12.0], dtype)
    near_minus_one = np.expm1([-4.0, -9.0, -12.0]), np.exp([-4.0, -9.0, -12.0])
    cases: list[tuple[Any, Any, Any]] = [
        (ops.gelu, GELU, GELU_DERIVATIVE),
        (lambda x: ops.gelu(x, approximate="tanh"), GELU_TANH, GELU_TANH_DERIVATIVE),
        (ops.softplus, np.log1p(np.exp([-4.0, -9.0, -12.0])), [logistic(v) for v in x]),
        (ops.expm1, *near_minus_one),
        (ops.elu, *near_minus_one),
    ]
    rtol = 300 * np.finfo(dtype).eps
    for f, values, derivatives in cases:
        np.testing.assert_allclose(f(Tensor(x)).numpy(), values, rtol=rtol, atol=np.finfo(dtype).tiny)
        np.testing.assert_allclose(gradients(f, x)[0], derivatives, rtol=rtol, atol=np.finfo(dtype).tiny)


# --- Blocks ----------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 50),
    st.sampled_from(["mean", "sum", "none"]),
    st.sampled_from([1, 8, 60]),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
)
def test_linear_cross_entropy_is_the_same_in_any_number_of_blocks(
    rows: int, reduction: Reduction, entries: int, tied: bool, smoothing: float
) -> None:
    rng = np.random.default_rng(rows)
    h, W, b = rng.normal(size=(rows, 3)), rng.normal(size=(3, 5)), rng.normal(size=5)
    targets, weights = rng.integers(0, 5, rows), rng.uniform(0.5, 1, rows)
    W = np.asfortranarray(W) if tied else W
    options: Any = {"reduction": reduction, "label_smoothing": smoothing}

    def fused(h: Any, W: Any, b: Any) -> Any:
        return ops.linear_cross_entropy(h, W, b, targets, weights, **options)

    def plain(h: Any, W: Any, b: Any) -> Any:
        return ops.softmax_cross_entropy(h @ W + b, targets, weights, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "BLOCK_ENTRIES", entries)  # with 1 a block has 16 rows, the fewest
        ours, theirs = fused(*map(Tensor, (h, W, b))), plain(*map(Tensor, (h, W, b)))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)
        for a, c in zip(gradients(fused, h, W, b), gradients(plain, h, W, b), strict=True):
            np.testing.assert_allclose(a, c, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_gradient_of_a_weight_lies_in_memory_as_the_weight_does(order: Any) -> None:
    """So that of a tied embedding, W = table.T, lies as the table does."""
    W = Tensor(np.ones((3, 4), order=order), requires_grad=True)
    ops.linear_cross_entropy(Tensor(np.ones((2, 3))), W, None, [0, 1]).backward()
    assert W.grad.flags["C_CONTIGUOUS" if order == "C" else "F_CONTIGUOUS"]


@given(
    rows=st.integers(0, 5000),
    hidden=st.integers(0, 2000),
    classes=st.integers(0, 10**6),
    entries=st.integers(1, 1 << 22),
)
def test_blocks_are_bounded_and_of_about_one_size(rows: int, hidden: int, classes: int, entries: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "BLOCK_ENTRIES", entries)
        step = losses._block_rows(rows, hidden, classes)
    assert step % 16 == 0
    assert (step - 16) * classes < max(entries, hidden * classes, 1)  # the buffer, or W
    assert step - 16 < max(rows, 1)


def test_the_logits_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "BLOCK_ENTRIES", 1 << 14)
    monkeypatch.setattr("tinygrad_rnn.buffers._idle", {})
    rows, hidden, classes = 4000, 4, 500
    h, W = Tensor(np.ones((rows, hidden)), requires_grad=True), Tensor(np.ones((hidden, classes)), requires_grad=True)
    tracemalloc.start()
    try:
        ops.linear_cross_entropy(h, W, None, np.zeros(rows, int)).backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows * classes * 8 / 10


def test_linear_cross_entropy_gives_gradients_only_where_they_are_asked_for() -> None:
    h, W = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((3, 4)))
    ops.linear_cross_entropy(h, W, None, [0, 1]).backward()
    assert h.grad.shape == (2, 3) and W.grad is None


# --- Refusals --------------------------------------------------------------------------------------------------

X: Any = Tensor(np.ones((2, 3)))
LEAF: Any = Tensor(np.ones((2, 3)), requires_grad=True)

REFUSED: dict[str, tuple[type[Exception], str, Any]] = {
    "axis out of range": (np.exceptions.AxisError, "axis 2", lambda: ops.prod(X, axis=2)),
    "axis named twice": (ValueError, "duplicate", lambda: ops.sum(X, axis=(0, 0))),
    "axis named twice in prod": (ValueError, "repeated axis", lambda: ops.prod(X, axis=(0, -2))),
    "index out of range": (IndexError, "out of bounds", lambda: X[5]),
    "take out of range": (IndexError, "out of bounds", lambda: ops.take(X, [2])),
    "take_along_axis out of range": (IndexError, "out of bounds", lambda: ops.take_along_axis(X, [[3]])),
    "take_along_axis without an axis": (np.exceptions.AxisError, "axis 2", lambda: ops.take_along_axis(X, [[0]], 2)),
    "take_along_axis of fractions": (TypeError, "must be integers, got", lambda: ops.take_along_axis(X, [[0.5]])),
    "take_along_axis of fewer axes": (
        ValueError,
        r"indices must have as many axes as x \(2, 3\), .* got the shape \(1,\)",
        lambda: ops.take_along_axis(X, [0]),
    ),
    "take_along_axis of other sizes": (
        ValueError,
        r"broadcast but for axis 1, got the shape \(3, 1\)",
        lambda: ops.take_along_axis(X, [[0]] * 3),
    ),
    "repeated half a time": (TypeError, "repeats must be whole numbers", lambda: ops.repeat(X, 0.5)),
    "repeated less than never": (ValueError, "must be 0 or more, got -1", lambda: ops.repeat(X, [0, -1], axis=0)),
    "repeats for other entries": (
        ValueError,
        r"one for each of 3 entries, got shape \(2,\)",
        lambda: ops.repeat(X, [1, 2], axis=1),
    ),
    "repeated along no axis": (np.exceptions.AxisError, "axis 2", lambda: ops.repeat(X, 2, axis=2)),
    "a mask without an initial": (ValueError, "max: where needs an initial", lambda: X.max(where=[True, True, False])),
    "a mask of another shape": (
        ValueError,
        r"sum: where must broadcast to the shape \(2, 3\), got \(2,\)",
        lambda: ops.sum(X, where=[True, False]),
    ),
    "a mask of more axes": (
        ValueError,
        r"var: where must broadcast .* got \(2, 2, 3\)",
        lambda: ops.var(X, where=np.ones((2, 2, 3), bool)),
    ),
    "stack of nothing": (ValueError, "at least one array", lambda: ops.stack([])),
    "stack of several shapes": (
        ValueError,
        r"stack: arrays of one shape were expected, got \(2, 3\), \(3,\)",
        lambda: ops.stack([np.ones((2, 3)), np.ones(3)]),
    ),
    "stack along no axis": (ValueError, "axis 3 is out of bounds", lambda: ops.stack([X, X], axis=3)),
    "concatenate nothing": (ValueError, "at least one array", lambda: ops.concatenate([])),
    "uneven split": (ValueError, "equal division", lambda: ops.split(X, 2, axis=1)),
    "fractional pad": (TypeError, "integer", lambda: ops.pad(X, 1.5)),
    "gelu of another kind": (ValueError, "approximate", lambda: ops.gelu(X, approximate="erf")),
    "einsum with too few operands": (ValueError, "names 2 operands, got 1", lambda: ops.einsum("ij,jk", X)),
    "einsum with too few axes": (ValueError, "does not fit an operand with 2 axes", lambda: ops.einsum("ijk->i", X)),
    "einsum that drops its ellipsis": (ValueError, "leaves out", lambda: ops.einsum("...i->i", X)),
    "einsum without subscripts": (TypeError, "subscripts", lambda: ops.einsum(X, X)),
    "dropout rate": (ValueError, "rate must be", lambda: ops.dropout(X, 1.0, np.random.default_rng(0))),
    "dropout generator": (TypeError, "numpy.random.Generator", lambda: ops.dropout(X, 0.5, 3)),  # type: ignore[arg-type]
    "mse shapes": (ValueError, "one shape", lambda: ops.mse(X, np.ones(3))),
    "mse weights": (ValueError, r"mse: weights must broadcast .* got \(2,\)", lambda: ops.mse(X, X, [1.0, 0.0])),
    "weights on the tape": (TypeError, "mse: weights carry no gradient", lambda: ops.mse(X, X, ops.exp(LEAF))),
    "a reduction in the place of weights": (TypeError, "name it: reduction='sum'", lambda: ops.mse(X, X, "sum")),
    "another reduction": (
        ValueError,
        "reduction must be",
        lambda: ops.mse(X, X, reduction="max"),  # type: ignore[arg-type]  # what is refused
    ),
    "binary cross-entropy shapes": (
        ValueError,
        "one shape",
        lambda: ops.binary_cross_entropy_with_logits(X, np.ones(3)),
    ),
    "float targets": (TypeError, "targets must be integers", lambda: ops.softmax_cross_entropy(X, [0.0, 1.0])),
    "targets out of range": (
        IndexError,
        "between 0 and 2, got 3",
        lambda: ops.softmax_cross_entropy(X, [0, 3]),
    ),
    "negative targets": (IndexError, "got -1", lambda: ops.linear_cross_entropy(X, np.eye(3), None, [0, -1])),
    "target shape": (ValueError, r"shape \(2,\)", lambda: ops.softmax_cross_entropy(X, [0, 1, 2])),
    "weight shape": (
        ValueError,
        r"weights must have the shape \(2,\)",
        lambda: ops.softmax_cross_entropy(X, [0, 1], weights=np.ones(3)),
    ),
    "reduction": (
        ValueError,
        "reduction must be",
        lambda: ops.softmax_cross_entropy(X, [0, 1], reduction="max"),  # type: ignore[arg-type]  # what is refused
    ),
    "label smoothing": (
        ValueError,
        "softmax_cross_entropy: label_smoothing must be a number between 0 and 1, got 10",
        lambda: ops.softmax_cross_entropy(X, [0, 1], label_smoothing=10),
    ),
    "linear label smoothing": (
        ValueError,
        "linear_cross_entropy: label_smoothing must be a number between 0 and 1, got '0.1'",
        lambda: ops.linear_cross_entropy(X, np.eye(3), None, [0, 1], label_smoothing="0.1"),  # type: ignore[arg-type]  # refused
    ),
    "linear sizes": (ValueError, "must share H", lambda: ops.linear_cross_entropy(X, np.eye(2), None, [0, 1])),
    "bias size": (
        ValueError,
        "b must have the shape",
        lambda: ops.linear_cross_entropy(X, np.eye(3), X[0, :2], [0, 1]),
    ),
}


@pytest.mark.parametrize("use", REFUSED)
def test_wrong_arguments_are_refused_with_a_reason(use: str) -> None:
    kind, message, call = REFUSED[use]
    with pytest.raises(kind, match=message):
        call()


# --- Integers, and methods -------------------------------------------------------------------------------------


def test_integer_tensors_compute_as_numpy_computes() -> None:
    n: Any = Tensor(np.arange(1, 7).reshape(2, 3))
    for f in (
        *(ops.sum, ops.mean, ops.max, ops.prod, ops.cumsum, ops.exp, ops.softmax, ops.log_softmax, ops.logsumexp),
        *(ops.norm, ops.sigmoid, ops.relu, ops.abs, ops.erf, ops.square, ops.reciprocal),
        *(lambda n: ops.clip(n, 2, None), lambda n: n @ n.T, lambda n: n / 2, lambda n: n**2, lambda n: n[[0, 0]]),
    ):
        out, exact = f(n), f(n.astype(np.float64))
        np.testing.assert_allclose(out.numpy(), exact.numpy())
        assert not out.requires_grad
    assert ops.clip(n, 2, None).dtype == ops.prod(n).dtype == np.int64


INTEGERS = st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint64, np.int64, np.bool_])
"""Of the long ones, numbers stay below a million, so that float64 holds their products."""

AS_NUMPY: dict[str, tuple[Any, Any]] = {
    name: (getattr(ops, name), getattr(np, name))
    for name in (
        "sum mean max min prod var cumsum abs sign floor square exp sqrt outer maximum minimum add floor_divide mod"
    ).split()
} | {
    "norm": (ops.norm, np.linalg.norm),
    "neg": (ops.neg, np.negative),
    "sub": (ops.sub, np.subtract),
    "mul": (ops.mul, np.multiply),
    "div": (lambda x, y: ops.div(x, y + 1.0), lambda x, y: np.divide(x, y + 1.0)),
    "matmul": (ops.matmul, np.matmul),
    "comparison": (ops.less, np.less),
    "sum over an axis": (lambda x: ops.sum(x, axis=0, keepdims=True), lambda x: np.sum(x, axis=0, keepdims=True)),
    "prod over an axis": (lambda x: ops.prod(x, axis=0, keepdims=True), lambda x: np.prod(x, axis=0, keepdims=True)),
    "cumsum along an axis": (lambda x: ops.cumsum(x, 0), lambda x: np.cumsum(x, 0)),
    "sum of what counts": (lambda x: ops.sum(x, initial=2, where=x != 1), lambda x: np.sum(x, initial=2, where=x != 1)),
    "prod of what counts": (lambda x: ops.prod(x, where=x > 1), lambda x: np.prod(x, where=x > 1)),
    "max of what counts": (
        lambda x: ops.max(x, initial=True, where=x != 3),
        lambda x: np.max(x, initial=True, where=x != 3),
    ),
    "min of what counts": (
        lambda x: ops.min(x, initial=True, where=x > 0),
        lambda x: np.min(x, initial=True, where=x > 0),
    ),
    "reductions of a mask": (lambda x: ops.sum(x > 1), lambda x: np.sum(x > 1)),
}
"""Ops that NumPy has, which wrap around where NumPy's do and nowhere else."""

OF_TWO = frozenset("outer maximum minimum sub mul add div floor_divide mod matmul comparison".split())


def whole_numbers(data: Any, dtype: Any, count: int) -> Any:
    info = None if dtype is np.bool_ else np.iinfo(dtype)
    low, high = (0, 1) if info is None else (max(int(info.min), -(10**6)), min(int(info.max), 10**6))
    return np.array(data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count)), dtype)


@pytest.mark.parametrize("name", AS_NUMPY)
@part_of_the_examples(0.5)
@given(data=st.data())
def test_integers_of_every_size_give_what_numpy_gives(name: str, data: Any) -> None:
    ours, theirs = AS_NUMPY[name]
    dtype, count = data.draw(INTEGERS), data.draw(st.integers(1, 5))
    xs = [whole_numbers(data, dtype, count) for _ in range(2)]
    xs = xs if name in OF_TWO else xs[:1]
    with np.errstate(all="ignore"):
        try:
            expected = np.asarray(theirs(*xs))
        except TypeError:  # the difference of two booleans, and the sign of one
            with pytest.raises(TypeError):
                ours(*map(Tensor, xs))
            return
        found = ours(*map(Tensor, xs)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.dtype == expected.dtype


AS_FLOATS: dict[str, Any] = {
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
    "logsumexp": ops.logsumexp,
    "sigmoid": ops.sigmoid,
    "log_sigmoid": ops.log_sigmoid,
    "gelu": ops.gelu,
    "gelu's other form": lambda x: ops.gelu(x, approximate="tanh"),
    "leaky_relu": ops.leaky_relu,
    "hard_sigmoid": ops.hard_sigmoid,
    "softmax_cross_entropy": lambda x: ops.softmax_cross_entropy(x.reshape((1, -1)), [0], weights=[0.5]),
    "linear_cross_entropy": lambda x: ops.linear_cross_entropy(
        x.reshape((-1, 1)), x[:1].reshape((1, 1)), None, [0] * len(x)
    ),
    "mse": lambda x: ops.mse(x, x[::-1]),
    "binary_cross_entropy_with_logits": lambda x: ops.binary_cross_entropy_with_logits(x, x > 1),
    "dropout": lambda x: ops.dropout(x, 0.5, np.random.default_rng(0)),
    "var": ops.var,
}
"""Ops of which integers become float64 first."""


@pytest.mark.parametrize("name", AS_FLOATS)
@given(data=st.data())
def test_integers_are_taken_as_float64_where_they_are_compared_summed_or_weighed(name: str, data: Any) -> None:
    x = whole_numbers(data, data.draw(INTEGERS), data.draw(st.integers(1, 5)))
    found, expected = AS_FLOATS[name](Tensor(x)), AS_FLOATS[name](Tensor(x.astype(np.float64)))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)
    assert found.dtype == np.float64


def test_small_and_unsigned_integers_do_not_wrap_around() -> None:
    """Calculated by hand: exp(-2), exp(-3) and 1 over their sum; log of e³ + e² + e⁵; 100 times 2."""
    x: Any = Tensor(np.array([3, 2, 5], np.uint8))
    np.testing.assert_allclose(ops.softmax(x).numpy(), [0.1141952, 0.0420101, 0.8437947], rtol=1e-6)
    assert ops.logsumexp(x).item() == pytest.approx(5.1698460)
    assert ops.softmax_cross_entropy(x.reshape((1, 3)), [0]).item() == pytest.approx(2.1698460)
    assert ops.mse(x, np.array([5, 5, 5], np.uint8)).item() == pytest.approx(13 / 3)
    product = ops.prod(Tensor(np.array([100, 2], np.int8)))
    assert product.item() == 200 and product.dtype == np.int64
    assert ops.norm(Tensor(np.array([-128, 0], np.int8))).item() == 128


def test_methods_are_the_ops_under_numpys_names() -> None:
    t = Tensor(np.arange(6.0).reshape(2, 3))
    a = t.numpy()
    for ours, theirs in (
        (t.T, a.T),
        (t.reshape(3, 2), a.reshape(3, 2)),
        (t.reshape((3, -1)), a.reshape(3, 2)),
        (t.reshape(-1), a.reshape(-1)),
        (t.transpose(), a.T),
        (t.transpose(1, 0), a.T),
        (t.transpose((1, 0)), a.T),
        (t.swapaxes(0, 1), a.T),
        (t[:1].squeeze(), a[0]),
        (t[:1].squeeze(0), a[0]),
        (t.astype(np.float32), a.astype(np.float32)),
        (t.sum(0), a.sum(0)),
        (t.mean(1, keepdims=True), a.mean(1, keepdims=True)),
        (t.max(), a.max()),
        (t.min(axis=-1), a.min(-1)),
        (t.argmax(axis=1), a.argmax(1)),
        (+t, a),
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs)
        assert ours.dtype == theirs.dtype
    assert (t.shape, t.ndim, t.size) == ((2, 3), 2, 6)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 3)), ((2,), (3,)), ((), (3,)), ((4, 2, 3), (2, 2)), ((3,), (2, 3))])
def test_a_product_of_shapes_that_do_not_fit_names_both(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="matmul: shapes") as caught:
        Tensor(np.ones(a)) @ Tensor(np.ones(b))
    assert str(a) in str(caught.value)
    assert str(b) in str(caught.value)


def test_the_norm_is_right_where_squares_overflow_or_vanish() -> None:
    for size in (1e-30, 1e20):
        x = np.full(2, size, np.float32)
        np.testing.assert_allclose(ops.norm(Tensor(x)).numpy(), size * np.sqrt(2), rtol=1e-6)
        np.testing.assert_allclose(gradients(ops.norm, x)[0], [np.sqrt(0.5)] * 2, rtol=1e-6)


def test_weights_of_a_loss_on_the_tape_are_refused_since_they_carry_no_gradient() -> None:
    weights = Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(TypeError, match="detach"):
        ops.softmax_cross_entropy(Tensor(np.ones((2, 3))), np.array([0, 1]), weights)


def test_a_cross_entropy_of_two_dtypes_is_refused() -> None:
    with pytest.raises(TypeError, match="one dtype, got float32 and float64"):
        ops.linear_cross_entropy(Tensor(np.ones((2, 3), np.float32)), Tensor(np.ones((3, 4))), None, np.array([0, 1]))


def test_indices_of_take_are_integers_in_a_list_too() -> None:
    x = Tensor([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(ops.take(x, [2, 0]).numpy(), [3.0, 1.0])
    with pytest.raises(TypeError, match="indices must be integers"):
        ops.take(x, [0.5, 1.7])


# --- What gave a value, and then no gradient ---------------------------------------------------------------------

REDUCTIONS = ["sum", "mean", "max", "min", "prod", "var", "norm", "logsumexp", "softmax", "log_softmax"]


MASKED: dict[str, dict[str, Any]] = {
    "sum": {"initial": 0.5},
    "prod": {"initial": 0.5},
    "max": {"initial": -np.inf},
    "min": {"initial": np.inf},
    "mean": {},
    "var": {"ddof": 1},
}


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", MASKED)
def test_what_stands_where_a_mask_is_false_reaches_neither_a_reduction_nor_its_derivatives(
    name: str, rubbish: float
) -> None:
    """All is as if only the rest were there, to the second derivative."""
    x, op = np.array([[0.5, rubbish, 2.0, 1.0], [rubbish, -1.0, rubbish, 0.3]]), getattr(ops, name)
    kept = np.array([[0, 2, 3], [1, 3]], dtype=object)
    masked = partial(op, axis=1, **MASKED[name], where=np.isfinite(x))
    by_x = gradients(masked, x)[0]
    by_slopes = gradients(grad(lambda x: (masked(x) ** 2).sum()), x)[0]
    for row, places in enumerate(kept):
        alone = partial(op, axis=0, **MASKED[name])
        rest = x[row, places]
        np.testing.assert_allclose(masked(Tensor(x)).numpy()[row], alone(Tensor(rest)).numpy(), rtol=1e-14)
        np.testing.assert_allclose(by_x[row, places], gradients(alone, rest)[0], rtol=1e-14)
        twice = gradients(grad(lambda x, f=alone: (f(x) ** 2).sum()), rest)[0]
        np.testing.assert_allclose(by_slopes[row, places], twice, rtol=1e-13, atol=1e-13)
    assert not by_x[~np.isfinite(x)].any() and not by_slopes[~np.isfinite(x)].any()


@pytest.mark.parametrize("name", MASKED)
def test_where_nothing_counts_a_reduction_gives_its_initial_value_and_a_mean_none_and_no_gradient(name: str) -> None:
    x, mask = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[False, False], [True, True]])
    masked = partial(getattr(ops, name), axis=1, **MASKED[name], where=mask)
    nothing = masked(Tensor(x)).numpy()[0]
    np.testing.assert_array_equal(nothing, MASKED[name].get("initial", np.nan))
    by_x = gradients(masked, x)[0]
    assert not by_x[0].any() and np.isfinite(by_x).all()


def test_the_variance_of_one_entry_that_counts_is_that_of_one_entry() -> None:
    """With its gradient, NaN, in no other row."""
    x, mask = np.array([[1.0, 2.0], [3.0, 5.0], [0.0, 4.0]]), np.array([[True, False], [True, True], [True, True]])
    spread = partial(ops.var, axis=1, ddof=1, where=mask)
    np.testing.assert_array_equal(spread(Tensor(x)).numpy(), [np.nan, 2, 8])
    np.testing.assert_array_equal(gradients(spread, x)[0], [[np.nan, 0], [-2, 2], [-4, 4]])
    assert ops.var(Tensor(x), axis=1, ddof=2, where=mask).numpy().tolist()[1:] == [np.inf, np.inf]


@pytest.mark.parametrize("name", ["max", "min"])
def test_an_initial_value_is_one_more_entry_of_an_extreme_and_all_of_an_empty_one(name: str) -> None:
    op, expected = getattr(ops, name), getattr(np, name)
    for dtype in (np.float32, np.int8):
        x = np.array([[3, 1], [0, 2]], dtype)
        for axis in (None, 0, (0, 1)):
            found = op(Tensor(x), axis, initial=2)
            np.testing.assert_array_equal(found.numpy(), expected(x, axis, initial=2))
            assert found.dtype == dtype
        for shape in ((0, 3), (2, 0)):
            empty = op(Tensor(np.zeros(shape, dtype)), axis=0, keepdims=True, initial=2)
            np.testing.assert_array_equal(empty.numpy(), np.full((1, shape[1]), 2, dtype))
            assert empty.dtype == dtype
    tied = gradients(lambda x: op(x, initial=2.0), [2.0, 2.0])[0]
    assert tied.tolist() == [0.25, 0.25]


def test_a_mask_may_be_a_list_a_number_or_a_tensor_and_what_is_not_0_is_true() -> None:
    x: Any = Tensor(np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]))
    masks: list[Any] = [[True, False, True], np.array([1, 0, 7]), Tensor(np.array([1.0, 0.0, -1.0]))]
    for mask in masks:
        assert x.sum(where=mask).item() == ops.sum(x, where=mask).item() == 45
        assert x.mean(where=mask).item() == 45 / 4
    assert x.sum(where=True).item() == 63 and x.max(where=False, initial=0.0).item() == 0
    assert x.min(axis=1, initial=3.0, where=x > 1).numpy().tolist() == [2, 3]


def test_a_mean_of_what_counts_among_many_entries_of_float16_is_not_lost() -> None:
    x = np.full((2, 70000), 1.5, np.float16)
    mask = np.arange(70000) < [[10], [69000]]
    assert ops.mean(Tensor(x), axis=1, where=mask).numpy().tolist() == [1.5, 1.5]
    by_x = gradients(lambda x: ops.mean(x, axis=1, where=mask), x)[0]
    np.testing.assert_allclose(by_x[0, :11], [0.1] * 10 + [0], rtol=1e-3)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_number_is_its_own_reduction_over_axis_0_or_minus_1_as_in_pytorch(name: str, axis: int) -> None:
    op = getattr(ops, name)
    value, gradient = {"var": (0.0, 0.0), "softmax": (1.0, 0.0), "log_softmax": (0.0, 0.0)}.get(name, (3.0, 1.0))
    x = Tensor(np.array(3.0), requires_grad=True)
    out = op(x, axis=axis)
    out.backward()
    assert (out.shape, out.item(), x.grad) == ((), value, gradient)
    assert gradcheck(lambda x: op(x, axis=axis), np.array(3.0), order=2)
    with pytest.raises(np.exceptions.AxisError):
        op(x, axis=1)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_number_of_each_time_step_is_not_summed_over_time(name: str, axis: int) -> None:
    op, xs = getattr(ops, name), np.linspace(0.5, 2, 4)

    def step(s: Any, x: Any) -> Any:
        return s * 0.5 + op(x, axis=axis), op(s * x, axis=axis) + op(x, axis=axis)

    found = []
    for kind in (True, False):
        with compiled(kind):
            leaf = Tensor(xs, requires_grad=True)
            last, ys = scan(step, Tensor(np.array(0.3)), leaf)
            (last + (ys * xs).sum()).backward()
            found.append((ys.numpy(), leaf.grad))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-14)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-14)


def test_taking_from_a_number_repeats_it() -> None:
    x = Tensor(np.array(3.0), requires_grad=True)
    out = ops.take(x, [0, 0, -1])
    (out * np.array([1.0, 2.0, 4.0])).sum().backward()
    assert out.numpy().tolist() == [3, 3, 3] and x.grad == 7
    assert gradcheck(lambda x: ops.take(x, np.zeros((2, 2), int)) ** 2, np.array(3.0), order=2)


def test_a_number_is_repeated_as_a_row_of_one() -> None:
    for axis in (None, 0, -1):
        x = Tensor(np.array(3.0), requires_grad=True)
        out = ops.repeat(x, 3, axis)
        (out * np.array([1.0, 2.0, 4.0])).sum().backward()
        assert out.numpy().tolist() == [3, 3, 3] and x.grad == 7
    np.testing.assert_array_equal(ops.repeat([1, 2], True), [1, 2])


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gradient_of_what_is_read_often_is_the_sum_of_all_its_copies(dtype: Any) -> None:
    """More than float16 can count one by one."""
    x, n = np.ones((2, 1), dtype), 3000
    for f in (
        lambda x: ops.repeat(x, n, axis=1),
        lambda x: ops.repeat(x, [n, n], axis=0),
        lambda x: ops.take_along_axis(x, np.zeros((1, n), int)),
        lambda x: ops.take_along_axis(x[:1], np.zeros((n, 1), int)) + 0 * x[1:],
    ):
        assert gradients(f, x)[0].tolist() in ([[n], [n]], [[n], [0]])


def test_lists_among_the_arrays_of_an_op_are_arrays() -> None:
    x = Tensor(np.array([[4.0, 5, 6]]), requires_grad=True)
    row = [[1.0, 2, 3]]
    for op in (
        lambda x: ops.concatenate([row, x]),
        lambda x: ops.concatenate([x, tuple(row)], axis=None),
        lambda x: ops.stack([row, x, row]),
        lambda x: ops.einsum("ij,ij->i", row, x),
        lambda x: ops.einsum("ij,kj", x, row),
        lambda x: ops.where([True, False, True], x, row),
        lambda x: x * (1.0, 2.0, 3.0),
    ):
        assert gradcheck(op, x.numpy(), order=2)
    assert ops.concatenate([row, x]).numpy().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert ops.einsum("ij,ij->i", row, x).numpy().tolist() == [32]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_among_what_is_joined_take_the_dtype_of_the_others(dtype: Any) -> None:
    x = Tensor(dtype(2).reshape(()), requires_grad=True)
    joined = ops.stack([1, x, 0.5, True])
    assert joined.dtype == dtype and joined.numpy().tolist() == [1, 2, 0.5, 1]
    assert ops.stack([1, 2.5]).dtype == np.float32


@pytest.mark.parametrize("cuts", [[3, 1], [1, 3], [-1], [9], [3, 1, 4], [-9, 2]])
def test_pieces_may_overlap_as_numpy_cuts_them_and_each_gives_its_gradient(cuts: list[int]) -> None:
    x, weight = np.arange(8.0).reshape(4, 2), [1.0, 10, 100, 1000]
    leaf = Tensor(x, requires_grad=True)
    pieces = ops.split(leaf, cuts)
    expected = np.zeros(4)
    for number, piece, rows in zip(weight, pieces, np.split(np.arange(4), cuts), strict=False):
        assert piece.numpy().tolist() == x[rows].tolist()
        expected[rows] += number
    ops.concatenate([number * piece for number, piece in zip(weight, pieces, strict=False)]).sum().backward()
    assert leaf.grad[:, 0].tolist() == expected.tolist()
    assert gradcheck(lambda x: ops.concatenate([p * p for p in ops.split(x, cuts)]), x, order=2)


def test_the_axis_of_a_vector_may_be_named_in_a_transposition() -> None:
    assert gradcheck(lambda v: ops.transpose(v, 0) ** 2, np.arange(3.0), order=2)
    assert gradcheck(lambda v: v.transpose(-1) ** 2, np.arange(3.0), order=2)


def test_softmax_of_nothing_is_nothing_and_logsumexp_of_nothing_is_minus_infinity() -> None:
    for op in (ops.softmax, ops.log_softmax):
        x = Tensor(np.zeros((3, 0)), requires_grad=True)
        out = op(x)
        out.sum().backward()
        assert out.shape == (3, 0) and x.grad.shape == (3, 0) and op(x, axis=0).shape == (3, 0)
    x = Tensor(np.zeros((3, 0)), requires_grad=True)
    out = ops.logsumexp(x, axis=-1, keepdims=True)
    assert out.numpy().tolist() == [[-np.inf]] * 3 and ops.logsumexp(x).item() == -np.inf
    out.backward(np.ones((3, 1)))
    assert x.grad.shape == (3, 0) and ops.logsumexp(x, 0).shape == (0,)
