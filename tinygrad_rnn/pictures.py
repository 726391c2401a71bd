"""Small pictures for notebooks: HTML and SVG in text, of arrays, tables and graphs. No packages, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

ROWS, COLUMNS = 24, 48
"""Entries of an array that are drawn at most."""

CELL, SPACE = 11, 5  # of an entry, and between blocks of rows, in pixels
BLUE, WHITE, RED = (33, 102, 172), (247, 247, 247), (178, 24, 43)


def heat_map(values: np.ndarray[Any, Any]) -> str:
    """An SVG of an array's entries: 0 is white, what is above it red, below it blue, and not finite yellow. Of more
    than two axes the first ones are blocks of rows below one another."""
    whole = values.reshape(-1, values.shape[-1] if values.ndim else 1).astype(np.float64)
    shown = whole[:ROWS, :COLUMNS]
    finite = shown[np.isfinite(shown)]
    limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    block = values.shape[-2] if values.ndim > 2 else len(whole)

    def top(row: int) -> int:
        return row * CELL + row // max(block, 1) * SPACE

    squares = []
    for (i, j), value in np.ndenumerate(shown):
        at = [*map(int, np.unravel_index(i, values.shape[:-1])), j] if values.ndim else []
        squares.append(
            f'<rect x="{j * CELL}" y="{top(i)}" width="{CELL}" height="{CELL}" fill="{_color(value / limit)}">'
            f"<title>{at} {value:.4g}</title></rect>"
        )
    width, height = shown.shape[1] * CELL, top(len(shown) - 1) + CELL
    below, above = finite.min(initial=0.0) < 0, finite.max(initial=0.0) > 0
    low, high = f"{-limit:.3g} (blue)" if below else "0 (white)", f"{limit:.3g} (red)" if above else "0 (white)"
    said = f"from {low} to {high}" if below or above else "all 0 (white)"
    if lost := shown.size - finite.size:
        said += f"; {lost} not finite (yellow)"
    if shown.shape != whole.shape:
        said += f"; the first {shown.shape[0]} x {shown.shape[1]} of {whole.shape}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" '
        f'aria-label="entries {said}">{"".join(squares)}</svg><div><small>{said}</small></div>'
    )


def _color(share: float) -> str:
    if not np.isfinite(share):
        return "#e6c700"
    end = RED if share > 0 else BLUE
    mixed = (round(a + (b - a) * abs(share)) for a, b in zip(WHITE, end, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table of texts."""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{body}</table>"


LETTER, HIGH, GAP = 7, 34, (18, 34)  # the width of a letter, the height of a box, and between boxes, in pixels


def graph(nodes: Sequence[tuple[int, str, str, bool]], edges: Sequence[tuple[int, int]]) -> str:
    """An SVG of (number, first line, second line, filled), in order, and arrows: every node below those that it comes
    from. An arrow past other rows goes around them, at the right."""
    wide = max(LETTER * max(len(first), len(second)) for _, first, second, _ in nodes) + 16
    sources: dict[int, list[int]] = {}
    for source, target in edges:
        sources.setdefault(target, []).append(source)
    rows: dict[int, int] = {}
    for number, *_ in nodes:
        rows[number] = 1 + max((rows[s] for s in sources.get(number, ())), default=-1)
    for number, *_ in nodes:  # what comes from nothing stands above the first that reads it
        readers = [rows[target] for source, target in edges if source == number]
        if number not in sources and readers:
            rows[number] = min(readers) - 1
    columns: dict[int, int] = {}
    place: dict[int, tuple[int, int]] = {}
    for number, *_ in nodes:
        place[number] = (columns.get(rows[number], 0), rows[number])
        columns[rows[number]] = place[number][0] + 1
    width, height = wide + GAP[0], HIGH + GAP[1]
    body = max(columns.values()) * width

    def corner(number: int) -> tuple[int, int]:
        column, row = place[number]
        indent = (max(columns.values()) - columns[row]) * width // 2
        return column * width + indent + GAP[0] // 2, row * height + 4

    parts, around = [], 0
    for source, target in edges:
        (x1, y1), (x2, y2) = corner(source), corner(target)
        style = 'fill="none" stroke="#888" marker-end="url(#arrow)"'
        if place[target][1] - place[source][1] == 1:
            path = f"M{x1 + wide // 2},{y1 + HIGH} L{x2 + wide // 2},{y2}"
        else:
            around += 1
            side, low = body + 8 * around, y2 - GAP[1] // 2
            path = f"M{x1 + wide},{y1 + HIGH // 2} H{side} V{low} H{x2 + wide * 3 // 4} V{y2}"
        parts.append(f'<path d="{path}" {style}/>')
    for number, first, second, filled in nodes:
        x, y = corner(number)
        fill = "#dbe7f5" if filled else "#fff"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{wide}" height="{HIGH}" rx="5" fill="{fill}" stroke="#667"/>'
            f'<text x="{x + wide // 2}" y="{y + 14}">{escape(first)}</text>'
            f'<text x="{x + wide // 2}" y="{y + 27}" fill="#556">{escape(second)}</text>'
        )
    arrow = (
        '<defs><marker id="arrow" markerWidth="7" markerHeight="7" refX="6" refY="3" orient="auto">'
        '<path d="M0,0 L6,3 L0,6" fill="none" stroke="#888"/></marker></defs>'
    )
    size = f'width="{body + 8 * around + 8}" height="{(max(columns) + 1) * height - GAP[1] + 8}"'
    style = 'font-family="monospace" font-size="11" text-anchor="middle"'
    label = f'role="img" aria-label="a graph of {len(nodes)} values, from the first ones down to the result"'
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} {label}>{arrow}{"".join(parts)}</svg>'
    return f'<div style="overflow-x:auto">{drawn}</div>'
