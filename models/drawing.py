"""Drawing one of many by their scores, of which some may be left out."""

from __future__ import annotations

import math

import numpy as np

NOTHING_LEFT = "nothing can be drawn: every token is excluded, or the model's scores are not finite"


def draw(
    scores: np.ndarray[tuple[int], np.dtype[np.float64]],
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> int:
    """An index drawn from softmax(scores / temperature), among the top k and the top p.

    Args:
        scores: (V,); one of -inf is not drawn.
        rng: draws.
        temperature: 0 takes the first of the largest.
        top_k: keeps the k largest scores.
        top_p: keeps the fewest that together reach that probability.

    Raises:
        ValueError: for NaN, and where all are excluded.

    Example:
        >>> from tinygrad_rnn.models.sampling import draw
        >>> draw(np.array([0.0, 3.0, -np.inf]), rng, temperature=0)
        1
    """
    if not math.isfinite(most := scores.max(initial=-np.inf)):  # NaN if there is one
        raise ValueError(NOTHING_LEFT)
    if temperature == 0:
        return int(np.argmax(scores))
    order = (-scores).argsort(kind="stable")
    if top_k is not None:
        order = order[:top_k]
    with np.errstate(over="ignore"):  # a temperature near 0, the smallest score beside the largest: -inf is right
        chances = np.exp((scores[order] - most) / temperature)
    chances /= chances.sum()
    if top_p is not None:
        kept = int(chances.cumsum().searchsorted(top_p)) + 1  # the one that crosses top_p is among them
        order, chances = order[:kept], chances[:kept] / chances[:kept].sum()
    place = int(chances.cumsum().searchsorted(rng.random(), side="right"))
    return int(order[min(place, int(np.count_nonzero(chances)) - 1)])


def check_drawing(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raises ValueError naming the option of `draw` that lies outside its range."""
    if not 0 <= temperature < np.inf:
        raise ValueError(f"temperature must be 0 or more, got {temperature!r}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k!r}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p!r}")
