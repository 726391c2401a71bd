"""Small pictures for notebooks: HTML and SVG in text, of arrays, tables and graphs. No packages, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

ROWS, COLUMNS = 24, 48
"""Entries of an array that are drawn at most."""

CELL = 11  # pixels
BLUE, WHITE, RED = (33, 102, 172), (247, 247, 247), (178, 24, 43)


def heat_map(values: np.ndarray[Any, Any]) -> str:
    """An SVG of an array's entries, blue below 0 and red above; what is not finite is black. Of more than two axes the
    first ones are rows below one another."""
    whole = values.reshape(-1, values.shape[-1] if values.ndim else 1).astype(np.float64)
    shown = whole[:ROWS, :COLUMNS]
    finite = np.abs(shown[np.isfinite(shown)])
    limit = float(finite.max(initial=0.0)) or 1.0
    height, width = (n * CELL for n in shown.shape)
    squares = [
        f'<rect x="{j * CELL}" y="{i * CELL}" width="{CELL}" height="{CELL}" fill="{_color(value / limit)}">'
        f"<title>[{i}, {j}] {value:.4g}</title></rect>"
        for (i, j), value in np.ndenumerate(shown)
    ]
    cut = "" if shown.shape == whole.shape else f"; the first {shown.shape[0]} x {shown.shape[1]} of {whole.shape}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">{"".join(squares)}</svg>'
        f"<div><small>from {-limit:.3g} (blue) to {limit:.3g} (red){cut}</small></div>"
    )


def _color(share: float) -> str:
    if not np.isfinite(share):
        return "#000"
    end = RED if share > 0 else BLUE
    mixed = (round(a + (b - a) * abs(share)) for a, b in zip(WHITE, end, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table of texts."""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{body}</table>"


BOX, GAP = (112, 34), (18, 34)  # width and height, in pixels


def graph(nodes: Sequence[tuple[int, str, str, bool]], edges: Sequence[tuple[int, int]]) -> str:
    """An SVG of (number, first line, second line, filled), in order, and arrows: every node below those that it comes
    from."""
    depth: dict[int, int] = {}
    sources: dict[int, list[int]] = {}
    for source, target in edges:
        sources.setdefault(target, []).append(source)
    columns: dict[int, int] = {}
    place = {}
    for number, *_ in nodes:
        depth[number] = 1 + max((depth[s] for s in sources.get(number, ())), default=-1)
        place[number] = (columns.get(depth[number], 0), depth[number])
        columns[depth[number]] = place[number][0] + 1
    width, height = (size + gap for size, gap in zip(BOX, GAP, strict=True))

    def corner(number: int) -> tuple[int, int]:
        column, row = place[number]
        indent = (max(columns.values()) - columns[row]) * width // 2
        return column * width + indent + GAP[0] // 2, row * height + 4

    parts = []
    for source, target in edges:
        (x1, y1), (x2, y2) = corner(source), corner(target)
        ends = f'x1="{x1 + BOX[0] // 2}" y1="{y1 + BOX[1]}" x2="{x2 + BOX[0] // 2}" y2="{y2}"'
        parts.append(f'<line {ends} stroke="#888" marker-end="url(#arrow)"/>')
    for number, first, second, filled in nodes:
        x, y = corner(number)
        fill = "#dbe7f5" if filled else "#fff"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="5" fill="{fill}" stroke="#667"/>'
            f'<text x="{x + BOX[0] // 2}" y="{y + 14}">{escape(first)}</text>'
            f'<text x="{x + BOX[0] // 2}" y="{y + 27}" fill="#556">{escape(second)}</text>'
        )
    arrow = (
        '<defs><marker id="arrow" markerWidth="7" markerHeight="7" refX="6" refY="3" orient="auto">'
        '<path d="M0,0 L6,3 L0,6" fill="none" stroke="#888"/></marker></defs>'
    )
    size = f'width="{max(columns.values()) * width}" height="{(max(columns) + 1) * height - GAP[1] + 8}"'
    style = 'font-family="monospace" font-size="11" text-anchor="middle"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} role="img">{arrow}{"".join(parts)}</svg>'
