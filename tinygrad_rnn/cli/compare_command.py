"""`tinygrad-rnn compare`: cells side by side on a task, over seeds."""

from __future__ import annotations

import json
import os
import re
from itertools import count
from pathlib import Path

import click

from tinygrad_rnn.cli.options import RUNS, complete_cell, seconds
from tinygrad_rnn.cli.saying import note
from tinygrad_rnn.comparison.comparing import MATCHES, PLAN, Compared, begin, planned_comparison, run_all
from tinygrad_rnn.comparison.contest import Contest, Contestant, OptionValues, settings_of
from tinygrad_rnn.comparison.outcome import Outcome
from tinygrad_rnn.comparison.searching import ranges_of, searched
from tinygrad_rnn.comparison.side_by_side import BACKENDS
from tinygrad_rnn.comparison.tables import text_table
from tinygrad_rnn.data.messages import printable
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.training.display import columns, entry
from tinygrad_rnn.training.folder import held
from tinygrad_rnn.training.options import OptionError

_VALUE = re.compile(r"[\w-]+=")


@click.command(
    "compare",
    short_help="Compare cells on a task, over seeds.",
    help="Train a task with each of several cells, and tell which did better, and whether by more than the noise: the "
    "same data, splits and seeds for all of them.\n\n"
    'Cells are names (lstm, janet, "gru(reset=before)") or your own, FILE.py:Class. A comparison that was stopped goes '
    "on with --resume, and runs nothing twice.\n\n"
    "Example: tinygrad-rnn compare lstm gru mine.py:MyCell --task memory --set problem=order --seeds 5",
)
@click.argument("cells", nargs=-1, metavar="CELL...", shell_complete=complete_cell)
@click.option("--task", default="memory", show_default=True, help="A task by name, or your own: FILE.py:Class.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many runs of each cell.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the task, such as hidden=64 or epochs=5; with several values, hidden=64,128, each is compared.",
)
@click.option(
    "--match",
    type=click.Choice(MATCHES),
    default="width",
    show_default=True,
    help="Give all cells one width, or each the width with which it has as many weights as the first.",
)
@click.option(
    "--search",
    multiple=True,
    metavar="NAME=LOW..HIGH",
    help="Search for an option first, for each cell: lr=1e-4..1e-2:log, hidden=32..256, optimizer=adam|rmsprop.",
)
@click.option(
    "--trials", type=click.IntRange(1), default=20, show_default=True, help="Draws of a search, for each cell."
)
@click.option("--time-budget", metavar="TIME", help="Of each run: 90 (seconds), 2m or 1.5h of training.")
@click.option("--jobs", type=click.IntRange(1), help="Runs side by side, each on one thread (one for each processor).")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="loky",
    show_default=True,
    help="joblib's: processes of this machine; a Dask cluster, that at DASK_SCHEDULER_ADDRESS if there is one; Ray's.",
)
@click.option("--out", type=click.Path(path_type=Path), help=f"Folder for all of it ({RUNS / 'compare'} unless told).")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with the comparison in this folder.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with curves to this file.")
def compare_command(
    cells: tuple[str, ...],
    task: str,
    seeds: int,
    settings: tuple[str, ...],
    match: str,
    search: tuple[str, ...],
    trials: int,
    time_budget: str | None,
    jobs: int | None,
    backend: str,
    out: Path | None,
    resume: Path | None,
    html: Path | None,
) -> None:
    # What follows an option's value, `--search lr=... hidden=...`, is meant for it, and no cell.
    values = [each for each in cells if _VALUE.match(each)]
    cells = tuple(each for each in cells if each not in values)
    search += tuple(each for each in values if ".." in each or "|" in each)
    settings += tuple(each for each in values if not (".." in each or "|" in each))
    context = click.get_current_context()
    if html is not None and html.exists():
        raise OptionError(f"--html: {html} is there already; give another name")
    if resume is not None:
        if cells or out is not None:
            raise OptionError("--resume goes on with what is compared in its folder: leave out the cells and --out")
        contest, folder = _plan_in(resume), resume
        context.with_resource(held(folder, note))
    else:
        if len(cells) < 2 and not any("," in each for each in settings):
            raise OptionError("at least two cells were expected, such as lstm gru, or --set with several values")
        budget = None if time_budget is None else seconds(time_budget)
        options = find_task(task).task.Options
        ranges = ranges_of(search, options)
        contest = planned_comparison(cells, task, seeds, settings_of(settings, options), match, budget, ranges, trials)
        if out is None:
            folder = _free_folder(RUNS / "compare")
            context.with_resource(held(folder, note))
            note(f"This comparison goes to {folder}.")
        else:
            folder = out
            context.with_resource(held(folder, note))
        begin(contest, folder)
    total = len(contest.contestants) * len(contest.seeds)
    click.echo(
        entry("compared", f"{', '.join(each.label for each in contest.contestants)} on {contest.task}: {total} runs")
    )
    try:
        contest = searched(contest, folder, jobs or os.cpu_count() or 1, backend, _say_found)
        outcomes = run_all(contest, folder, jobs, backend, _say)
    except KeyboardInterrupt:
        note(f"Stopped. tinygrad-rnn compare --resume {folder} goes on.")
        raise click.exceptions.Exit(0) from None
    click.echo()
    click.echo(printable(text_table(outcomes, columns())))
    if html is not None:
        Compared(contest, outcomes).save_html(html)
    files = ", ".join(str(folder / name) for name in ("runs.csv", "runs.jsonl"))
    click.echo(entry("files", files if html is None else f"{files}, {html}"))


def _free_folder(usual: Path) -> Path:
    """The folder, or the first of those with a number behind its name, in which nothing lies."""
    for number in count(1):
        folder = usual if number == 1 else usual.with_name(f"{usual.name}-{number}")
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return folder
    raise AssertionError("there is no end to numbers")


def _say(outcome: Outcome, done: int, total: int) -> None:
    name = f"{outcome.label}, seed {outcome.seed}"
    if outcome.failed:
        text = f"{name}: failed: {outcome.failed}"
    else:
        value = "no number" if outcome.value is None else f"{outcome.value:.4g}"
        text = f"{name}: {outcome.metric} {value}, {outcome.seconds:.0f} s"
    click.echo(printable(entry(f"{done}/{total}", text)))


def _say_found(contestant: Contestant, options: OptionValues, outcome: Outcome | None, trials: int) -> None:
    best = "no number" if outcome is None or outcome.valid is None else f"{outcome.metric} {outcome.valid:.4g}"
    told = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in options.items()
    )
    click.echo(
        printable(entry("found", f"{contestant.label}: {told}: {best} in validation, the best of {trials} draws"))
    )


def _plan_in(folder: Path) -> Contest:
    """The contest of a comparison. Raises OptionError where there is none."""
    try:
        return Contest.from_json(json.loads((folder / PLAN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        raise OptionError(f"--resume: {folder} holds no comparison that can be gone on with") from None
