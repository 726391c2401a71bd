"""Penalties: what cells note in their steps, added to the loss of training with a weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from tinygrad_rnn.models.notes import LayerNotes
from tinygrad_rnn.tensor import Tensor

Penalties = Mapping[str, float]
"""Weights, by what is noted (`Cell.note`)."""


def penalties_of(texts: Iterable[str]) -> dict[str, float]:
    """Of texts such as "ponder=0.01" the weights by name. Raises ValueError for any other, and for a name that is there
    twice."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name.isidentifier() or not math.isfinite(weight) or name in found:
            raise ValueError(f"NAME=WEIGHT was expected, as in ponder=0.01, each name once, got {text!r}")
        found[name] = weight
    return found


def are_penalties(texts: Iterable[str]) -> bool:
    """Whether `penalties_of` takes them."""
    try:
        penalties_of(texts)
    except ValueError:
        return False
    return True


def penalised(
    loss: Tensor,
    noted: Sequence[LayerNotes],
    penalties: Penalties,
    shares: Sequence[float] | None = None,
    count: float = 1,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and, for each penalty, its weight times the mean of what was noted, over the steps and rows that are no
    padding, added up over cells; and these means by name. Where the rows are those of one rank, `shares` are the parts
    that it has of the steps of each layer, and the loss is a sum that is to be divided by `count`. Raises ValueError
    for a name that nothing notes."""
    means: dict[str, Tensor] = {}
    for name, weight in penalties.items():
        parts = [
            layer.mean(name) * share
            for layer, share in zip(noted, shares or [1.0] * len(noted), strict=True)
            if name in layer.columns
        ]
        if not parts and any(not layer.count for layer in noted):  # a batch without a step
            continue
        if not parts:
            there = ", ".join(sorted({each for layer in noted for each in layer.columns})) or "nothing"
            raise ValueError(f"penalties: no step of a cell notes {name!r}; what is noted: {there}")
        mean = sum(parts[1:], parts[0])
        loss = loss + weight * count * mean
        means[name] = mean
    return loss, means
