"""The classifier: its poolings, padding, and where noise stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.models import Classifier, LSTMCell
from tinygrad_rnn.models.classifier import POOLINGS

LENGTHS = np.array([4, 1, 3])


def made(pooling: str, **options: Any) -> Classifier:
    rng = np.random.default_rng(0)
    return Classifier(7, 3, 4, 5, pooling=pooling, dtype=np.float64, rng=rng, **options)


@pytest.mark.parametrize("pooling", POOLINGS)
@given(padding=st.integers(0, 6), seed=st.integers(0, 9))
def test_padding_changes_nothing(pooling: str, padding: int, seed: int) -> None:
    model, rng = made(pooling), np.random.default_rng(seed)
    ids = rng.integers(0, 7, (4, 3))
    other = np.concatenate([ids, rng.integers(0, 7, (padding, 3))])
    other[np.arange(len(other))[:, None] >= LENGTHS] = padding
    np.testing.assert_allclose(model(other, LENGTHS).numpy(), model(ids, LENGTHS).numpy(), rtol=1e-12)
    alone = [model(ids[:length, [b]], LENGTHS[[b]]).numpy()[0] for b, length in enumerate(LENGTHS)]
    np.testing.assert_allclose(model(ids, LENGTHS).numpy(), alone, rtol=1e-12)


@pytest.mark.parametrize("directions", [1, 2])
def test_each_pooling_is_what_it_is_called(directions: int) -> None:
    ids = np.random.default_rng(1).integers(0, 7, (4, 1))
    for pooling in POOLINGS:
        model = made(pooling, bidirectional=directions == 2)
        outputs, (state,) = model.recurrent(model.embedding(ids))
        steps = outputs.numpy()[:, 0]
        pooled = {"mean": steps.mean(axis=0), "max": steps.max(axis=0), "last": state.numpy()[:, 0].ravel()}
        if pooling == "attention":
            model.attention.query.data = steps[1] * 3
            weights = model.attention_weights(ids, np.array([4])).numpy()[0]
            assert weights.max() > 0.4
            pooled["attention"] = weights @ steps
        expected = model.output(tg.Tensor(pooled[pooling][None])).numpy()[0]
        np.testing.assert_allclose(model(ids, np.array([4])).numpy()[0], expected, rtol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_are_those_of_finite_differences(pooling: str) -> None:
    model, ids = made(pooling), np.random.default_rng(2).integers(0, 7, (4, 3))
    weight = model.recurrent.cells[0].n.U

    def loss(value: Any) -> Any:
        weight.data = value.data
        return tg.ops.softmax_cross_entropy(model(ids, LENGTHS), np.array([0, 2, 1]))

    logits = model(ids, LENGTHS)
    tg.ops.softmax_cross_entropy(logits, np.array([0, 2, 1])).backward()
    found, step = weight.grad, 1e-6
    for place in np.ndindex(2, 2):
        sides = []
        for sign in (1, -1):
            moved = weight.data.copy()
            moved[place] += sign * step
            sides.append(loss(tg.Tensor(moved)).item())
            moved[place] -= sign * step
            weight.data = moved
        assert found[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_noise_is_drawn_where_there_is_a_generator() -> None:
    model, ids = made("mean", dropout=0.5, num_layers=2), np.ones((4, 3), dtype=np.int64)
    plain = model(ids, LENGTHS).numpy()
    np.testing.assert_array_equal(model(ids, LENGTHS).numpy(), plain)
    noisy = [model(ids, LENGTHS, np.random.default_rng(seed)).numpy() for seed in (0, 0, 1)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert not np.allclose(noisy[0], plain) and not np.allclose(noisy[0], noisy[2])


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match="pooling must be one of last, mean, max, attention, got 'sum'"):
        made("sum")
    with pytest.raises(ValueError, match="lengths must be 3 whole numbers between 0 and 4"):
        made("mean")(np.zeros((4, 3), dtype=np.int64), np.array([5, 1, 1]))
    with pytest.raises(ValueError, match="weights are those of attention, and the pooling is mean"):
        made("mean").attention_weights(np.zeros((4, 3), dtype=np.int64), LENGTHS)
    assert type(made("last", cell=LSTMCell).recurrent.cells[0]) is LSTMCell
