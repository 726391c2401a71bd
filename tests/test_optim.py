"""Optimisers against their papers' formulas, lazy rows against dense runs, resume, clipping, schedules."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinygrad_rnn.optim import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    CosineDecay,
    ExponentialDecay,
    HalveOnRise,
    Optimizer,
    RMSprop,
    StepDecay,
    clip_by_norm,
    clip_by_value,
)
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.tensor import Parameter

F8 = NDArray[np.float64]
Make = Callable[[Any], Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda ps: SGD(ps, lr=0.1),
    "momentum": lambda ps: SGD(ps, lr=0.1, momentum=0.9),
    "nesterov": lambda ps: SGD(ps, lr=0.1, momentum=0.8, nesterov=True),
    "adagrad": lambda ps: AdaGrad(ps, lr=0.1),
    "adadelta": lambda ps: AdaDelta(ps, lr=0.7, decay=0.8),
    "rmsprop": lambda ps: RMSprop(ps, lr=0.05),
    "rmsprop outside": lambda ps: RMSprop(ps, lr=0.05, decay=0.7, eps_inside=False),
    "adam": lambda ps: Adam(ps, lr=0.05),
    "adamw": lambda ps: Adam(ps, lr=0.05, weight_decay=0.3),
    "rmsprop decayed": lambda ps: RMSprop(ps, lr=0.05, weight_decay=0.3),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())

ROWS, WIDTH = 5, 3


def table(dtype: Any = "f8", seed: int = 0) -> Parameter:
    return Parameter(np.random.default_rng(seed).standard_normal((ROWS, WIDTH)).astype(dtype))


@st.composite
def gradient_runs(draw: st.DrawFn) -> list[Any]:
    """The gradients of 1 to 30 steps: row-sparse with few rows or none, now and then dense or missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    run: list[Any] = []
    for kind in draw(st.lists(st.sampled_from("ssssssdn"), min_size=1, max_size=30)):
        if kind == "n":
            run.append(None)
        elif kind == "d":
            run.append(rng.standard_normal((ROWS, WIDTH)))
        else:
            indices = rng.integers(0, ROWS, rng.integers(0, 3))
            values = rng.standard_normal((len(indices), WIDTH)) * 10.0 ** rng.integers(-3, 3)
            run.append(RowSparse.from_indices(indices, values, (ROWS, WIDTH)))
    return run


def follow(make: Make, run: list[Any], *, dense: bool, dtype: Any = "f8") -> F8:
    p = table(dtype)
    optimizer = make([p])
    for g in run:
        p.grad = g.dense() if dense and isinstance(g, RowSparse) else g
        assert optimizer.step()
    data: F8 = p.data
    return data


@every_optimizer
@given(run=gradient_runs())
def test_row_sparse_gradients_give_the_dense_result(make: Make, run: list[Any]) -> None:
    np.testing.assert_allclose(follow(make, run, dense=False), follow(make, run, dense=True), rtol=1e-9, atol=1e-12)


@every_optimizer
@given(run=gradient_runs())
def test_row_sparse_gradients_give_the_dense_result_in_float32(make: Make, run: list[Any]) -> None:
    lazy, dense = (follow(make, run, dense=d, dtype="f4") for d in (False, True))
    assert lazy.dtype == np.float32
    np.testing.assert_allclose(lazy, dense, rtol=2e-5, atol=2e-6)


@every_optimizer
@given(run=gradient_runs(), data=st.data())
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(make: Make, run: list[Any], data: Any) -> None:
    cut = data.draw(st.integers(0, len(run)))
    p = table()
    first = make([p])
    for g in run[:cut]:
        p.grad = g
        first.step()
    saved, weights = first.state_dict(), p.data.copy()
    for g in run[cut:]:  # goes on after saving, which must change neither it nor what was saved
        p.grad = g
        first.step()
    q = Parameter(weights)
    second = make([q])
    second.load_state_dict(saved)
    for g in run[cut:]:
        q.grad = g
        second.step()
    np.testing.assert_array_equal(q.data, p.data)
    np.testing.assert_array_equal(p.data, follow(make, run, dense=False))
    left, right = first.state_dict(), second.state_dict()
    assert left.keys() == right.keys()
    for key, value in left.items():
        np.testing.assert_array_equal(value, right[key])


