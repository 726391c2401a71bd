"""The sentences with relative clauses, and their entropy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tinygrad_rnn.data.relative_clauses import CHOICES, CLAUSE, WORDS, corpus, entropy, sentence


def test_the_entropy_is_that_of_all_sentences_by_their_probabilities() -> None:
    determiners, nouns, verbs = map(len, CHOICES)
    plain = (determiners * nouns) ** 2 * verbs
    chances = itertools.chain(
        itertools.repeat((1 - CLAUSE) / plain, plain),
        itertools.repeat(CLAUSE / (plain * determiners * nouns * verbs), plain * determiners * nouns * verbs),
    )
    nats = -sum(p * math.log(p) for p in chances)
    tokens = (1 - CLAUSE) * 7 + CLAUSE * 11
    assert entropy() == pytest.approx(nats / tokens, rel=1e-12)


def test_sentences_are_of_the_two_kinds_as_often_as_is_said() -> None:
    rng = np.random.default_rng(0)
    found = [sentence(rng) for _ in range(2000)]
    kinds = [sum(map(set(words).__contains__, ["that"])) for words in found]
    assert {len(words) - 4 * kind for words, kind in zip(found, kinds, strict=True)} == {8}
    assert np.mean(kinds) == pytest.approx(CLAUSE, abs=0.04)
    for words in found:
        assert words[0] == "<s>" and words[-2:] == [".", "</s>"]
        assert words[1] in CHOICES[0] and words[2] in CHOICES[1] and words[-5] in CHOICES[2]


def test_a_corpus_is_its_sentences_as_ids_and_the_same_again() -> None:
    rng = np.random.default_rng(3)
    expected = [sentence(rng) for _ in range(20)]
    assert [[WORDS[i] for i in ids] for ids in corpus(20, seed=3)] == expected
    assert len(set(WORDS)) == len(WORDS)
