"""A model beside simple methods: whether it does better on the same examples, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from tinygrad_rnn.metrics.jackknife import standard_error

Verdict = Literal["beaten", "level", "not reached"]


class Reached(float):
    """What a method reaches in a metric, and what it reaches without each block of the examples, where that is known:
    see `metrics.jackknife`."""

    without: tuple[float, ...]

    def __new__(cls, value: float, without: Sequence[float] = ()) -> Self:
        reached = super().__new__(cls, value)
        reached.without = tuple(without)
        return reached


@dataclass(frozen=True)
class Comparison:
    """A method by name, and what it reaches. Of a model that was measured too: by how much it does better, below 0 by
    how much worse, the standard error of that difference, where it is known, and the verdict: "level" where the
    difference is at most twice its standard error."""

    name: str
    value: float
    gain: float | None = None
    error: float | None = None

    @property
    def verdict(self) -> Verdict | None:
        """None where no model was measured, or what it reached is no number."""
        if self.gain is None or not math.isfinite(self.gain):
            return None
        if abs(self.gain) <= 2 * (self.error or 0.0):
            return "level"
        return "beaten" if self.gain > 0 else "not reached"


def comparisons(about: Mapping[str, Any], higher: bool, reached: Reached | None = None) -> list[Comparison]:
    """The baselines that the description of a run's examples has, in their order, beside what a model `reached`, if it
    was measured; `higher` says whether more is better."""
    found, without = [], about.get("baselines_without", {})
    for name, value in about.get("baselines", {}).items():
        if reached is None:
            found.append(Comparison(name, value))
        else:
            gain = float(reached - value if higher else value - reached)
            found.append(Comparison(name, value, gain, standard_error(reached.without, without.get(name, ()))))
    return found
