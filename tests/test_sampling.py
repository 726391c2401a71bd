"""Sampling: which tokens can be drawn, how often, and that a carried state is the whole prefix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
from example_counts import part_of_the_examples
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.models.sampling import draw, generate

V, STOP = 6, 5


class Fixed:
    """A generator whose next number is known."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


def drawable(scores: Any, **options: Any) -> set[int]:
    """Every index that can come out, found with numbers all over [0, 1)."""
    numbers = [*np.linspace(0, 1, 801, endpoint=False), np.nextafter(1.0, 0.0)]
    return {draw(scores, cast(np.random.Generator, Fixed(n)), **options) for n in numbers}


def kept_by_hand(parts: Sequence[int], top_k: int | None, top_p: Fraction | None) -> set[int]:
    """Of probabilities in the ratio of whole numbers: the k largest (of equal ones the first), and of them the fewest
    of the largest that together reach p."""
    order = sorted(range(len(parts)), key=lambda i: (-parts[i], i))[:top_k]
    total, kept, reached = sum(parts[i] for i in order), set(), Fraction(0)
    for i in order:
        if parts[i] and (top_p is None or reached < top_p):
            kept.add(i)
            reached += Fraction(parts[i], total)
    return kept


counts = st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(any)


def scores_of(parts: Sequence[int]) -> np.ndarray[Any, Any]:
    """Logits of probabilities in that ratio, shifted as a model's may be."""
    with np.errstate(divide="ignore"):
        return np.log(np.array(parts, dtype=np.float64)) + 3.0


@given(counts, st.none() | st.integers(1, 9), st.none() | st.integers(1, 99))
def test_top_k_and_top_p_keep_exactly_the_tokens_of_their_definitions(
    parts: list[int], top_k: int | None, percent: int | None
) -> None:
    # A fraction that no sum of such probabilities can be equal to: on a tie, rounding would decide.
    exact = None if percent is None else Fraction(percent, 101) + Fraction(1, 10_007)
    top_p = None if exact is None else float(exact)
    assert drawable(scores_of(parts), top_k=top_k, top_p=top_p) == kept_by_hand(parts, top_k, exact)


def test_the_token_that_crosses_top_p_is_kept_and_the_next_is_not() -> None:
    scores = scores_of([4, 2, 1, 1])  # 1/2, 1/4, 1/8, 1/8
    assert drawable(scores, top_p=0.49) == {0}
    assert drawable(scores, top_p=0.51) == {0, 1}
    assert drawable(scores, top_p=0.74) == {0, 1}
    assert drawable(scores, top_p=0.76) == {0, 1, 2}
    assert drawable(scores, top_p=1.0) == {0, 1, 2, 3}
    assert drawable(scores, top_p=1e-300) == {0}


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=10), st.floats(0, 1, exclude_max=True))
def test_temperature_zero_is_the_first_of_the_largest(scores: list[float], number: float) -> None:
    rng = cast(np.random.Generator, Fixed(number))
    best = scores.index(max(scores))
    assert draw(np.array(scores), rng, 0.0) == best
    assert draw(np.array(scores), rng, 1.0, top_k=1) == best


def test_a_temperature_near_zero_is_the_largest_too_and_a_high_one_anything() -> None:
    scores = np.array([1.0, 2.0, 1.5])
    assert drawable(scores, temperature=1e-310) == {1}
    assert drawable(scores, temperature=1e9) == {0, 1, 2}


@part_of_the_examples(0.3)  # each is thousands of draws
@given(counts, st.sampled_from([0.5, 1.0, 2.0]))
def test_frequencies_are_the_softmax_of_the_scores_over_the_temperature(parts: list[int], temperature: float) -> None:
    """Pearson's statistic over 2,000 draws; 40 is beyond the 99.999th percentile for 7 degrees of freedom."""
    p = np.array(parts, dtype=np.float64) ** (1 / temperature)
    p /= p.sum()
    rng = np.random.default_rng(5)
    found = Counter(draw(scores_of(parts), rng, temperature) for _ in range(2000))
    assert set(found) <= set(np.flatnonzero(p))
    assert sum((found[i] - 2000 * chance) ** 2 / (2000 * chance) for i, chance in enumerate(p) if chance) < 40


def test_frequencies_within_the_top_are_those_of_the_whole_made_to_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    found = Counter(draw(scores_of([1, 6, 3, 90 * 0]), rng, top_k=2) for _ in range(4000))
    assert set(found) == {1, 2} and found[1] / 4000 == pytest.approx(6 / 9, abs=0.03)


