"""A comparison as a table for the terminal, as CSV and as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Sequence

from tinygrad_rnn.comparison.judging import Standing, differences, standings
from tinygrad_rnn.comparison.outcome import Outcome

CSV_COLUMNS = ("label", "seed", "value", "valid", "loss", "parameters", "seconds", "speed", "steps", "epochs", "memory")
"""Of the CSV, beside the metrics and why a run failed."""


def text_table(outcomes: Sequence[Outcome], width: int = 80) -> str:
    """The contestants, the best first, in at most so many columns where their names allow it; then in words which
    differences are larger than the noise."""
    done = next((each for each in outcomes if not each.failed), None)
    if done is None:
        return "\n".join(["no run came to an end", *_failures(standings(outcomes), width)])
    ranked = [each for each in standings(outcomes) if not each.failed]
    rows = [headings(done), *map(figures_of_standing, ranked)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= width else 1
    lines = [
        (" " * gap).join(
            f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines = [line.rstrip() for line in lines]
    lines += _failures(standings(outcomes), width)
    counts = sorted({each.count for each in ranked})
    of_seeds = f"{counts[0]} seed{'s' * (counts[0] > 1)}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    more = "more" if done.higher else "less"
    lines += [
        "",
        *_wrapped(
            f"Means over {of_seeds}, ± their standard error; {more} is better. Memory: the steps from "
            "which 9/10 of the gradient of the last output comes.",
            width,
        ),
    ]
    if done.baselines:
        told = ", ".join(f"{name} {value:.4g}" for name, value in done.baselines.items())
        lines += _wrapped(f"For comparison: {told}.", width)
    lines += [line for each in differences(outcomes) for line in _wrapped(f"- {each.sentence}", width)]
    return "\n".join(lines)


def headings(done: Outcome) -> tuple[str, ...]:
    """Of the columns of a table of contestants."""
    unit = done.loss_unit if done.metric == "loss" else done.metric
    return "", unit, "weights", "seconds", f"{done.counted}/s", "memory"


def figures_of_standing(each: Standing) -> tuple[str, ...]:
    """A row of it."""
    value = "no number" if each.value is None else f"{each.value:.4f}"
    value += "" if each.error is None else f" ± {each.error:.4f}"
    memory = "" if each.memory is None else f"{each.memory:.0f}"
    return each.label, value, f"{each.parameters:,}", f"{each.seconds:.1f}", f"{each.speed:,.0f}", memory


def _failures(ranked: Sequence[Standing], width: int) -> list[str]:
    return [line for each in ranked if each.failed for line in _wrapped(f"{each.label} failed: {each.failed}", width)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def csv_table(outcomes: Sequence[Outcome]) -> str:
    """A row for each run."""
    metrics = [*dict.fromkeys(name for each in outcomes for name in each.metrics)]
    settings = [*dict.fromkeys(name for each in outcomes for name in each.settings)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, *metrics, *(f"option {name}" for name in settings), "failed"])
    for each in outcomes:
        figures = [each.metrics.get(name) for name in metrics]
        options = [each.settings.get(name) for name in settings]
        writer.writerow([*(getattr(each, name) for name in CSV_COLUMNS), *figures, *options, each.failed])
    return file.getvalue()


def json_lines(outcomes: Sequence[Outcome]) -> str:
    """A line for each run, with all that is known of it."""
    return "".join(json.dumps(each.to_json(), allow_nan=False, default=str) + "\n" for each in outcomes)
