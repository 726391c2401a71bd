"""Heat maps with names as SVG, for a page."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from tinygrad_rnn.inspection.views import HeatMap

_LETTER, _CAPITAL, _DIGIT, _LINE, _WIDEST = 6.4, 8.6, 7.0, 15, 900
_MOST_LETTERS = 18


def matrix(view: HeatMap) -> str:
    """An SVG of a heat map: pale is 0; where there are values below 0, red is above it and blue below. A cell tells its
    value where the pointer rests on it."""
    rows, columns = ([_short(name) for name in names] for names in (view.rows, view.columns))
    count = max(len(columns), 1)
    left = max(map(_width, rows), default=_LETTER) + 12 + (_LINE if view.row_title else 0)
    digits = max((len(f"{value:g}") for value in view.values.ravel().tolist()), default=1) if view.counts else 1
    cell = min(max(28.0, _DIGIT * digits + 4), max(5.0, (_WIDEST - left) / count))
    widest = max(map(_width, columns), default=_LETTER)
    turned = widest > cell and not all(name.isdigit() for name in columns)  # numbers can be left out between others
    top = (widest + 8 if turned else _LINE + 4) + (_LINE if view.column_title else 0)
    high = min(cell, 24.0) if cell >= _LINE else float(_LINE)
    width, height = left + cell * count + 4, top + high * len(rows) + 4
    finite = view.values[np.isfinite(view.values)]
    most = float(np.abs(finite).max(initial=0.0)) or 1.0
    signed = ' class="signed"' if (finite < 0).any() else ""
    parts = []
    for r, (name, values) in enumerate(zip(rows, view.values, strict=True)):
        y = top + r * high
        parts.append(f'<text x="{left - 6:.1f}" y="{y + high / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for c, value in enumerate(values.tolist()):
            parts.append(_cell(view, r, c, value, most, (left + c * cell, y, cell, high)))
    room = _LINE if turned else widest + 2
    for c in range(0, len(columns), math.ceil(room / cell)):
        x = left + (c + 0.5) * cell
        turn = f' transform="rotate(-90 {x + 4:.1f} {top - 4:.1f})"' if turned else ""
        place = f'x="{x + 4 if turned else x:.1f}" y="{top - 4:.1f}"'
        parts.append(f'<text {place} text-anchor="{"start" if turned else "middle"}"{turn}>{escape(columns[c])}</text>')
    if view.column_title:
        parts.append(f'<text x="{left:.1f}" y="12" class="title">{escape(view.column_title)} →</text>')
    if view.row_title:
        x, y = 12, top + high * len(rows) / 2
        turn = f'transform="rotate(-90 {x} {y:.1f})" text-anchor="middle"'
        parts.append(f'<text x="{x}" y="{y:.1f}" {turn} class="title">← {escape(view.row_title)}</text>')
    return (
        f'<div class="wide" tabindex="0"><svg viewBox="0 0 {width:.1f} {height:.1f}" width="{width:.0f}" '
        f'height="{height:.0f}" class="matrix" role="img" aria-label="{escape(view.title, quote=True)}">'
        f"<g{signed}>{''.join(parts)}</g></svg></div>"
    )


def _cell(view: HeatMap, r: int, c: int, value: float, most: float, place: tuple[float, float, float, float]) -> str:
    x, y, width, height = place
    told = f"{view.rows[r]}, {view.columns[c]}: {value:.4g}"
    if not np.isfinite(value):
        kind, strength = "none", 1.0
    else:
        kind, strength = ("low" if value < 0 else "high"), abs(value) / most
    square = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width - 0.5:.1f}" height="{height - 0.5:.1f}" class="{kind}" '
        f'fill-opacity="{strength:.3f}"><title>{escape(told)}</title></rect>'
    )
    if not view.counts or not value:
        return square
    return (
        f'{square}<text x="{x + width / 2:.1f}" y="{y + height / 2 + 4:.1f}" text-anchor="middle" '
        f'class="{"strong" if strength > 0.55 else "count"}">{value:g}</text>'
    )


def _width(name: str) -> float:
    """About as much room as a name takes."""
    return sum(_CAPITAL if letter.isupper() else _LETTER for letter in name)


def _short(name: str) -> str:
    plain = name if name.strip() else "␣" * len(name)
    return plain if len(plain) <= _MOST_LETTERS else f"{plain[: _MOST_LETTERS - 1]}…"
