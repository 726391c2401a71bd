"""Curves and bands as SVG, for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.inspection.views import Chart

Curves = dict[str, list[tuple[int, float]]]
"""Points (step, value) by name."""
Points = Sequence[tuple[float, ...]]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 420, 240, 46, 16, 24, 40
_MOST_DRAWN = 1e300
_FEW_POINTS = 40
"""Points of a curve that are marked, each, at most."""
_COLORS = ("blue", "red", "green", "violet", "grey")


def curves(lines: Curves, unit: str) -> str:
    """An SVG of curves over steps, each thinned to about 300 points; empty where there is none."""
    thinned = {name: _thinned([p for p in points if abs(p[1]) <= _MOST_DRAWN]) for name, points in lines.items()}
    told = "; ".join(
        f"{name} from {p[0][1]:.3g} to {p[-1][1]:.3g} at step {p[-1][0]:,}" for name, p in thinned.items() if p
    )
    return _drawn({name: [points] for name, points in thinned.items()}, {}, "steps", unit, f"{unit}: {told}")


def chart(view: Chart) -> str:
    """An SVG of a chart; empty where it has no point that can be drawn."""
    lines = {name: _pieces(view.x, values) for name, values in view.lines.items()}
    bands = {name: _pieces(view.x, *edges) for name, edges in view.bands.items()}
    what = ", ".join([*view.lines, *view.bands])
    return _drawn(lines, bands, view.x_title, view.y_title, f"{view.title}: {what}")


def _pieces(x: HostArray, *values: HostArray) -> list[Points]:
    """Points (x, value, ...) in pieces, between which something is no number that can be drawn."""
    rows = np.stack((x, *values), axis=1).astype(np.float64)
    good = np.abs(rows).max(axis=1) <= _MOST_DRAWN
    begins = [0, *(np.flatnonzero(np.diff(good)) + 1).tolist()]
    pieces = zip(begins, np.split(rows, begins[1:]), strict=True)
    return [[tuple(row) for row in piece.tolist()] for begin, piece in pieces if len(piece) and good[begin]]


def _drawn(
    lines: Mapping[str, Sequence[Points]], bands: Mapping[str, Sequence[Points]], x_title: str, y_title: str, label: str
) -> str:
    """The SVG, in which bands lie behind lines, and below it which is which. A band that is called as a line has its
    colour; lines beyond the last colour are dashed."""
    names = dict.fromkeys((*lines, *bands))
    looks = {name: _COLORS[i % len(_COLORS)] + " dashed" * (i >= len(_COLORS)) for i, name in enumerate(names)}
    points = [point for pieces in (*lines.values(), *bands.values()) for piece in pieces for point in piece]
    if not points:
        return ""
    xs, ys = [point[0] for point in points], [y for point in points for y in point[1:]]
    axes = _Axes(ticks(min(xs), max(xs), 4), ticks(min(ys), max(ys), 5))
    drawn = [(name, "".join(map(axes.band, pieces))) for name, pieces in bands.items() if any(pieces)]
    drawn += [(name, "".join(map(axes.line, pieces))) for name, pieces in lines.items() if any(pieces)]
    groups = "".join(f'<g class="{looks[name]}"><title>{escape(name)}</title>{shapes}</g>' for name, shapes in drawn)
    there = {name for name, _ in drawn}
    keys = "".join(f'<span class="{looks[name]}"><i></i>{escape(name)}</span>' for name in names if name in there)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="chart" role="img" aria-label="{escape(label, quote=True)}">'
        f'{axes.frame(x_title, y_title)}{groups}</svg><p class="keys">{keys}</p>'
    )


@dataclass(frozen=True)
class _Axes:
    """The round numbers beside the axes, between whose ends everything lies."""

    across: Sequence[float]
    up: Sequence[float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is drawn."""
        right = (x - self.across[0]) / (self.across[-1] - self.across[0])
        high = (y - self.up[0]) / (self.up[-1] - self.up[0])
        return _LEFT + right * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - high * (_HEIGHT - _BOTTOM - _TOP)

    def frame(self, x_title: str, y_title: str) -> str:
        """The axes."""
        parts = [f'<text x="4" y="12">{escape(y_title)}</text>']
        for y in self.up:
            _, place = self.at(self.across[0], y)
            parts.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place:.1f}" y2="{place:.1f}" class="grid"/>'
                f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{y:g}</text>'
            )
        for x in self.across:
            place, _ = self.at(x, self.up[0])
            parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - 22}" text-anchor="middle">{x:,g}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_title)}</text>')
        return "".join(parts)

    def line(self, points: Points) -> str:
        """A line through points (x, y), which are marked where they are few."""
        places = [self.at(*point) for point in points]
        marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places if len(points) <= _FEW_POINTS)
        return f'<polyline points="{_path(places)}"/>{marks}'

    def band(self, points: Points) -> str:
        """What lies between the edges of points (x, low, high)."""
        upper, lower = [self.at(x, high) for x, _, high in points], [self.at(x, low) for x, low, _ in points]
        return f'<polygon points="{_path([*upper, *reversed(lower)])}"/>'


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers, evenly apart, from at most `low` to at least `high`, both within 1e300; fewer where
    the values are so close to each other that round numbers between them are not."""
    largest = max(abs(low), abs(high))
    rough = max((high / count - low / count) or largest / count or 1 / count, largest * 1e-12, 1e-290)
    exponent = math.floor(math.log10(rough))
    power = 10.0**exponent
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, max(0, -exponent)) for i in range(first, max(last, first + 1) + 1)]


def _thinned(points: list[tuple[int, float]], most: int = 300) -> list[tuple[int, float]]:
    """Means of neighbouring points."""
    size = -(-len(points) // most) or 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(group[-1][0], float(np.mean([y for _, y in group]))) for group in groups]
