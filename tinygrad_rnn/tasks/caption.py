"""What a vector shows, in words: one to many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.baselines.frequencies import MostFrequent
from tinygrad_rnn.baselines.linear_words import LinearWords
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.padding import padded
from tinygrad_rnn.data.records import read_jsonl
from tinygrad_rnn.data.scenes import scene
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.inspection.views import HeatMap
from tinygrad_rnn.metrics.edits import exact_match
from tinygrad_rnn.models.captioner import Captioner
from tinygrad_rnn.training.examples import IdsOnHost
from tinygrad_rnn.training.options import TrainingOptions
from tinygrad_rnn.training.task import Task


class Caption(Task):
    """Train a model to say what vectors show: of lines of JSON with "vector" and "text", or of made-up scenes."""

    class Options(TrainingOptions):
        layers: int = 1
        embedding: int = 32
        hidden: int = 128
        dropout: float = 0.0
        batch_size: int = 64
        lr: float | None = 3e-3

    metric, counted = "exact", "words"
    METHODS = {"most frequent": MostFrequent, "linear, word by word": LinearWords}  # noqa: RUF012  # which nothing changes
    TABLES = {"words": Vocabulary}  # noqa: RUF012

    def default(self, rng: np.random.Generator) -> list[tuple[HostArray, str]]:
        return [scene(rng) for _ in range(8000)]

    def read(self, path: str) -> Iterable[tuple[HostArray, str]]:
        size = self.tables.get("features")
        for number, (given, text) in enumerate(read_jsonl(path, ["vector", "text"], self.options.encoding), 1):
            name = f"{path}, example {number:,}"
            vector = _vector(given, name, size)
            size = len(vector)
            if not isinstance(text, str):
                raise TextError(f"{name}: a text was expected, got {str(text)[:40]}")
            yield vector, text

    def split(self, examples: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Drawn by the seed; all examples of one text stand in one part, so that no text is tested that was learnt."""
        texts = sorted({text for _, text in examples})
        if len(texts) < 3:
            raise TextError(f"three different texts were expected, one for each part, got {len(texts)}")
        parts = super().split(texts)
        where = {text: number for number, part in enumerate(parts) for text in part}
        found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        for example in examples:
            found[where[example[1]]].append(example)
        return found

    def prepare(self, train: Sequence[Any]) -> dict[str, Any]:
        return {"words": Vocabulary.build(text.split() for _, text in train), "features": len(train[0][0])}

    def build(self, rng: np.random.Generator) -> Captioner:
        o, sizes = self.options, (self.tables["features"], len(self.tables["words"]))
        return Captioner(*sizes, o.embedding, o.hidden, o.layers, dropout=o.dropout, **self.layer_options(rng))

    def size(self, example: Any) -> int:
        return len(example[1].split()) if example[1] else 0

    def collate(self, part: Sequence[Any]) -> tuple[Any, ...]:
        vectors = np.stack([vector for vector, _ in part]).astype(self.options.dtype)
        if part[0][1] is None:
            return vectors, None
        words = self.tables["words"]
        ids, _ = padded([words.encode_sentence(text.split()) for _, text in part], words.padding)
        return IdsOnHost((vectors, ids))

    def loss(self, model: Captioner, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        vectors, ids = batch
        targets, padding = ids[1:], self.tables["words"].padding
        logits = model(ids[:-1], vectors, rng)
        loss = ops.softmax_cross_entropy(logits, targets, ignore_index=padding, reduction="sum")
        return loss, int((targets != padding).sum()), None

    def predict(self, model: Captioner, batch: Any, beam: int | None = None) -> list[str]:
        words = self.tables["words"]
        found = model.write(batch[0], words.start, words.end, beam)
        return [" ".join(words.decode(id for id in ids if id != words.end)) for ids in found.sequences]

    def score(self, gold: Sequence[str], said: Sequence[str]) -> dict[str, float]:
        return {"exact": exact_match(gold, said)}

    def views(self, model: Captioner, examples: Sequence[Any]) -> list[HeatMap]:
        """How likely each word was at each place of the first captions, as the model wrote them."""
        words, found = self.tables["words"], []
        for vector, text in examples[:_CAPTIONS_SHOWN]:
            said = self.predict(model, self.collate([(vector, None)]))[0].split()
            read = words.encode_sentence(said)[:-1, None]
            likely = ops.softmax(model(read, vector[None].astype(self.options.dtype)), axis=-1).numpy()[:, 0].T  # (V,T)
            rows = [i for i, row in enumerate(likely) if row.max() > 0.05]
            shown = HeatMap(f"{text!r}", likely[rows], words.decode(rows), [*said, "."], "word", "written")
            found.append(shown)
        return found

    def parse(self, line: str) -> HostArray:
        """A line of JSON: a list of numbers, or a dictionary with a "vector"."""
        try:
            value = json.loads(line)
        except ValueError as error:
            raise TextError(f"a line of JSON was expected, a list of numbers: {error}") from None
        given = value["vector"] if isinstance(value, dict) and "vector" in value else value
        return _vector(given, "the vector", self.tables["features"])


def _vector(value: Any, name: str, size: int | None) -> HostArray:
    try:
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        vector = np.zeros((0, 0))
    if vector.ndim != 1 or not vector.size or not (np.abs(vector) <= _LARGEST).all():
        raise TextError(f"{name}: a list of numbers was expected, none beyond {_LARGEST:g}, got {str(value)[:40]}")
    if size not in (None, len(vector)):
        raise TextError(f"{name}: {size} numbers were expected, as in the others, got {len(vector)}")
    return vector.astype(np.float32)


_CAPTIONS_SHOWN = 3
"""Captions of which there is a view."""
_LARGEST = 1e30
"""Of what float32 still calculates with."""
