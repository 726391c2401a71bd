"""What a name names, by its letters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygrad_rnn.baselines.endings import Endings
from tinygrad_rnn.data.library_examples import library_identifiers
from tinygrad_rnn.models.classifier import POOLINGS
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.training.options import option


class ClassifyNames(Classify):
    """Train a classifier of names, which are read letter by letter: lines of a label, a tab and a name, a .csv or a
    .jsonl file. Its own are identifiers of Python's standard library: does it name a class, a constant, a function or a
    parameter?"""

    class Options(Classify.Options):
        PROBLEMS = {"identifiers": {"hidden": 96, "batch_size": 64, "lr": 4e-3}}  # noqa: RUF012  # which nothing changes
        level: str = option(default="char", help="Read words or characters.", choices=("word", "char"))
        embedding: int = 24
        pooling: str = option(default="mean", help="How all steps become one vector.", choices=POOLINGS)
        dropout: float = 0.3

    METHODS = {**Classify.METHODS, "endings": Endings}  # noqa: RUF012  # which nothing changes

    def default(self, rng: np.random.Generator) -> Iterator[tuple[list[str], str]]:
        return ((self.parse(name), kind) for name, kind in library_identifiers(rng))
