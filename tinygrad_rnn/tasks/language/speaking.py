"""Using a trained language model on text: sentences out of it, and sentences into it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_rnn.data.joining import as_typed
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.tokens import detokenize
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.models.sampling import generate, generate_best
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.training.options import OptionError


def speak(
    model: LanguageModel,
    form: TextForm,
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
    A model of one unbroken text gives pieces of `max_length` characters. Raises OptionError for options out of
    range, TextError for a prompt with unknown tokens."""
    unbroken, vocabulary = form.unbroken, form.vocabulary
    tokens = form.tokens(prompt) if prompt else []
    typed = zip(tokens, as_typed(tokens, prompt), strict=True)
    if missing := [shown for token, shown in typed if token not in vocabulary]:
        raise TextError(f"the prompt has tokens that the model does not know: {', '.join(map(repr, missing))}")
    begin = [int(i) for i in vocabulary.encode(tokens)]
    # An unbroken text has no sentence start: a prompt stands for itself, and otherwise it begins after a line.
    prompt_ids = (begin or [form.first]) if unbroken else [*form.lead, *begin]
    limit = max_length if max_length is not None else 60 if form.level == "word" else 400
    never = {vocabulary.unknown, vocabulary.padding, vocabulary.start} | ({vocabulary.end} if unbroken else set())
    options: dict[str, Any] = {
        "stop": None if unbroken else vocabulary.end,
        "min_length": min(min_length, limit),
        "max_length": limit,
        "never": never,
    }
    for ids in _continuations(model, prompt_ids, rng, count, beam, options | drawing):
        yield detokenize([*tokens, *vocabulary.decode(ids)], form.level)


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
        raise OptionError(str(error)) from None


def sentence_score(model: LanguageModel, form: TextForm, tokens: list[str]) -> tuple[float, int, int]:
    """log p of a sentence in nats, over how many tokens, and how many of these are unknown: its words and its end,
    given its start. In a model of one unbroken text, its characters given the first."""
    vocabulary = form.vocabulary
    ids = vocabulary.encode(tokens)
    lead = [] if form.unbroken else form.lead
    if not form.unbroken:
        ids = np.concatenate([lead, ids, [vocabulary.end]])
    asked = len(ids) - max(len(lead), 1)
    if asked < 1:
        return 0.0, 0, 0
    weights = np.arange(len(ids) - 1)[:, None] >= len(ids) - 1 - asked
    with no_grad():
        loss, _ = model.loss(ids[:-1, None], ids[1:, None], weights, reduction="sum")
    return -loss.item(), asked, int((ids[-asked:] == vocabulary.unknown).sum())
