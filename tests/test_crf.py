"""The conditional random field: what enumerating all sequences of tags says its loss, its gradient and its best are."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_in import DeviceArray, device

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, grad, ops
from tinygrad_rnn.models import CRF, crf_loss, viterbi

Array = np.ndarray[Any, Any]
FLOATS = [np.float16, np.float32, np.float64]


class Batch:
    """Scores and tags of rows of these lengths, with rubbish past their ends."""

    def __init__(self, lengths: list[int], classes: int, seed: int = 0, bounded: bool = True, padded: int = 0) -> None:
        rng = np.random.default_rng([seed, classes, *lengths])
        steps = max(lengths, default=0) + padded
        self.lengths, self.rows, self.classes = lengths, len(lengths), classes
        past = np.arange(steps)[:, None] >= np.array(lengths, dtype=int)
        self.emissions = np.where(past[..., None], np.nan, rng.normal(size=(steps, self.rows, classes)))
        self.tags = np.where(past, -7, rng.integers(0, classes, (steps, self.rows)))
        self.transitions = rng.normal(size=(classes, classes))
        self.start: Any = None
        self.end: Any = None
        if bounded:
            self.start, self.end = rng.normal(size=(2, classes))

    @property
    def scores(self) -> dict[str, Any]:
        return {"transitions": self.transitions, "start": self.start, "end": self.end}

    @property
    def counts(self) -> Array:
        return np.array(self.lengths, dtype=int)

    def paths(self, row: int) -> list[tuple[int, ...]]:
        return [*itertools.product(range(self.classes), repeat=self.lengths[row])]

    def score(self, row: int, path: Any) -> float:
        """The definition."""
        found = sum(self.emissions[t, row, k] for t, k in enumerate(path))
        found += sum(self.transitions[j, k] for j, k in itertools.pairwise(path))
        if self.start is not None and len(path):
            found += self.start[path[0]] + self.end[path[-1]]
        return float(found)

    def loss(self, row: int) -> float:
        total = np.logaddexp.reduce([self.score(row, path) for path in self.paths(row)])
        return float(total - self.score(row, self.tags[: self.lengths[row], row]))


batches = st.builds(
    Batch, st.lists(st.integers(0, 4), max_size=3), st.integers(1, 3), st.integers(0, 99), st.booleans(), st.just(1)
)


@given(batches)
def test_the_loss_is_that_of_enumerating_all_sequences_of_tags(batch: Batch) -> None:
    losses = crf_loss(Tensor(batch.emissions), batch.tags, **batch.scores, lengths=batch.counts, reduction="none")
    expected = [batch.loss(row) for row in range(batch.rows)]
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-10, atol=1e-12)
    for reduction, divisor in (("sum", 1), ("mean", max(batch.rows, 1))):
        options: Any = {"lengths": batch.counts, "reduction": reduction}
        found = crf_loss(Tensor(batch.emissions), batch.tags, **batch.scores, **options)
        assert found.item() == pytest.approx(sum(expected) / divisor)


@given(batches)
def test_viterbi_finds_the_best_of_all_sequences(batch: Batch) -> None:
    tags, scores = viterbi(Tensor(batch.emissions), **batch.scores, lengths=batch.counts)
    assert tags.dtype == np.int64 and tags.shape == batch.tags.shape
    for row, length in enumerate(batch.lengths):
        best = max(batch.paths(row), key=partial(batch.score, row))
        assert tuple(tags[:length, row]) == best and not tags[length:, row].any()
        assert scores[row] == pytest.approx(batch.score(row, best) if length else 0)


@given(batches)
def test_the_gradient_is_the_probability_of_each_tag_less_1_at_the_given_one(batch: Batch) -> None:
    def loss(emissions: Tensor) -> Tensor:
        return crf_loss(emissions, batch.tags, **batch.scores, lengths=batch.counts, reduction="sum")

    g = grad(loss)(Tensor(batch.emissions)).numpy()
    for row, length in enumerate(batch.lengths):
        marginals = g[:length, row].copy()
        marginals[np.arange(length), batch.tags[:length, row]] += 1
        np.testing.assert_allclose(marginals.sum(axis=-1), 1, rtol=1e-12)
        paths = batch.paths(row)
        chances = np.exp([batch.score(row, path) for path in paths])
        expected = np.zeros((length, batch.classes))
        for path, chance in zip(paths, chances / chances.sum(), strict=True):
            expected[np.arange(length), [*path]] += chance
        np.testing.assert_allclose(marginals, expected, rtol=1e-9, atol=1e-12)
        assert not g[length:, row].any()


@pytest.mark.parametrize("compiled", [True, False])
def test_derivatives_to_second_order_agree_with_finite_differences(compiled: bool) -> None:
    batch = Batch([3, 1, 2], 2)
    emissions = np.nan_to_num(batch.emissions)

    def loss(emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor) -> Tensor:
        return crf_loss(emissions, batch.tags, transitions, start, end, batch.lengths)

    with tg.compiled(compiled):
        tg.gradcheck(loss, Tensor(emissions), *map(Tensor, batch.scores.values()), order=2)


def test_what_scores_rule_out_is_out_of_it_and_tags_that_are_cost_infinity_without_a_gradient() -> None:
    batch = Batch([3, 3], 3)
    batch.transitions[0, 1] = batch.emissions[1, 0, 2] = -np.inf
    batch.tags = np.array([[2, 2], [1, 0], [1, 1]])
    assert batch.loss(1) == np.inf

    def losses(emissions: Tensor, transitions: Tensor) -> Tensor:
        return crf_loss(emissions, batch.tags, transitions, batch.start, batch.end, reduction="none")

    inputs = Tensor(batch.emissions), Tensor(batch.transitions)
    assert losses(*inputs).numpy().tolist() == [pytest.approx(batch.loss(0)), np.inf]
    by_emissions, by_transitions = grad(lambda *xs: losses(*xs).sum(), (0, 1))(*inputs)
    assert np.isfinite(by_emissions.numpy()).all() and np.isfinite(by_transitions.numpy()).all()
    assert by_emissions.numpy()[:, 0].any() and not by_emissions.numpy()[:, 1].any()
    twice = grad(lambda x: ops.square(grad(lambda e: losses(e, inputs[1]).sum())(x)).sum())(inputs[0])
    assert np.isfinite(twice.numpy()).all()
    tags, _ = viterbi(*inputs, batch.start, batch.end)
    assert tags[1, 0] != 2
    nothing = np.full((2, 1, 2), -np.inf)
    assert crf_loss(Tensor(nothing), [[0], [1]], np.zeros((2, 2))).item() == np.inf


def test_a_score_that_is_no_number_is_not_hidden() -> None:
    emissions = np.zeros((2, 2, 2))
    emissions[0, 1, 0] = np.nan
    losses = crf_loss(Tensor(emissions), np.zeros((2, 2), int), np.zeros((2, 2)), reduction="none").numpy()
    assert np.isfinite(losses[0]) and np.isnan(losses[1])


def test_a_small_loss_is_not_lost_between_two_large_scores() -> None:
    tags = np.random.default_rng(0).integers(0, 4, (300, 2))
    emissions = (100 + 10 * np.eye(4)[tags]).astype(np.float32)  # scores of 33,000, of which the last digit is 0.002
    found = crf_loss(Tensor(emissions), tags, Tensor(np.zeros((4, 4), np.float32))).item()
    assert found == pytest.approx(300 * np.log1p(3 * np.exp(-10)), rel=1e-3)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_long_row_is_as_exact_as_its_dtype(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    emissions, transitions = rng.normal(size=(300, 2, 4)).astype(dtype), rng.normal(size=(4, 4)).astype(dtype)
    tags = rng.integers(0, 4, (300, 2))
    found = crf_loss(Tensor(emissions), tags, Tensor(transitions))
    wide = crf_loss(Tensor(emissions.astype(float)), tags, Tensor(transitions.astype(float)))
    assert found.dtype == dtype and found.item() == pytest.approx(wide.item(), rel=50 * float(np.finfo(dtype).eps))
    assert viterbi(Tensor(emissions), Tensor(transitions))[1].dtype == dtype
    if dtype == np.float16:
        steep = np.array([[[3e4, -3e4]]] * 3, dtype)
        assert crf_loss(Tensor(steep), np.ones((3, 1), int), np.zeros((2, 2), dtype)).item() == np.inf


def test_the_module_learns_what_may_follow_what() -> None:
    """Tags 0, 1, 2, 0, ... in turn, of which only the first can be told from the emissions."""
    tags = (np.arange(6)[:, None] + [0, 1, 2]) % 3
    emissions = np.zeros((6, 3, 3))
    emissions[0] = 5 * np.eye(3)
    crf = CRF(3, dtype=np.float64)
    assert [p.shape for p in crf.parameters()] == [(3, 3), (3,), (3,)]
    first = crf(emissions, tags).item()
    for _ in range(60):
        crf.zero_grad()
        crf(emissions, tags, [6, 6, 5]).backward()
        for p in crf.parameters():
            p.data = p.data - p.grad
    assert crf(emissions, tags).item() < first / 20
    assert (crf.best(emissions)[0] == tags).all()


def test_it_runs_on_another_device_as_well() -> None:
    batch = Batch([3, 0, 2], 3)
    there: dict[str, Any] = {name: device.asarray(x) for name, x in batch.scores.items()}
    emissions = Tensor(device.asarray(batch.emissions))
    losses = crf_loss(emissions, batch.tags, **there, lengths=batch.lengths)
    assert isinstance(losses.data, DeviceArray)
    assert losses.item() == pytest.approx(np.mean([batch.loss(row) for row in range(3)]))
    tags, scores = viterbi(emissions, **there, lengths=batch.lengths)
    at_home = viterbi(batch.emissions, **batch.scores, lengths=batch.lengths)
    assert (tags == at_home[0]).all() and (scores == at_home[1]).all()


X, TAGS, A = np.zeros((3, 2, 4)), np.zeros((3, 2), int), np.zeros((4, 4))


@pytest.mark.parametrize(
    ("error", "said", "call"),
    [
        (ValueError, r"must be \(T,B,K\) floats, got float64 of shape \(2, 4\)", lambda: crf_loss(X[0], 0, A)),
        (ValueError, "emissions must be .* got int64", lambda: viterbi(TAGS[..., None], A)),
        (ValueError, r"viterbi: transitions must have the shape \(4, 4\), got \(4,\)", lambda: viterbi(X, A[0])),
        (ValueError, r"end must have the shape \(4,\), got \(4, 4\)", lambda: crf_loss(X, TAGS, A, A[0], A)),
        (ValueError, r"tags must have the shape \(3, 2\), got \(2, 3\)", lambda: crf_loss(X, TAGS.T.copy(), A)),
        (TypeError, "tags must be whole numbers, got dtype float64", lambda: crf_loss(X, TAGS + 0.5, A)),
        (IndexError, "tags must lie between 0 and 3, got 4", lambda: crf_loss(X, TAGS + 4, A)),
        (ValueError, "lengths must be 2 whole numbers", lambda: crf_loss(X, TAGS, A, lengths=[3, 4])),
        (ValueError, 'reduction must be "mean"', lambda: crf_loss(X, TAGS, A, reduction="all")),  # type: ignore[arg-type]  # refused
        (ValueError, "num_tags must be a whole number of at least 1, got 0", lambda: CRF(0)),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_named(error: Any, said: str, call: Any) -> None:
    with pytest.raises(error, match=said):
        call()