@every_optimizer
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (200,), (30, 25), (3, 100), (2, 3, 40)])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_blocks_are_invisible_for_any_shape_and_memory_layout(
    make: Make, shape: tuple[int, ...], order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    data, *grads = (np.asarray(rng.standard_normal(shape)) for _ in range(3))
    whole = Parameter(data.copy())
    blocked = Parameter(np.stack([data, data], axis=-1)[..., 0] if order == "strided" else np.array(data, order=order))
    for block, p in ((10**6, whole), (64, blocked)):
        monkeypatch.setattr("tinygrad_rnn.optim.optimizer.BLOCK", block)
        optimizer = make([p])
        for g in grads:
            p.grad = g
            optimizer.step()
    np.testing.assert_array_equal(blocked.data, whole.data)


def adam(g: F8, s: dict[str, F8], n: int) -> F8:
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["v"] = 0.999 * s["v"] + 0.001 * g**2
    update: F8 = 0.05 * (s["m"] / (1 - 0.9**n)) / (np.sqrt(s["v"] / (1 - 0.999**n)) + 1e-8)
    return update


def rmsprop(g: F8, s: dict[str, F8], n: int) -> F8:
    s["m"] = 0.9 * s["m"] + 0.1 * g**2
    update: F8 = 0.05 * g / np.sqrt(s["m"] + 1e-6)
    return update


def adadelta(g: F8, s: dict[str, F8], n: int) -> F8:
    s["m"] = 0.8 * s["m"] + (1 - 0.8) * g**2
    d: F8 = np.sqrt(s["v"] + 1e-6) / np.sqrt(s["m"] + 1e-6) * g
    s["v"] = 0.8 * s["v"] + (1 - 0.8) * d**2
    return 0.7 * d


def adagrad(g: F8, s: dict[str, F8], n: int) -> F8:
    s["m"] = s["m"] + g**2
    update: F8 = 0.1 * g / (np.sqrt(s["m"]) + 1e-10)
    return update


def momentum(g: F8, s: dict[str, F8], n: int) -> F8:
    s["m"] = 0.9 * s["m"] + g
    return 0.1 * s["m"]


def nesterov(g: F8, s: dict[str, F8], n: int) -> F8:
    s["m"] = 0.8 * s["m"] + g
    return 0.1 * (g + 0.8 * s["m"])


def sgd(g: F8, s: dict[str, F8], n: int) -> F8:
    return 0.1 * g


@pytest.mark.parametrize("formula", [sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam])
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 8), scale=st.sampled_from([1e-4, 1.0, 1e4]))
def test_steps_are_the_published_formula(formula: Any, seed: int, steps: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    expected = rng.standard_normal((40, 7))
    p, state = Parameter(expected.copy()), {"m": np.zeros((40, 7)), "v": np.zeros((40, 7))}
    optimizer = OPTIMIZERS[formula.__name__]([p])
    for n in range(1, steps + 1):
        p.grad = rng.standard_normal((40, 7)) * scale
        expected = expected - formula(p.grad, state, n)
        optimizer.step()
    np.testing.assert_allclose(p.data, expected, rtol=1e-12, atol=1e-12)


def test_rmsprop_takes_the_tutorials_first_step() -> None:
    p = Parameter(np.array([1.0, 1.0]))
    p.grad = np.array([2.0, -1e-3])
    RMSprop([p], lr=0.001).step()
    np.testing.assert_allclose(p.data, [1 - 0.002 / math.sqrt(0.4 + 1e-6), 1 + 1e-6 / math.sqrt(1e-7 + 1e-6)])


@every_optimizer
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_parameter_and_everything_kept_for_it_have_its_dtype(make: Make, dtype: str) -> None:
    p = table(dtype)
    optimizer = make([p])
    for kind in ("f4", "f8"):
        optimizer.lr = np.float64(0.1)
        p.grad = np.ones((ROWS, WIDTH), kind)
        optimizer.step()
    assert p.data.dtype == dtype
    kept = [v for k, v in optimizer.state_dict().items() if isinstance(v, np.ndarray) and not k.startswith("last")]
    assert all(v.dtype == dtype for v in kept)


TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    "adagrad": ("Adagrad", {"lr": 0.1}),
    "adadelta": ("Adadelta", {"lr": 0.7, "rho": 0.8}),
    "rmsprop outside": ("RMSprop", {"lr": 0.05, "alpha": 0.7, "eps": 1e-6}),
    "adam": ("Adam", {"lr": 0.05}),
    "adamw": ("AdamW", {"lr": 0.05, "weight_decay": 0.3}),
}


