"""Sentences out of a language model: drawn by chance, or the best that a beam finds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.inspection.tracing import current_trace
from tinygrad_rnn.loops.repeated import RepeatedStep
from tinygrad_rnn.models.decoding import Decoded, decode
from tinygrad_rnn.models.drawing import draw as draw
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.tensor import Tensor


def generate(
    model: LanguageModel,
    prompt: Sequence[int],
    rng: np.random.Generator,
    *,
    stop: int | None = None,
    max_length: int = 100,
    min_length: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    never: Collection[int] = (),
) -> list[int]:
    """The ids that follow `prompt` (at least one id), drawn until `stop` or for `max_length` ids; `stop` is not among
    them. The prompt is read once and the state carried: each further token costs one step.

    `temperature` divides the logits (0: always the most likely); `top_k` keeps the k most likely tokens, `top_p` the
    fewest that together reach that probability (Holtzman et al. 2020); `never` are ids that are not drawn, nor is
    `stop` before `min_length` ids. Raises ValueError naming the argument for values outside their range, and where
    nothing is left to draw."""
    lengths = {"min_length": min_length, "max_length": max_length}
    drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "rng": rng}
    drawn: list[int] = _continued(model, prompt, stop, "sample", never=never, **lengths, **drawing).sequences[0]
    return drawn


def generate_best(
    model: LanguageModel,
    prompt: Sequence[int],
    beam: int = 5,
    *,
    count: int = 1,
    stop: int | None = None,
    max_length: int = 100,
    min_length: int = 0,
    never: Collection[int] = (),
    length_normalisation: float = 0.6,
) -> list[list[int]]:
    """The `count` likeliest continuations of `prompt` (at least one id) that a beam of so many finds, in the order of
    their scores, the best first; fewer where there are no more. `stop` is not among their ids. See `decode` for the
    options, the score and what is raised."""
    lengths = {"min_length": min_length, "max_length": max_length}
    found = _continued(
        model,
        prompt,
        stop,
        "beam",
        never=never,
        **lengths,
        beam=beam,
        best=count,
        length_normalisation=length_normalisation,
    )
    best: list[list[int]] = found.sequences[0]
    return best


def _continued(model: LanguageModel, prompt: Sequence[int], stop: int | None, how: Any, **options: Any) -> Decoded:
    """What follows a prompt, which the first step reads at once."""
    if not len(prompt):
        raise ValueError("prompt must hold at least one id (the sentence start), got none")
    lib = model.embedding.weight.xp
    first = lib.asarray(np.asarray([int(i) for i in prompt], dtype=np.int64)[:, None])

    def one(state: Any, ids: Any) -> tuple[Any, Tensor]:
        logits, state = model(ids[None], state)
        return state, logits[-1]

    repeated = RepeatedStep(one)

    def step(state: Any, ids: Any) -> tuple[Any, Tensor]:
        if state is None:
            logits, state = model(first, None)
            return state, logits[-1]
        read = one if current_trace() is not None else repeated  # a trace sees the layers as they are called
        return read(state, lib.asarray(ids))

    return decode(step, None, int(prompt[-1]), stop, how, batch_axis=model.recurrent.batch_axes, **options)
