"""Small pictures for notebooks: HTML and SVG in text, of arrays and tables. No packages, nothing loaded."""

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
