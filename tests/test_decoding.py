"""Decoding: what comes out is what enumerating all sequences says it must be, of a batch as of each row alone."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stand_in import DeviceArray, device

from tinygrad_rnn.loops.trees import prefix_leaves
from tinygrad_rnn.models import LSTM, Decoded, Embedding, LanguageModel, decode
from tinygrad_rnn.models.beam import length_penalty
from tinygrad_rnn.models.sampling import generate, generate_best
from tinygrad_rnn.surroundings import is_recording
from tinygrad_rnn.tensor import Tensor

V, END = 3, 2
ENDLESS = (None, END)


@cache
def logits_after(seed: int, prefix: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The scores (V,) of a model that remembers everything: other numbers after every sequence of ids."""
    return np.random.default_rng([seed, *(i + 1 for i in prefix)]).normal(0, 2, V).round(2)


def remembering(seed: int, blurred: bool = False) -> Any:
    """A step whose state is all that it has read, (B,n); `blurred`: with many equal scores."""

    def step(state: Any, ids: Any) -> Any:
        read = Tensor(np.concatenate([state.data, np.asarray(ids)[:, None]], axis=1))
        scores = np.array([logits_after(seed, tuple(map(int, row))) for row in read.data])
        return read, Tensor(scores.round(-1) if blurred else scores)

    return step


def nothing_read(rows: int) -> Tensor:
    return Tensor(np.zeros((rows, 0), dtype=np.int64))


def log_softmax(scores: Any) -> Any:
    return scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())


class Sequence(NamedTuple):
    ids: tuple[int, ...]
    ended: bool
    log_prob: float

    def score(self, alpha: float) -> float:
        return float(self.log_prob / length_penalty(len(self.ids) + self.ended, alpha))


def all_sequences(
    seed: int, start: int, end: int | None, max_length: int, min_length: int = 0, never: Any = ()
) -> list[Sequence]:
    """Everything that can come out, by trying all of it."""
    found = []
    for length in range(max_length + 1):
        for ids in itertools.product([i for i in range(V) if i != end and i not in never], repeat=length):
            steps = [log_softmax(logits_after(seed, (start, *ids[:n]))) for n in range(length + 1)]
            log_prob = float(sum(steps[n][i] for n, i in enumerate(ids)))
            if length == max_length:
                found.append(Sequence(ids, False, log_prob))
            elif end is not None and end not in never and length >= min_length:
                found.append(Sequence(ids, True, log_prob + steps[length][end]))
    return found


def row(decoded: Decoded, number: int = 0) -> Sequence:
    return Sequence(tuple(decoded.sequences[number]), bool(decoded.ended[number]), float(decoded.log_probs[number]))


seeds, starts = st.integers(0, 10_000), st.integers(0, V - 1)
alphas = st.sampled_from([0.0, 0.6, 1.0, 3.0])
lengths = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted)
excluded = st.sets(starts, max_size=V - 2)


def test_the_sequences_of_the_reference_have_probabilities_that_add_up_to_one() -> None:
    for end in ENDLESS:
        assert np.exp([s.log_prob for s in all_sequences(1, 0, end, 4)]).sum() == pytest.approx(1.0)


# --- The beam --------------------------------------------------------------------------------------------------


@given(seeds, starts, st.sampled_from(ENDLESS), lengths, excluded, alphas)
def test_a_beam_wider_than_all_there_is_finds_what_trying_everything_finds(
    seed: int, start: int, end: int | None, lengths: list[int], never: set[int], alpha: float
) -> None:
    shortest, longest = lengths
    expected = all_sequences(seed, start, end, longest, shortest, never)
    expected.sort(key=lambda s: -s.score(alpha))
    count = min(len(expected), 9)
    options: Any = {"min_length": shortest, "max_length": longest, "never": never, "length_normalisation": alpha}
    found = decode(remembering(seed), nothing_read(1), start, end, "beam", beam=V**4, best=V**4, **options)
    np.testing.assert_allclose(found.scores[0][: len(expected)], [s.score(alpha) for s in expected], rtol=1e-12)
    assert len(found.sequences[0]) == len(expected) and (found.scores[0][len(expected) :] == -np.inf).all()
    assert {tuple(ids) for ids in found.sequences[0]} == {s.ids for s in expected}
    first = decode(remembering(seed), nothing_read(1), start, end, "beam", beam=V**4, **options)
    assert row(first)[:2] == expected[0][:2] and first.log_probs[0] == pytest.approx(expected[0].log_prob)
    some = decode(remembering(seed), nothing_read(1), start, end, "beam", beam=V**4, best=count, **options)
    np.testing.assert_allclose(some.scores[0], [s.score(alpha) for s in expected[:count]], rtol=1e-12)


