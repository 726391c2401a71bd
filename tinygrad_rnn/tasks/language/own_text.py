"""A text for a model to read that it was not trained on: of its own validation part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.vocabulary import Ids, Vocabulary
from tinygrad_rnn.tasks.language.corpus import read_corpus
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.reading import MOST_TOKENS
from tinygrad_rnn.tasks.language.text_data import prepare
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.training.places import found_files

LEAST_TOKENS = 8
"""Of a sentence that says something about a model."""


def validation_text(
    path: Path, vocabulary: Vocabulary, settings: LanguageOptions, meta: dict[str, Any]
) -> tuple[HostArray, int] | None:
    """The ids of the first sentence of the validation part that has a few tokens, if possible all of them known, and
    how many are given and not asked for; of an unbroken text the beginning of that part. None where the corpus cannot
    be read any more, or has changed."""
    try:
        settings = settings.with_files_at(found_files(settings, path, meta.get("files", {})))
        corpus = read_corpus(settings, lambda sentence: None)
    except TextError:
        return None
    if corpus.sha256 != meta["data"]["sha256"]:
        return None
    valid = prepare(settings, corpus, vocabulary).valid
    if settings.unbroken:
        return valid[0][: MOST_TOKENS + 1], 1
    return TextForm.of(vocabulary, settings).led(min(valid, key=lambda ids: _unfit(ids, vocabulary)).tolist())


def _unfit(ids: Ids, vocabulary: Vocabulary) -> int:
    """0 for a sentence that can be shown as it is."""
    return 2 * (len(ids) - 2 < LEAST_TOKENS) + bool((ids == vocabulary.unknown).any())
