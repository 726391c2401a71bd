"""Using a trained language model on text: sentences out of it, and sentences into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray, to_device
from tinygrad_rnn.data.joining import as_typed
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.tokens import detokenize, tokenize
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.models.sampling import generate, generate_best
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.training.settings import Settings, SettingsError


def speak(
    model: LanguageModel,
    vocabulary: Vocabulary,
    settings: Settings,
    rng: np.random.Generator,
    *,
    count: int = 10,
    prompt: str = "",
    max_length: int | None = None,
    min_length: int = 0,
    beam: int | None = None,
    **drawing: Any,
) -> Iterator[str]:
    """Sentences that the model makes up, each beginning with `prompt`: drawn by `rng`, with the options of
    `sampling.generate`, or, with a `beam`, the best that it finds, at most as many as it is wide, the best first.
    A model of one unbroken text gives pieces of `max_length` characters. Raises SettingsError for options out of
    range, TextError for a prompt with unknown tokens."""
    unbroken = settings.unbroken
    tokens = _tokens(prompt, settings) if prompt else []
    typed = zip(tokens, as_typed(tokens, prompt), strict=True)
    if missing := [shown for token, shown in typed if token not in vocabulary]:
        raise TextError(f"the prompt has tokens that the model does not know: {', '.join(map(repr, missing))}")
    begin = [int(i) for i in vocabulary.encode(tokens)]
    # An unbroken text has no sentence start: a prompt stands for itself, and otherwise it begins after a line.
    prompt_ids = (begin or [_first(vocabulary)]) if unbroken else [*_lead(vocabulary, settings), *begin]
    limit = max_length if max_length is not None else 60 if settings.level == "word" else 400
    never = {vocabulary.unknown, vocabulary.padding, vocabulary.start} | ({vocabulary.end} if unbroken else set())
    options: dict[str, Any] = {
        "stop": None if unbroken else vocabulary.end,
        "min_length": min(min_length, limit),
        "max_length": limit,
        "never": never,
    }
    for ids in _continuations(model, prompt_ids, rng, count, beam, options | drawing):
        yield detokenize([*tokens, *vocabulary.decode(ids)], settings.level)


def _continuations(
    model: LanguageModel,
    prompt: list[int],
    rng: np.random.Generator,
    count: int,
    beam: int | None,
    options: dict[str, Any],
) -> Iterator[list[int]]:
    try:
        if beam is None:
            yield from (generate(model, prompt, rng, **options) for _ in range(count))
        else:
            yield from generate_best(model, prompt, beam, count=min(count, beam), **options)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _tokens(text: str, settings: Settings) -> list[str]:
    if settings.level == "char":
        return list(text.lower() if settings.lowercased else text)
    one_line = " ".join(text.split())
    return tokenize(one_line, level="word", lines=True, lowercase=settings.lowercased)[0] if one_line else []


def _lead(vocabulary: Vocabulary, settings: Settings) -> list[int]:
    """What stands before a sentence. In streams a sentence follows another: a model that was trained on them hardly
    ever saw one begin from a state of zeros, so it is shown two ends first and is then at home."""
    if not settings.streams:
        return [vocabulary.start]
    return [vocabulary.end, vocabulary.start] * 2


def _first(vocabulary: Vocabulary) -> int:
    """What an unbroken text begins after: a line's end, or else the most common character, which is the first after
    the special tokens."""
    return int(vocabulary.encode(["\n"])[0]) if "\n" in vocabulary else vocabulary.end + 1


def spelled(text: str, vocabulary: Vocabulary, settings: Settings) -> tuple[HostArray, int, list[str]]:
    """The ids of a text as the model reads it, how many of them are given and not asked for, and how the text spells
    them, unknown ones too. Raises TextError for a text without tokens."""
    tokens = _tokens(text, settings)
    if not tokens:
        raise TextError("the text has no tokens")
    ids, typed = vocabulary.encode(tokens), as_typed(tokens, text)
    if settings.unbroken:
        return ids, 1, typed
    whole, lead = led([vocabulary.start, *ids, vocabulary.end], vocabulary, settings)
    return whole, lead, [*vocabulary.decode(whole[:lead]), *typed, *vocabulary.decode(whole[-1:])]


def led(ids: Sequence[int], vocabulary: Vocabulary, settings: Settings) -> tuple[HostArray, int]:
    """The ids of a sentence, from START to END, after what stands before one, and how many of these there are."""
    lead = _lead(vocabulary, settings)
    return np.concatenate([lead, ids[1:]]), len(lead)


def sentence_tokens(line: str, settings: Settings) -> list[str]:
    """The tokens of a line that is not blank, as the model was trained to read them; of characters all, the spaces at
    both ends too."""
    if settings.level == "char":
        return _tokens(line, settings)
    return tokenize(line, level="word", lines=True, lowercase=settings.lowercased)[0]


def sentence_score(
    model: LanguageModel, vocabulary: Vocabulary, settings: Settings, tokens: list[str]
) -> tuple[float, int, int]:
    """log p of a sentence in nats, over how many tokens, and how many of these are unknown: its words and its end,
    given its start. In a model of one unbroken text, its characters given the first."""
    ids = vocabulary.encode(tokens)
    lead = [] if settings.unbroken else _lead(vocabulary, settings)
    if not settings.unbroken:
        ids = np.concatenate([lead, ids, [vocabulary.end]])
    asked = len(ids) - max(len(lead), 1)
    if asked < 1:
        return 0.0, 0, 0
    weights = np.arange(len(ids) - 1)[:, None] >= len(ids) - 1 - asked
    read = to_device(ids, model.device)
    with no_grad():
        loss, _ = model.loss(read[:-1, None], read[1:, None], weights, reduction="sum")
    return -loss.item(), asked, int((ids[-asked:] == vocabulary.unknown).sum())