@pytest.mark.parametrize("name", TORCH)
def test_steps_agree_with_pytorch_where_the_formulas_coincide(name: str) -> None:
    torch = pytest.importorskip("torch")
    kind, options = TORCH[name]
    p = table()
    theirs = torch.tensor(p.data.copy(), requires_grad=True)
    optimizer, reference = OPTIMIZERS[name]([p]), getattr(torch.optim, kind)([theirs], **options)
    rng = np.random.default_rng(1)
    for _ in range(10):
        p.grad = rng.standard_normal((ROWS, WIDTH))
        theirs.grad = torch.tensor(p.grad)
        optimizer.step()
        reference.step()
    np.testing.assert_allclose(p.data, theirs.detach().numpy(), rtol=1e-12)


def test_weight_decay_is_apart_from_the_gradient() -> None:
    for make in (SGD, AdaGrad, AdaDelta, RMSprop, Adam):
        p = Parameter(np.array([2.0]))
        p.grad = np.zeros(1)
        make([p], lr=0.1, weight_decay=0.5).step()
        np.testing.assert_allclose(p.data, [2.0 * (1 - 0.1 * 0.5)], rtol=1e-15)


@every_optimizer
def test_steps_change_the_array_in_place_and_leave_the_gradient_alone(make: Make) -> None:
    p = table()
    array, before, g = p.data, p.data.copy(), np.ones((ROWS, WIDTH))
    p.grad = g
    make([p]).step()
    assert p.data is array and (array != before).all() and (g == 1).all()


def test_a_read_only_array_is_replaced() -> None:
    p = Parameter(np.ones(3))
    p.data = np.broadcast_to(np.float64(1), (3,))
    p.grad = np.ones(3)
    SGD([p], lr=0.5).step()
    np.testing.assert_array_equal(p.data, [0.5] * 3)


@every_optimizer
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_gradient_that_is_not_finite_changes_nothing_at_all(make: Make, value: float, sparse: bool) -> None:
    a, b = table(seed=1), table(seed=2)
    optimizer = make({"a": a, "b": b})
    a.grad, b.grad = np.ones((ROWS, WIDTH)), np.ones((ROWS, WIDTH))
    assert optimizer.step()
    before, weights = optimizer.state_dict(), (a.data.copy(), b.data.copy())
    bad = np.ones((ROWS, WIDTH))
    bad[3, 1] = value
    b.grad = RowSparse(np.arange(ROWS), bad, bad.shape) if sparse else bad
    assert not optimizer.step()
    assert optimizer.skipped == 1 and optimizer.last_skip == "b"
    np.testing.assert_array_equal((a.data, b.data), weights)
    after = optimizer.state_dict()
    assert before.pop("skipped") == 0 and after.pop("skipped") == 1 and after.keys() == before.keys()
    for key in before:
        np.testing.assert_array_equal(after[key], before[key])


def test_finite_gradients_whose_sum_of_squares_overflows_are_applied() -> None:
    for make, size in ((SGD, 1e38), (RMSprop, 1e19), (Adam, 1e19)):
        p = Parameter(np.zeros(400, np.float32))
        p.grad = np.full(400, size, np.float32)
        assert make([p], lr=1e-38).step()
        assert np.isfinite(p.data).all() and p.data.all()


def test_a_gradient_too_large_to_square_is_skipped_before_it_poisons_the_accumulator() -> None:
    p = Parameter(np.zeros(4, np.float32))
    p.grad = np.full(4, 1e20, np.float32)
    optimizer = RMSprop([p])
    assert not optimizer.step() and optimizer.last_skip == "0"
    p.grad = np.full(4, 1e300)  # finite, and infinite in the parameter's dtype
    assert not SGD([p], lr=1.0).step() and not p.data.any()


def test_parameters_without_a_gradient_stay_and_do_not_count_a_step() -> None:
    a, b = table(), table()
    optimizer = Adam([a, b])
    a.grad = np.ones((ROWS, WIDTH))
    optimizer.step()
    np.testing.assert_array_equal(b.data, table().data)
    assert {k for k in optimizer.state_dict() if k.startswith("steps")} == {"steps.0"}


