"""The n-gram baseline: nltk's numbers, probabilities that sum to one, and no token but those that a model predicts."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.baselines.ngram import ngram_nats, ngram_nats_by_order
from tinygrad_rnn.data import TextError, Vocabulary, read_text, stream, tokenize, train_valid_split
from tinygrad_rnn.data.vocabulary import Ids

WORDS = ["a", "b", "c", "d", "e"]
VOCABULARY = Vocabulary(WORDS)
PREDICTABLE = len(VOCABULARY) - 2  # not START, not PADDING

texts = st.lists(st.lists(st.sampled_from([*WORDS, "unheard of"]), max_size=6), min_size=1, max_size=8)
orders = st.integers(1, 4)


def wrapped(text: list[list[str]]) -> list[Ids]:
    return [VOCABULARY.encode_sentence(sentence) for sentence in text]


def nltk_nats(train: list[Ids], valid: list[Ids], order: int) -> float:
    """nltk.lm's class on the same ids, its recursion ended with equally likely words as ours is."""
    lm = pytest.importorskip("nltk.lm")
    model = lm.WittenBellInterpolated(order, vocabulary=lm.Vocabulary(range(len(VOCABULARY))))

    def padded(ids: Ids) -> list[int]:
        return [VOCABULARY.start] * (order - 1) + [int(i) for i in ids[1:]]

    def ngrams(ids: list[int]) -> list[tuple[int, ...]]:
        return [tuple(ids[t - j : t + 1]) for t in range(order - 1, len(ids)) for j in range(order)]

    model.counts.update(ngrams(padded(ids)) for ids in train)
    unigrams = model.counts.unigrams
    n, kinds = unigrams.N(), len(unigrams)
    model.estimator.unigram_score = lambda word: (unigrams[word] + kinds / PREDICTABLE) / (n + kinds)
    asked = [(ids[t], tuple(ids[t - order + 1 : t])) for ids in map(padded, valid) for t in range(order - 1, len(ids))]
    return -sum(math.log(model.unmasked_score(word, context)) for word, context in asked) / len(asked)


@given(texts, texts, orders)
def test_it_is_nltks_interpolated_witten_bell(train: list[list[str]], valid: list[list[str]], order: int) -> None:
    expected = nltk_nats(wrapped(train), wrapped(valid), order)
    assert ngram_nats(wrapped(train), wrapped(valid), order, VOCABULARY) == pytest.approx(expected, rel=1e-12)


@given(texts, st.lists(st.sampled_from(WORDS), max_size=4), orders)
def test_the_probabilities_of_what_may_come_next_sum_to_one(
    train: list[list[str]], before: list[str], order: int
) -> None:
    """The last token's nats are the difference that it makes to the sum."""
    start = VOCABULARY.encode_sentence(before)[:-1]

    def nats(ids: Ids) -> float:
        count = len(ids) - 1
        return count * ngram_nats(wrapped(train), [ids], order, VOCABULARY) if count else 0.0

    nexts = [i for i in range(len(VOCABULARY)) if i not in (VOCABULARY.start, VOCABULARY.padding)]
    total = sum(math.exp(nats(start) - nats(np.append(start, i))) for i in nexts)
    assert total == pytest.approx(1.0, rel=1e-9)


@given(texts, st.integers(1, 3), st.integers(1, 5))
def test_it_scores_as_many_tokens_as_a_stream_counts(text: list[list[str]], rows: int, steps: int) -> None:
    """Each sentence's mean times the tokens that a stream counts in it adds up to the mean of all."""
    ids = wrapped(text)
    counted = sum(batch.tokens for batch in stream(ids, rows, steps, start=VOCABULARY.start))
    assert counted == sum(len(sentence) + 1 for sentence in text)
    per_token = [ngram_nats(wrapped(text), [each], 1, VOCABULARY) * (len(each) - 1) for each in ids]
    together = ngram_nats(wrapped(text), ids, 1, VOCABULARY)
    assert together == pytest.approx(sum(per_token) / counted, rel=1e-9)


