"""Which label a text has: many to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.baselines.frequencies import MostFrequent
from tinygrad_rnn.baselines.logistic import LogisticRegression
from tinygrad_rnn.baselines.naive_bayes import NaiveBayes
from tinygrad_rnn.data.labels import Labels
from tinygrad_rnn.data.order_sentences import order_sentences
from tinygrad_rnn.data.padding import padded
from tinygrad_rnn.data.records import read_tsv
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models.classifier import Classifier
from tinygrad_rnn.training.options import TrainingOptions
from tinygrad_rnn.training.task import Task


class Classify(Task):
    """Train a classifier of texts, on lines of a label, a tab and a text; or on sentences whose order says all."""

    class Options(TrainingOptions):
        embedding: int = 64
        hidden: int = 64
        dropout: float = 0.3

    TABLES = {"words": Vocabulary, "labels": Labels}  # noqa: RUF012  # which nothing changes
    METHODS = {"most frequent": MostFrequent, "naive Bayes": NaiveBayes, "logistic regression": LogisticRegression}  # noqa: RUF012
    stratified = True

    def default(self, rng: np.random.Generator) -> list[tuple[list[str], str]]:
        return order_sentences(rng)

    def read(self, path: str) -> Iterable[tuple[list[str], str]]:
        return ((text.split(), label) for label, text in read_tsv(path, 2, self.options.encoding))

    def prepare(self, train: Sequence[Any]) -> dict[str, Any]:
        return {"words": Vocabulary.build(x for x, _ in train), "labels": Labels.build(y for _, y in train)}

    def build(self, rng: np.random.Generator) -> Classifier:
        o, sizes = self.options, (len(self.tables["words"]), len(self.tables["labels"]))
        return Classifier(*sizes, o.embedding, o.hidden, dropout=o.dropout, **self.layer_options(rng))

    def collate(self, part: Sequence[Any]) -> tuple[Any, ...]:
        labels = None if part[0][1] is None else self.tables["labels"].encode([y for _, y in part])
        return *padded([self.tables["words"].encode(x) for x, _ in part]), labels

    def loss(self, model: Any, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        return ops.softmax_cross_entropy(model(*batch[:2], rng), batch[2], reduction="sum"), len(batch[2]), None

    def predict(self, model: Classifier, batch: Any) -> Any:
        return self.tables["labels"].decode(model(batch[0], batch[1]).numpy().argmax(-1))
