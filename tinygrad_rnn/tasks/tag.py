"""A tag for each word: many to as many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tinygrad_rnn.backend import xp
from tinygrad_rnn.baselines.frequencies import TagFrequencies
from tinygrad_rnn.baselines.tag_ngrams import TagNgrams
from tinygrad_rnn.data.code_roles import NAMELESS, Tagged, code_roles
from tinygrad_rnn.data.conll import read_conll
from tinygrad_rnn.data.labels import Labels
from tinygrad_rnn.data.padding import padded
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.metrics.classes import accuracy
from tinygrad_rnn.metrics.spans import span_f1
from tinygrad_rnn.models.tagger import NO_TAG, Tagger
from tinygrad_rnn.training.examples import IdsOnHost
from tinygrad_rnn.training.options import AT_LEAST_1, RATE, TrainingOptions, option
from tinygrad_rnn.training.task import Task

SPAN_MARKS = ("B-", "I-", "E-", "S-")
"""What the tags of spans begin with, such as names of people."""


class Tag(Task):
    """Train a tagger: of the words and tags in a CoNLL file's columns, or of the role that each name plays in the code
    of the standard library."""

    class Options(TrainingOptions):
        layers: int = 1
        embedding: int = 64
        hidden: int = 64
        letters: bool = option(default=True, help="Read the letters of words, too.")
        crf: bool = option(default=False, help="Score tags by those beside them, too.")
        dropout: float = 0.4
        word_dropout: float = option(
            default=0.05, help="Probability that a word is read as an unknown one while training.", rule=RATE
        )
        min_count: int = option(
            default=2, help="How often a word must occur to have a vector of its own.", rule=AT_LEAST_1
        )
        word_column: int | None = option(
            default=None, help="The file's column of words, from 0 (0 unless told; of .conllu 1)."
        )
        tag_column: int | None = option(
            default=None, help="The file's column of tags (-1, the last, unless told; of .conllu 3)."
        )
        cell: str = "lstm"
        lr: float | None = 4e-3

    counted = "words"
    METHODS = {  # noqa: RUF012  # which nothing changes
        "most frequent tag": TagFrequencies,
        "bigram tags": lambda: TagNgrams(2),
        "trigram tags": lambda: TagNgrams(3),
    }
    TABLES = {"words": Vocabulary, "letters": Vocabulary, "tags": Labels}  # noqa: RUF012

    @property
    def metric(self) -> str:  # type: ignore[override]  # it depends on the options
        """Of code the names alone: what else there is anybody can tell."""
        return "names" if self.options.data is None else "accuracy"

    def default(self, rng: np.random.Generator) -> list[Tagged]:
        return code_roles(rng)

    def read(self, path: str) -> Iterable[Any]:
        o, usual = self.options, (1, 3) if path.lower().removesuffix(".gz").endswith(".conllu") else (0, -1)
        named = zip((o.word_column, o.tag_column), usual, strict=True)
        return read_conll(path, [there if column is None else column for column, there in named], o.encoding)

    def prepare(self, train: Sequence[Any]) -> dict[str, Any]:
        sentences = [[word.lower() for word in words] for words, _ in train]
        return {
            "words": Vocabulary.build(sentences, min_count=self.options.min_count),
            "letters": Vocabulary.build(word for words, _ in train for word in words),
            "tags": Labels.build(chain.from_iterable(tags for _, tags in train)),
        }

    def build(self, rng: np.random.Generator) -> Tagger:
        o, sizes = self.options, (len(self.tables["words"]), len(self.tables["tags"]))
        letters = len(self.tables["letters"]) if o.letters else None
        given = {"dropout": o.dropout, "num_letters": letters, "crf": o.crf, **self.layer_options(rng)}
        return Tagger(*sizes, o.embedding, o.hidden, o.layers, **given)

    def collate(self, part: Sequence[Any]) -> tuple[Any, ...]:
        ids, lengths = padded([self.tables["words"].encode(word.lower() for word in words) for words, _ in part])
        spelled = self._spelled([words for words, _ in part]) if self.options.letters else None
        if part[0][1] is None:
            return IdsOnHost((ids, lengths, spelled, None))
        # A tag that no sentence of the training part has cannot be said, and does not count in the loss.
        tags, _ = padded([self.tables["tags"].encode(tags, NO_TAG) for _, tags in part], NO_TAG)
        return IdsOnHost((ids, lengths, spelled, tags))

    def _spelled(self, sentences: Sequence[Sequence[str]]) -> tuple[Any, ...]:
        """The letters of each form of a word, their numbers, and which form each word has."""
        forms = {form: i for i, form in enumerate(dict.fromkeys(chain.from_iterable(sentences)))}
        letters, sizes = padded([self.tables["letters"].encode(form) for form in forms])
        return letters, sizes, padded([[forms[word] for word in words] for words in sentences])[0]

    def loss(self, model: Tagger, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        ids, lengths, spelled, tags = batch
        if rng is not None and self.options.word_dropout:
            hidden = xp(ids).asarray(rng.random(ids.shape) < self.options.word_dropout)
            ids = xp(ids).where(hidden, Vocabulary.unknown, ids)
        return model.loss(model(ids, lengths, spelled, rng), tags, lengths), int((tags != NO_TAG).sum()), None

    def predict(self, model: Tagger, batch: Any) -> list[list[str]]:
        ids, lengths, spelled, _ = batch
        return [self.tables["tags"].decode(tags) for tags in model.best(model(ids, lengths, spelled), lengths)]

    def score(self, gold: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> dict[str, float]:
        right, found = list(self.labels_in(gold)), list(self.labels_in(said))
        scores = {"accuracy": accuracy(right, found)}
        if self.metric == "names":
            names = [pair for pair in zip(right, found, strict=True) if pair[0] not in NAMELESS]
            scores["names"] = accuracy(*zip(*names, strict=True))
        if {tag[:2] for tag in right} - {"O"} and all(tag == "O" or tag[:2] in SPAN_MARKS for tag in right):
            scores["span F1"] = span_f1(gold, said)
        return scores

    def labels_in(self, outputs: Sequence[Any]) -> Iterable[str]:
        return chain.from_iterable(outputs)