def test_a_parameter_that_is_listed_twice_is_updated_once() -> None:
    p = Parameter(np.ones(2))
    p.grad = np.ones(2)
    optimizer = SGD([p, p], lr=0.25)
    optimizer.step()
    np.testing.assert_array_equal(p.data, [0.75, 0.75])
    assert clip_by_norm([p, p], 10) == pytest.approx(math.sqrt(2))


def test_a_skip_calls_the_parameter_by_its_own_name_where_it_has_one() -> None:
    p = Parameter(np.ones(2), name="embedding")
    p.grad = np.array([1.0, np.nan])
    optimizer = SGD([p], lr=1.0)
    optimizer.step()
    assert optimizer.last_skip == "embedding"


def test_zero_grad_forgets_all_gradients() -> None:
    p = table()
    p.grad = np.ones((ROWS, WIDTH))
    SGD([p], lr=1.0).zero_grad()
    assert p.grad is None


def test_names_come_from_pairs_or_a_mapping_and_else_from_the_position() -> None:
    for parameters, name in (
        ([("w", table())], "w"),
        ({"w": table()}, "w"),
        ([table()], "0"),
        (iter([table()]), "0"),
    ):
        optimizer = Adam(parameters)
        for p in optimizer.parameters.values():
            p.grad = np.ones((ROWS, WIDTH))
        optimizer.step()
        assert {f"steps.{name}", f"mean.{name}", f"mean_square.{name}"} < optimizer.state_dict().keys()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD([], lr=0.1), "parameters must not be empty"),
        (lambda p: SGD(p, lr=0.1), "got a single one"),
        (lambda p: SGD([np.ones(2)], lr=0.1), r"must have \.data and \.grad, got ndarray"),  # type: ignore[arg-type]
        (lambda p: SGD([p], lr=-0.1), "lr must be a finite number of at least 0, got -0.1"),
        (lambda p: SGD([p], lr=math.nan), "lr must be .* got nan"),
        (lambda p: SGD([p], lr=math.inf), "lr must be .* got inf"),
        (lambda p: SGD([p], lr="fast"), "lr must be .* got 'fast'"),  # type: ignore[arg-type]
        (lambda p: SGD([p], lr=0.1, momentum=1.0), "momentum must be .* at least 0 and below 1, got 1.0"),
        (lambda p: SGD([p], lr=0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda p: RMSprop([p], decay=1.0), "decay must be .* below 1, got 1.0"),
        (lambda p: RMSprop([p], decay=-0.1), "decay must be"),
        (lambda p: AdaDelta([p], decay=math.nan), "decay must be"),
        (lambda p: RMSprop([p], eps=0.0), "eps must be a finite number above 0"),
        (lambda p: RMSprop([p], eps=1e-60), "eps must be above 0 in parameter 0's float32"),
        (lambda p: Adam([p], betas=(0.9, 1.0)), r"betas\[1\] must be"),
        (lambda p: Adam([p], betas=(0.9,)), "betas must be two numbers"),  # type: ignore[arg-type]
        (lambda p: Adam([p], weight_decay=-1), "weight_decay must be"),
    ],
)
def test_a_senseless_option_is_one_clear_sentence(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(Parameter(np.ones(2, np.float32)))


def test_lr_can_be_set_and_is_checked_then_too() -> None:
    optimizer = SGD([table()], lr=1.0)
    optimizer.lr = 0.0
    with pytest.raises(ValueError, match="lr must be"):
        optimizer.lr = -1.0
    assert optimizer.lr == 0.0


def test_a_gradient_of_another_shape_is_refused_before_anything_changes() -> None:
    a, b = table(), table()
    optimizer = SGD([a, b], lr=1.0)
    a.grad = np.ones((ROWS, WIDTH))
    try:
        b.grad = np.ones(WIDTH)
    except ValueError:
        return  # refused already when it was set
    with pytest.raises(ValueError, match=r"gradient of parameter 1 must have the parameter's shape \(5, 3\)"):
        optimizer.step()
    np.testing.assert_array_equal(a.data, table().data)


def test_a_parameter_that_was_cast_after_a_step_needs_a_new_optimiser() -> None:
    p = table()
    optimizer = Adam([p])
    p.grad = np.ones((ROWS, WIDTH))
    optimizer.step()
    p.data, p.grad = p.data.astype(np.float32), np.ones((ROWS, WIDTH), np.float32)
    with pytest.raises(ValueError, match="parameter 0 was moved, cast or resized"):
        optimizer.step()


def test_a_foreign_state_is_refused_and_changes_nothing() -> None:
    p, q = table(), Parameter(np.ones((2, 2)))
    p.grad, q.grad = np.ones((ROWS, WIDTH)), np.ones((2, 2))
    adam, other, small = Adam([p]), RMSprop([p]), Adam([q])
    for optimizer in (adam, other, small):
        optimizer.step()
    before = adam.state_dict()
    for foreign, message in (
        (other.state_dict(), "must have 'mean.0'"),
        (small.state_dict(), r"mean.0 must be \(5, 3\) of float64, got \(2, 2\)"),
        ({**before, "mean.7": 1}, "'mean.7', unknown to this Adam"),
        ({}, "must have 'lr'"),
    ):
        with pytest.raises(ValueError, match=message):
            adam.load_state_dict(foreign)
    np.testing.assert_array_equal(adam.state_dict()["mean.0"], before["mean.0"])


def test_a_state_by_position_is_refused_where_parameters_are_listed_in_another_order() -> None:
    def three(*names: str) -> list[Parameter]:
        return [Parameter(np.ones(2), name=name) for name in names]

    first = Adam(three("a", "b", "c"))
    for p in first.parameters.values():
        p.grad = np.ones(2)
    first.step()
    saved = first.state_dict()
    message = "listed in another order: parameter 1 was b, and is c here"
    with pytest.raises(ValueError, match=message):
        Adam(three("a", "c", "b")).load_state_dict(saved)
    for fits in (three("a", "b", "c"), three("", "", ""), three("x", "b", "c")):
        Adam(fits).load_state_dict(saved)
    Adam(three("b", "a", "c")).load_state_dict({k: v for k, v in saved.items() if not k.startswith("name.")})
    by_name = Adam([(p.name, p) for p in three("c", "a", "b")])
    by_name.load_state_dict({k.replace("0", "a").replace("1", "b").replace("2", "c"): v for k, v in saved.items()
                             if not k.startswith("name.")})  # fmt: skip
    assert not any(key.startswith("name.") for key in by_name.state_dict())


def test_a_loaded_state_is_copied_and_may_be_read_only() -> None:
    p, q = table(), table()
    first, second = Adam([p]), Adam([q])
    p.grad = q.grad = np.ones((ROWS, WIDTH))
    first.step()
    saved = first.state_dict()
    saved["mean.0"].flags.writeable = False
    kept = saved["mean_square.0"].copy()
    second.load_state_dict(saved)
    second.step()
    np.testing.assert_array_equal(saved["mean_square.0"], kept)


def test_the_state_says_which_rows_still_wait_for_their_decay() -> None:
    p = table()
    optimizer = RMSprop([p])
    for row in (0, 1):
        p.grad = RowSparse(np.array([row]), np.ones((1, WIDTH)), (ROWS, WIDTH))
        optimizer.step()
    np.testing.assert_array_equal(optimizer.state_dict()["last.0"], [1, 2, 0, 0, 0])
    p.grad = np.zeros((ROWS, WIDTH))
    optimizer.step()
    assert "last.0" not in optimizer.state_dict()
    np.testing.assert_allclose(optimizer.state_dict()["cache.0"][:, 0], [0.1 * 0.81, 0.1 * 0.9, 0, 0, 0])


# Clipping.


def with_grads(*grads: Any) -> list[Parameter]:
    parameters = [Parameter(np.zeros(g.shape, g.dtype)) for g in grads]
    for p, g in zip(parameters, grads, strict=True):
        p.grad = g
    return parameters


def dense(g: Any) -> F8:
    array: F8 = np.asarray(g.dense() if isinstance(g, RowSparse) else g, dtype=np.float64)
    return array


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-3, 1.0, 50.0]),
    st.sampled_from([("f4", 1e-30), ("f4", 1.0), ("f4", 3e37), ("f8", 1e-200), ("f8", 1.0), ("f8", 1e200)]),
)
def test_clipping_by_norm_bounds_the_norm_and_keeps_the_direction(
    sizes: list[int], seed: int, max_norm: float, kind: tuple[str, float]
) -> None:
    dtype, scale = kind
    rng = np.random.default_rng(seed)
    grads: list[Any] = [(rng.standard_normal((n, 2)) * scale).astype(dtype) for n in sizes]
    grads.append(RowSparse(np.array([0, 2]), (rng.standard_normal((2, 2)) * scale).astype(dtype), (3, 2)))
    before = np.concatenate([dense(g).reshape(-1) for g in grads])
    parameters = with_grads(*grads)
    norm = clip_by_norm(parameters, max_norm)
    top = abs(before).max()
    assert norm == pytest.approx(top * np.linalg.norm(before / top), rel=1e-6, abs=0)
    after = np.concatenate([dense(p.grad).reshape(-1) for p in parameters])
    assert all(p.grad.dtype == dtype for p in parameters)
    if norm <= max_norm:
        np.testing.assert_array_equal(after, before)
    else:
        assert np.linalg.norm(after) <= max_norm * (1 + 1e-6)
        np.testing.assert_allclose(after / max_norm, before / norm, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 100.0]))
