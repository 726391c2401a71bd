"""Which label a text has: many to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.baselines.frequencies import MostFrequent
from tinygrad_rnn.baselines.logistic import LogisticRegression
from tinygrad_rnn.baselines.naive_bayes import NaiveBayes
from tinygrad_rnn.data.labelled import read_labelled
from tinygrad_rnn.data.labels import Labels
from tinygrad_rnn.data.library_examples import package_docstrings
from tinygrad_rnn.data.order_sentences import order_sentences
from tinygrad_rnn.data.padding import padded
from tinygrad_rnn.data.tokens import words_and_marks
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.inspection.views import HeatMap
from tinygrad_rnn.models.classifier import POOLINGS, Classifier
from tinygrad_rnn.tasks.vectors import about_vectors, load_word_vectors, no_vectors
from tinygrad_rnn.training.examples import IdsOnHost, moved
from tinygrad_rnn.training.options import AT_LEAST_1, OptionError, TrainingOptions, option
from tinygrad_rnn.training.task import Task

SHOWN_TEXTS, SHOWN_TOKENS = 3, 40
"""Of how many texts the weights of attention are shown, and for how many tokens of each."""


class Classify(Task):
    """Train a classifier of texts: lines of a label, a tab and a text, a .csv or a .jsonl file. Its own are sentences
    whose order says all, or docstrings and the packages that they are from."""

    class Options(TrainingOptions):
        PROBLEMS = {  # noqa: RUF012  # which nothing changes
            "order": {"min_count": 1, "pooling": "mean", "dropout": 0.3, "lr": 4e-3, "patience": 2},
            "packages": {"max_length": 40},
        }
        label_column: str = option(
            default="label", help="Column or field of the labels (.csv, .jsonl).", metavar="NAME"
        )
        text_column: str = option(default="text", help="Column or field of the texts (.csv, .jsonl).", metavar="NAME")
        level: str = option(default="word", help="Read words or characters.", choices=("word", "char"))
        lowercase: bool | None = option(
            default=None, help="Lower-case the texts (words: yes, characters: no, unless told).", off="--no-lowercase"
        )
        min_count: int = option(default=2, help="What occurs less often is the unknown token.", rule=AT_LEAST_1)
        max_length: int | None = option(
            default=None, help="Tokens that the model reads of a text, its first ones.", rule=AT_LEAST_1
        )
        layers: int = 1
        embedding: int = 64
        hidden: int = 64
        pooling: str = option(default="max", help="How all steps become one vector.", choices=POOLINGS)
        bidirectional: bool = option(default=True, help="Read in both directions.", off="--forward-only")
        dropout: float = 0.5
        vectors: str | None = option(
            default=None, help="Pre-trained word vectors (GloVe or word2vec text).", metavar="FILE"
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.vectors and self.level != "word":
                raise OptionError("vectors are for words, and the level is char")

    METHODS = {"most frequent": MostFrequent, "naive Bayes": NaiveBayes, "logistic regression": LogisticRegression}  # noqa: RUF012
    TABLES = {"words": Vocabulary, "labels": Labels}  # noqa: RUF012  # which nothing changes
    stratified = True
    given_vectors = 0
    """Tokens that got a vector of a file."""

    def default(self, rng: np.random.Generator) -> Iterator[tuple[list[str], str]]:
        if self.options.problem == "packages":
            return ((self.parse(text), package) for text, package in package_docstrings())
        return ((self.parse(" ".join(words)), verdict) for words, verdict in order_sentences(rng))

    def read(self, path: str) -> Iterator[tuple[list[str], str]]:
        o = self.options
        found = read_labelled(path, o.encoding, label=o.label_column, text=o.text_column)
        return ((self.parse(text), label) for label, text in found)

    def parse(self, line: str) -> list[str]:
        chars, lowercase = self.options.level == "char", self.options.lowercase
        text = line.lower() if lowercase or (lowercase is None and not chars) else line
        return list(text.strip()) if chars else words_and_marks(text)

    def prepare(self, train: Sequence[Any]) -> dict[str, Any]:
        vocabulary = Vocabulary.build((x for x, _ in train), min_count=self.options.min_count)
        return {"words": vocabulary, "labels": Labels.build(y for _, y in train)}

    def build(self, rng: np.random.Generator) -> Classifier:
        o, sizes = self.options, (len(self.tables["words"]), len(self.tables["labels"]))
        more = {"bidirectional": o.bidirectional, **self.layer_options(rng)}
        return Classifier(*sizes, o.embedding, o.hidden, o.layers, pooling=o.pooling, dropout=o.dropout, **more)

    def begin(self, model: Classifier) -> None:
        self.given_vectors = load_word_vectors(self.options.vectors, model.embedding, self.tables["words"])

    def about_beginning(self) -> list[tuple[str, str]]:
        return about_vectors(self.options.vectors, self.given_vectors, self.tables["words"])

    def warnings(self) -> list[str]:
        return no_vectors(self.options.vectors, self.given_vectors, self.tables["words"])

    def collate(self, part: Sequence[Any]) -> tuple[Any, ...]:
        labels = None if part[0][1] is None else self.tables["labels"].encode([y for _, y in part])
        words = padded([self.tables["words"].encode(x[: self.options.max_length]) for x, _ in part])
        return IdsOnHost((*words, labels))

    def loss(self, model: Any, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        return ops.softmax_cross_entropy(model(*batch[:2], rng), batch[2], reduction="sum"), len(batch[2]), None

    def predict(self, model: Classifier, batch: Any) -> Any:
        return self.tables["labels"].decode(model(batch[0], batch[1]).numpy().argmax(-1))

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        """On words, and on their n-grams up to 2; on characters up to 3, with a mark at both ends of a text."""
        order, mark = (3, ["\n"]) if self.options.level == "char" else (2, [])
        grams = f"of 1..{order}-grams"
        methods = {name: make() for name, make in self.METHODS.items()}
        methods |= {
            f"naive Bayes {grams}": NaiveBayes(order),
            f"logistic regression {grams}": LogisticRegression(order),
        }
        marked = ([([*mark, *x, *mark], y) for x, y in part] for part in (train, test))
        return self.reached(methods, *marked)

    def views(self, model: Classifier, examples: Sequence[Any]) -> list[HeatMap]:
        """With attention, how much each word of the first texts counted."""
        shown = []
        for example in examples[:SHOWN_TEXTS] if self.options.pooling == "attention" else ():
            ids, lengths, _ = moved(self.collate([example]), model.device)
            weights = model.attention_weights(ids, lengths).numpy()[:, :SHOWN_TOKENS]
            said, title = self.predict(model, (ids, lengths)), f"What counted where {example[1]} was right"
            shown.append(HeatMap(title, weights, said, example[0][: weights.shape[1]], "was said"))
        return shown