@given(seeds, st.integers(1, 4), alphas, st.integers(0, 8), st.booleans())
def test_no_beam_is_below_greedy_in_its_own_score(
    seed: int, beam: int, alpha: float, longest: int, blurred: bool
) -> None:
    options: Any = {"max_length": longest, "length_normalisation": alpha}
    step = remembering(seed, blurred)
    greedy = decode(step, nothing_read(3), np.arange(3), END, **options)
    best = decode(step, nothing_read(3), np.arange(3), END, "beam", beam=beam, **options)
    assert (best.scores >= greedy.scores).all()


def tabled(table: dict[tuple[int, ...], list[float]]) -> Any:
    """A step that gives these probabilities after these ids, and is sure of the end after all others."""

    def step(state: Any, ids: Any) -> Any:
        read = np.concatenate([state.data, np.asarray(ids)[:, None]], axis=1)
        rows = [table.get(tuple(map(int, row[1:])), [1e-9, 1e-9, 1.0]) for row in read]
        return Tensor(read), Tensor(np.log(np.array(rows) / np.sum(rows, axis=1, keepdims=True)))

    return step


@pytest.mark.parametrize("ending, alpha", [(0.31, 0.0), (0.35, 1.0)], ids=["less likely", "as likely"])
def test_the_greedy_hypothesis_keeps_its_place_when_others_would_crowd_it_out(ending: float, alpha: float) -> None:
    # Behind the likeliest first id, 0, nothing is as likely as both that follow on 1, until it is sure of itself. An
    # end as likely as id 0 comes second.
    table = {
        (): [0.5, 0.49, 0.01],
        (0,): [0.35, 0.65 - ending, ending],
        (1,): [0.5, 0.5, 1e-9],
        (1, 0): [0.5, 0.5, 1e-9],
        (1, 1): [0.5, 0.5, 1e-9],
        (0, 0): [1.0, 1e-9, 1e-9],
        (0, 0, 0): [1.0, 1e-9, 1e-9],
    }
    options: Any = {"max_length": 9, "length_normalisation": alpha}
    greedy = decode(tabled(table), nothing_read(1), 0, END, **options)
    best = decode(tabled(table), nothing_read(1), 0, END, "beam", beam=2, **options)
    assert greedy.sequences == best.sequences == [[0, 0, 0, 0]] and best.scores == greedy.scores


def test_a_beam_goes_on_past_many_that_have_ended_while_a_running_one_can_still_win() -> None:
    # All that end early are ahead of the long one when they end, and behind it once its length is paid for.
    table = {(0,) * n: [0.7, 0.01, 0.29] for n in range(6)}
    alpha = 3.0
    found = decode(
        tabled(table), nothing_read(1), 0, END, "beam", beam=2, max_length=8, length_normalisation=alpha, best=2
    )
    assert found.sequences[0][0] == [0] * 6
    plain = decode(tabled(table), nothing_read(1), 0, END, "beam", beam=2, max_length=8, length_normalisation=0.0)
    assert plain.sequences == [[]]


def test_a_beam_stops_when_no_running_hypothesis_can_win_any_more() -> None:
    calls = []

    def step(state: Any, ids: Any) -> Any:
        calls.append(len(ids))
        return None, np.tile(np.log([0.3, 0.3, 0.4]), (len(ids), 1))

    assert decode(step, None, 0, END, "beam", beam=2, max_length=50, length_normalisation=0.0).sequences == [[]]
    assert calls == [1]
    calls.clear()
    decode(step, None, 0, END, "beam", beam=2, max_length=50, length_normalisation=0.6)
    assert 1 < len(calls) < 50 and set(calls) == {1, 2}


