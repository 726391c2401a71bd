"""The steps of a training as a curve, on which no step weighs more than its tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median


def without_short_steps(steps: Sequence[tuple[int, float, float]]) -> list[tuple[int, float]]:
    """Points (step, value) of steps (step, value, tokens), in which a step of less than half the usual number of tokens
    is joined to the point before, each weighed by its tokens: the last window of an epoch is often short, and its
    value a matter of chance."""
    usual = median(tokens for _, _, tokens in steps) if steps else 0
    found: list[tuple[int, float, float]] = []
    for step, value, tokens in steps:
        if found and tokens < usual / 2 and math.isfinite(value) and math.isfinite(found[-1][1]):
            _, before, weight = found[-1]
            found[-1] = (step, (before * weight + value * tokens) / (weight + tokens), weight + tokens)
        else:
            found.append((step, value, tokens))
    return [(step, value) for step, value, _ in found]
