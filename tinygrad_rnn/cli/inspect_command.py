"""`tinygrad-rnn inspect`: what is in a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from tinygrad_rnn.cli.helping import Grouped, of_model
from tinygrad_rnn.cli.options import any_task, checkpoint_argument, permit_options, task_option
from tinygrad_rnn.cli.saying import command_with, echo, say, warn
from tinygrad_rnn.disk import named_errors
from tinygrad_rnn.inspection.plots import PICTURES, draw_views
from tinygrad_rnn.models import checkpoint as files
from tinygrad_rnn.tasks.finding import (
    TASKS,
    described_task,
    find_task,
    saved_task,
    task_not_run,
    with_weights,
)
from tinygrad_rnn.tasks.language.looking import checkpoint_page
from tinygrad_rnn.tasks.language.opening import rebuilt
from tinygrad_rnn.tasks.language.saved import LANGUAGE
from tinygrad_rnn.tasks.looking import look, task_page
from tinygrad_rnn.training.display import exact_figure
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.permits import NOTHING_PERMITTED, FileNotRun, Permit, cell_not_run
from tinygrad_rnn.training.saved_runs import load_run
from tinygrad_rnn.training.task import Task


@click.command(
    "inspect",
    cls=Grouped,
    headings=of_model("inspect", "What is shown", "tinygrad-rnn inspect --html page.html --text 'the file is open .'"),
    short_help="Show what is in a checkpoint, as text or as a page.",
    help="Show what is in a checkpoint: where it is from, how far it got, and its weights.\n\n"
    "With --html as a page, with curves, and what the model does: a language model over a text (surprise, gates, what"
    " depends on what), another one with examples that it was not trained on (alignments, confusions, forecasts).",
)
@checkpoint_argument(any_task)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to look at instead.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw what the page of a task shows into a picture instead (.png, .svg, .pdf; needs matplotlib).",
)
@click.option("--overwrite", is_flag=True, help="Replace the file that --html or --plot names.")
@click.option(
    "--text", help="The text that a language model's page shows it reading (of its validation part unless told)."
)
@permit_options
@task_option
def inspect_command(
    checkpoint: Path, html: Path | None, plot: Path | None, overwrite: bool, text: str | None, permit: Permit
) -> None:
    saved = load_run(checkpoint)
    if plot is not None:
        if html is not None:
            raise OptionError("--plot and --html: one of them at a time")
        _plot(checkpoint, saved, plot, overwrite, permit)
        return
    if html is not None:
        _page(checkpoint, saved, html, overwrite, text, permit)
        return
    if text is not None:
        raise OptionError("--text is what a page shows: say --html as well")
    left = _not_run(checkpoint, saved.meta) if permit == NOTHING_PERMITTED else None
    if left is None:
        whole = saved_task(checkpoint, saved, permit, warn)
        with_weights(checkpoint, saved, whole)
        _table(checkpoint, saved, whole)
    else:
        shipped = saved.meta["task"] in TASKS
        _table(checkpoint, saved, described_task(checkpoint, saved, find_task(saved.meta["task"])) if shipped else None)
    if left is not None:
        say(left.kind, f"the file was not run: {left}")
        say("", "to try whether the weights fit it:")
        echo(f"  {command_with(left.kind, left.name)}")


def _not_run(path: Path, meta: dict[str, Any]) -> FileNotRun | None:
    """Why the task, or the cell, of a checkpoint is not run unless its user says so."""
    return task_not_run(path, meta) or cell_not_run(path, str(meta["settings"].get("cell")), meta.get("cell"))


def _page(
    checkpoint: Path, saved: files.Checkpoint, html: Path, overwrite: bool, text: str | None, permit: Permit
) -> None:
    if not overwrite and html.is_file() and html.read_bytes()[:9].lower() != b"<!doctype":
        raise OptionError(f"--html: {html} is there already, and is no page: it stays as it is without --overwrite")
    if saved.meta["task"] == LANGUAGE:
        model, vocabulary, options, _ = rebuilt(checkpoint, saved, "cpu", permit, warn)
        whole = checkpoint_page(checkpoint, model, vocabulary, options, saved, text)
    else:
        if text is not None:
            raise OptionError(f"--text is for language models, and this one's task is {saved.meta['task']}")
        task = saved_task(checkpoint, saved, permit, warn)
        whole = task_page(checkpoint, saved, task, with_weights(checkpoint, saved, task))
    if str(html) == "-":
        (echo if sys.stdout.isatty() else click.echo)(whole)
        return
    with named_errors(html):
        html.write_text(whole, encoding="utf-8", errors="backslashreplace")
    say("page", str(html))


def _plot(checkpoint: Path, saved: files.Checkpoint, target: Path, overwrite: bool, permit: Permit) -> None:
    if target.suffix.lower() not in PICTURES:
        raise OptionError(f"--plot: a picture ends in {', '.join(PICTURES)}, got {target}")
    if target.exists() and not overwrite:
        raise OptionError(f"--plot: {target} is there already: it stays as it is without --overwrite")
    if saved.meta["task"] == LANGUAGE:
        raise OptionError("--plot is for other tasks: what a language model does is on the page that --html writes")
    task = saved_task(checkpoint, saved, permit, warn)
    looked = look(checkpoint, saved, task, with_weights(checkpoint, saved, task))
    if not looked.views:
        raise OptionError(f"--plot: there is nothing to draw: {looked.missing or f'{task.name} has no views'}")
    figure = draw_views(looked.views)
    with named_errors(target):
        figure.savefig(target, dpi=120)
    say("picture", str(target))


def _table(checkpoint: Path, saved: files.Checkpoint, task: Task | None) -> None:
    """What the file says; of a task that was not run without its words for it."""
    meta, weights = saved.meta, saved.part("model")
    about, progress, settings = meta["data"], meta["progress"], meta["settings"]
    called = "language model" if meta["task"] == LANGUAGE else meta["task"]
    echo(f"{checkpoint}: {called}, {_layers(settings)}")
    counted = "tokens" if "tokens" in about else "examples"
    say(
        "data" if task is None else task.source_called,
        f"{about['name']}: {about.get(counted, 0):,} {counted}, sha256 {about['sha256']}",
    )
    say("progress", f"{progress['step']:,} steps: {progress['epoch']} epochs and {progress['batch']} batches")
    if meta["best"] is not None:
        say("best", exact_figure(meta["best"], 4) if task is None else task.metric_text(meta["best"]))
    for each in meta["history"]:
        say("", f"step {each['step']:>6}  {_evaluation(each, task)}")
    differing = settings if task is None else task.options.differing
    say("settings", ", ".join(f"{k}={v}" for k, v in differing.items()) or "all defaults")
    for name, table in meta["tables"].items():
        say("tokens" if name == "vocabulary" else name, _table_text(table))
    say("weights", f"{sum(values.size for values in weights.values()):,} numbers")
    for name, values in weights.items():
        line = f"  {name:22} {'x'.join(map(str, values.shape)):>9}"
        if values.size:
            line += f"  mean {values.mean():+.3f}  deviation {values.std():.3f}  largest {abs(values).max():.3f}"
        echo(line)


def _layers(settings: dict[str, Any]) -> str:
    parts = [str(settings[name]) for name in ("layers", "cell", "hidden") if name in settings]
    return " x ".join([parts[0], " ".join(parts[1:])]) if "layers" in settings else " ".join(parts)


def _evaluation(each: dict[str, Any], task: Task | None) -> str:
    if task is not None and task.metric == "loss":
        nats = each.get(f"valid_{task.loss_unit}")
        return f"not a finite number of {task.loss_unit} per {task.unit}" if nats is None else task.metric_text(nats)
    shown = {name: value for name, value in each.items() if name not in ("step", "epoch")}
    return ", ".join(
        f"{name} {'none' if value is None else value if isinstance(value, int) else exact_figure(value, 4)}"
        for name, value in shown.items()
    )


def _table_text(table: dict[str, Any]) -> str:
    ((kind, content),) = table.items()
    if kind == "JSON":
        text = str(content)
        return text if len(text) < 200 else f"{text[:200]} ..."
    return f"{len(content):,}: {' '.join(map(repr, content[:12]))}{' ...' if len(content) > 12 else ''}"
