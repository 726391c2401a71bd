"""Connectionist temporal classification: what enumerating all alignments says a loss, a gradient and labels are."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stand_in import DeviceArray, device

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, grad, ops
from tinygrad_rnn.models import ctc_beam, ctc_greedy, ctc_loss

Array = np.ndarray[Any, Any]
FLOATS = [np.float16, np.float32, np.float64]


def collapsed(path: Any, blank: int) -> tuple[int, ...]:
    """The definition: repetitions merged, then blanks dropped."""
    return tuple(int(k) for k, _ in itertools.groupby(path) if k != blank)


def log_softmax(x: Array) -> Array:
    return np.asarray(x - np.logaddexp.reduce(x, axis=-1, keepdims=True))


class Batch:
    """Logits and targets of rows of these numbers of frames and labels, with rubbish past their ends."""

    def __init__(self, sizes: list[tuple[int, int]], classes: int = 3, blank: int = 0, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, classes, *itertools.chain(*sizes)])
        self.rows, self.classes, self.blank = len(sizes), classes, blank
        self.lengths, self.counts = np.array(sizes, dtype=int).reshape(-1, 2).T
        steps, most = (max(each, default=0) + 1 for each in (self.lengths, self.counts))
        past = np.arange(steps)[:, None] >= self.lengths
        self.logits = np.where(past[..., None], np.nan, rng.normal(0, 2, (steps, self.rows, classes)))
        labels = rng.choice([k for k in range(classes) if k != blank], (most, self.rows))
        self.targets = np.where(np.arange(most)[:, None] < self.counts, labels, -5)

    def loss(self, logits: Any = None, **options: Any) -> Tensor:
        logits = Tensor(self.logits) if logits is None else logits
        return ctc_loss(logits, self.targets, self.lengths, self.counts, blank=self.blank, **options)

    def labels(self, row: int) -> tuple[int, ...]:
        return tuple(map(int, self.targets[: self.counts[row], row]))

    def chances(self, row: int) -> dict[tuple[int, ...], float]:
        """The log-probability of everything that can be said in so many frames, over all its alignments."""
        frames = log_softmax(self.logits[: self.lengths[row], row])
        found: dict[tuple[int, ...], float] = defaultdict(lambda: -np.inf)
        for path in itertools.product(range(self.classes), repeat=len(frames)):
            said = collapsed(path, self.blank)
            found[said] = float(np.logaddexp(found[said], frames[np.arange(len(frames)), [*path]].sum()))
        return found

    @property
    def expected(self) -> list[float]:
        return [-self.chances(row)[self.labels(row)] for row in range(self.rows)]


batches = st.builds(
    lambda sizes, classes, blank, seed: Batch(sizes, classes, blank % classes, seed),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=3),
    st.integers(2, 3),
    st.integers(0, 2),
    st.integers(0, 99),
)


@given(batches)
def test_the_loss_is_that_of_enumerating_all_alignments(batch: Batch) -> None:
    expected = np.array(batch.expected)
    np.testing.assert_allclose(batch.loss(reduction="none").numpy(), expected, rtol=1e-10, atol=1e-12)
    assert batch.loss(reduction="sum").item() == pytest.approx(expected.sum())
    mean = (expected / np.maximum(batch.counts, 1)).sum() / max(batch.rows, 1)
    assert batch.loss().item() == pytest.approx(mean)
    finite = np.where(np.isfinite(expected), expected, 0)
    zeroed = batch.loss(reduction="none", zero_impossible=True).numpy()
    np.testing.assert_allclose(zeroed, finite, rtol=1e-10, atol=1e-12)


@given(batches)
def test_the_gradient_of_each_row_is_that_of_the_row_alone_and_0_where_it_is_impossible(batch: Batch) -> None:
    g = grad(lambda x: batch.loss(x, reduction="sum"))(Tensor(batch.logits)).numpy()
    assert np.isfinite(g).all()
    for row, (length, loss) in enumerate(zip(batch.lengths, batch.expected, strict=True)):
        assert not g[length:, row].any()
        if not np.isfinite(loss):
            assert not g[:, row].any()
        elif length:
            alone = grad(lambda x, row=row: ctc_loss(x, [[k] for k in batch.labels(row)] or np.zeros((0, 1), int),
                         blank=batch.blank, reduction="sum"))(Tensor(batch.logits[:length, [row]]))  # fmt: skip
            np.testing.assert_allclose(g[:length, [row]], alone.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("compiled", [True, False])
def test_derivatives_to_second_order_agree_with_finite_differences(compiled: bool) -> None:
    batch = Batch([(3, 2), (1, 2), (2, 0)])
    batch.targets[:2, 0] = 1  # repeated
    with tg.compiled(compiled):
        tg.gradcheck(lambda x: batch.loss(x, zero_impossible=True), Tensor(np.nan_to_num(batch.logits)), order=2)


def test_a_repeated_label_needs_a_blank_between() -> None:
    loss = ctc_loss(Tensor(np.zeros((3, 2, 3))), [[1, 1], [2, 1]], [3, 3], reduction="none").numpy()
    np.testing.assert_allclose(loss, -np.log([5 / 27, 1 / 27]), rtol=1e-12)
    assert ctc_loss(Tensor(np.zeros((2, 1, 3))), [[1], [1]]).item() == np.inf


def test_a_mean_divides_by_the_targets_lengths_and_by_the_rows() -> None:
    logits, targets = Tensor(np.zeros((4, 3, 3))), np.array([[1, 2, 0], [2, 0, 0]])
    losses = ctc_loss(logits, targets, None, [2, 1, 0], reduction="none").numpy()
    assert ctc_loss(logits, targets, None, [2, 1, 0]).item() == pytest.approx((losses / [2, 1, 1]).sum() / 3)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("zero_impossible", [False, True])
def test_logits_at_the_limits_of_the_dtype_make_no_nan_to_second_order(dtype: Any, zero_impossible: bool) -> None:
    """What is ruled out by -inf or by far, in part, throughout, and a frame in which everything is."""
    top = np.finfo(dtype).max
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 7, 3)).astype(dtype)
    logits[1, 0, 2], logits[:, 1, 1], logits[2, 2] = -np.inf, -np.inf, -np.inf
    logits[1, 3], logits[:, 4, 0], logits[:, 5, 1] = [top, -top, top], top / 100, -top / 8
    logits[:, 6, 1:] = -top
    targets = np.array([[1, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 2]])

    def losses(x: Any) -> Tensor:
        return ctc_loss(x, targets, reduction="none", zero_impossible=zero_impossible)

    found = losses(Tensor(logits))
    assert found.dtype == dtype
    impossible = 0.0 if zero_impossible else np.inf
    assert found.numpy()[[1, 2]].tolist() == [impossible] * 2 and np.isfinite(found.numpy()[[0, 3]]).all()
    assert found.numpy()[6] == (np.inf if dtype == np.float16 else impossible)  # found in float32, and beyond float16
    x = Tensor(logits)
    g = grad(lambda x: losses(x).sum())(x).numpy()
    assert np.isfinite(g).all() and not g[:, [1, 2]].any() and g[:, [0, 3]].any()
    twice = grad(lambda x: ops.square(grad(lambda y: losses(y).sum())(x)).sum())(x).numpy()
    assert np.isfinite(twice).all() and twice[:, 0].any()


def test_a_logit_that_is_no_number_is_not_hidden() -> None:
    logits = np.zeros((3, 2, 3))
    logits[1, 1, 2] = np.nan
    losses = ctc_loss(Tensor(logits), [[1, 1]], reduction="none", zero_impossible=True).numpy()
    assert np.isfinite(losses[0]) and np.isnan(losses[1])


@pytest.mark.parametrize("dtype", FLOATS)
def test_many_frames_are_as_exact_as_the_dtype(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(300, 2, 5)).astype(dtype), rng.integers(1, 5, (20, 2))
    found, wide = (ctc_loss(Tensor(x), targets) for x in (logits, logits.astype(float)))
    assert found.dtype == dtype and found.item() == pytest.approx(wide.item(), rel=10 * float(np.finfo(dtype).eps))


def test_log_probabilities_give_what_their_logits_give() -> None:
    batch = Batch([(4, 2), (3, 1)])
    given = ops.log_softmax(np.nan_to_num(batch.logits))
    np.testing.assert_allclose(batch.loss(given).item(), batch.loss().item(), rtol=1e-12)


def test_it_runs_on_another_device_as_well() -> None:
    batch = Batch([(4, 2), (0, 0), (3, 1)])
    there = Tensor(device.asarray(batch.logits))
    assert isinstance(batch.loss(there).data, DeviceArray)
    assert batch.loss(there).item() == pytest.approx(batch.loss().item())
    for decode in (ctc_greedy, ctc_beam):
        found, expected = (decode(x, batch.lengths) for x in (there, batch.logits))
        assert found[0] == expected[0] and (found[1] == expected[1]).all()


# --- Labels out of it ------------------------------------------------------------------------------------------


@given(batches)
def test_greedy_labels_are_those_of_the_likeliest_path(batch: Batch) -> None:
    labels, log_probs = ctc_greedy(Tensor(batch.logits), batch.lengths, blank=batch.blank)
    for row, length in enumerate(batch.lengths):
        frames = log_softmax(batch.logits[:length, row])
        assert tuple(labels[row]) == collapsed(frames.argmax(axis=-1), batch.blank)
        assert log_probs[row] == pytest.approx(frames.max(axis=-1).sum())


@given(batches)
def test_a_beam_that_drops_nothing_finds_the_likeliest_labels_in_order_with_their_whole_probability(
    batch: Batch,
) -> None:
    found, log_probs = ctc_beam(batch.logits, batch.lengths, 81, best=81, blank=batch.blank)
    for row in range(batch.rows):
        chances = batch.chances(row)
        count = len(found[row])
        assert [*map(tuple, found[row])] == sorted(chances, key=lambda said: -chances[said])
        np.testing.assert_allclose(log_probs[row, :count], [chances[tuple(s)] for s in found[row]], rtol=1e-9)
        assert (log_probs[row, count:] == -np.inf).all() and count == len(chances)


@given(batches, st.integers(1, 4))
def test_a_narrow_beam_claims_no_more_than_its_labels_have_and_rows_are_apart(batch: Batch, beam: int) -> None:
    found, log_probs = ctc_beam(batch.logits, batch.lengths, beam, blank=batch.blank)
    for row, length in enumerate(batch.lengths):
        assert log_probs[row] <= batch.chances(row)[tuple(found[row])] + 1e-9
        alone = ctc_beam(batch.logits[:length, [row]], None, beam, blank=batch.blank)
        assert alone[0] == [found[row]] and alone[1][0] == log_probs[row]


def test_a_beam_finds_what_the_likeliest_path_does_not_spell() -> None:
    """Graves 2012, fig. 7.4 in numbers: blanks make the likeliest path, a label the likeliest of all alignments."""
    logits = np.log(np.array([[[0.6, 0.4]], [[0.6, 0.4]]]))
    assert ctc_greedy(logits)[0] == [[]]
    labels, log_probs = ctc_beam(logits, beam=2)
    assert labels == [[1]] and log_probs[0] == pytest.approx(np.log(0.64))
    assert log_probs[0] == pytest.approx(-ctc_loss(Tensor(logits), [[1]]).item())


def prefix_search(frames: Array, beam: int) -> dict[tuple[int, ...], float]:
    """Hannun et al. 2014, algorithm 1, without a language model: of each beginning the probabilities of the alignments
    that end with a blank (0) and of those that do not."""
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    for frame in np.exp(frames):
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for said, (by_blank, by_label) in kept.items():
            grown[said][0] += frame[0] * (by_blank + by_label)
            if said:
                grown[said][1] += frame[said[-1]] * by_label
            for k in range(1, len(frame)):
                grown[(*said, k)][1] += frame[k] * (by_blank if said[-1:] == (k,) else by_blank + by_label)
        likeliest = sorted(grown, key=lambda said: -sum(grown[said]))[:beam]
        kept = {said: (grown[said][0], grown[said][1]) for said in likeliest if sum(grown[said])}
    return {said: float(np.log(sum(both))) for said, both in kept.items()}


@given(st.integers(0, 10**6), st.integers(4, 12), st.integers(2, 3), st.integers(1, 5), st.sampled_from([0, 0.3]))
@example(0, 12, 3, 4, 0.0)  # where a beginning is dropped and comes back while one that goes on from it is kept
@example(1, 12, 3, 4, 0.0)
def test_a_beam_is_the_textbooks_search(seed: int, steps: int, classes: int, beam: int, ruled_out: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (steps, 1, classes))
    if ruled_out:
        logits[rng.random(logits.shape) < ruled_out] = -np.inf
        logits[:, 0, rng.integers(classes)] = 0
    (found,), (log_probs,) = ctc_beam(logits, beam=beam, best=beam)
    expected = prefix_search(log_softmax(logits[:, 0]), beam)
    assert [*map(tuple, found)] == [*expected]
    np.testing.assert_allclose(log_probs[: len(found)], [*expected.values()], rtol=1e-9)


# --- Refusals --------------------------------------------------------------------------------------------------

X, Y = np.zeros((3, 2, 4)), np.ones((1, 2), int)


@pytest.mark.parametrize(
    ("error", "said", "call"),
    [
        (ValueError, r"logits must be \(T,B,K\) floats, got float64 of shape \(2, 4\)", lambda: ctc_loss(X[0], Y)),
        (ValueError, r"ctc_beam: logits must have the shape \(T,B,K\)", lambda: ctc_beam(X[0])),
        (ValueError, r"targets must have the shape \(L,2\), got \(2, 1\)", lambda: ctc_loss(X, Y.T)),
        (TypeError, "targets must be whole numbers, got dtype float64", lambda: ctc_loss(X, Y + 0.5)),
        (IndexError, "targets must lie between 0 and 3, got 4", lambda: ctc_loss(X, Y + 3)),
        (ValueError, "targets must not hold the blank, which is 1; blank= names", lambda: ctc_loss(X, Y, blank=1)),
        (ValueError, "^lengths must be 2 whole numbers between 0 and 3", lambda: ctc_loss(X, Y, [3, 4])),
        (ValueError, "^target_lengths must be 2 whole .* between 0 and 1", lambda: ctc_loss(X, Y, None, [0, 2])),
        (ValueError, "ctc_loss: blank must lie between 0 and 3, got 4", lambda: ctc_loss(X, Y, blank=4)),
        (TypeError, "ctc_greedy: blank must be a whole number", lambda: ctc_greedy(X, blank=True)),
        (ValueError, "ctc_beam: beam must be a whole number of at least 1, got 0", lambda: ctc_beam(X, beam=0)),
        (ValueError, "best must be at most the beam, 2, got 3", lambda: ctc_beam(X, beam=2, best=3)),
        (ValueError, 'reduction must be "mean"', lambda: ctc_loss(X, Y, reduction="all")),  # type: ignore[arg-type]  # refused
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_named(error: Any, said: str, call: Any) -> None:
    with pytest.raises(error, match=said):
        call()


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("decode", [ctc_greedy, ctc_beam])
def test_a_frame_that_gives_nothing_to_choose_from_is_an_error_within_a_row_alone(decode: Any, rubbish: float) -> None:
    logits = np.zeros((3, 1, 2))
    logits[2] = rubbish
    assert np.isfinite(decode(logits, [2])[1]).all()
    with pytest.raises(ValueError, match=f"the largest logit of a frame must be finite, got {rubbish}"):
        decode(logits)
