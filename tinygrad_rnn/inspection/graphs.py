"""A graph of boxes and arrows as SVG, in the colour of the text around it, so that it is read on light and on dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

FORWARD, BACKWARD = "#2a7de1", "#d9822b"
"""The colours of values and of gradients."""
FONT = "font-family:ui-monospace,monospace;font-size:12px"

_LETTER, _LINE, _GAP = 7.3, 15, (16, 30)  # a letter's width, a line's height, and between boxes, in pixels
_ARROW = 5


@dataclass(frozen=True)
class GraphBox:
    """A box with its lines, of which the last is a gradient if there are three. It comes from boxes by their numbers;
    a box that is `given` comes from none. `said` are texts that a script reads, by the names of data attributes."""

    number: int
    lines: tuple[str, ...]
    sources: tuple[int, ...]
    given: bool
    said: tuple[tuple[str, str], ...] = ()


def graph(boxes: Sequence[GraphBox]) -> str:
    """An SVG of boxes, each after those that it comes from, and below them. An arrow past other rows goes around them,
    at the right. A box is a group with its number in `data-box`, an arrow a path with `data-from` and `data-to`."""
    wide = max(_LETTER * max(map(len, box.lines)) for box in boxes) + 16
    high = _LINE * max(len(box.lines) for box in boxes) + 8
    places = _places(boxes)
    across = 1 + max(column for column, _ in places.values())
    in_row = {row: 1 + max(c for c, r in places.values() if r == row) for _, row in places.values()}
    body = across * (wide + _GAP[0])

    def corner(number: int) -> tuple[float, float]:
        column, row = places[number]
        return (column + (across - in_row[row]) / 2) * (wide + _GAP[0]) + _GAP[0] / 2, row * (high + _GAP[1]) + 4

    arrows, around = [], 0
    for box in boxes:
        for i, source in enumerate(dict.fromkeys(box.sources)):
            (x1, y1), (x2, y2) = corner(source), corner(box.number)
            if places[box.number][1] - places[source][1] == 1:
                path = [(x1 + wide / 2, y1 + high), (x2 + wide / 2, y2)]
            else:
                around += 1
                side, low, end = body + 7 * around, y2 - _GAP[1] / 2, x2 + wide * (3 + i) / (4 + i)
                path = [(x1 + wide, y1 + high / 2), (side, y1 + high / 2), (side, low), (end, low), (end, y2)]
            arrows.append(_arrow(path, source, box.number))
    drawn = "".join(_drawn(box, *corner(box.number), wide, high) for box in boxes)
    width, height = body + 7 * around + 8, (1 + max(in_row)) * (high + _GAP[1]) - _GAP[1] + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" text-anchor="middle" '
        f'style="{FONT}" fill="currentColor" role="img" '
        f'aria-label="a graph of {len(boxes)} values, from the first ones down to the result">'
        f"{''.join(arrows)}{drawn}</svg>"
    )


def _places(boxes: Sequence[GraphBox]) -> dict[int, tuple[int, int]]:
    """The column and the row of each box by its number."""
    rows: dict[int, int] = {}
    for box in boxes:
        rows[box.number] = 1 + max((rows[source] for source in box.sources), default=-1)
    for box in boxes:  # what comes from nothing stands above the first that reads it
        readers = [rows[other.number] for other in boxes if box.number in other.sources]
        if not box.sources and readers:
            rows[box.number] = min(readers) - 1
    columns = dict.fromkeys(rows.values(), -1)
    places = {}
    for box in boxes:
        row = rows[box.number]
        columns[row] += 1
        places[box.number] = columns[row], row
    return places


def _arrow(points: Sequence[tuple[float, float]], source: int, target: int) -> str:
    """A line through points, and a head at its end. The head is drawn here: a marker would need an id, and a page may
    have many graphs."""
    (x1, y1), (x2, y2) = [*pairwise(points)][-1]
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5 or 1.0
    along = ((x2 - x1) / length * _ARROW, (y2 - y1) / length * _ARROW)
    left = (x2 - along[0] - along[1] * 0.7, y2 - along[1] + along[0] * 0.7)
    right = (x2 - along[0] + along[1] * 0.7, y2 - along[1] - along[0] * 0.7)
    line = " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    head = " L".join(f"{x:.1f},{y:.1f}" for x, y in (left, (x2, y2), right))
    return (
        f'<path d="M{line} M{head}" fill="none" stroke="currentColor" stroke-opacity="0.55" '
        f'data-from="{source}" data-to="{target}"/>'
    )


def _drawn(box: GraphBox, x: float, y: float, wide: float, high: float) -> str:
    told = "".join(f' data-{name}="{escape(text, quote=True)}"' for name, text in box.said)
    fill = f'fill="{FORWARD}" fill-opacity="0.16"' if box.given else 'fill-opacity="0.04"'
    texts = "".join(
        f'<text x="{x + wide / 2:.1f}" y="{y + 16 + i * _LINE:.1f}"{_LOOKS[i]}>{escape(line)}</text>'
        for i, line in enumerate(box.lines)
    )
    return (
        f'<g data-box="{box.number}"{told}><rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high}" rx="5" '
        f'{fill} stroke="currentColor" stroke-opacity="0.45"/>{texts}</g>'
    )


GRADIENT = f"color-mix(in srgb,{BACKWARD} 72%,currentColor)"
_LOOKS = (' font-weight="600"', "", f' fill="{BACKWARD}" style="fill:{GRADIENT}"')