def test_clipping_by_value_clips_each_entry(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    array = rng.standard_normal((4, 3)).astype("f4")
    sparse = RowSparse(np.array([1]), rng.standard_normal((1, 3)), (4, 3))
    expected = [np.clip(dense(g), -np.float32(limit), np.float32(limit)) for g in (array,)]
    parameters = with_grads(array, sparse)
    clip_by_value(parameters, limit)
    np.testing.assert_array_equal(array, expected[0])
    assert parameters[0].grad is array and array.dtype == np.float32
    assert isinstance(parameters[1].grad, RowSparse) and abs(parameters[1].grad.values).max() <= limit


@pytest.mark.parametrize("clip", [lambda ps: clip_by_norm(ps, 1e-3), lambda ps: clip_by_value(ps, 1e-3)])
def test_gradients_that_share_memory_or_are_read_only_are_clipped_once_each(clip: Any) -> None:
    base = np.arange(1.0, 13).reshape(3, 4)
    constant = np.broadcast_to(np.float64(2), (3, 4))

    def make() -> list[Any]:
        a, merged, frozen = base.copy(), base.copy(), base.copy()
        frozen.flags.writeable = False
        return [a, a, a.T, a[1:], constant, frozen, merged[:, :2], merged[:, 2:]]

    shared, apart = with_grads(*make()), with_grads(*(np.array(g) for g in make()))
    clip(shared)
    clip(apart)
    for p, q in zip(shared, apart, strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-15)
    assert constant[0, 0] == 2


def test_disjoint_views_of_one_array_are_clipped_in_place() -> None:
    merged = np.ones((3, 4))
    views = [merged[:, :2], merged[:, 2:]]
    parameters = with_grads(*views)
    clip_by_norm(parameters, 1.0)
    assert np.linalg.norm(merged) == pytest.approx(1.0) and parameters[0].grad is views[0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_is_returned_and_changes_nothing(value: float) -> None:
    g = np.array([1.0, value])
    parameters = with_grads(g, np.ones(2))
    assert not math.isfinite(clip_by_norm(parameters, 0.1))
    np.testing.assert_array_equal(parameters[0].grad, g)
    np.testing.assert_array_equal(parameters[1].grad, [1, 1])
    assert not SGD(parameters, lr=1.0).step()


def test_without_any_gradient_the_norm_is_zero() -> None:
    assert clip_by_norm([table()], 1.0) == 0.0
    assert clip_by_norm(with_grads(np.zeros(3), np.zeros((0, 2))), math.inf) == 0.0


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, None, "1"])
def test_a_senseless_bound_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="max_norm must be a number above 0, got"):
        clip_by_norm([table()], bad)
    with pytest.raises(ValueError, match="limit must be a number above 0, got"):
        clip_by_value([table()], bad)


