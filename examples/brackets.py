"""A task in one file: are the brackets balanced?  `tinygrad-rnn train examples/brackets.py:Brackets`

What is here is all that must be said. Options, training, resuming, checkpoints, the log, `evaluate` and `predict` come
with it.
"""

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.data import Labels, Vocabulary, padded
from tinygrad_rnn.models import Classifier
from tinygrad_rnn.tasks import Task, TrainingOptions


def drawn(rng: np.random.Generator) -> str:
    text = ""
    for _ in range(rng.integers(2, 7)):  # what is put into the middle of a balanced text leaves it balanced
        cut = rng.integers(len(text) + 1)
        text = text[:cut] + rng.choice(["()", "[]"]) + text[cut:]
    if rng.integers(2):  # one bracket is another one now
        cut = rng.integers(len(text))
        text = text[:cut] + rng.choice(list("()[]")) + text[cut + 1 :]
    return text


def balanced(text: str) -> str:
    while (shorter := text.replace("()", "").replace("[]", "")) != text:
        text = shorter
    return "no" if text else "yes"


class Brackets(Task):
    """Train a model to tell whether the brackets in a text are balanced."""

    class Options(TrainingOptions):
        hidden: int = 32  # each field is an option of the command line

    def default(self, rng: np.random.Generator) -> Any:  # examples: (input, output)
        texts = {drawn(rng) for _ in range(4000)}
        return [(list(text), balanced(text)) for text in sorted(texts)]

    def prepare(self, train: Any) -> Any:  # tables, saved with the model
        return {"brackets": Vocabulary.build(x for x, _ in train), "labels": Labels.build(y for _, y in train)}

    def build(self, rng: np.random.Generator) -> Classifier:
        sizes = len(self.tables["brackets"]), len(self.tables["labels"]), 8, self.options.hidden
        return Classifier(*sizes, pooling="last", **self.layer_options(rng))

    def collate(self, part: Any) -> Any:  # a batch: ids (T,B), lengths (B,), labels (B,)
        labels = None if part[0][1] is None else self.tables["labels"].encode([y for _, y in part])
        return *padded([self.tables["brackets"].encode(x) for x, _ in part]), labels

    def loss(self, model: Any, batch: Any, rng: Any, state: Any) -> Any:  # sum, count, state
        ids, lengths, labels = batch
        return ops.softmax_cross_entropy(model(ids, lengths, rng), labels, reduction="sum"), len(labels), None

    def predict(self, model: Any, batch: Any) -> Any:
        return self.tables["labels"].decode(model(batch[0], batch[1]).numpy().argmax(-1))

    def parse(self, line: str) -> Any:  # how `predict` reads a line
        return list(line.strip())
