"""Cells of as many weights: each is given the width with which its model is nearest to the first one's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_rnn.comparison.contest import Contest, Contestant
from tinygrad_rnn.data.messages import unheard
from tinygrad_rnn.tasks.finding import FoundTask, find_task
from tinygrad_rnn.tasks.training import options_and_cell
from tinygrad_rnn.training.building import build_model
from tinygrad_rnn.training.options import OptionError

WIDTH = "hidden"
"""The option that is the width of a model."""
LARGEST_WIDTH = 1 << 14


def matched(contest: Contest) -> Contest:
    """The contest, with another width for each contestant but the first cell's, by which the others go. Raises
    OptionError where the task has no such option, and where no width will do."""
    found = find_task(contest.task)
    if WIDTH in {each.name for each in contest.search}:
        raise OptionError(f"--match parameters sets {WIDTH}, which cannot be searched for as well")
    if WIDTH not in {each.name for each in found.task.Options.all_about()}:
        raise OptionError(f"--match parameters needs a task with an option {WIDTH}, and {contest.task} has none")
    sizes = _Sizes(found, contest)
    wanted: dict[Any, int] = {}
    chosen = []
    for each in contest.contestants:
        group = tuple(sorted((name, str(value)) for name, value in each.options.items()))
        if group not in wanted:
            wanted[group] = sizes.of(each)
            chosen.append(each)
        else:
            chosen.append(each.changed(**{WIDTH: sizes.nearest(each, wanted[group])}))
    return replace(contest, contestants=tuple(chosen))


class _Sizes:
    """The numbers of weights of models, of which the examples are prepared once."""

    def __init__(self, found: FoundTask, contest: Contest) -> None:
        self.found, self.seed = found, contest.seeds[0]
        options, cell = self._told(contest.contestants[0])
        task = found.new(options, cell)
        task.divide(task.source(unheard))
        self.tables = task.tables

    def _told(self, contestant: Contestant) -> Any:
        given = {**contestant.options, "seed": self.seed, "cell": contestant.cell}
        return options_and_cell(self.found.task, given, unheard, lasting=False)

    def of(self, contestant: Contestant) -> int:
        """That of a contestant's model. Raises OptionError where it cannot be built."""
        task = self.found.new(*self._told(contestant))
        task.tables = self.tables
        return int(build_model(task, np.random.default_rng(0)).size)

    def nearest(self, contestant: Contestant, wanted: int) -> int:
        """The width with which the model has the number of weights that is nearest. Widths that a model cannot have are
        left out. Raises OptionError where there is none."""
        known: dict[int, int] = {}

        def size(width: int) -> int:
            for near in (width, width + 1):
                if near in known:
                    return known[near]
                try:
                    known[near] = self.of(contestant.changed(**{WIDTH: near}))
                except OptionError as error:
                    reason = error
                    continue
                return known[near]
            raise reason

        high = 2
        while size(high) < wanted and high < LARGEST_WIDTH:
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if size(middle) < wanted else (low, middle)
        for width in (low, high):
            size(max(width, 1))
        return min(known, key=lambda width: (abs(known[width] - wanted), width))