# Schedules.


def lrs(schedule: Any, optimizer: Optimizer, steps: int) -> list[float]:
    seen = [optimizer.lr]
    for _ in range(steps):
        assert schedule.step() == optimizer.lr
        seen.append(optimizer.lr)
    return seen


def test_schedules_over_time_follow_their_formula() -> None:
    def run(make: Any, steps: int = 5) -> list[float]:
        optimizer = SGD([table()], lr=2.0)
        return lrs(make(optimizer), optimizer, steps)

    assert run(lambda o: StepDecay(o, every=2, factor=0.5)) == [2, 2, 1, 1, 0.5, 0.5]
    assert run(lambda o: ExponentialDecay(o, 0.5)) == [2, 1, 0.5, 0.25, 0.125, 0.0625]
    assert run(lambda o: ExponentialDecay(o, 0.5, warmup=3)) == [0.5, 1, 1.5, 2, 1, 0.5]
    cosine = [0.4 + 1.6 * 0.5 * (1 + math.cos(math.pi * n / 4)) for n in (0, 1, 2, 3, 4, 4)]
    assert run(lambda o: CosineDecay(o, steps=4, final=0.2)) == pytest.approx(cosine)
    assert run(lambda o: CosineDecay(o, steps=3, warmup=1)) == pytest.approx([1, 2, 1, 0, 0, 0])


