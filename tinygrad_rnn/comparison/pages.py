"""A comparison as a page: its table, how the runs went, and how far back their outputs reach."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.comparison.contest import Contest
from tinygrad_rnn.comparison.judging import differences, standings
from tinygrad_rnn.comparison.outcome import Outcome
from tinygrad_rnn.comparison.tables import figures_of_standing, headings
from tinygrad_rnn.inspection.charts import chart
from tinygrad_rnn.inspection.page import facts_and_sections
from tinygrad_rnn.inspection.views import Chart

POINTS = 60
"""Of a curve."""
UNBROKEN = "\xa0±\xa0"
"""At which no line is broken."""


def page(contest: Contest, outcomes: Sequence[Outcome]) -> str:
    """A whole page, which needs no server and no network."""
    done = [each for each in outcomes if not each.failed]
    about = [
        ("task", contest.task),
        ("seeds", ", ".join(map(str, contest.seeds))),
        (
            "each run",
            "until its epochs are done" if contest.time_budget is None else f"{contest.time_budget:g} s of training",
        ),
    ]
    sections = [("Who did best", _MEANS, _table(outcomes)), ("Larger than the noise?", _NOISE, _sentences(outcomes))]
    if done:
        sections += [
            ("On the way", _CURVES, "".join(_figure(each) for each in _courses(done))),
            ("How far back", _REACH, _figure(_reaches(done))),
        ]
    return facts_and_sections(
        f"{', '.join(dict.fromkeys(each.label for each in outcomes))} on {contest.task}", about, sections
    )


_MEANS = "Means over the seeds, with their standard errors; the best first."
_NOISE = (
    "The best against each other one, over the same seeds: the same data, the same split. A difference counts where it "
    "is further from 0 than chance brings it in one case of twenty."
)
_CURVES = "The mean over seeds; the band goes from the worst to the best."
_REACH = (
    "The norm of the gradient of the last output by the input so many steps before, of the trained models, as a power "
    "of ten: what is flat remembers, what falls forgets."
)


def _table(outcomes: Sequence[Outcome]) -> str:
    done = next((each for each in outcomes if not each.failed), None)
    rows = ""
    for each in standings(outcomes):
        name, *figures = (each.label, each.failed) if each.failed else figures_of_standing(each)
        span = ' colspan="5"' if each.failed else ""
        kept = "".join(f"<td{span}>{escape(figure.replace(' ± ', UNBROKEN))}</td>" for figure in figures)
        rows += f'<tr><th scope="row">{escape(name)}</th>{kept}</tr>'
    head = "".join(f"<th>{escape(name)}</th>" for name in (headings(done) if done else ("", "")))
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _sentences(outcomes: Sequence[Outcome]) -> str:
    told = "".join(f"<li>{escape(each.sentence)}</li>" for each in differences(outcomes))
    return f"<ul>{told}</ul>" if told else ""


def _figure(view: Chart | None) -> str:
    svg = "" if view is None else chart(view)
    return f"<figure>{svg}</figure>" if svg else ""


def _courses(done: Sequence[Outcome]) -> list[Chart]:
    """The metric against seconds, and the loss."""
    first = done[0]
    found = []
    wanted = {first.metric: first.metric}
    if first.metric != first.loss_unit:  # else they are one
        wanted[f"valid_{first.loss_unit}"] = "loss in validation"
    for key, title in wanted.items():
        curves: dict[str, list[tuple[HostArray, HostArray]]] = {}
        for each in done:
            points = [(line["seconds"], line[key]) for line in each.history if line.get(key) is not None]
            if points:
                xs, ys = np.array(points, dtype=np.float64).T
                curves.setdefault(each.label, []).append((xs, ys))
        if curves:
            found.append(_banded(title, "seconds of training", first.loss_unit if key != first.metric else key, curves))
    return found


def _reaches(done: Sequence[Outcome]) -> Chart | None:
    curves: dict[str, list[tuple[HostArray, HostArray]]] = {}
    for each in done:
        norms = np.array([np.nan if norm is None or norm <= 0 else norm for norm in each.reach], dtype=np.float64)
        if norms.size:
            curves.setdefault(each.label, []).append((np.arange(norms.size, dtype=np.float64), np.log10(norms)))
    return _banded("gradient against distance", "steps before", "log10 of the norm", curves) if curves else None


def _banded(title: str, x_title: str, y_title: str, curves: dict[str, list[tuple[HostArray, HostArray]]]) -> Chart:
    """Mean and range over the runs of each contestant, on one axis, from where all have begun; a run that has ended
    stays what it was."""
    begins, ends = zip(*((xs[0], xs[-1]) for runs in curves.values() for xs, _ in runs), strict=True)
    x = np.linspace(max(begins), max(ends), POINTS)
    lines, bands = {}, {}
    for label, runs in curves.items():
        ys = np.stack([np.interp(x, xs, values) for xs, values in runs])
        lines[label] = ys.mean(axis=0)
        if len(runs) > 1:
            bands[label] = (ys.min(axis=0), ys.max(axis=0))
    return Chart(title, x, lines, bands, x_title, y_title)
