"""What a run of a language model learns from: the corpus that its settings name, split, encoded and in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygrad_rnn.baselines.ngram import token_nats_by_order
from tinygrad_rnn.data.batches import Batch, bucketed, stream
from tinygrad_rnn.data.corpus import standard_library
from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.data.readers import read_csv, read_texts
from tinygrad_rnn.data.splits import train_valid_split
from tinygrad_rnn.data.tokenizers import TokenizerFacts, tokenizer_facts
from tinygrad_rnn.data.tokens import tokenize
from tinygrad_rnn.data.vocabulary import Ids, Vocabulary
from tinygrad_rnn.metrics.jackknife import mean_without_each
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.tasks.language.held_out import read_validation_text
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.split_identity import split_digest
from tinygrad_rnn.tasks.language.unknown_tokens import without_unknown
from tinygrad_rnn.training.comparing import Reached
from tinygrad_rnn.training.examples import Data
from tinygrad_rnn.training.fitting import Evaluation, evaluate

DEFAULT_VOCABULARY = 4000
"""Tokens at most, of words, where a run does not say."""


@dataclass(frozen=True)
class Corpus:
    """Sentences of tokens, and where they are from; those that validate, where they are a text of their own."""

    name: str
    sentences: list[list[str]]
    sha256: str
    valid: list[list[str]] | None = None
    parts: list[tuple[str, int]] = field(default_factory=list)
    """The texts by name, and their numbers of characters."""
    tokenizer: TokenizerFacts = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """The number of tokens, sentence marks not counted."""
        return sum(map(len, self.sentences))


def read_corpus(settings: LanguageOptions, note: Note) -> Corpus:
    """The corpus that the settings name, in tokens. Raises TextError."""
    lines = settings.lines
    texts: list[str]
    parts: list[tuple[str, int]] = []
    if settings.csv is not None:
        skip = settings.skip_initial_space
        texts, name = read_csv(settings.csv, settings.column, settings.encoding, skip_initial_space=skip), settings.csv
    elif settings.text:
        named = read_texts(settings.text, settings.encoding, note)
        texts, name, parts = [text for _, text in named], ", ".join(settings.text), [(n, len(t)) for n, t in named]
    else:
        library = standard_library(note=note)
        # One sentence a line: Punkt has split it already.
        texts, name, lines = ["\n".join(library.sentences)], library.name, settings.level == "word" or lines
    hashed, valid = "\x00".join(texts), None
    sentences = tokenize(texts, level=settings.level, lines=lines, lowercase=settings.lowercased, note=note)
    if settings.valid is not None:
        lines = settings.lines
        valid, own = read_validation_text(settings, note)
        name, hashed = f"{name}; to validate on {settings.valid}", f"{hashed}\x00\x00{own}"
    digest = hashlib.sha256(hashed.encode()).hexdigest()
    return Corpus(name, sentences, digest, valid, parts, tokenizer_facts(settings.level, lines))


@dataclass(frozen=True)
class TextData(Data):
    """A corpus ready for a model: ids of its training and validation parts, and no part for the result. `about` has its
    name, size, hashes of the text and of the ids, tokenizer and n-gram baselines."""

    vocabulary: Vocabulary


def prepare(settings: LanguageOptions, corpus: Corpus, vocabulary: Vocabulary | None = None) -> TextData:
    """Splits a corpus, and encodes it with a vocabulary of its training part (or the given one)."""
    if len(corpus.sentences) == 1 and not settings.unbroken and corpus.valid is None:
        raise TextError(_one_sentence(corpus, settings))
    if corpus.valid is not None:
        train, valid = corpus.sentences, corpus.valid
    else:
        # Not of the generators that the weights and the noise come from.
        rng = np.random.default_rng([settings.seed, *b"split"]) if settings.shuffled else None
        train, valid = train_valid_split(corpus.sentences, settings.valid_fraction, unbroken=settings.unbroken, rng=rng)
    if vocabulary is None:
        size = settings.vocab_size
        if size is None and settings.level == "word":
            size = min(DEFAULT_VOCABULARY, len(Vocabulary.build(train)))
        vocabulary = Vocabulary.build(train, size)
    ids = encode(train, vocabulary, settings), encode(valid, vocabulary, settings)
    about = {
        "name": corpus.name,
        "tokens": corpus.tokens,
        "sentences": len(corpus.sentences),
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


def encode(sentences: list[list[str]], vocabulary: Vocabulary, settings: LanguageOptions) -> list[Ids]:
    """Sentences as ids, each between its marks; an unbroken text as it is."""
    return [vocabulary.encode(s) if settings.unbroken else vocabulary.encode_sentence(s) for s in sentences]


def make_batches(
    settings: LanguageOptions,
    sentences: Sequence[Ids],
    rng: np.random.Generator | None = None,
    warm_up: int = 0,
) -> list[Batch]:
    """Batches of encoded sentences as the settings say, in a fixed order, or where sentences stand alone in one that
    `rng` draws; streams with `warm_up`. Raises TextError where there is nothing to predict."""
    return list(
        stream(sentences, settings.batch_size, settings.steps, start=Vocabulary.start, warm_up=warm_up)
        if settings.streams
        else bucketed(sentences, settings.batch_size, padding=Vocabulary.padding, rng=rng)
    )


def measure_sentences(
    model: LanguageModel,
    settings: LanguageOptions,
    sentences: Sequence[Ids],
    device: str = "cpu",
    *,
    known_only: bool = False,
) -> Evaluation:
    """What the model makes of encoded sentences; `known_only` leaves out the unknown tokens, which it is then not
    asked for but reads. In streams, it does not depend on how many there are: they are warmed up."""
    found = make_batches(settings, sentences, warm_up=settings.warm_up)
    batches = (batch.to(device) for batch in (map(without_unknown, found) if known_only else found))
    return evaluate(model, batches, carry=settings.streams)


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