def test_a_beam_of_one_may_be_better_than_greedy_since_every_end_is_tried() -> None:
    table = {(): [0.6, 0.0001, 0.4], (0,): [0.4, 0.3, 0.3]}
    greedy = decode(tabled(table), nothing_read(1), 0, END, max_length=5, length_normalisation=0.0)
    beam = decode(tabled(table), nothing_read(1), 0, END, "beam", beam=1, max_length=5, length_normalisation=0.0)
    assert (greedy.sequences, beam.sequences) == ([[0, 0]], [[]]) and beam.scores > greedy.scores


@given(seeds, alphas)
def test_without_an_end_a_beam_of_one_is_greedy(seed: int, alpha: float) -> None:
    step = remembering(seed)
    options: Any = {"max_length": 6, "length_normalisation": alpha}
    greedy = decode(step, nothing_read(2), [0, 1], None, **options)
    beam = decode(step, nothing_read(2), [0, 1], None, "beam", beam=1, **options)
    np.testing.assert_array_equal(greedy.ids, beam.ids)
    np.testing.assert_array_equal(greedy.log_probs, beam.log_probs)


# --- One id a step ---------------------------------------------------------------------------------------------


@given(seeds, starts, st.sampled_from(ENDLESS), lengths, excluded, st.booleans())
def test_greedy_takes_the_first_of_the_likeliest_ids_that_are_allowed(
    seed: int, start: int, end: int | None, lengths: list[int], never: set[int], blurred: bool
) -> None:
    shortest, longest = lengths
    assume(len(never | {end}) < V or longest == 0)
    step, ids, log_prob, ended = remembering(seed, blurred), [start], 0.0, False
    while len(ids) <= longest and not ended:
        scores = step(Tensor(np.array([ids[:-1]], dtype=np.int64)), ids[-1:])[1].data[0]
        barred = never | ({end} if len(ids) <= shortest else set())
        best = max((i for i in range(V) if i not in barred), key=lambda i: (scores[i], -i))
        log_prob += log_softmax(scores)[best]
        ended = best == end
        ids += [best] * (not ended)
    found = decode(step, nothing_read(1), start, end, min_length=shortest, max_length=longest, never=never)
    assert row(found)[:2] == (tuple(ids[1:]), ended) and found.log_probs[0] == pytest.approx(log_prob)


def test_samples_are_as_frequent_as_the_model_says() -> None:
    """Pearson's statistic of 2,000 rows; 60 is beyond the 99.99th percentile of the 22 degrees of freedom."""
    expected = {(s.ids, s.ended): np.exp(s.log_prob) for s in all_sequences(4, 0, END, 3)}
    options: Any = {"rng": np.random.default_rng(0), "max_length": 3}
    found = decode(remembering(4), nothing_read(2000), 0, END, "sample", **options)
    counts = Counter(zip(map(tuple, found.sequences), map(bool, found.ended), strict=True))
    assert set(counts) <= set(expected) and found.ids.shape[1] == 2000
    assert sum((counts[key] - 2000 * p) ** 2 / (2000 * p) for key, p in expected.items()) < 60


def test_the_temperature_and_the_top_are_those_of_draw_and_the_log_probability_is_the_models() -> None:
    step, rng = remembering(2), np.random.default_rng(0)
    greedy = decode(step, nothing_read(3), [0, 1, 0], END, max_length=5)
    for option in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-9}):
        found = decode(step, nothing_read(3), [0, 1, 0], END, "sample", max_length=5, rng=rng, **option)
        np.testing.assert_array_equal(found.ids, greedy.ids)
        np.testing.assert_array_equal(found.log_probs, greedy.log_probs)


def test_the_same_generator_gives_the_same_samples_and_another_others() -> None:
    def sampled(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        return decode(remembering(1), nothing_read(20), 0, END, "sample", rng=rng, max_length=9).sequences

    assert sampled(1) == sampled(1) != sampled(2)


# --- All ways --------------------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sample": {"temperature": 0.0, "rng": np.random.default_rng(0)},
    "beam": {"beam": 3},
}


@pytest.mark.parametrize("how", WAYS)
@given(seeds, st.lists(starts, min_size=1, max_size=5), st.sampled_from(ENDLESS), lengths)
def test_a_batch_gives_what_its_rows_give_alone(
    how: Any, seed: int, start: list[int], end: int | None, lengths: list[int]
) -> None:
    options: Any = {"min_length": lengths[0], "max_length": lengths[1], **WAYS[how]}
    together = decode(remembering(seed), nothing_read(len(start)), np.array(start), end, how, **options)
    for number, each in enumerate(start):
        alone = decode(remembering(seed), nothing_read(1), each, end, how, **options)
        assert row(together, number) == row(alone)
        assert together.scores[number] == alone.scores[0]


