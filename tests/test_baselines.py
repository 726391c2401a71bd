"""Baselines: one interface, numbers of others, and what their formulas say."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.baselines import (
    AtPlaces,
    Bag,
    Baseline,
    Endings,
    LinearRegression,
    LogisticRegression,
    MeanOutput,
    MostFrequent,
    NaiveBayes,
    NearestNeighbour,
    TagFrequencies,
    WordForWord,
    logistic,
    word_for_word,
)
from tinygrad_rnn.data import TextError

TEXTS = [text.split() for text in ("a b", "b b c", "a d d", "c d", "d", "a b c d")]
LABELS = ["x", "y", "x", "z", "z", "y"]

examples = st.lists(
    st.tuples(st.lists(st.sampled_from("abcd"), max_size=5), st.sampled_from("xyz")), min_size=1, max_size=9
)
OF_LABELS: list[Callable[[], Baseline]] = [MostFrequent, NaiveBayes, LogisticRegression, Endings, NearestNeighbour]


# --- One interface ---------------------------------------------------------------------------------------------


@given(examples, st.sampled_from(OF_LABELS))
def test_every_baseline_of_labels_answers_each_input_with_a_label_that_it_has_seen(
    pairs: list[tuple[list[str], str]], kind: Callable[[], Baseline]
) -> None:
    inputs, outputs = [x for x, _ in pairs], [y for _, y in pairs]
    baseline = kind()
    assert baseline.fit(iter(inputs), iter(outputs)) is baseline
    said = baseline.predict([*inputs, [], ["new"]])
    assert len(said) == len(inputs) + 2 and set(said) <= set(outputs)
    assert kind().fit(inputs, outputs).predict([*inputs, [], ["new"]]) == said
    assert baseline.predict([]) == []
    assert baseline.predict(inputs[::-1]) == said[: len(inputs)][::-1]
    assert baseline.fit([["q"]], ["only"]).predict(inputs) == ["only"] * len(inputs)


@pytest.mark.parametrize("kind", [*OF_LABELS, TagFrequencies, WordForWord])
def test_examples_that_do_not_fit_are_one_sentence(kind: Callable[[], Baseline]) -> None:
    with pytest.raises(TextError, match=r"^inputs and outputs must be as many, and at least 1, got 1 and 2$"):
        kind().fit([["a"]], [["x"], ["y"]])
    with pytest.raises(TextError, match=r"^inputs and outputs must be as many, and at least 1, got 0 and 0$"):
        kind().fit([], [])
    with pytest.raises(TextError, match=r"^\w+ must be fitted before it predicts$"):
        kind().predict([["a"]])


# --- What is most frequent -------------------------------------------------------------------------------------


def test_the_most_frequent_output_is_said_and_of_equals_the_first() -> None:
    assert MostFrequent().fit(range(3), ["y", "x", "x"]).predict([5, 6]) == ["x", "x"]
    assert MostFrequent().fit(range(4), [2, 1, 1, 2]).predict([None]) == [2]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("NVD")), max_size=6), min_size=1, max_size=5)
)
def test_a_word_gets_its_most_frequent_tag_and_an_unknown_one_that_of_all(
    sentences: list[list[tuple[str, str]]],
) -> None:
    pairs = [pair for sentence in sentences for pair in sentence]
    inputs, outputs = ([[pair[i] for pair in sentence] for sentence in sentences] for i in (0, 1))
    if not pairs:
        with pytest.raises(TextError, match=r"^tag frequencies need a word, got none$"):
            TagFrequencies().fit(inputs, outputs)
        return
    [said] = TagFrequencies().fit(inputs, outputs).predict([list("abcq")])
    everywhere = Counter(tag for _, tag in pairs)
    for word, tag in zip("abcq", said, strict=True):
        counts = Counter(tag for other, tag in pairs if other == word) or everywhere
        assert counts[tag] == max(counts.values())


def test_a_sentence_with_more_words_than_tags_is_one_sentence() -> None:
    with pytest.raises(TextError, match=r"^example 1 must have as many words as tags, got 2 and 1$"):
        TagFrequencies().fit([["a"], ["a", "b"]], [["N"], ["N"]])


# --- Endings ---------------------------------------------------------------------------------------------------


def test_the_longest_ending_that_was_seen_often_enough_decides() -> None:
    names, kinds = ["anna", "hanna", "joanna", "luca", "bianca", "rob", "bob"], ["f", "f", "f", "m", "f", "m", "m"]
    said = Endings(longest=3, least=2).fit(names, kinds).predict(["susanna", "monica", "pianca", "rob", "eve", "", "a"])
    assert said == ["f", "m", "m", "m", "f", "f", "f"]
    assert Endings(longest=4, least=1).fit(names, kinds).predict(["duluca", "pianca", "xca"]) == ["m", "f", "m"]
    assert Endings(longest=0).fit(names, kinds).predict(["rob"]) == ["f"]  # the most frequent
    for longest, least in ((-1, 1), (1, 0)):
        with pytest.raises(TextError, match=f"and least at least 1, got {longest} and {least}"):
            Endings(longest, least)


# --- Bags ------------------------------------------------------------------------------------------------------


@given(st.lists(st.text("ab", max_size=5), max_size=4), st.integers(1, 3))
def test_a_bag_counts_the_ngrams_of_every_length_up_to_its_order(texts: list[str], order: int) -> None:
    bag = Bag(texts, order)
    table = np.zeros((len(texts), len(bag)), dtype=np.int64)
    rows, columns, counts = bag.counts(texts)
    table[rows, columns] = counts
    assert table.sum(axis=1).tolist() == [sum(max(len(text) - n, 0) for n in range(order)) for text in texts]
    found = {text[i : i + n] for text in texts for n in range(1, order + 1) for i in range(len(text) - n + 1)}
    assert len(bag) == len(found)
    for row, text in zip(table, texts, strict=True):
        occurring = Counter(text[i : i + n] for n in range(1, order + 1) for i in range(len(text) - n + 1))
        assert sorted(row[row > 0]) == sorted(occurring.values())
    assert bag.counts(["", "xyz"])[0].size == 0


def test_an_order_below_1_is_one_sentence() -> None:
    with pytest.raises(TextError, match=r"^the order of n-grams must be at least 1, got 0$"):
        NaiveBayes(0).fit(TEXTS, LABELS)


# --- Naive Bayes -----------------------------------------------------------------------------------------------


def test_naive_bayes_has_the_probabilities_of_scikit_learn() -> None:
    model = NaiveBayes().fit(TEXTS, LABELS)
    # scikit-learn 1.9.1: MultinomialNB().fit(...).predict_joint_log_proba(["a a d"])
    a, d = model.bag.counts(["a", "d"])[1]
    found = model.log_prior + 2 * model.log_likelihood[:, a] + model.log_likelihood[:, d]
    assert found.tolist() == pytest.approx([-4.39444915, -6.21285657, -5.83773045], abs=1e-8)
    assert model.predict([["a", "a", "d"], ["d"], ["b"]]) == ["x", "z", "y"]


@given(examples, st.lists(st.sampled_from("abcde"), max_size=5), st.integers(1, 2))
def test_naive_bayes_says_the_label_of_greatest_probability(
    pairs: list[tuple[list[str], str]], asked: list[str], order: int
) -> None:
    def ngrams(symbols: list[str]) -> list[tuple[str, ...]]:
        return [tuple(symbols[i : i + n]) for n in range(1, order + 1) for i in range(len(symbols) - n + 1)]

    known = {ngram for symbols, _ in pairs for ngram in ngrams(symbols)}

    def nats(label: str) -> float:
        inside = Counter(ngram for symbols, other in pairs if other == label for ngram in ngrams(symbols))
        likely = (
            math.log((1 + inside[ngram]) / (len(known) + inside.total())) for ngram in ngrams(asked) if ngram in known
        )
        return math.log(sum(other == label for _, other in pairs) / len(pairs)) + math.fsum(likely)

    inputs, outputs = [x for x, _ in pairs], [y for _, y in pairs]
    [said] = NaiveBayes(order).fit(inputs, outputs).predict([asked])
    assert nats(said) == pytest.approx(max(map(nats, outputs)))


# --- Logistic regression ---------------------------------------------------------------------------------------


def test_logistic_regression_has_the_weights_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "_SLOPE", 1e-9)
    model = LogisticRegression(penalty=0.5).fit(TEXTS, LABELS)
    # scikit-learn 1.9.1: LogisticRegression(C=2, fit_intercept=False) on the same table with its column of ones
    expected = [
        [0.95739647, 0.02994599, -0.78420658, -0.30505916, 0.07220287],
        [-0.15327261, 0.62558638, 0.66361056, -0.44634481, -0.08957144],
        [-0.80412386, -0.65553237, 0.12059602, 0.75140397, 0.01736856],
    ]
    assert model.labels == ["x", "y", "z"]
    np.testing.assert_allclose(model.weights, expected, atol=1e-7)


@given(examples, st.sampled_from([0.1, 1.0]))
def test_where_logistic_regression_ends_its_loss_is_level(pairs: list[tuple[list[str], str]], penalty: float) -> None:
    inputs, outputs = [x for x, _ in pairs], [y for _, y in pairs]
    model = LogisticRegression(2, penalty).fit(inputs, outputs)
    right = np.array(outputs) == np.array(model.labels)[:, None]
    features = np.zeros((len(inputs), len(model.bag) + 1))
    rows, columns, _ = model.bag.counts(inputs)
    features[rows, columns] = 1
    features /= np.maximum(np.sqrt(features.sum(axis=1, keepdims=True)), 1)
    features[:, -1] = 1

    def loss(weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        scores = weights @ features.T
        nats = np.log(np.exp(scores).sum(axis=0)) - scores[right.argmax(axis=0), np.arange(len(inputs))]
        return float(nats.sum() + penalty / 2 * (weights**2).sum())

    rng = np.random.default_rng(0)
    least = loss(model.weights)
    assert least <= loss(np.zeros_like(model.weights)) + 1e-12
    for _ in range(5):
        aside = rng.normal(size=model.weights.shape)
        assert loss(model.weights + 0.05 * aside / np.linalg.norm(aside)) >= least - 1e-3 * len(inputs) * 0.05


def test_logistic_regression_is_there_in_few_steps() -> None:
    found, least = (LogisticRegression(1, 0.01, steps).fit(TEXTS, LABELS).weights for steps in (30, 500))
    np.testing.assert_allclose(found, least, atol=0.02)


def test_logistic_regression_knows_a_pair_of_words_where_it_is_asked_to_look_for_pairs() -> None:
    inputs = [text.split() for text in ("not good", "good not", "not bad", "bad not") * 3]
    outputs = ["no", "yes", "yes", "no"] * 3
    assert LogisticRegression(2).fit(inputs, outputs).predict(inputs) == outputs
    assert LogisticRegression(1).fit(inputs, outputs).predict(inputs) != outputs  # nor can anything that has no order


# --- Translations ----------------------------------------------------------------------------------------------


@given(examples, st.lists(st.sampled_from("abcde"), max_size=5), st.integers(1, 2))
def test_the_nearest_neighbour_has_the_largest_cosine(
    pairs: list[tuple[list[str], str]], asked: list[str], order: int
) -> None:
    def ngrams(symbols: list[str]) -> Counter[tuple[str, ...]]:
        return Counter(tuple(symbols[i : i + n]) for n in range(1, order + 1) for i in range(len(symbols) - n + 1))

    having = Counter(ngram for symbols, _ in pairs for ngram in set(ngrams(symbols)))

    def vector(symbols: list[str]) -> dict[tuple[str, ...], float]:
        found = {
            ngram: n * math.log(len(pairs) / having[ngram]) for ngram, n in ngrams(symbols).items() if having[ngram]
        }
        return {ngram: x / (math.hypot(*found.values()) or 1) for ngram, x in found.items()}

    asked_for = vector(asked)
    likeness = [sum(x * asked_for.get(ngram, 0) for ngram, x in vector(symbols).items()) for symbols, _ in pairs]
    model = NearestNeighbour(order).fit([x for x, _ in pairs], range(len(pairs)))
    [said] = model.predict([asked])
    assert likeness[said] == pytest.approx(max(likeness), abs=1e-12)


words = st.lists(st.sampled_from("abc"), max_size=4)


@given(st.lists(st.tuples(words, st.lists(st.sampled_from("xyz"), max_size=4)), min_size=1, max_size=5))
def test_word_for_word_is_what_model_1_says_after_so_many_rounds(pairs: list[tuple[list[str], list[str]]]) -> None:
    # Brown et al. 1993, section 4.1, with a source word None that every sentence has.
    t = {(f, e): 1 / len({f for _, y in pairs for f in y}) for x, y in pairs for e in [None, *x] for f in y}
    for _ in range(3):
        counts: defaultdict[tuple[str, str | None], float] = defaultdict(float)
        for x, y in pairs:
            for f in y:
                total = sum(t[f, e] for e in [None, *x])
                for e in [None, *x]:
                    counts[f, e] += t[f, e] / total
        totals = {e: sum(n for (_, other), n in counts.items() if other == e) for _, e in counts}
        t = {(f, e): n / totals[e] for (f, e), n in counts.items()}
    model = WordForWord(rounds=3).fit([x for x, _ in pairs], [y for _, y in pairs])
    said = model.predict([[word] for word in "abcq"])
    assert said[3] == ["q"], "a word that was never seen is left as it is"
    for word, found in zip("abc", said, strict=False):
        seen = sum(x.count(word) for x, _ in pairs)
        expected = {f: n for (f, e), n in counts.items() if e == word}
        if not seen:
            assert found == [word]
        elif abs(sum(expected.values()) / seen - 0.5) > 1e-9:
            assert bool(found) == (sum(expected.values()) / seen > 0.5)
        if seen and found:
            assert expected[found[0]] == pytest.approx(max(expected.values()))


def test_word_for_word_learns_from_the_first_of_very_many_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_for_word, "PAIRS_LOOKED_AT", 4)
    model = WordForWord().fit(["a", "b", "c"], ["x", "y", "z"])
    assert model.predict(["abc"]) == [["x", "y", "c"]]


# --- Numbers, and places ---------------------------------------------------------------------------------------


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.floats(-5, 5), st.integers(0, 9))
def test_what_is_linear_in_the_inputs_is_found_exactly(weights: list[float], constant: float, seed: int) -> None:
    inputs = np.random.default_rng(seed).normal(size=(12, 3, 1))
    outputs = inputs[..., 0] @ weights + constant
    found = LinearRegression().fit(inputs[:8], outputs[:8]).predict(inputs[8:])
    np.testing.assert_allclose(found, outputs[8:], rtol=1e-6, atol=1e-6)
    assert MeanOutput().fit(inputs, outputs).predict([None, 1]) == [pytest.approx(outputs.mean())] * 2


def test_inputs_of_another_shape_are_one_sentence() -> None:
    fitted = LinearRegression().fit([np.zeros((2, 1)), np.ones((2, 1))], [1.0, 2.0])
    with pytest.raises(TextError, match=r"^inputs of the shape \(2, 1\) were expected, got \(3, 1\)$"):
        fitted.predict([np.zeros((2, 1)), np.zeros((3, 1))])
    with pytest.raises(TextError, match=r"^inputs of the shape \(1,\) were expected, got \(2,\)$"):
        LinearRegression().fit([[1.0], [1.0, 2.0]], [1.0, 2.0])


def test_symbols_at_places_tell_an_order_that_a_bag_does_not() -> None:
    inputs, outputs = ["ab", "ba", "ac", "ca"], ["first", "last", "first", "last"]
    assert AtPlaces(LogisticRegression()).fit(inputs, outputs).predict(["ad", "da", ""])[:2] == ["first", "last"]
    assert LogisticRegression().fit(inputs, outputs).predict(["ad", "da"]) in (["first"] * 2, ["last"] * 2)
