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
    """The ids that follow a prompt, drawn one by one. The prompt is read once and the state carried: each further token
    costs one step.

    Args:
        model: a LanguageModel.
        prompt: at least one id.
        rng: draws.
        stop: an id that ends the sequence, and is not in it.
        max_length: in ids.
        min_length: `stop` is not drawn before so many.
        temperature: divides the logits; 0 takes always the most likely.
        top_k: keeps the k most likely tokens.
        top_p: keeps the fewest that together reach that probability (Holtzman et al. 2020).
        never: ids that are not drawn.

    Raises:
        ValueError: a value is outside its range, or nothing is left to draw.

    Example:
        >>> model = models.LanguageModel(10, 4, 8)
        >>> from tinygrad_rnn.models.sampling import generate
        >>> len(generate(model, [1, 2], rng, max_length=5))
        5
    """
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
    """The likeliest continuations of a prompt that a beam finds, in the order of their scores, the best first; fewer
    where there are no more.

    Args:
        model, prompt, stop, max_length, min_length, never: as in `generate`.
        beam: how many hypotheses are kept.
        count: how many are returned, at most the beam.
        length_normalisation: of the score: see `decode`, which also says what is raised.

    Example:
        >>> model = models.LanguageModel(10, 4, 8)
        >>> from tinygrad_rnn.models.sampling import generate_best
        >>> [len(ids) for ids in generate_best(model, [1], beam=3, count=2, max_length=4)]
        [4, 4]
    """
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
