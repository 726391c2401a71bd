"""compare: cells side by side on a task, over seeds."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tinygrad_rnn.comparison.contest import Contest, Range, contestants_of, folder_of
from tinygrad_rnn.comparison.judging import Difference, Standing, differences, standings
from tinygrad_rnn.comparison.matching import matched
from tinygrad_rnn.comparison.outcome import Outcome, kept_outcome
from tinygrad_rnn.comparison.pages import page
from tinygrad_rnn.comparison.running import carry_out
from tinygrad_rnn.comparison.searching import ranges_from, searched
from tinygrad_rnn.comparison.side_by_side import BACKENDS, side_by_side
from tinygrad_rnn.comparison.tables import csv_table, json_lines, text_table
from tinygrad_rnn.data.messages import unheard
from tinygrad_rnn.models.whole_files import write_whole
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.tasks.training import options_and_cell
from tinygrad_rnn.training.folder import held
from tinygrad_rnn.training.options import OptionError

PLAN, LINES, TABLE = "plan.json", "runs.jsonl", "runs.csv"
"""What is compared, and what came out of each run: the files of a comparison. Its runs lie in a folder each."""
MATCHES = ("width", "parameters")

Told = Callable[[Outcome, int, int], None]
"""Told of each run that is done, how many are, and of how many."""


@dataclass(frozen=True)
class Compared:
    """What a comparison found; printed, a table. `outcomes` has one entry for each contestant and seed."""

    contest: Contest = field(repr=False)
    outcomes: list[Outcome] = field(repr=False)

    @property
    def standings(self) -> list[Standing]:
        """The contestants, the best first."""
        return standings(self.outcomes)

    @property
    def differences(self) -> list[Difference]:
        """The best against each other one."""
        return differences(self.outcomes)

    def __str__(self) -> str:
        return text_table(self.outcomes)

    def save_html(self, path: str | Path) -> None:
        """Writes a page with the table, how the runs went, and how far back they reach. Raises OSError."""
        write_whole(Path(path), page(self.contest, self.outcomes).encode())


def compare(
    cells: Sequence[Any],
    task: str = "memory",
    *,
    seeds: int | Sequence[int] = 3,
    settings: Mapping[str, Any] | None = None,
    match: str = "width",
    time_budget: float | None = None,
    search: Mapping[str, Any] | None = None,
    trials: int = 20,
    out: str | Path | None = None,
    jobs: int | None = None,
    backend: str = "loky",
    told: Told | None = None,
) -> Compared:
    """Trains a task with each of several cells, and tells which did better, by more than the noise: the same data,
    splits and seeds for all of them.

    Args:
        cells: names as on the command line, or classes made with Cell.
        task: by its name, or "FILE.py:Class".
        seeds: how many (0, 1, ...) or which.
        settings: options of the task; a list stands for several values, each combination of which is a contestant of
            its own.
        match: "width": all have one width; "parameters" gives every cell the width with which its model has as many
            weights as the first cell's.
        time_budget: seconds of training of a run, which otherwise ends as the epochs and the patience among the
            settings say.
        search: options to be searched for, by name (low, high), (low, high, "log") or a list of values: for each cell
            the draws, the same for all, go through rounds, of which ever fewer go on for ever longer; the best by what
            validates, with the first seed, is what is compared.
        trials: draws of a search, for each cell.
        out: a folder in which runs and figures are kept: the same comparison goes on there where it stopped, and runs
            nothing twice.
        jobs: runs side by side (one for each processor unless told), each on one thread.
        backend: joblib's: "loky", processes of this machine; "dask" or "ray", where they are installed (see
            `side_by_side`).
        told: `told(outcome, done, total)` is called after each run.

    Returns:
        The comparison: printed, a table. A run that fails is an outcome that says why.

    Raises:
        OptionError: something cannot be compared.
        OSError: the folder cannot be written.
    """
    if backend not in BACKENDS:
        raise OptionError(f"backend must be {', '.join(BACKENDS)}, got {backend!r}")
    ranges = ranges_from(search or {})
    contest = planned_comparison(cells, task, seeds, settings or {}, match, time_budget, ranges, trials)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()) if out is None else out)
        stack.enter_context(held(folder, unheard))
        begin(contest, folder)
        contest = searched(contest, folder, jobs or os.cpu_count() or 1, backend, None)
        outcomes = run_all(contest, folder, jobs, backend, told)
    return Compared(contest, outcomes)


def planned_comparison(
    cells: Sequence[Any],
    task: str,
    seeds: int | Sequence[int],
    settings: Mapping[str, Any],
    match: str,
    time_budget: float | None,
    search: tuple[Range, ...] = (),
    trials: int = 20,
) -> Contest:
    """What is to be run. Raises OptionError."""
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise OptionError(f"trials must be a whole number of at least 1, got {trials!r}")
    if match not in MATCHES:
        raise OptionError(f"match must be {' or '.join(MATCHES)}, got {match!r}")
    if time_budget is not None and not 0 < time_budget < math.inf:
        raise OptionError(f"time_budget must be a number of seconds above 0, got {time_budget!r}")
    listed = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not listed or len({*listed}) < len(listed) or min(listed) < 0:
        raise OptionError(f"seeds must be at least one whole number from 0 on, each once, got {seeds!r}")
    options = find_task(task).task.Options
    values = {name: list(v) if isinstance(v, list | tuple) else [v] for name, v in settings.items()}
    if time_budget is None and "epochs" not in values:
        if options.USUAL_EPOCHS is not None:
            values["epochs"] = [options.USUAL_EPOCHS]
        elif not options().patience and options().epochs is None:
            raise OptionError("a run would not end: time_budget, epochs or patience must say when it does")
    if both := [each.name for each in search if each.name in values]:
        raise OptionError(f"search: {both[0]} is among the settings, too")
    contest = Contest(task, contestants_of(cells, values), listed, time_budget, search, trials if search else 0)
    for each in contest.contestants:  # a mistake is told before anything is run
        for number in range(2 if search else 1):
            more = {one.name: one.values[-number] for one in search}
            options_and_cell(find_task(task).task, {**each.options, **more, "cell": each.cell}, unheard, lasting=False)
    return matched(contest) if match == "parameters" else contest


def begin(contest: Contest, folder: Path) -> None:
    """Puts the contest into the folder. Raises OptionError where another comparison, or anything else, is there."""
    path = folder / PLAN
    told = json.loads(json.dumps(contest.to_json(), default=str))
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = None
        if before != told:
            raise OptionError(f"{folder} holds another comparison; give another folder")
    elif [each for each in folder.iterdir() if each.name != ".lock"]:
        raise OptionError(f"{folder} holds something else than a comparison; give another folder")
    else:
        write_whole(path, f"{json.dumps(told, indent=1)}\n".encode())


def run_all(contest: Contest, folder: Path, jobs: int | None, backend: str, told: Told | None) -> list[Outcome]:
    """Carries out what is not done yet, and keeps the figures of all. Raises OptionError for a backend that is not
    there."""
    runs = list(contest.runs())
    places = [(folder / "runs" / folder_of(contestant, seed)).resolve() for contestant, seed in runs]
    found: dict[int, Outcome] = {}
    for i, place in enumerate(places):
        if (kept := kept_outcome(place)) is not None:
            found[i] = replace(kept, label=runs[i][0].label)
            if told is not None:
                told(found[i], len(found), len(runs))
    waiting = [i for i in range(len(runs)) if i not in found]
    jobs = min(jobs or os.cpu_count() or 1, max(len(waiting), 1))
    calls = [(i, contest.task, *runs[i], contest.time_budget, places[i]) for i in waiting]
    try:
        for i, outcome in side_by_side(_numbered, calls, jobs, backend):
            found[i] = outcome
            _write(folder, found)
            if told is not None:
                told(outcome, len(found), len(runs))
    finally:
        _write(folder, found)
    return [found[i] for i in range(len(runs))]


def _numbered(i: int, *args: Any) -> tuple[int, Outcome]:
    return i, carry_out(*args)


def _write(folder: Path, found: Mapping[int, Outcome]) -> None:
    outcomes = [found[i] for i in sorted(found)]
    write_whole(folder / LINES, json_lines(outcomes).encode())
    write_whole(folder / TABLE, csv_table(outcomes).encode())
