"""The full, the adaptive and the two-level softmax: one interface, and each one distribution over all classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.models import AdaptiveSoftmax, FullSoftmax, TwoLevelSoftmax, softmaxes
from tinygrad_rnn.models.softmaxes import SOFTMAXES, Softmax
from tinygrad_rnn.ops.rows import Reduction
from tinygrad_rnn.rowsparse import RowSparse

H = 3


def made(name: str, classes: int, seed: int = 0, **options: Any) -> Softmax:
    """One in float64 with weights, biases too, that are not small."""
    rng = np.random.default_rng(seed)
    softmax = SOFTMAXES[name](H, classes, **{"dtype": np.float64, "rng": rng, **options})
    for p in softmax.parameters():
        p.data = rng.standard_normal(p.shape).astype(p.dtype)
    return softmax


def rows(*shape: int, seed: int = 1) -> Tensor:
    return Tensor(np.random.default_rng(seed).standard_normal((*shape, H)), requires_grad=True)


every_softmax = pytest.mark.parametrize("name", SOFTMAXES)


@every_softmax
@given(classes=st.integers(1, 40), seed=st.integers(0, 99))
def test_probabilities_sum_to_one_over_all_classes(name: str, classes: int, seed: int) -> None:
    log_probabilities = made(name, classes, seed).log_probabilities(rows(2, 3, seed=seed))
    assert log_probabilities.shape == (2, 3, classes)
    np.testing.assert_allclose(np.exp(log_probabilities.numpy()).sum(axis=-1), 1.0, rtol=1e-12)


@every_softmax
@given(
    classes=st.integers(1, 40),
    count=st.integers(0, 30),
    seed=st.integers(0, 99),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.booleans(),
    ignoring=st.booleans(),
    group_size=st.sampled_from([None, 3, 7]),
)
def test_the_loss_is_minus_the_log_probability_of_the_target_weighed_and_reduced(
    name: str,
    classes: int,
    count: int,
    seed: int,
    reduction: Reduction,
    weighted: bool,
    ignoring: bool,
    group_size: int | None,
) -> None:
    rng = np.random.default_rng(seed)
    softmax = made(name, classes, seed, **({"group_size": group_size} if name == "two-level" else {}))
    hidden, targets = rows(count, seed=seed), rng.integers(0, classes, count)
    weights = rng.integers(0, 3, count) / 2 if weighted else None
    counting = np.ones(count) if weights is None else weights.copy()
    if ignoring:
        targets[:1] = -1
        counting[targets == -1] = 0
    loss = softmax.loss(hidden, targets, weights, -1 if ignoring else None, reduction)
    expected = -softmax.log_probabilities(hidden).numpy()[np.arange(count), targets] * counting
    if reduction != "none":
        expected = expected.sum() / (max(counting.sum(), 1e-300) if reduction == "mean" else 1)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-11, atol=1e-12)


@every_softmax
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_derivatives_to_second_order_agree_with_finite_differences(
    name: str, reduction: Reduction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmaxes, "BLOCK_ROWS", 2)
    softmax = made(name, 5)
    names = [name for name, _ in softmax.named_parameters()]
    targets, weights = np.array([0, 4, 0, 2, 0]), np.array([1.0, 2.0, 0.5, 1.0, 0.0])

    def loss(hidden: Tensor, *values: Tensor) -> Tensor:
        model = softmax.with_values(dict(zip(names, values, strict=True)))
        return ops.sin(model.loss(hidden, targets, weights, reduction=reduction))

    tg.gradcheck(loss, Tensor(rows(5).data), *(Tensor(p.data * 0.5) for p in softmax.parameters()), order=2)


@every_softmax
def test_gradients_of_the_loss_are_those_of_the_log_probabilities(name: str) -> None:
    softmax, targets = made(name, 23), np.random.default_rng(2).integers(0, 23, (5, 6))
    found = []
    for way in range(2):
        hidden = rows(5, 6)
        softmax.zero_grad()
        if way:
            softmax.loss(hidden, targets).backward()
        else:
            chosen = ops.take_along_axis(softmax.log_probabilities(hidden), targets[..., None])
            (-chosen.mean()).backward()
        grads = [p.grad.dense() if isinstance(p.grad, RowSparse) else p.grad for p in softmax.parameters()]
        found.append([hidden.grad, *grads])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@every_softmax
@given(classes=st.integers(1, 30), seed=st.integers(0, 99), steep=st.sampled_from([0.1, 1.0, 5.0]))
def test_predict_finds_the_likeliest_class_and_scores_are_the_distribution_but_for_a_constant(
    name: str, classes: int, seed: int, steep: float
) -> None:
    softmax, hidden = made(name, classes, seed), rows(3, 4, seed=seed) * steep
    log_probabilities = softmax.log_probabilities(hidden).numpy()
    predicted = softmax.predict(hidden)
    assert predicted.node is None and predicted.shape == (3, 4)
    np.testing.assert_array_equal(predicted.numpy(), log_probabilities.argmax(axis=-1))
    scores = ops.log_softmax(softmax.scores(hidden)).numpy()
    np.testing.assert_allclose(scores, log_probabilities, rtol=1e-9, atol=1e-14)


@every_softmax
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_it_keeps_its_dtype(name: str, dtype: Any) -> None:
    softmax = made(name, 10).astype(dtype)
    hidden = Tensor(rows(4).data.astype(dtype), requires_grad=True)
    loss = softmax.loss(hidden, np.array([0, 9, 4, 1]))
    loss.backward()
    assert loss.dtype == softmax.log_probabilities(hidden).dtype == hidden.grad.dtype == dtype
    assert all(p.grad is None or p.grad.dtype == dtype for p in softmax.parameters())


def test_the_full_one_has_the_loss_of_linear_cross_entropy_bit_for_bit() -> None:
    softmax, hidden, targets = made("full", 9), rows(2, 3), np.arange(6).reshape(2, 3)
    assert isinstance(softmax, FullSoftmax)
    expected = ops.linear_cross_entropy(hidden, softmax.weight, softmax.bias, targets)
    assert softmax.loss(hidden, targets).item() == expected.item()
    shared = FullSoftmax.of(softmax.weight, None)
    np.testing.assert_array_equal(shared.scores(hidden).numpy(), (hidden @ softmax.weight).numpy())


def test_a_loss_of_two_levels_changes_the_weights_of_its_groups_alone() -> None:
    softmax = made("two-level", 30, group_size=5)
    assert isinstance(softmax, TwoLevelSoftmax)
    softmax.loss(rows(3), np.array([29, 7, 8])).backward()
    assert isinstance(softmax.weight.grad, RowSparse) and softmax.weight.grad.rows.tolist() == [1, 5]


def test_without_cutoffs_there_are_two_and_of_few_classes_fewer() -> None:
    found = {classes: AdaptiveSoftmax(2, classes).cutoffs for classes in (1, 2, 3, 5, 100, 8000, 100_000)}
    assert found == {
        1: (1,), 2: (1, 2), 3: (1, 3), 5: (1, 2, 5), 100: (25, 50, 100), 8000: (1000, 2828, 8000),
        100_000: (2000, 14142, 100_000),
    }  # fmt: skip
    assert [p.shape for p in AdaptiveSoftmax(8, 6, ()).parameters()] == [(8, 6), (6,)]


@pytest.mark.parametrize("cutoffs", [(3, 3), (4, 2), (10,), (3, 12)])
def test_cutoffs_that_do_not_rise_within_the_classes_are_refused(cutoffs: Any) -> None:
    with pytest.raises(ValueError, match="cutoffs must rise and lie between 1 and 9, got"):
        AdaptiveSoftmax(4, 10, cutoffs)


def test_sizes_that_are_none_are_named() -> None:
    with pytest.raises(ValueError, match="cutoffs must be a whole number of at least 1, got 0"):
        AdaptiveSoftmax(4, 10, [0, 5])
    with pytest.raises(ValueError, match=r"shrink must be at least 1, got 0\.5"):
        AdaptiveSoftmax(4, 10, [5], 0.5)
    with pytest.raises(ValueError, match="group_size must be a whole number of at least 1, got 0"):
        TwoLevelSoftmax(4, 10, 0)
    for softmax in SOFTMAXES.values():
        with pytest.raises(ValueError, match="classes must be a whole number of at least 1, got 0"):
            softmax(4, 0)


@every_softmax
def test_targets_that_are_no_classes_are_named(name: str) -> None:
    softmax = made(name, 10)
    with pytest.raises(IndexError, match="targets must lie between 0 and 9, got 10"):
        softmax.loss(rows(2), np.array([3, 10]))
    with pytest.raises(ValueError, match=r"targets must have the shape \(2,\), one per row, got \(3,\)"):
        softmax.loss(rows(2), np.array([3, 1, 0]))
    with pytest.raises(ValueError, match="reduction must be"):
        softmax.loss(rows(2), np.array([3, 1]), reduction="max")  # type: ignore[arg-type]  # what is tested