@pytest.mark.parametrize("how", WAYS)
@given(seeds, lengths, excluded)
def test_lengths_lie_between_the_bounds_and_what_must_never_come_up_does_not(
    how: Any, seed: int, lengths: list[int], never: set[int]
) -> None:
    assume(len(never | {END}) < V)
    options: Any = {"min_length": lengths[0], "max_length": lengths[1], "never": never, **WAYS[how]}
    found = decode(remembering(seed), nothing_read(4), 0, END, how, **options)
    assert ((found.lengths >= lengths[0]) & (found.lengths <= lengths[1])).all()
    assert all(not ({*ids} & {*never, END}) for ids in found.sequences)
    assert (found.ended | (found.lengths == lengths[1])).all()
    assert found.ids.shape == (found.lengths.max(), 4)


@pytest.mark.parametrize("how", WAYS)
def test_what_the_model_says_after_the_end_of_a_row_changes_nothing(how: Any) -> None:
    def step(state: Any, ids: Any) -> Any:
        count = state + 1
        scores = np.where(count.data[:, None] >= 4, [-np.inf, -np.inf, 9.0], [9.0, -np.inf, -np.inf])
        return count, np.where(count.data[:, None] >= 5, [np.nan, np.inf, 0.0], scores)

    state: Any = Tensor(np.array([0, 3]))
    found = decode(step, state, [0, 1], END, how, max_length=9, **WAYS[how])
    assert found.sequences == [[0, 0, 0], []] and found.ended.all() and found.ids[:, 1].tolist() == [END] * 3
    if how == "beam":
        found = decode(step, state, [0, 1], END, how, max_length=9, beam=3, best=3)
        assert found.sequences == [[[0, 0, 0]], [[]]] and found.scores.tolist() == [[0.0, -np.inf, -np.inf]] * 2


def lstm(sizes: Any) -> tuple[LSTM, Any]:
    rng = np.random.default_rng(3)
    embedding = Embedding(V, 3, dtype=np.float64, rng=rng)
    layer = LSTM(3, sizes, 2 if sizes == 4 else None, dtype=np.float64, rng=rng)
    table = Tensor(rng.normal(0, 4, (layer.output_size, V)))

    def step(state: Any, ids: Any) -> Any:
        outputs, new = layer(embedding(ids)[None], state["layer"])
        return {"layer": new}, outputs[0] @ table

    return layer, step


@pytest.mark.parametrize("sizes", [4, [4, 3]], ids=["one size", "two sizes"])
def test_both_states_of_every_layer_follow_the_hypotheses_that_are_kept(sizes: Any) -> None:
    layer, step = lstm(sizes)
    options: Any = {"batch_axis": {"layer": layer.batch_axes}, "beam": 3, "best": 3, "max_length": 6, "min_length": 2}
    found = decode(step, {"layer": None}, [0, 1], END, "beam", **options)
    for (number, start), place in itertools.product(enumerate([0, 1]), range(3)):
        ids = [start, *found.sequences[number][place]] + [END] * int(found.ended[number, place])
        state, log_prob = {"layer": None}, 0.0
        for before, after in itertools.pairwise(ids):
            state, scores = step(state, np.array([before]))
            log_prob += log_softmax(scores.numpy()[0])[after]
        assert found.log_probs[number, place] == pytest.approx(log_prob, abs=1e-12)


@pytest.mark.parametrize("how", WAYS)
def test_nothing_leaves_the_device_but_small_arrays(how: Any) -> None:
    rng = np.random.default_rng(5)
    table = rng.normal(0, 1, (2, V, V))

    def on(move: Any) -> Decoded:
        tables = Tensor(move(table))

        def step(state: Any, ids: Any) -> Any:
            assert type(ids) is type(tables.data)
            return ((state[0] + 1).astype(np.int64), [state[1][0] * 0.5]), tables[0][ids] + tables[1][ids] * state[1][
                0
            ].T

        state = (Tensor(move(np.zeros(2, np.int64))), [Tensor(move(np.ones((1, 2))))])
        return decode(step, state, [0, 1], END, how, batch_axis=(0, 1), max_length=4, min_length=1, **WAYS[how])

    host, there = on(np.array), on(device.asarray)
    np.testing.assert_array_equal(host.ids, there.ids)
    np.testing.assert_allclose(host.scores, there.scores, rtol=1e-13)
    assert isinstance(there.ids, np.ndarray)


