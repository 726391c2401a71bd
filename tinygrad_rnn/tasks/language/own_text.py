"""A text for a model to read that it was not trained on: of its own validation part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.vocabulary import Ids, Vocabulary
from tinygrad_rnn.models.checkpoint import Arrays
from tinygrad_rnn.tasks.language.corpus import Corpus, read_corpus
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.reading import MOST_TOKENS
from tinygrad_rnn.tasks.language.text_data import prepare
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.training.places import found_files
from tinygrad_rnn.training.trained_on import not_trained_on

LEAST_TOKENS = 8
"""Of a sentence that says something about a model."""


def validation_text(
    path: Path, vocabulary: Vocabulary, settings: LanguageOptions, meta: dict[str, Any], arrays: Arrays
) -> tuple[str, HostArray, int] | None:
    """Where it is from, the ids of the first sentence of the validation part that has a few tokens, if possible all of
    them known, and how many are given and not asked for; of an unbroken text the beginning of that part. Where the
    corpus has changed, it is one of now that the model was not trained on; None where that cannot be told, or the
    corpus cannot be read any more. `meta` and `arrays` are those of the checkpoint."""
    try:
        settings = settings.with_files_at(found_files(settings, path, meta.get("files", {})))
        corpus = read_corpus(settings, lambda sentence: None)
    except TextError:
        return None
    valid: Sequence[Ids]
    source = "of the validation part, which the model was not trained on"
    if corpus.sha256 == meta["data"]["sha256"]:
        valid = prepare(settings, corpus, vocabulary).valid
    else:
        valid = new_sentences(arrays, settings, corpus, vocabulary)[0]
        source = f"of the {corpus.name}, which is not what the model was trained on; this is new to it"
    if not len(valid):
        return None
    if settings.unbroken:
        return source, valid[0][: MOST_TOKENS + 1], 1
    ids, lead = TextForm.of(vocabulary, settings).led(min(valid, key=lambda ids: _unfit(ids, vocabulary)).tolist())
    return source, ids, lead


def new_sentences(
    arrays: Arrays, settings: LanguageOptions, corpus: Corpus, vocabulary: Vocabulary
) -> tuple[list[Ids], int]:
    """Those sentences of a corpus of the library, which is not the one that the model was trained on, that it was not
    trained on, and of how many; none where a checkpoint with these arrays does not tell them."""
    every = corpus.text.encoded(corpus.text.sentences, vocabulary, not settings.unbroken)
    rest = None if settings.text or settings.csv else not_trained_on(arrays, map(np.ndarray.tolist, every))
    return [np.array(each) for each in rest or []], len(every)


def _unfit(ids: Ids, vocabulary: Vocabulary) -> int:
    """0 for a sentence that can be shown as it is."""
    return 2 * (len(ids) - 2 < LEAST_TOKENS) + bool((ids == vocabulary.unknown).any())
