"""Examples in parts and batches: splits, buckets and padding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_rnn.data import TextError, buckets, padded, shuffled_split, stratified_split

seeds = st.integers(0, 9)
fractions = st.floats(0, 0.3)
labels = st.lists(st.integers(0, 5), min_size=20, max_size=120)


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def joined(parts: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(parts))


# --- Splits ----------------------------------------------------------------------------------------------------


@given(st.integers(3, 200), fractions, fractions, seeds)
def test_a_drawn_split_loses_nothing_and_its_parts_are_as_large_as_asked(
    total: int, valid: float, test: float, seed: int
) -> None:
    parts = shuffled_split(range(total), drawn(seed), valid, test)
    assert sorted(joined(parts)) == list(range(total))
    assert parts[0]
    for part, fraction in zip(parts[1:], (valid, test), strict=True):
        assert len(part) == (max(round(total * fraction), 1) if fraction else 0) or total < 10
        assert bool(part) == bool(fraction)
    assert parts == shuffled_split(range(total), drawn(seed), valid, test)


def test_of_few_examples_every_part_gets_one_however_much_it_asks_for() -> None:
    assert list(map(len, shuffled_split(range(3), drawn(), 0.5, 0.4))) == [1, 1, 1]
    assert list(map(len, shuffled_split(range(5), drawn(), 0.001, 0.9))) == [1, 1, 3]
    assert list(map(len, shuffled_split(range(2), drawn(), 0, 0.1))) == [1, 0, 1]


def test_a_drawn_split_is_drawn() -> None:
    first, second = (shuffled_split(range(100), drawn(seed))[2] for seed in (0, 1))
    assert sorted(first) != sorted(second) and first != sorted(first)
    rng = drawn()
    assert shuffled_split(range(100), rng) != shuffled_split(range(100), rng)


@given(labels, fractions, fractions, seeds)
@example([0] * 50 + [1] * 50, 0.1, 0.1, 0)
@example([0] + [1] * 99, 0.1, 0.1, 0)
def test_in_a_stratified_split_every_label_trains_and_is_as_frequent_in_each_part_as_in_all(
    values: list[int], valid: float, test: float, seed: int
) -> None:
    total = len(values)
    parts = stratified_split(list(enumerate(values)), drawn(seed), valid, test)
    assert sorted(joined(parts)) == list(enumerate(values))
    assert [len(part) for part in parts] == shuffled_sizes(total, valid, test)
    assert {label for _, label in parts[0]} == set(values)
    for label, count in Counter(values).items():
        for part in parts:
            share = count * len(part) / total
            assert abs(sum(y == label for _, y in part) - share) <= 2
    assert parts == stratified_split(list(enumerate(values)), drawn(seed), valid, test)


def shuffled_sizes(total: int, valid: float, test: float) -> list[int]:
    return [len(part) for part in shuffled_split(range(total), drawn(), valid, test)]


def test_a_stratified_split_takes_the_label_from_where_it_is_told_and_mixes_labels() -> None:
    examples = [("rare" if i % 10 == 0 else "common", i) for i in range(1000)]
    train, valid, test = stratified_split(examples, drawn(), 0.2, 0.1, key=lambda each: each[0])
    assert [sum(kind == "rare" for kind, _ in part) for part in (train, valid, test)] == [70, 20, 10]
    assert len({i for i, (kind, _) in enumerate(train) if kind == "rare"} & set(range(100))) < 30


def test_two_seeds_draw_two_stratified_splits_and_rare_labels_are_in_both_small_parts() -> None:
    examples = [(i, i // 5) for i in range(100)]  # twenty labels of five examples each
    first, second = (stratified_split(examples, drawn(seed)) for seed in (0, 1))
    assert sorted(first[2]) != sorted(second[2])
    assert len({label for _, label in first[1]}) == len({label for _, label in first[2]}) == 10
    assert len({label for _, label in first[0][:20]}) < 20  # the labels are mixed, too


@pytest.mark.parametrize("seed", range(8))
def test_a_label_that_stands_once_trains(seed: int) -> None:
    train, _, _ = stratified_split([(i, str(i % 9 if i > 8 else i)) for i in range(12)], drawn(seed), 0.1, 0.1)
    assert {label for _, label in train} == set("012345678")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: shuffled_split(range(2), drawn()), "3 parts must have an example each, got 2 examples"),
        (lambda: shuffled_split([], drawn(), 0, 0), "1 parts must have an example each, got 0 examples"),
        (
            lambda: shuffled_split(range(9), drawn(), 1.0),
            "the fraction that validates must be at least 0 and below 1, got 1.0",
        ),
        (
            lambda: shuffled_split(range(9), drawn(), 0, -0.1),
            "the fraction that tests must be at least 0 and below 1, got -0.1",
        ),
        (
            lambda: shuffled_split(range(9), drawn(), 0.5, 0.5),
            "the fraction that validates or tests must be at least 0 and below 1, got 1.0",
        ),
        (
            lambda: stratified_split([(i, i) for i in range(5)], drawn()),
            "the training part must have every label, and 5 examples leave it 3 for 5 labels",
        ),
    ],
)
def test_too_few_examples_are_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(TextError) as caught:
        call()
    assert str(caught.value) == sentence


# --- Buckets ---------------------------------------------------------------------------------------------------

lengths_of_rows = st.lists(st.integers(0, 9), min_size=1, max_size=40)


@given(lengths_of_rows, st.integers(1, 9), st.none() | seeds)
def test_buckets_hold_every_example_once_and_neighbours_in_length_together(
    lengths: list[int], size: int, seed: int | None
) -> None:
    rng = None if seed is None else drawn(seed)
    batches = list(buckets(list(enumerate(lengths)), size, lambda each: each[1], rng))
    assert sorted(joined(batches)) == list(enumerate(lengths))
    assert sorted(map(len, batches), reverse=True)[: len(lengths) // size] == [size] * (len(lengths) // size)
    # Batches reach over ranges of lengths that meet at their ends at most.
    spans = sorted((min(n for _, n in batch), max(n for _, n in batch)) for batch in batches)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


@given(lengths_of_rows, st.integers(1, 9), seeds)
def test_the_order_of_buckets_is_a_function_of_the_generator_alone(lengths: list[int], size: int, seed: int) -> None:
    rows = list(enumerate(lengths))
    np.random.seed(seed)
    first = list(buckets(rows, size, lambda each: each[1], drawn(seed)))
    np.random.seed(seed + 1)
    assert list(buckets(rows, size, lambda each: each[1], drawn(seed))) == first


def test_buckets_are_shuffled_and_so_are_examples_of_one_key() -> None:
    rows = [(i, i // 10) for i in range(40)]
    in_order = list(buckets(rows, 5, lambda each: each[1]))
    assert joined(in_order) == rows
    shuffled = list(buckets(rows, 5, lambda each: each[1], drawn()))
    assert [batch[0][1] for batch in shuffled] != [batch[0][1] for batch in in_order]
    assert sorted(map(sorted, shuffled)) != in_order
    by_two = list(buckets(rows, 5, lambda each: (-each[1], each[0])))
    assert by_two[0] == rows[30:35]


# --- Padding ---------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(-5, 5), max_size=5), min_size=1, max_size=5), st.integers(-2, 2))
def test_padding_puts_rows_side_by_side_and_the_value_behind_them(rows: list[list[int]], value: int) -> None:
    array, lengths = padded(rows, value)
    assert array.dtype == lengths.dtype == np.int64
    assert lengths.tolist() == [len(row) for row in rows]
    assert array.shape == (max(*lengths, 1), len(rows))
    for b, row in enumerate(rows):
        assert array[:, b].tolist() == row + [value] * (len(array) - len(row))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frames_are_padded_and_keep_their_dtype(dtype: type) -> None:
    rows: list[np.ndarray[Any, Any]] = [drawn().random((n, 3)).astype(dtype) for n in (2, 0, 4)]
    array, lengths = padded(rows, -1)
    assert array.shape == (4, 3, 3) and array.dtype == dtype and lengths.tolist() == [2, 0, 4]
    np.testing.assert_array_equal(array[:2, 0], rows[0])
    np.testing.assert_array_equal(array[:, 2], rows[2])
    assert (array[2:, 0] == -1).all() and (array[:, 1] == -1).all()
    assert padded([[], rows[0]])[0].shape == (2, 2, 3)
    assert padded([rows[1]])[0].shape == (1, 1, 3)
    assert padded(rows, dtype=np.float32)[0].dtype == np.float32


def test_whole_numbers_and_booleans_are_padded_as_such_unless_told() -> None:
    assert padded([np.array([1, 2], dtype=np.uint8)])[0].dtype == np.int64
    assert padded([[True], []], False)[0].tolist() == [[True, False]]
    assert padded([[1], []], 0.5, np.float32)[0].tolist() == [[1.0, 0.5]]
    assert padded([[1], []], float("nan"), float)[0].dtype == np.float64


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: padded([]), "rows to pad were expected, got none"),
        (lambda: padded([[1], 2]), "row 1 must be ids or frames, numbers in one shape, got '2'"),
        (lambda: padded([[1, [2]]]), "row 0 must be ids or frames, numbers in one shape, got '[1, [2]]'"),
        (lambda: padded([["a"]]), """row 0 must be ids or frames, numbers in one shape, got "['a']\""""),
        (
            lambda: padded([np.zeros((2, 3)), np.zeros((2, 2))]),
            "rows of one shape but for their length were expected, got entries of (2,) and (3,)",
        ),
        (lambda: padded([[0.5]], dtype=int), "rows of float64 and the value 0 do not keep what they are as int64"),
        (lambda: padded([[1]], 0.5), "rows of int64 and the value 0.5 do not keep what they are as int64"),
        (lambda: list(buckets([], 2, len)), "batches need an example, got none"),
        (lambda: list(buckets([[1]], 0, len)), "the size of a batch must be at least 1, got 0"),
    ],
)
def test_rows_that_do_not_fit_are_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(TextError) as caught:
        call()
    assert str(caught.value) == sentence
