"""What a run of a language model learns from: the corpus that its settings name, split, encoded and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_rnn.baselines.ngram import token_nats_by_order
from tinygrad_rnn.data.batches import Batch, BucketedBatches, StreamBatches
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.splits import ragged_split
from tinygrad_rnn.data.vocabulary import SPECIALS, Ids, Vocabulary
from tinygrad_rnn.metrics.jackknife import mean_without_each
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.tasks.language.corpus import Corpus
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.split_identity import split_digest
from tinygrad_rnn.tasks.language.unknown_tokens import without_unknown
from tinygrad_rnn.training.comparing import Reached
from tinygrad_rnn.training.examples import Data
from tinygrad_rnn.training.fitting import Evaluation, evaluate

DEFAULT_VOCABULARY = 4000
"""Tokens at most, of words, where a run does not say."""


@dataclass(frozen=True)
class TextData(Data):
    """A corpus ready for a model: ids of its training and validation parts, and no part for the result. `about` has its
    name, size, hashes of the text and of the ids, tokenizer and n-gram baselines."""

    vocabulary: Vocabulary


def prepare(settings: LanguageOptions, corpus: Corpus, vocabulary: Vocabulary | None = None) -> TextData:
    """Splits a corpus, and encodes it with a vocabulary of its training part (or the given one)."""
    if len(corpus.text) == 1 and not settings.unbroken and corpus.valid is None:
        raise TextError(_one_sentence(corpus, settings))
    if corpus.valid is not None:
        train, valid = corpus.text.sentences, corpus.valid.sentences
    else:
        # Not of the generators that the weights and the noise come from.
        rng = np.random.default_rng([settings.seed, *b"split"]) if settings.shuffled else None
        train, valid = ragged_split(corpus.text.sentences, settings.valid_fraction, settings.unbroken, rng)
    if vocabulary is None:
        counts, size = corpus.text.counts(train), settings.vocab_size
        if size is None and settings.level == "word":
            size = min(DEFAULT_VOCABULARY, len(SPECIALS) + len(counts))
        vocabulary = Vocabulary.of_counts(counts, size)
    source = corpus.text if corpus.valid is None else corpus.valid
    marked = not settings.unbroken
    ids = corpus.text.encoded(train, vocabulary, marked), source.encoded(valid, vocabulary, marked)
    about = {
        "name": corpus.name,
        "tokens": corpus.tokens,
        "sentences": len(corpus.text),
        "sha256": corpus.sha256,
        "split_sha256": split_digest(*ids),
        "tokenizer": corpus.tokenizer,
    }
    return TextData(*ids, [], about, vocabulary)


def _one_sentence(corpus: Corpus, settings: LanguageOptions) -> str:
    ways = [] if settings.lines else ["--lines where each line is one"]
    ways += [] if settings.level == "char" else ["--level char for a model of characters, which needs none"]
    way = f": {', or '.join(ways)}" if ways else ""
    return (
        f"{corpus.name}: at least 2 sentences were expected, one to train and one to validate on, got 1 "
        f"({corpus.tokens:,} tokens){way}"
    )


def make_batches(
    settings: LanguageOptions,
    sentences: Sequence[Ids],
    rng: np.random.Generator | None = None,
    warm_up: int = 0,
) -> Sequence[Batch]:
    """Batches of encoded sentences as the settings say, in a fixed order, or where sentences stand alone in one that
    `rng` draws; streams with `warm_up`; each is made when it is asked for. Raises TextError where there is nothing to
    predict."""
    if settings.streams:
        return StreamBatches(sentences, settings.batch_size, settings.steps, start=Vocabulary.start, warm_up=warm_up)
    return BucketedBatches(sentences, settings.batch_size, padding=Vocabulary.padding, rng=rng)


def measure_sentences(
    model: LanguageModel,
    settings: LanguageOptions,
    sentences: Sequence[Ids],
    *,
    known_only: bool = False,
) -> Evaluation:
    """What the model makes of encoded sentences; `known_only` leaves out the unknown tokens, which it is then not
    asked for but reads. In streams, it does not depend on how many there are: they are warmed up."""
    found = make_batches(settings, sentences, warm_up=settings.warm_up)
    return evaluate(model, map(without_unknown, found) if known_only else found, carry=settings.streams)


def ngram_baselines(
    train: Sequence[Ids], valid: Sequence[Ids], vocabulary: Vocabulary, settings: LanguageOptions
) -> dict[str, float]:
    """Nats per token of interpolated n-grams on the same split and vocabulary, over the tokens that the model is
    asked for: orders 1 to 3 for words, 1 to 5 for characters. Each is known without each block of the batches in which
    the model is asked."""
    highest = 3 if settings.level == "word" else 5
    # Batches of places in the text, in the place of the tokens that stand there.
    ends = np.cumsum([len(sequence) for sequence in valid])
    places = [np.arange(end - len(sequence), end) for end, sequence in zip(ends, valid, strict=True)]
    batches = [make_batches(settings, each, warm_up=settings.warm_up) for each in (valid, places)]
    found: dict[str, float] = {}
    for order, nats in enumerate(token_nats_by_order(train, valid, highest, vocabulary), 1):
        sums = [float(nats[where.targets][asked.weights > 0].sum()) for asked, where in zip(*batches, strict=True)]
        counts = [asked.tokens for asked in batches[0]]
        found[str(order)] = Reached(nats[~np.isnan(nats)].mean(), mean_without_each(sums, counts))
    return found
