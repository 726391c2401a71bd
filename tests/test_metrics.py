"""Metrics: equal to their definitions, to brute force, and to numbers that others publish."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.metrics import (
    ConfusionMatrix,
    Scores,
    accuracy,
    confusion_matrix,
    edit_distance,
    exact_match,
    label_error_rate,
    label_scores,
    macro_f1,
    mae,
    mase,
    span_f1,
    span_scores,
    tagged_spans,
)

labelled = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=30)
texts = st.text("abc", max_size=6)
Pairs = list[tuple[str, str]]


def apart(pairs: Pairs) -> tuple[list[str], list[str]]:
    return [gold for gold, _ in pairs], [said for _, said in pairs]


# --- Labels ----------------------------------------------------------------------------------------------------

# scikit-learn 1.9.1: accuracy_score, f1_score(average="macro"), precision_recall_fscore_support, confusion_matrix
GOLD = "BBBAABABBAAAAAAACBBCAABAAAACBAAAAABAAABA"
SAID = "BACAABACBAAAAABBCBCCAABADAAABCCAAADAADBA"


def test_metrics_of_labels_are_those_of_scikit_learn() -> None:
    assert accuracy(GOLD, SAID) == 0.7
    assert macro_f1(GOLD, SAID) == pytest.approx(0.4731884057971014, rel=1e-14)
    scores = label_scores(GOLD, SAID)
    assert list(scores) == ["A", "B", "C", "D"]
    expected = {"A": (0.9047619, 0.76, 0.82608696), "B": (0.77777778, 0.58333333, 0.66666667)}
    expected |= {"C": (0.28571429, 0.66666667, 0.4), "D": (0.0, 0.0, 0.0)}
    for label, values in expected.items():
        found = scores[label]
        assert (found.precision, found.recall, found.f1) == pytest.approx(values, abs=1e-8)
    assert [scores[label].gold for label in "ABCD"] == [25, 12, 3, 0]
    assert confusion_matrix(GOLD, SAID).counts.tolist() == [[19, 2, 2, 2], [1, 7, 3, 1], [1, 0, 2, 0], [0, 0, 0, 0]]


@given(labelled)
def test_the_scores_of_a_label_follow_from_its_counts(pairs: Pairs) -> None:
    gold, said = apart(pairs)
    for label, found in label_scores(gold, said).items():
        both = sum(a == b == label for a, b in pairs)
        missed = sum(a == label != b for a, b in pairs)
        wrongly = sum(b == label != a for a, b in pairs)
        assert found == Scores(both, both + missed, both + wrongly)
        assert found.precision == (both / (both + wrongly) if both + wrongly else 0)
        assert found.recall == (both / (both + missed) if both + missed else 0)
        if both:
            assert found.f1 == pytest.approx(2 / (1 / found.precision + 1 / found.recall))
        else:
            assert found.f1 == 0
    assert set(label_scores(gold, said)) == {*gold, *said}


@given(labelled)
def test_a_confusion_matrix_adds_up(pairs: Pairs) -> None:
    gold, said = apart(pairs)
    matrix = confusion_matrix(gold, said, "abcde")
    assert matrix.labels == tuple("abcde") and matrix.counts.dtype == np.int64
    assert matrix.counts.sum() == len(pairs)
    assert np.trace(matrix.counts) / len(pairs) == accuracy(gold, said)
    for i, label in enumerate("abcde"):
        assert (matrix.counts[i].sum(), matrix.counts[:, i].sum()) == (gold.count(label), said.count(label))
    np.testing.assert_array_equal(matrix.counts.T, confusion_matrix(said, gold, "abcde").counts)


@given(labelled, st.permutations("abcde"), st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_names_nor_on_the_order_of_examples(
    pairs: Pairs, names: list[str], random: object
) -> None:
    gold, said = apart(pairs)
    renamed = dict(zip("abcde", names, strict=True))
    others = [(renamed[a], renamed[b]) for a, b in pairs]
    random.shuffle(others)  # type: ignore[attr-defined]  # a random.Random
    assert accuracy(*apart(others)) == accuracy(gold, said)
    assert macro_f1(*apart(others)) == pytest.approx(macro_f1(gold, said))
    assert (
        confusion_matrix(*apart(others), names).counts.tolist() == confusion_matrix(gold, said, "abcde").counts.tolist()
    )


def test_a_label_that_is_neither_right_nor_said_has_no_f1_and_one_that_was_said_wrongly_has_0() -> None:
    assert macro_f1("aabb", "aabb") == 1
    assert macro_f1("aabb", "aabc") == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert macro_f1(["a", 1], ["a", 1]) == 1


# --- The printed table -----------------------------------------------------------------------------------------


def test_a_confusion_matrix_is_printed_with_rows_of_what_is_right() -> None:
    assert str(confusion_matrix(["no", "yes", "no", "a\nb"], ["no", "no", "yes", "yes"])).split("\n") == [
        "gold \\ said  1  2  3",
        "1 a b        0  0  1",
        "2 no         0  1  1",
        "3 yes        0  1  0",
    ]


def test_rare_labels_are_joined_where_a_table_would_be_too_wide() -> None:
    gold = ["the most common of all labels there are"] * 300 + [f"label {i:02}" for i in range(60)] + ["zebra"] * 2
    lines = str(confusion_matrix(gold, gold)).split("\n")
    assert max(map(len, lines)) <= 80
    assert lines[-2].startswith("62 zebra ") and lines[-1].startswith("others 57 labels ")
    assert [line.split()[-1] for line in lines] == ["others", "0", "0", "0", "0", "0", "57"]
    assert any(line.startswith("61 the most common of al... ") for line in lines)
    assert sum(int(count) for line in lines[1:] for count in line[33:].split()) == 362


@given(st.integers(1, 40), st.integers(0, 9), st.integers(60, 120))
def test_a_printed_confusion_matrix_fits_and_loses_no_count(labels: int, seed: int, width: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 10_000, (labels, labels))
    lines = ConfusionMatrix(tuple(range(1000, 1000 + labels)), counts).table(width).split("\n")
    assert max(map(len, lines)) <= width
    assert sum(int(count) for line in lines[1:] for count in line.split()[2:] if count != "labels") == counts.sum()


# --- Spans -----------------------------------------------------------------------------------------------------

# seqeval 1.2.2, whose rules are those of CoNLL's conlleval; X and Y stand for B-X and B-Y, x and y for I-X and I-Y
TAGS = {"O": "O", "X": "B-X", "x": "I-X", "Y": "B-Y", "y": "I-Y"}
RIGHT = """XOOyXXOYOOOO yxXXyOxxOXYy OyOYYOXYOxYX YOOOOOyxOOyX yXXyYxXyXyOX XyOYxYxyOOOO OyYOxXxxOyXx xOOXYYYOyYyX
    yOOOOOOxOxOx OOyXYxxOxOYy yOOOOxYOyYOY yOxxxOxxYYOY"""
FOUND = """YOOyXXOYOOOO yxXXyOxxOXYy OyOYYOXYOYYX YOOXOOyxOOyX yXXyYxXxXyOX OYOYxYxyOOOO OyYOxXxxyyXx OOOOYYOOyYyX
    OOOOOOOxOxOX yOyXYxxOxYYy yOOOOxYOxYOY yOyxxOYxYYOY"""


def tags_of(text: str) -> list[list[str]]:
    return [[TAGS[letter] for letter in word] for word in text.split()]


def test_spans_are_scored_as_conlleval_does() -> None:
    gold, said = tags_of(RIGHT), tags_of(FOUND)
    assert span_f1(gold, said) == pytest.approx(0.8427672955974843, rel=1e-14)
    found = span_scores(gold, said)
    assert list(found) == ["X", "Y"]
    assert (found["X"].precision, found["X"].recall, found["X"].f1) == pytest.approx(
        (0.852941, 0.783784, 0.816901), abs=1e-6
    )
    assert (found["Y"].precision, found["Y"].recall, found["Y"].f1) == pytest.approx(
        (0.844444, 0.883721, 0.863636), abs=1e-6
    )
    assert (found["X"].gold, found["Y"].gold) == (37, 43)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-X I-X O B-X", [(0, 2, "X"), (3, 4, "X")]),
        ("B-X B-X", [(0, 1, "X"), (1, 2, "X")]),
        ("I-X I-X", [(0, 2, "X")]),  # an I that goes on with nothing begins a span
        ("O I-X I-Y I-Y", [(1, 2, "X"), (2, 4, "Y")]),
        ("B-X I-Y", [(0, 1, "X"), (1, 2, "Y")]),
        ("S-X B-X I-X E-X I-X S-X", [(0, 1, "X"), (1, 4, "X"), (4, 5, "X"), (5, 6, "X")]),
        ("B I B-NP-SBJ", [(0, 2, ""), (2, 3, "NP-SBJ")]),
        ("O O", []),
    ],
)
def test_tags_mark_spans(tags: str, spans: list[tuple[int, int, str]]) -> None:
    assert tagged_spans(tags.split()) == spans


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("XY")), max_size=5))
def test_spans_come_back_from_their_tags(parts: list[tuple[int, int, str]]) -> None:
    tags: list[str] = []
    expected = []
    for gap, length, kind in parts:
        tags += ["O"] * gap
        expected.append((len(tags), len(tags) + length, kind))
        tags += [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
    assert tagged_spans(tags) == expected
    assert span_f1([tags], [tags]) == bool(parts)
    assert span_f1([tags], [["O"] * len(tags)]) == 0
    assert span_f1([["O"] * len(tags)], [tags]) == 0


def test_spans_do_not_reach_from_sentence_to_sentence() -> None:
    assert span_scores([["O", "B-X"], ["I-X"]], [["O", "B-X"], ["O"]]) == {"X": Scores(1, 2, 1)}


# --- Sequences -------------------------------------------------------------------------------------------------


@given(texts, texts, texts)
def test_the_edit_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert edit_distance(a, a) == 0
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))
    assert edit_distance(a + c, b + c) == edit_distance(c + a, c + b) == edit_distance(a, b)


@given(texts, texts)
def test_the_edit_distance_is_that_of_all_ways_to_edit(a: str, b: str) -> None:
    @cache
    def brute_force(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(
            brute_force(a[1:], b) + 1,
            brute_force(a, b[1:]) + 1,
            brute_force(a[1:], b[1:]) + (a[0] != b[0]),
        )

    assert edit_distance(a, b) == brute_force(a, b)
    assert edit_distance(list(a), np.array(list(b))) == edit_distance(a, b)


def test_edit_distances_that_are_known() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("intention", "execution") == 5
    assert edit_distance("saturday", "sunday") == 3
    assert edit_distance("the cat sat".split(), "a cat sat down".split()) == 2


def test_the_label_error_rate_counts_symbols_not_sequences() -> None:
    assert label_error_rate(["abcdefgh", "ab"], ["abcdefgh", "ba"]) == pytest.approx(0.2)
    assert label_error_rate(["", "ab"], ["c", "ab"]) == 0.5
    assert label_error_rate(["a"], ["bcd"]) == 3
    assert label_error_rate([[1, 2]], [np.array([1, 2])]) == 0


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
def test_a_match_is_exact_where_there_is_nothing_to_edit(pairs: Pairs) -> None:
    gold, said = apart(pairs)
    assert exact_match(gold, said) == sum(edit_distance(a, b) == 0 for a, b in pairs) / len(pairs)
    assert exact_match(gold, [list(text) for text in gold]) == 1


# --- Numbers ---------------------------------------------------------------------------------------------------


def test_the_scaled_error_is_that_of_the_literature() -> None:
    # The example of sktime's documentation of mean_absolute_scaled_error.
    train, gold, said = [5, 0.5, 4, 6, 3, 5, 2], [3, -0.5, 2, 7, 2], [2.5, 0.0, 2, 8, 1.25]
    assert mae(gold, said) == pytest.approx(0.55)
    assert mase(gold, said, train) == pytest.approx(0.18333333333333335, rel=1e-14)
    assert mase(gold, said, train, season=2) == pytest.approx(0.55 / np.mean([1, 5.5, 1, 1, 1]))


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=12), st.integers(1, 3), st.sampled_from([0.5, 3, -2]))
def test_the_scaled_error_has_no_unit_and_is_1_for_what_it_is_scaled_by(
    series: list[int], season: int, scale: float
) -> None:
    values = np.array(series)
    if len(series) <= season or not np.abs(values[season:] - values[:-season]).sum():
        return
    assert mase(values[season:], values[:-season], values, season) == pytest.approx(1)
    gold, said = values[:3], values[::-1][:3]
    assert mase(scale * gold + 7, scale * said + 7, scale * values + 7, season) == pytest.approx(
        mase(gold, said, values, season)
    )
    assert mae(gold, said) == pytest.approx(math.fsum(abs(a - b) for a, b in zip(gold, said, strict=True)) / 3)


# --- Mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric", [accuracy, macro_f1, label_scores, confusion_matrix, exact_match, label_error_rate, span_f1]
)
def test_lists_that_do_not_fit_are_one_sentence(metric: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match=r"^gold and said must have as many entries, got 3 and 2$"):
        metric(["O", "O", "O"], ["O", "O"])
    with pytest.raises(ValueError, match=r"^gold and said must have an entry, got none$"):
        metric([], [])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: confusion_matrix("ab", "ac", "ab"), "each entry must be one of the 2 labels, got 'c'"),
        (lambda: confusion_matrix("ab", "ab").table(15), "a table of a confusion matrix needs a width of 31, got 15"),
        (lambda: tagged_spans(["NN"]), "a tag of a span must be O, or B-, I-, E- or S- and a type, got 'NN'"),
        (lambda: tagged_spans(["O-X"]), "a tag of a span must be O, or B-, I-, E- or S- and a type, got 'O-X'"),
        (lambda: span_f1([["O", "O"]], [["O"]]), "sentence 0 must have as many tags in both, got 2 and 1"),
        (lambda: label_error_rate([""], ["a"]), "gold must have a symbol, got empty sequences alone"),
        (lambda: mae([1, 2], [[1], [2]]), "gold and said must be of one shape, got (2,) and (2, 1)"),
        (lambda: mae([], []), "gold must be numbers, got none"),
        (lambda: mae([1], ["a"]), "said must be numbers, got <U1"),
        (lambda: mase([1], [1], [1, 2], 2), "train must be a series longer than a season of 2 steps, got shape (2,)"),
        (lambda: mase([1], [1], [[1, 2]]), "train must be a series longer than a season of 1 steps, got shape (1, 2)"),
        (
            lambda: mase([1], [1], [1, 2, 1, 2], 2),
            "train must change from season to season, got a series that repeats itself every 2",
        ),
    ],
)
def test_a_mistake_about_a_metric_is_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == sentence


def test_labels_may_be_whatever_has_a_hash() -> None:
    gold, said = [1, (2, 3), "a"], [1, (2, 3), None]
    assert accuracy(gold, said) == 2 / 3
    assert Counter(len(str(label)) for label in confusion_matrix(gold, said).labels) == {1: 2, 6: 1, 4: 1}
