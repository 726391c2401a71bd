"""A page about a trained model of a task: one HTML file that needs no server and no network."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_rnn.inspection.charts import Curves, chart, curves
from tinygrad_rnn.inspection.matrices import matrix
from tinygrad_rnn.inspection.page import facts_and_sections
from tinygrad_rnn.inspection.views import HeatMap, View


def render_task_page(
    title: str, about: Sequence[tuple[str, str]], training: Sequence[tuple[str, Curves]], views: Sequence[View]
) -> str:
    """`about` is shown as a list of names and values; `training` are curves over the steps, each with its unit."""
    drawn = "".join(f"<figure>{svg}</figure>" for unit, lines in training if (svg := curves(lines, unit)))
    sections = [("While it was trained", "", f'<div class="charts">{drawn}</div>' if drawn else "")]
    sections += [(each.title, "", matrix(each) if isinstance(each, HeatMap) else chart(each)) for each in views]
    return facts_and_sections(title, about, sections)