@given(st.lists(st.sampled_from(WORDS), min_size=2), st.lists(st.sampled_from(WORDS), min_size=2), orders)
def test_an_unbroken_text_is_not_padded(train: list[str], valid: list[str], order: int) -> None:
    """Its first token is not asked for, and what stands near its beginning has a shorter context only."""
    learnt, asked = VOCABULARY.encode(train), VOCABULARY.encode(valid)
    counts: dict[tuple[int, ...], dict[int, int]] = {}
    for t in range(1, len(learnt)):
        for j in range(min(order, t + 1)):
            after = counts.setdefault(tuple(learnt[t - j : t]), {})
            after[int(learnt[t])] = after.get(int(learnt[t]), 0) + 1
    nats = 0.0
    for t in range(1, len(asked)):
        p = 1 / PREDICTABLE
        for j in range(min(order, t + 1)):
            after = counts.get(tuple(asked[t - j : t]), {})
            if after:
                p = (after.get(int(asked[t]), 0) + len(after) * p) / (sum(after.values()) + len(after))
        nats -= math.log(p)
    assert ngram_nats([learnt], [asked], order, VOCABULARY) == pytest.approx(nats / (len(asked) - 1), rel=1e-9)


@given(texts, texts)
def test_all_orders_at_once_are_each_of_them_alone(train: list[list[str]], valid: list[list[str]]) -> None:
    at_once = ngram_nats_by_order(wrapped(train), wrapped(valid), 3, VOCABULARY)
    assert at_once == [ngram_nats(wrapped(train), wrapped(valid), order, VOCABULARY) for order in (1, 2, 3)]


def test_by_hand_a_bigram_of_three_words() -> None:
    """Trained on "a b" and "a c": p(a|START) = (2 + 1·p(a)) / 3, p(a) = (2 + 4/7) / (6 + 4), and so on."""

    def unigram(count: int) -> float:
        return (count + 4 / 7) / 10

    p = [(2 + unigram(2)) / 3, (1 + 2 * unigram(1)) / 4, (1 + unigram(2)) / 2]  # a, then b, then END
    found = ngram_nats(wrapped([["a", "b"], ["a", "c"]]), wrapped([["a", "b"]]), 2, VOCABULARY)
    assert found == pytest.approx(-sum(map(math.log, p)) / 3, rel=1e-12)


def test_a_word_that_was_never_seen_is_a_surprise_but_not_an_infinite_one() -> None:
    assert 2.0 < ngram_nats(wrapped([["a"] * 50]), wrapped([["e"]]), 2, VOCABULARY) < 10.0


def test_a_higher_order_predicts_a_regular_text_better() -> None:
    nats = ngram_nats_by_order(wrapped([list("abcd")] * 30), wrapped([list("abcd")] * 3), 2, VOCABULARY)
    assert nats[1] < 0.1 < 1.0 < nats[0]


SHAKESPEARE = Path(os.environ.get("TINYGRAD_RNN_DATA", "")) / "text" / "tinyshakespeare.txt"


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason="TINYGRAD_RNN_DATA names no folder with text/tinyshakespeare.txt")
def test_the_known_nats_per_character_of_tinyshakespeare() -> None:
    train, valid = train_valid_split(tokenize(read_text(SHAKESPEARE), level="char"))
    vocabulary = Vocabulary.build(train)
    learnt, asked = ([vocabulary.encode(sequence) for sequence in part] for part in (train, valid))
    nats = ngram_nats_by_order(learnt, asked, 5, vocabulary)
    assert nats == pytest.approx([3.347, 2.486, 2.049, 1.774, 1.669], abs=6e-4)


@pytest.mark.parametrize(
    ("train", "valid", "order", "sentence"),
    [
        ([["a"]], [["a"]], 0, "the order of an n-gram must be at least 1, got 0"),
        ([], [["a"]], 2, "train must have a token that something stands before, got none"),
        ([["a"]], [], 2, "valid must have a token that something stands before, got none"),
    ],
)
def test_a_mistake_is_one_sentence(train: list[list[str]], valid: list[list[str]], order: int, sentence: str) -> None:
    with pytest.raises(TextError, match=f"^{sentence}$"):
        ngram_nats(wrapped(train), wrapped(valid), order, VOCABULARY)
