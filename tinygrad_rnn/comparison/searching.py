"""A search over options before cells are compared: random draws, of which ever fewer go on for ever longer (successive
halving, Jamieson & Talwalkar 2016, figure 3)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.comparison.contest import Contest, Contestant, OptionValues, Range, as_option, folder_of
from tinygrad_rnn.comparison.outcome import Outcome
from tinygrad_rnn.comparison.running import carry_out
from tinygrad_rnn.comparison.side_by_side import side_by_side
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.training.options import OptionError, RunOptions

SHARE = 3
"""Of the draws of a round one in so many goes on, for so many times as long."""

_RANGE = re.compile(r"(?P<low>[^.]+(?:\.\d*)?)\.\.(?P<high>.+?)(?P<log>:log)?")


# --- Ranges ----------------------------------------------------------------------------------------------------


def ranges_of(texts: Iterable[str], options: type[RunOptions]) -> tuple[Range, ...]:
    """Of texts such as "lr=1e-4..1e-2:log", "hidden=32..256" and "optimizer=adam|rmsprop" what is to be drawn. Raises
    OptionError."""
    found = []
    for text in texts:
        name, _, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        ends = _RANGE.fullmatch(values.strip())
        if "|" in values:
            chosen = tuple(as_option(name, value.strip(), options) for value in values.split("|"))
            found.append(Range(name, chosen))
        elif ends:
            low, high = (as_option(name, ends[end], options) for end in ("low", "high"))
            found.append(checked_range(name, low, high, bool(ends["log"])))
        else:
            raise OptionError(f"--search: NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A|B was expected, got {text!r}")
    if twice := [each.name for i, each in enumerate(found) if each.name in [other.name for other in found[:i]]]:
        raise OptionError(f"--search: {twice[0]} is there twice")
    return tuple(found)


def checked_range(name: str, low: Any, high: Any, log: bool) -> Range:
    """Numbers from one to another. Raises OptionError where they are none, or in the wrong order."""
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (low, high))
    if not numbers or not low < high or (log and low <= 0):
        expected = f"two numbers{' above 0' if log else ''}, the smaller first"
        raise OptionError(f"search: {name} must go from one number to another, {expected}, got {low!r} and {high!r}")
    return Range(name, (low, high), numbers=True, log=log)


def drawn(ranges: Sequence[Range], rng: np.random.Generator) -> OptionValues:
    """A value of each."""
    return {each.name: _drawn(each, rng) for each in ranges}


def _drawn(each: Range, rng: np.random.Generator) -> Any:
    if not each.numbers:
        return each.values[int(rng.integers(len(each.values)))]
    low, high = each.values
    whole = isinstance(low, int) and isinstance(high, int)
    ends = (low - 0.5, high + 0.5) if whole and not each.log else (low, high)
    at = math.exp(rng.uniform(math.log(low), math.log(high))) if each.log else rng.uniform(*ends)
    return min(max(round(at), low), high) if whole else float(f"{at:.4g}")


# --- Rounds ----------------------------------------------------------------------------------------------------


def rounds_of(trials: int, most: float, least: float) -> list[tuple[int, float]]:
    """How many draws take part in each round, and up to how much of what a run may take (epochs, or seconds) they go
    on; in the last round it is all, and no round is shorter than `least`."""
    count = int(math.log(trials, SHARE) + 1e-9) if trials > 1 else 0
    while count and most / SHARE**count < least:
        count -= 1
    return [(max(1, math.ceil(trials / SHARE**i)), most / SHARE ** (count - i)) for i in range(count + 1)]


@dataclass(frozen=True)
class _Trial:
    """A draw for one contestant."""

    contestant: Contestant
    folder: Path


Found = Callable[[Contestant, OptionValues, Outcome | None, int], None]
"""Told of each contestant what was found for it: the options, how the best draw did, and of how many."""


def searched(contest: Contest, folder: Path, jobs: int, backend: str, found: Found | None) -> Contest:
    """The contest, each contestant with the best options that were found for it: by what validates, with the first
    seed. Raises OptionError where a run has no end by which to halve."""
    if not contest.search:
        return contest
    alive = {i: _trials(contest, contestant, folder) for i, contestant in enumerate(contest.contestants)}
    best: dict[int, tuple[_Trial, Outcome]] = {}
    rounds = rounds_of(contest.trials, *_budget(contest))
    for number, (keep, budget) in enumerate(rounds):
        alive = {i: trials[:keep] for i, trials in alive.items()}
        waiting = [(i, k) for i, trials in alive.items() for k in range(len(trials))]
        calls = [(where, contest, alive[where[0]][where[1]], budget, number) for where in waiting]
        outcomes = dict(side_by_side(_one_trial, calls, min(jobs, len(calls)), backend))
        for i, trials in alive.items():
            ranks = [(_rank(outcomes[i, k]), k) for k in range(len(trials))]
            alive[i] = [trials[k] for _, k in sorted(ranks)]
            best[i] = alive[i][0], outcomes[i, min(ranks)[1]]
    contestants = []
    for i, contestant in enumerate(contest.contestants):
        trial, outcome = best[i]
        options = {each.name: trial.contestant.options[each.name] for each in contest.search}
        contestants.append(contestant.changed(**options))
        if found is not None:
            found(contestant, options, outcome, contest.trials)
    return replace(contest, contestants=tuple(contestants), search=())


def _trials(contest: Contest, contestant: Contestant, folder: Path) -> list[_Trial]:
    """The draws for a contestant: the same for all of them, so that none has more luck."""
    rng = np.random.default_rng(contest.seeds[0])
    draws = [contestant.changed(**drawn(contest.search, rng)) for _ in range(contest.trials)]
    return [
        _Trial(each, folder / "search" / f"{k:03}-{folder_of(each, contest.seeds[0])}") for k, each in enumerate(draws)
    ]


def _budget(contest: Contest) -> tuple[float, float]:
    """What a whole run may take, in seconds or epochs, and the least of a round."""
    if contest.time_budget is not None:
        return contest.time_budget, 1.0
    epochs = {each.options.get("epochs") for each in contest.contestants}
    (most,) = epochs if len(epochs) == 1 else (None,)
    usual = find_task(contest.task).task.Options().epochs
    if most is None and usual is None:
        raise OptionError("search: a time budget or a number of epochs must say how long a run is")
    return float(most or usual or 1), 1.0


def _one_trial(where: tuple[int, int], contest: Contest, trial: _Trial, budget: float, number: int) -> Any:
    contestant, seconds = trial.contestant, contest.time_budget
    if seconds is None:
        contestant = contestant.changed(epochs=max(1, round(budget)))
    outcome = carry_out(
        contest.task,
        contestant,
        contest.seeds[0],
        None if seconds is None else budget,
        trial.folder,
        f"round-{number}.json",
    )
    return where, outcome


def _rank(outcome: Outcome) -> float:
    """Less is better; a run that failed, or has no number, is last."""
    if outcome.failed or outcome.valid is None:
        return math.inf
    return -outcome.valid if outcome.higher else outcome.valid


def ranges_from(search: Mapping[str, Any]) -> tuple[Range, ...]:
    """Of a mapping from names to (low, high), (low, high, "log") or a list of values what is to be drawn. Raises
    OptionError."""
    found = []
    for name, values in search.items():
        if isinstance(values, tuple) and len(values) in (2, 3) and values[2:] in ((), ("log",)):
            found.append(checked_range(name, values[0], values[1], len(values) == 3))
        elif isinstance(values, list) and values:
            found.append(Range(name, tuple(values)))
        else:
            raise OptionError(f'search: {name} must be (low, high), (low, high, "log") or a list, got {values!r}')
    return tuple(found)
