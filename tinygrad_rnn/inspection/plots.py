"""Pictures by matplotlib, which is optional: `pip install 'tinygrad-rnn[plot]'`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, HostArray
from tinygrad_rnn.disk import named_errors
from tinygrad_rnn.inspection.short_steps import without_short_steps
from tinygrad_rnn.inspection.views import Chart, HeatMap, View

PICTURES = (".png", ".svg", ".pdf")
"""How the file of a picture may end."""
FIGURE_WIDTH = 8.0
"""Of a figure, in inches, where what it shows needs no less."""
WITHOUT = "a picture needs matplotlib, which is not installed: pip install 'tinygrad-rnn[plot]'"


def draw_views(views: Sequence[View]) -> Any:
    """A matplotlib Figure of views, one below the other. Raises ModuleNotFoundError where there is no matplotlib."""
    try:
        from matplotlib import figure as figures  # noqa: PLC0415  (optional)
    except ImportError:
        raise ModuleNotFoundError(WITHOUT) from None
    widths = [_width(view) if isinstance(view, HeatMap) else FIGURE_WIDTH for view in views]
    heights = [_height(view) if isinstance(view, HeatMap) else 3.2 for view in views]
    figure = figures.Figure(figsize=(max(widths, default=FIGURE_WIDTH), sum(heights)), layout="constrained")
    places = figure.subplots(len(views), 1, squeeze=False, height_ratios=heights)[:, 0]
    for place, view in zip(places, views, strict=True):
        _draw_matrix(place, view) if isinstance(view, HeatMap) else _draw_chart(place, view)
        place.set_title(view.title, loc="left", fontsize=10)
    return figure


def _is_wide(view: HeatMap) -> bool:
    """Whether its entries are no squares."""
    return len(view.columns) > (8 if view.counts else 3 * len(view.rows))  # numbers need room in their cells


def _entry(view: HeatMap) -> float:
    """The height of an entry, in inches."""
    return 0.36 if view.counts and not _is_wide(view) else 0.24


def _longest(names: Sequence[str]) -> int:
    return max(map(len, names), default=1)


def _width(view: HeatMap) -> float:
    """In inches, with room for names of rows and for the title; of squares no more than they need."""
    if _is_wide(view):
        return FIGURE_WIDTH
    needed = _entry(view) * len(view.columns) + 0.09 * _longest(view.rows) + 0.8
    return min(FIGURE_WIDTH, max(needed, 0.09 * len(view.title) + 0.8))


def _height(view: HeatMap) -> float:
    """In inches, with room for names of columns that stand upright."""
    longest = _longest(view.columns)
    return max(2.2, _entry(view) * len(view.rows) + 1.2 + (0.08 * longest if longest > 2 else 0))


def _draw_matrix(place: Any, view: HeatMap) -> None:
    values = np.ma.masked_invalid(view.values.astype(float))
    most = float(np.abs(values).max()) or 1.0
    colours: dict[str, Any] = (
        {"vmin": -most, "vmax": most, "cmap": "RdBu_r"}
        if values.min() < 0
        else {"vmin": 0, "vmax": most, "cmap": "Blues"}
    )
    place.imshow(values, aspect="auto" if _is_wide(view) else "equal", **colours)
    place.set_yticks(range(len(view.rows)), view.rows)
    step = -(-len(view.columns) // (20 if all(name.isdigit() for name in view.columns) else 60))
    turned = {"rotation": 90} if _longest(view.columns) > 2 else {}
    place.set_xticks(range(0, len(view.columns), step), view.columns[::step], **turned)
    place.set(xlabel=view.column_title, ylabel=view.row_title)
    if view.counts:
        for (r, c), value in np.ndenumerate(view.values):
            if value:
                colour = "white" if abs(value) > 0.55 * most else "black"
                place.text(c, r, f"{value:g}", ha="center", va="center", color=colour, fontsize=8)


def _draw_chart(place: Any, view: Chart) -> None:
    for name, (low, high) in view.bands.items():
        place.fill_between(view.x, low, high, alpha=0.25, label=name)
    for name, values in view.lines.items():
        place.plot(view.x, values, label=name, linewidth=1.5)
    place.set(xlabel=view.x_title, ylabel=view.y_title)
    place.spines[["top", "right"]].set_visible(False)
    place.grid(alpha=0.3)
    place.legend(frameon=False, fontsize=8)


def heat_maps(values: Mapping[str, Array], columns: Sequence[str] | None = None) -> Any:
    """A matplotlib Figure: for each name its array (T,H), a unit in each row, a time step in each column, which
    `columns` (T) name. The colours go from 0 to 1 where all entries lie there, as those of a gate do; else from blue
    over white, which is 0, to red. Raises ValueError for nothing, ModuleNotFoundError where there is no matplotlib."""
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415  (optional)
    except ImportError:
        raise ModuleNotFoundError(WITHOUT) from None
    if not values:
        raise ValueError("there is nothing to draw: no gate or state was traced")
    across = min(len(values), 2)
    down = -(-len(values) // across)
    figure, places = plt.subplots(down, across, figsize=(4.5 * across, 3 * down), squeeze=False, layout="constrained")
    for place in places.flat[len(values) :]:
        place.set_axis_off()
    for place, (name, array) in zip(places.flat, values.items(), strict=False):
        most = float(np.abs(array).max(initial=0.0)) or 1.0
        if array.size and array.min() >= 0 and array.max() <= 1:
            colours: dict[str, Any] = {"vmin": 0, "vmax": 1, "cmap": "viridis"}
        else:
            colours = {"vmin": -most, "vmax": most, "cmap": "RdBu_r"}
        figure.colorbar(place.imshow(array.T, aspect="auto", interpolation="nearest", **colours), ax=place)
        place.set(title=name, ylabel="unit")
        place.yaxis.get_major_locator().set_params(integer=True)
        if columns is None:
            place.set_xlabel("time step")
        else:
            place.set_xticks(range(len(columns)), columns, rotation=60)
    return figure


def surface_map(
    across: HostArray, up: HostArray, values: HostArray, paths: Mapping[str, HostArray], titles: tuple[str, str]
) -> Any:
    """A matplotlib Figure of values (M,N) over a plane, across (N,) and up (M,), and on it paths (K,2) by name, from a
    dot to a cross. Raises ModuleNotFoundError where there is no matplotlib."""
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415  (optional)
    except ImportError:
        raise ModuleNotFoundError(WITHOUT) from None
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    drawn = axes.pcolormesh(across, up, np.ma.masked_invalid(values), shading="nearest", cmap="Blues")
    figure.colorbar(drawn, ax=axes, label="loss")
    for (name, path), color in zip(paths.items(), cycle(_PATHS), strict=False):
        axes.plot(*path.T, color=color, linewidth=1.4, label=name)
        axes.plot(*path[0], "o", color=color)
        axes.plot(*path[-1], "X", color=color, markersize=9, markeredgecolor="white")
    axes.set(xlabel=titles[0], ylabel=titles[1])
    axes.set(xlim=(across.min(), across.max()), ylim=(up.min(), up.max()))
    if paths:
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


_PATHS = ("#d62728", "#1a1a1a", "#0b7a3e", "#7b3fa0")


def loss_curve(
    records: Sequence[Mapping[str, Any]],
    target: Path,
    valid_key: str = "valid_nats",
    counted: str = "tokens",
    training: str = "training",
) -> bool:
    """Draws the losses of a run, from the records of its log, where matplotlib is there, and says whether it was. The
    records call the validation loss `valid_key`, and what the losses count `counted`; `training` is what stands beside
    the curve of the training loss."""
    try:
        from matplotlib import figure as figures  # noqa: PLC0415  (optional)
    except ImportError:
        return False
    steps = [r for r in records if r["event"] == "step" and _is_number(r.get(counted)) and r[counted] > 0]
    valid = [r for r in records if r["event"] == "evaluation"]
    losses = without_short_steps([(r["step"], _number(r.get("loss")), r[counted]) for r in steps])
    window = max(1, len(losses) // 200)
    points = [losses[i : i + window] for i in range(0, len(losses), window)]
    figure = figures.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [p[-1][0] for p in points],
        [sum(loss for _, loss in p) / len(p) for p in points],
        color="tab:blue",
        alpha=0.6,
        label=training,
    )
    axes.plot(
        [r["step"] for r in valid],
        [_number(r.get(valid_key)) for r in valid],
        "o-",
        color="tab:orange",
        markersize=4,
        label="validation",
    )
    axes.set(xlabel="step", ylabel=f"{valid_key.removeprefix('valid_')} per {counted.removesuffix('s')}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with named_errors(target):
        figure.savefig(target, dpi=120)
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e290


def _number(value: Any) -> float:
    """What is no number that can be drawn is a gap."""
    return value if _is_number(value) else math.nan