@pytest.mark.parametrize("how", WAYS)
def test_nothing_is_on_the_tape(how: Any) -> None:
    weight, seen = Tensor(np.ones((1, V)), requires_grad=True), []

    def step(state: Any, ids: Any) -> Any:
        seen.append(is_recording() or weight.sum().requires_grad)
        return state, weight + np.zeros((len(ids), 1))

    decode(step, None, 0, END, how, max_length=2, min_length=2, **WAYS[how])
    assert seen == [False, False]


def test_a_start_may_be_a_tensor_and_lie_on_a_device() -> None:
    def step(state: Any, ids: Any) -> Any:
        assert isinstance(ids, DeviceArray)
        return state, device.asarray(np.tile([1.0, 2.0, 0.0], (2, 1)))

    start = Tensor(device.asarray(np.array([0, 1])))
    assert decode(step, None, start, END, max_length=2).sequences == [[1, 1], [1, 1]]


@pytest.mark.parametrize("how", WAYS)
def test_no_ids_at_all_are_a_sequence_of_log_probability_zero(how: Any) -> None:
    found = decode(remembering(0), nothing_read(2), 0, END, how, max_length=0, **WAYS[how])
    assert found.ids.shape == (0, 2) and found.sequences == [[], []] and not found.ended.any()
    assert (found.log_probs == 0).all() and (found.scores == 0).all()


@pytest.mark.parametrize("how", WAYS)
def test_no_rows_at_all_give_no_sequences(how: Any) -> None:
    def step(state: Any, ids: Any) -> Any:
        return state, np.zeros((len(ids), V))

    found = decode(step, nothing_read(0), np.zeros(0, np.int64), END, how, **WAYS[how])
    assert found.ids.shape == (0, 0) and found.sequences == []


@pytest.mark.parametrize("how", WAYS)
def test_scores_count_in_nats_whatever_their_dtype_and_their_shift(how: Any) -> None:
    for dtype, shift in ((np.float32, 0.0), (np.float32, 80.0), (np.float64, -1e4), (np.int64, 3)):

        def step(state: Any, ids: Any, dtype: Any = dtype, shift: float = shift) -> Any:
            return state, (np.tile([1.0, 0.0, -3.0], (len(ids), 1)) + shift).astype(dtype)

        found = decode(step, None, 0, None, how, max_length=3, **WAYS[how])
        assert found.log_probs[0] == pytest.approx(3 * log_softmax(np.array([1.0, 0.0, -3.0]))[0], rel=1e-5)


def test_a_score_is_divided_by_the_penalty_of_all_ids_and_the_end() -> None:
    assert length_penalty(1, 0.6) == 1.0 and length_penalty(13, 2.0) == pytest.approx(9.0)
    found = decode(remembering(3), nothing_read(3), [0, 1, 2], END, max_length=6, length_normalisation=1.0)
    scored = found.lengths + found.ended
    np.testing.assert_allclose(found.scores, found.log_probs * 6 / (5 + scored), rtol=1e-15)


