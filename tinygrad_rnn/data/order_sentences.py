"""Sentences whose words say nothing and whose order says all: "the film was not bad but the plot was dull"."""

from __future__ import annotations

import numpy as np

GOOD = "good great fresh clever moving".split()
BAD = "bad dull stale silly flat".split()
THINGS = "film plot cast script ending song book game meal room".split()


def order_sentences(rng: np.random.Generator, count: int = 4000) -> list[tuple[list[str], str]]:
    """So many different sentences of two clauses, and what each says: the clause after "but" decides, "positive" or
    "negative", and "not" turns its adjective round. The words of a clause stand before "but" as often as after it, so
    that how often a word occurs tells next to nothing."""
    found: dict[str, str] = {}
    while len(found) < count:
        clauses, positive = [], False
        for _ in range(2):
            good, turned = rng.integers(2), rng.integers(2)
            adjective = (GOOD if good else BAD)[rng.integers(len(GOOD))]
            clauses.append(f"the {THINGS[rng.integers(len(THINGS))]} was {'not ' if turned else ''}{adjective}")
            positive = bool(good) != bool(turned)
        found[" but ".join(clauses)] = "positive" if positive else "negative"
    return [(sentence.split(), verdict) for sentence, verdict in found.items()]
