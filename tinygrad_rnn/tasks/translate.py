"""A sequence from another, of another length: many to many."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import chain
from typing import Any, Self

import numpy as np

from tinygrad_rnn.baselines.neighbours import NearestNeighbour
from tinygrad_rnn.baselines.word_for_word import WordForWord
from tinygrad_rnn.data.padding import padded
from tinygrad_rnn.data.parallel import read_parallel
from tinygrad_rnn.data.records import read_tsv
from tinygrad_rnn.data.translations import all_dates, dates, reordered_sentences, reversals
from tinygrad_rnn.data.vocabulary import SPECIALS, Vocabulary
from tinygrad_rnn.inspection.views import HeatMap
from tinygrad_rnn.metrics.edits import exact_match, label_error_rate
from tinygrad_rnn.metrics.translation import bleu, chrf
from tinygrad_rnn.models.encoder_decoder import ATTENTIONS, EncoderDecoder
from tinygrad_rnn.models.softmaxes import SOFTMAXES
from tinygrad_rnn.training.examples import IdsOnHost
from tinygrad_rnn.training.options import AT_LEAST_1, SIZE, OptionError, TrainingOptions, ValueRule, option
from tinygrad_rnn.training.task import Task

_START, _END, _PADDING = Vocabulary.start, Vocabulary.end, Vocabulary.padding
_SMALL = {"metric": "exact", "embedding": 32, "hidden": 64, "schedule": "halve", "patience": 3}
_EVEN = ValueRule("even and above 0", lambda value: value % 2 == 0 and SIZE.good(value))


class Translate(Task):
    """Train an encoder-decoder, on lines of a source, a tab and its target, or on two files of as many lines; or on
    dates that are written in many ways, to write them as ISO 8601 does. A word that training does not have is read as
    an unknown one, and is never written."""

    class Options(TrainingOptions):
        PROBLEMS = {  # noqa: RUF012  # which nothing changes
            "dates": {**_SMALL, "level": "char", "dropout": 0.1, "lr": 8e-3},
            "all-dates": {**_SMALL, "level": "char", "dropout": 0.1, "lr": 8e-3},
            "grammar": {**_SMALL, "dropout": 0.1, "lr": 4e-3},
            "reversal": {**_SMALL, "level": "char", "dropout": 0.0, "lr": 4e-3},
        }
        FILES = ("data", "valid", "test", "target")
        target: tuple[str, ...] = option(
            default=(),
            help="The targets, where the file of --data has sources alone; once more for --valid, and for --test.",
            metavar="FILE",
        )
        level: str = option(default="word", help="Of words, between spaces, or characters.", choices=("word", "char"))
        vocab_size: int | None = option(
            default=None, help="Most tokens on either side, special ones included (all unless told).", rule=SIZE
        )
        attention: str = option(default="additive", help="To the source.", choices=ATTENTIONS)
        softmax: str = option(
            default="full",
            help="Over the target's words; the last two are many times faster for many thousands of them.",
            choices=tuple(SOFTMAXES),
        )
        layers: int = 1
        embedding: int = 64
        hidden: int = option(
            default=128, help="Hidden units per layer; a direction of the encoder has half.", rule=_EVEN
        )
        dropout: float = 0.2
        batch_size: int = option(default=64, help="Examples side by side.", rule=SIZE)
        beam: int = option(default=1, help="Width of the search for a target (1: greedy).", rule=AT_LEAST_1)
        metric: str = option(
            default="error",
            help="What chooses the best model: the part of the targets that are right as a whole, or edits per symbol.",
            choices=("exact", "error"),
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.target and len(self.target) != len(self.sources):
                there = ", ".join(self.sources) or "none"
                raise OptionError(f"--target must be there once for each file of sources ({there}), got {self.target}")

        @property
        def sources(self) -> list[str]:
            """The files that have sources."""
            return [name for name in (self.data, self.valid, self.test) if name is not None]

        def of_file(self, path: str, encoding: str) -> Self:
            return TrainingOptions.of_file(self.changed(target=()), path, encoding)

    OWN = {"dates": dates, "all-dates": all_dates, "grammar": reordered_sentences, "reversal": reversals}  # noqa: RUF012
    TABLES = {"source": Vocabulary, "target": Vocabulary, "longest": int}  # noqa: RUF012
    METHODS = {"nearest neighbour": NearestNeighbour, "word for word": WordForWord}  # noqa: RUF012
    counted = "tokens"
    reserved = tuple(inspect.signature(EncoderDecoder.__init__).parameters)

    def __init__(self, options: Any, *args: Any, **named: Any) -> None:
        super().__init__(options, *args, **named)
        self.metric, self.higher = options.metric, options.metric == "exact"

    def default(self, rng: np.random.Generator) -> list[tuple[list[str], list[str]]]:
        return self.OWN[self.options.problem](rng)

    def read(self, path: str) -> Iterable[tuple[list[str], list[str]]]:
        o = self.options
        target = dict(zip(o.sources, o.target, strict=False)).get(path)
        if target is not None:
            pairs: Iterable[tuple[str, str]] = read_parallel(path, target, o.encoding)
        else:  # columns beyond the second, of who wrote it, say, are not read
            pairs = ((x, next(filter(str.strip, y.split("\t")))) for x, y in read_tsv(path, 2, o.encoding))
        return ((self.parse(x), self.parse(y)) for x, y in pairs)

    def prepare(self, train: Sequence[Any]) -> dict[str, Any]:
        sources, targets = zip(*train, strict=True)
        longest = max(map(len, targets))
        return {"source": self._vocabulary(sources), "target": self._vocabulary(targets), "longest": longest}

    def _vocabulary(self, texts: Sequence[Any]) -> Vocabulary:
        size, there = self.options.vocab_size, len({*chain.from_iterable(texts)}) + len(SPECIALS)
        return Vocabulary.build(texts, None if size is None else min(size, there))

    def build(self, rng: np.random.Generator) -> EncoderDecoder:
        o, sizes = self.options, (len(self.tables["source"]), len(self.tables["target"]))
        given = self.layer_options(rng) | {"attention": o.attention, "softmax": o.softmax, "dropout": o.dropout}
        return EncoderDecoder(*sizes, o.embedding, o.hidden, o.layers, **given)

    def collate(self, part: Sequence[Any]) -> tuple[Any, ...]:
        source = padded([self.tables["source"].encode(x) for x, _ in part])
        if part[0][1] is None:
            return IdsOnHost((*source, None, None))
        target, _ = padded([self.tables["target"].encode_sentence(y) for _, y in part], _PADDING)
        return IdsOnHost((*source, target[:-1], target[1:]))

    def loss(self, model: Any, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        count = int((batch[3] != _PADDING).sum())
        return model.loss(*batch, ignore_index=_PADDING, rng=rng, reduction="sum"), count, None

    def predict(self, model: EncoderDecoder, batch: Any, beam: int | None = None) -> list[list[str]]:
        width = self.options.beam if beam is None else beam
        how: dict[str, Any] = {"how": "greedy"} if width == 1 else {"how": "beam", "beam": width}
        never, most = [i for i in range(len(SPECIALS)) if i != _END], 2 * self.tables["longest"]
        found = model.decode(batch[0], batch[1], _START, _END, never=never, max_length=most, **how)
        return [self.tables["target"].decode(ids) for ids in found.sequences]

    def score(self, gold: Sequence[Any], said: Sequence[Any]) -> dict[str, float]:
        found = {"exact": exact_match(gold, said), "error": label_error_rate(gold, said)}
        if self.options.level == "word" and find_spec("sacrebleu"):
            texts = [[self.write(each) for each in part] for part in (gold, said)]
            found |= {"BLEU": bleu(*texts), "chrF": chrf(*texts)}
        return found

    def views(self, model: EncoderDecoder, examples: Sequence[Any]) -> list[HeatMap]:
        sources = [x for x, _ in examples[:4]]
        said = self.predict(model, self.collate([(x, None) for x in sources]))
        batch = self.collate([*zip(sources, said, strict=True)])
        if (weights := model(*batch[:3])[1]) is None:
            return []
        drawn = enumerate(zip(sources, said, weights.numpy().swapaxes(0, 1), strict=True), 1)
        found = [HeatMap(f"alignment {k}", w[: len(y), : len(x)], y, x, "target", "source") for k, (x, y, w) in drawn]
        return [each for each in found if len(each.rows)]

    def parse(self, line: str) -> list[str]:
        return list(line) if self.options.level == "char" else line.split()

    def write(self, output: Any) -> str:
        return ("" if self.options.level == "char" else " ").join(output)