def test_scores_of_which_none_can_be_drawn_are_refused() -> None:
    for scores in ([-np.inf, -np.inf], [0.0, np.nan], [np.inf, 0.0], [np.nan, np.nan], []):
        for temperature in (0.0, 1.0):
            with pytest.raises(ValueError, match="nothing can be drawn"):
                draw(np.array(scores), np.random.default_rng(0), temperature)


def test_the_scores_are_not_changed() -> None:
    scores = np.array([1.0, 2.0])
    draw(scores, np.random.default_rng(0), 0.5, 1, 0.5)
    np.testing.assert_array_equal(scores, [1.0, 2.0])


# --- Whole sentences -------------------------------------------------------------------------------------------


def model_of(cell: str = "gru", seed: int = 0, layers: int = 2) -> LanguageModel:
    return LanguageModel(V, 4, 5, layers, cell, dropout=0.5, dtype=np.float64, rng=np.random.default_rng(seed))


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.sampled_from(["rnn", "gru", "lstm"]), st.integers(0, 50), st.lists(st.integers(0, V - 1), min_size=1))
def test_the_carried_state_gives_what_reading_the_whole_prefix_anew_gives(
    cell: str, seed: int, prompt: list[int]
) -> None:
    model = model_of(cell, seed)
    found = generate(model, prompt, rng_of(seed), max_length=6)
    rng, ids = rng_of(seed), list(prompt)
    for _ in range(6):
        logits, _ = model(np.array(ids)[:, None])
        ids.append(draw(logits.numpy()[-1, 0], rng))
    assert found == ids[len(prompt) :]


def test_temperature_zero_needs_no_generator_and_follows_the_largest_logit() -> None:
    model = model_of(seed=3)
    found = generate(model, [1], rng_of(0), temperature=0, max_length=8)
    assert found == generate(model, [1], rng_of(99), temperature=0, max_length=8)
    ids = [1]
    for _ in range(8):
        ids.append(int(model(np.array(ids)[:, None])[0].numpy()[-1, 0].argmax()))
    assert found == ids[1:]


def test_the_same_seed_gives_the_same_sentence_and_another_another() -> None:
    model = model_of()
    assert generate(model, [0], rng_of(1)) == generate(model, [0], rng_of(1))
    assert generate(model, [0], rng_of(1)) != generate(model, [0], rng_of(2))


@given(st.sets(st.integers(0, V - 1), max_size=V - 2), st.integers(0, 20), st.sampled_from([0.0, 1.0, 5.0]))
def test_what_must_never_be_drawn_never_is(never: set[int], seed: int, temperature: float) -> None:
    found = generate(model_of(), [0], rng_of(seed), max_length=30, never=never, temperature=temperature)
    assert len(found) == 30 and not never & set(found)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 50))
def test_sentences_end_with_stop_or_at_the_longest_and_not_before_the_shortest(a: int, b: int, seed: int) -> None:
    shortest, longest = sorted((a, b))
    found = generate(model_of(), [0], rng_of(seed), stop=STOP, min_length=shortest, max_length=longest)
    assert shortest <= len(found) <= longest
    assert STOP not in found


def test_stop_ends_a_sentence_and_is_not_part_of_it() -> None:
    model = model_of()
    model.output_bias.data = np.where(np.arange(V) == STOP, 50.0, 0.0)
    assert generate(model, [0], rng_of(), stop=STOP) == []
    assert len(generate(model, [0], rng_of(), stop=STOP, min_length=3)) == 3
    assert generate(model, [0], rng_of(), max_length=4) == [STOP] * 4, "without stop it is a token like any other"


def test_generating_does_not_drop_out_and_leaves_no_gradient() -> None:
    model = model_of()
    assert len({tuple(generate(model, [0], rng_of(s), temperature=0, max_length=9)) for s in range(5)}) == 1
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "options, word",
    [
        ({"prompt": []}, "prompt"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
        ({"min_length": -1}, "min_length"),
        ({"min_length": 5, "max_length": 4}, "min_length"),
        ({"never": range(V)}, "excluded"),
        ({"never": range(V - 1), "stop": STOP, "min_length": 1}, "excluded"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], word: str) -> None:
    prompt = options.pop("prompt", [0])
    with pytest.raises(ValueError, match=word):
        generate(model_of(), prompt, rng_of(), **options)


def test_ids_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(IndexError):
        generate(model_of(), [V], rng_of())
