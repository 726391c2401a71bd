"""Drawing sentences from a language model, one token at a time, with carried state."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tinygrad_rnn.backend import Array, to_host, xp
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.surroundings import no_grad


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
    _check(prompt, temperature, top_k, top_p, max_length, min_length)
    banned = np.asarray(sorted(never), dtype=np.int64)
    drawn: list[int] = []
    state = None
    ids = [int(i) for i in prompt]
    with no_grad():
        while len(drawn) < max_length:
            logits, state = model(_column(model, ids), state)
            scores = to_host(logits.data[-1, 0]).astype(np.float64)
            scores[banned] = -np.inf
            if stop is not None and len(drawn) < min_length:
                scores[stop] = -np.inf
            token = draw(scores, rng, temperature, top_k, top_p)
            if token == stop:
                break
            drawn.append(token)
            ids = [token]
    return drawn


def draw(
    scores: np.ndarray[tuple[int], np.dtype[np.float64]],
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> int:
    """An index drawn from softmax(scores / temperature), scores (V,), among the top k and the top p. At temperature
    0 the first of the largest. A score of -inf is not drawn. Raises ValueError for NaN, and where all are excluded."""
    if not np.isfinite(scores.max(initial=-np.inf)):  # NaN if there is one
        raise ValueError("nothing can be drawn: every token is excluded, or the model's scores are not finite")
    if temperature == 0:
        return int(np.argmax(scores))
    order = np.argsort(-scores, kind="stable")
    if top_k is not None:
        order = order[:top_k]
    with np.errstate(over="ignore"):  # a temperature near 0: -inf is right
        chances = np.exp((scores[order] - scores[order[0]]) / temperature)
    chances /= chances.sum()
    if top_p is not None:
        kept = int(np.searchsorted(np.cumsum(chances), top_p)) + 1  # the one that crosses top_p is among them
        order, chances = order[:kept], chances[:kept] / chances[:kept].sum()
    place = int(np.searchsorted(np.cumsum(chances), rng.random(), side="right"))
    return int(order[min(place, int(np.count_nonzero(chances)) - 1)])


def _column(model: LanguageModel, ids: list[int]) -> Array:
    return xp(model.output_bias.data).asarray(np.asarray(ids, dtype=np.int64)[:, None])


def _check(
    prompt: Sequence[int],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    max_length: int,
    min_length: int,
) -> None:
    if not len(prompt):
        raise ValueError("generate: prompt must hold at least one id (the sentence start), got none")
    if not 0 <= temperature < np.inf:
        raise ValueError(f"generate: temperature must be 0 or more, got {temperature!r}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"generate: top_k must be at least 1, got {top_k!r}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"generate: top_p must be above 0 and at most 1, got {top_p!r}")
    if not 0 <= min_length <= max_length:
        raise ValueError(f"generate: min_length must lie between 0 and max_length {max_length}, got {min_length!r}")
