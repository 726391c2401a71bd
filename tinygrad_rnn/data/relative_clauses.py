"""Sentences of a small grammar whose entropy is known: "the cat that sees a bird follows the dog ."

A sentence is DET NOUN VERB DET NOUN, and now and then a relative clause comes after the first noun. Every choice is
uniform, so that a perfect model knows how uncertain it must be.
"""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.backend import HostArray

CHOICES = (("the", "a"), ("cat", "dog", "bird", "child"), ("sees", "hears", "follows"))
"""Determiners, nouns, verbs."""
WORDS = ("<s>", "</s>", ".", "that", *CHOICES[0], *CHOICES[1], *CHOICES[2])
"""By their ids."""
CLAUSE = 0.25
"""How often a relative clause comes."""


def sentence(rng: np.random.Generator) -> list[str]:
    """The words of one, from "<s>" to "</s>"."""

    def pick(kind: int) -> str:
        return CHOICES[kind][int(rng.integers(len(CHOICES[kind])))]

    words = ["<s>", pick(0), pick(1)]
    if rng.random() < CLAUSE:
        words += ["that", pick(2), pick(0), pick(1)]
    return [*words, pick(2), pick(0), pick(1), ".", "</s>"]


def corpus(count: int, seed: int = 0) -> list[HostArray]:
    """So many sentences as ids, (T,) each."""
    rng = np.random.default_rng(seed)
    return [np.array([WORDS.index(word) for word in sentence(rng)]) for _ in range(count)]


def entropy() -> float:
    """Nats per token that no model can do without, of the tokens after "<s>", which is given."""
    det, noun, verb = (float(np.log(len(each))) for each in CHOICES)
    branch = -(CLAUSE * np.log(CLAUSE) + (1 - CLAUSE) * np.log(1 - CLAUSE))
    nats = 2 * (det + noun) + verb + branch + CLAUSE * (det + noun + verb)
    tokens = 7 + 4 * CLAUSE
    return float(nats / tokens)