# --- Mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"how": "best"}, 'how must be "greedy", "sample" or "beam", got \'best\''),
        ({"how": "beam", "temperature": 0.5}, 'temperature is for how="sample", got it with how="beam"'),
        ({"beam": 3}, 'beam is for how="beam", got it with how="greedy"'),
        ({"how": "sample"}, "rng must be a numpy.random.Generator"),
        ({"how": "sample", "rng": 3}, "rng must be a numpy.random.Generator"),
        ({"how": "sample", "rng": np.random.default_rng(0), "top_k": 0}, "top_k must be at least 1, got 0"),
        ({"how": "beam", "beam": 0}, "beam must be a whole number of at least 1, got 0"),
        ({"how": "beam", "beam": 2, "best": 3}, "best must be at most the beam, 2, got 3"),
        ({"length_normalisation": -1.0}, "length_normalisation must be 0 or more, got -1.0"),
        ({"min_length": 3, "max_length": 2}, "min_length must lie between 0 and max_length 2, got 3"),
        ({"max_length": 2.0}, "max_length must be a whole number, got 2.0"),
        ({"end": 3}, "end must be an id between 0 and 2, got 3"),
        ({"never": [-1]}, "never must be an id between 0 and 2, got -1"),
        ({"never": range(V)}, "nothing can be drawn"),
        ({"never": range(V), "how": "beam"}, "nothing can be drawn"),
        ({"start": 0.5}, "start must be an id or ids"),
        ({"start": [[0]]}, "start must be an id or ids"),
        ({"start": [0, 1, 2]}, "state must have 3 rows, one for each start, got a part of shape"),
        ({"state": (3,)}, "state must be Tensors in tuples, lists and dicts, got int"),
        ({"batch_axis": 2}, "batch_axis must be an axis of every part of the state, got 2"),
        ({"batch_axis": (0, 0)}, "batch_axis must be a number, or nested as the state is"),
        ({"step": lambda state, ids: state}, "step must return a state and scores, got Tensor"),
        ({"step": lambda state, ids: (state, Tensor(np.zeros((3, V))))}, r"scores of the shape \(2, V\), got \(3, 3\)"),
        ({"step": lambda state, ids: (state, np.full((2, V), np.nan))}, "scores are not finite"),
        ({"step": lambda state, ids: (state, np.full((2, V), np.nan)), "how": "beam"}, "scores are not finite"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], sentence: str) -> None:
    options = {"step": remembering(0), "state": nothing_read(2), "start": [0, 1], "end": END, **options}
    with pytest.raises((ValueError, TypeError), match=sentence):
        decode(**options)


def test_a_prefix_of_a_tree_stands_for_all_that_is_below() -> None:
    tree = {"b": (1, [2, 3]), "a": None, "c": 4}
    assert prefix_leaves(7, tree) == [7, 7, 7, 7]
    assert prefix_leaves({"c": 9, "b": (5, 6), "a": 8}, tree) == [5, 6, 6, 9]
    assert prefix_leaves((0, 1), None) == []
    for prefix in ((1, 2), {"b": 1}, {"b": (1,), "a": 0, "c": 0}, {"b": 1, "a": 1, "c": (1,)}):
        with pytest.raises(ValueError, match="was expected, or what it begins with"):
            prefix_leaves(prefix, tree)


# --- A language model ------------------------------------------------------------------------------------------


def model_of(cell: str = "lstm", hidden: Any = 5) -> LanguageModel:
    layers: Any = 2 if hidden == 5 else None
    model = LanguageModel(6, 4, hidden, layers, cell, dtype=np.float64, rng=np.random.default_rng(7))
    model.output_bias.data = np.linspace(-1, 1, 6)
    return model


@pytest.mark.parametrize("hidden", [5, [5, 3]], ids=["one size", "two sizes"])
def test_the_best_sentences_of_a_model_are_those_of_trying_everything(hidden: Any) -> None:
    model, prompt = model_of(hidden=hidden), [1, 3]
    scored = []
    for length in range(4):
        for ids in itertools.product([2, 3, 4], repeat=length):
            whole = [*prompt, *ids, *[5] * (length < 3)]
            logits, _ = model(np.array(whole[:-1])[:, None])
            steps = [log_softmax(each)[after] for each, after in zip(logits.numpy()[:, 0], whole[1:], strict=True)]
            scored.append((sum(steps[1:]) / length_penalty(len(whole) - 2, 0.6), [*ids]))
    scored.sort(key=lambda pair: -pair[0])
    found = generate_best(model, prompt, 30, count=4, stop=5, max_length=3, never=[0, 1])
    assert found == [ids for _, ids in scored[:4]]


def test_the_best_sentence_of_a_model_is_not_below_what_always_taking_the_likeliest_gives() -> None:
    model = model_of("gru")
    greedy = generate(model, [1], np.random.default_rng(0), temperature=0, max_length=8)
    assert generate_best(model, [1], 1, max_length=8) == [greedy]
    with pytest.raises(ValueError, match="prompt must hold at least one id"):
        generate_best(model, [])
