"""How sure a difference of two metrics is that were taken on the same examples: the jackknife (Tukey 1958), which asks
what each would be without a part of the examples. It needs nothing of the metric, which may be no mean: an F1, say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray

MOST_BLOCKS = 50
LEAST_BLOCKS = 8
"""Fewer say too little of how much a metric varies."""


def blocks(count: int) -> list[slice]:
    """The places 0 to `count` in MOST_BLOCKS parts at most, each of neighbours, so that what lies close together in
    time goes together; none where there are fewer than LEAST_BLOCKS."""
    number = min(count, MOST_BLOCKS)
    ends = np.arange(number + 1) * count // max(number, 1)
    return [slice(*pair) for pair in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)] * (number >= LEAST_BLOCKS)


def without_each(
    score: Callable[[Sequence[Any], Sequence[Any]], float], gold: Sequence[Any], said: Sequence[Any]
) -> tuple[float, ...]:
    """The score of what was said beside what is right, without each of the blocks."""
    return tuple(
        float(score([*gold[: cut.start], *gold[cut.stop :]], [*said[: cut.start], *said[cut.stop :]]))
        for cut in blocks(len(gold))
    )


def mean_without_each(sums: Sequence[float], counts: Sequence[int]) -> tuple[float, ...]:
    """The mean of what has these sums and counts, without each of the blocks; none where a block has all of it."""
    cuts = blocks(len(sums))
    totals = np.array([[sum(sums[cut]), sum(counts[cut])] for cut in cuts]).reshape(-1, 2)
    rest: HostArray = totals.sum(axis=0) - totals
    return () if (rest[:, 1] <= 0).any() else tuple((rest[:, 0] / rest[:, 1]).tolist())


def standard_error(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The standard error of the difference of two metrics, of what each is without each of the same blocks; None where
    that is not known of both, or is no finite number."""
    number = len(one)
    if number < LEAST_BLOCKS or len(other) != number:
        return None
    differences = np.subtract(one, other)
    error = math.sqrt((number - 1) / number * float(((differences - differences.mean()) ** 2).sum()))
    return error if math.isfinite(error) else None