def test_the_tutorials_schedule_halves_where_the_loss_rose_since_the_last_evaluation() -> None:
    optimizer = SGD([table()], lr=0.8)
    schedule = HalveOnRise(optimizer)
    seen = [schedule.step(loss) for loss in (3.0, 2.0, 2.0, 2.5, 2.4, math.nan, 2.45)]
    assert seen == [0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.1]
    with pytest.raises(ValueError, match="loss must be given"):
        schedule.step()


def test_a_loss_that_is_infinite_counts_as_a_rise_and_is_not_what_the_next_is_compared_with() -> None:
    schedule = HalveOnRise(SGD([table()], lr=0.8))
    assert [schedule.step(loss) for loss in (math.inf, 2.0, math.inf, 1.0)] == [0.4, 0.4, 0.2, 0.2]
    schedule.step(math.inf)
    assert json.loads(json.dumps(schedule.state_dict(), allow_nan=False)) == {"last": 1.0}


def test_schedules_nest() -> None:
    optimizer = SGD([table()], lr=1.0)
    cosine = CosineDecay(optimizer, steps=2)
    halve = HalveOnRise(cosine)
    cosine.step()
    halve.step(1.0)
    halve.step(2.0)
    assert optimizer.lr == pytest.approx(0.25) and cosine.lr == 0.5
    warm = ExponentialDecay(StepDecay(optimizer, every=1), 0.5)
    warm.step()
    assert optimizer.lr == pytest.approx(0.125)


@given(st.lists(st.floats(0, 10), max_size=12), st.integers(0, 12))
def test_a_resumed_schedule_is_the_uninterrupted_one(losses: list[float], cut: int) -> None:
    def fresh() -> tuple[SGD, list[Any]]:
        optimizer = SGD([table()], lr=0.3)
        cosine = CosineDecay(optimizer, steps=8, warmup=2, final=0.1)
        return optimizer, [cosine, HalveOnRise(cosine)]

    first, schedules = fresh()
    for loss in losses[:cut]:
        for s in schedules:
            s.step(loss)
    second, resumed = fresh()
    second.load_state_dict(first.state_dict())
    for s, r in zip(schedules, resumed, strict=True):
        r.load_state_dict(s.state_dict())
    assert second.lr == first.lr
    for loss in losses[cut:]:
        for s in (*schedules, *resumed):
            s.step(loss)
        assert second.lr == first.lr


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: StepDecay(o, every=0), "every must be a finite number of at least 1, got 0"),
        (lambda o: StepDecay(o, every=1, factor=0), "factor must be a finite number above 0, got 0"),
        (lambda o: ExponentialDecay(o, -1), "factor must be"),
        (lambda o: CosineDecay(o, steps=0), "steps must be"),
        (lambda o: CosineDecay(o, steps=3, warmup=3), "warmup must be below steps = 3, got 3"),
        (lambda o: CosineDecay(o, steps=3, warmup=-1), "warmup must be"),
        (lambda o: HalveOnRise(o, factor=math.inf), "factor must be"),
    ],
)
def test_a_senseless_schedule_is_one_clear_sentence(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(SGD([table()], lr=1.0))


def test_a_gradient_whose_entries_are_one_number_in_memory_is_scaled_once() -> None:
    p = Parameter(np.zeros(4))
    p.grad = np.lib.stride_tricks.as_strided(np.array([3.0]), (4,), (0,))
    assert clip_by_norm([p], 1.0) == 6.0
    np.testing.assert_allclose(p.grad, 0.5)
    p.grad = np.lib.stride_tricks.as_strided(np.array([3.0, 1.0]), (4, 1), (0, 8))
    clip_by_value([p], 2.0)
    np.testing.assert_array_equal(p.grad, np.full((4, 1), 2.0))
