"""What the outcomes of a comparison say: means over seeds, their errors, and which differences are larger than the
noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_rnn.comparison.outcome import Outcome

T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
T_95_OF_MORE = 2.12
"""Student's t, of 1 degree of freedom and on: a mean of n differences is further from 0 than t standard errors in one
case of twenty where there is no difference."""


@dataclass(frozen=True)
class Standing:
    """A contestant over its seeds: of each figure the mean, of the metric its standard error too, None for one seed.
    `value` is None where one of the runs has no number."""

    label: str
    count: int
    value: float | None
    error: float | None
    seconds: float
    speed: float
    parameters: int
    memory: float | None
    failed: str = ""


@dataclass(frozen=True)
class Difference:
    """Of two contestants: by how much `first` is better than `second`, the mean over the seeds that both have, and its
    standard error; None for one seed."""

    first: str
    second: str
    mean: float
    error: float | None
    count: int

    @property
    def is_larger_than_noise(self) -> bool | None:
        """Whether the seeds bear it out; None where there is one alone, which says nothing of the noise."""
        if self.error is None:
            return None
        t = T_95[self.count - 2] if self.count - 2 < len(T_95) else T_95_OF_MORE
        return abs(self.mean) > t * self.error

    @property
    def sentence(self) -> str:
        """In words."""
        if self.error is None:
            return (
                f"{self.first} is better than {self.second} by {self.mean:.3g} with this seed; one seed says nothing "
                "of the noise"
            )
        figures = f"{self.mean:.2g} ± {self.error:.1g}"
        if self.is_larger_than_noise:
            return f"{self.first} is better than {self.second} by {figures}: more than the noise"
        return f"{self.first} and {self.second} differ by {figures}: no more than the noise"


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and its standard error, of two values or more."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, float(np.std(values, ddof=1)) / math.sqrt(len(values))


def standings(outcomes: Sequence[Outcome]) -> list[Standing]:
    """All contestants, the best first; those without a number, and those that failed, come last."""
    of_label: dict[str, list[Outcome]] = {}
    for each in outcomes:
        of_label.setdefault(each.label, []).append(each)
    found = [_standing(label, runs) for label, runs in of_label.items()]
    sign = -1 if all(each.higher for each in outcomes if not each.failed) else 1
    return sorted(found, key=lambda s: (bool(s.failed), s.value is None, 0.0 if s.value is None else sign * s.value))


def _standing(label: str, runs: Sequence[Outcome]) -> Standing:
    done = [run for run in runs if not run.failed]
    failed = next((run.failed for run in runs if run.failed), "")
    values = [run.value for run in done if run.value is not None]
    value, error = mean_and_error(values) if values and len(values) == len(runs) else (None, None)
    memories = [run.memory for run in done if run.memory is not None]

    def mean(figures: Sequence[float]) -> float:
        return math.fsum(figures) / len(figures) if figures else 0.0

    return Standing(
        label=label,
        count=len(runs),
        value=value,
        error=error,
        seconds=mean([run.seconds for run in done]),
        speed=mean([run.speed for run in done]),
        parameters=done[0].parameters if done else 0,
        memory=mean(memories) if memories else None,
        failed=failed,
    )


def differences(outcomes: Sequence[Outcome]) -> list[Difference]:
    """Of the best contestant against each other one, over the seeds that both have: the same data, split and first
    draw, so that what a seed does to both is in neither difference."""
    ranked = [each for each in standings(outcomes) if each.value is not None and not each.failed]
    sign = 1 if all(each.higher for each in outcomes if not each.failed) else -1
    values: dict[str, dict[int, float]] = {}
    for each in outcomes:
        if each.value is not None:
            values.setdefault(each.label, {})[each.seed] = each.value
    found = []
    for other in ranked[1:]:
        first, second = values[ranked[0].label], values[other.label]
        seeds = sorted(first.keys() & second.keys())
        if seeds:
            mean, error = mean_and_error([sign * (first[seed] - second[seed]) for seed in seeds])
            found.append(Difference(ranked[0].label, other.label, mean, error, len(seeds)))
    return found
