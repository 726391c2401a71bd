"""A page about a trained language model: one HTML file that needs no server and no network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray

Curves = dict[str, list[tuple[int, float]]]
"""Points (step, value) by name."""


@dataclass(frozen=True)
class Reading:
    """A text of T tokens, each of which the model was asked for, after one that was given.

    tokens: all T + 1, as the text spells them; unknown: whether the vocabulary lacks each; total: how many tokens the
    whole text has; nats: -log p of each asked for (T,), its surprise; guesses: for each of these the most likely tokens
    with their chances; units: gates and states by name, (T+1,H), after each token was read; untraced: why there are
    none; depends (T,T+1): row t has the norms of the gradient of surprise t by the vectors of the tokens before;
    gradients: the norm of the mean surprise's gradient by each Parameter; neighbours: for tokens of the text the
    nearest ones in the embedding, with the cosine."""

    tokens: list[str]
    unknown: list[bool]
    total: int
    nats: HostArray
    guesses: list[list[tuple[str, float]]]
    units: dict[str, HostArray]
    untraced: str
    depends: HostArray
    gradients: dict[str, float]
    neighbours: dict[str, list[tuple[str, float]]]


def render_page(
    title: str, about: Sequence[tuple[str, str]], losses: Curves, norms: Curves, reading: Reading, between: str = " "
) -> str:
    """`about` is shown as a list of names and values; `between` is what stands between two tokens."""
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in about)
    gates, maps = (f"There are none: {reading.untraced}.", " hidden") if reading.untraced else (_GATES, "")
    sections = {
        "Losses": (_LOSSES, curves(losses, "nats per token")),
        "Norm of the gradient": (_NORMS, curves(norms, "norm") + bars(reading.gradients)),
        "A text, as the model reads it": (_TEXT, f"<p>{_mean(reading)}</p>{_CHOICES}"),
        "Gates and states over the text": (gates, f'<div id="maps"{maps}></div>'),
        "Nearest in the embedding": (_NEAREST, near(reading.neighbours)),
    }
    body = "".join(
        f"<section><h2>{escape(name)}</h2><p>{escape(intro)}</p>{part}</section>"
        for name, (intro, part) in sections.items()
        if part
    )
    data = json.dumps(_data(reading, between), ensure_ascii=False, allow_nan=False)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<dl>{facts}</dl>{body}</main><script type="application/json" id="data">'
        f"{data.replace('<', chr(92) + 'u003c')}</script><script>{_asset('page.js')}</script></body></html>"
    )


_LOSSES = "Minus the logarithm of the chance that the model gave to each token that came, on average: less is better."
_NORMS = (
    "How steep the loss is: where it jumps up, training was about to lose its way. The bars are for the text below, by "
    "layer: a layer whose bar is short learns little from it."
)
_TEXT = (
    "Each token in the colour of what is chosen here. A token's surprise is minus the logarithm of its chance, in "
    "nats: 0 is certain, 0.7 one in two, 7 one in a thousand. Click on a token, or use the arrow keys. The first is "
    "given."
)
_GATES = (
    "A row is a unit, a column a token: its value after the token was read. Names are layer, direction, and gate or "
    "state, as the cell's equations have them. Pale is 0, red above it, blue below. The frame is the token chosen "
    "above; a click chooses token and unit."
)
_NEAREST = "Tokens that the model takes for alike: the cosine of their vectors is large (at most 1)."

_CHOICES = """<div class="modes" role="group" aria-label="what the colours show">
<label><input type="radio" name="mode" value="nats" checked> surprise</label>
<label><input type="radio" name="mode" value="unit"> a unit:
<select id="name" aria-label="gate or state"></select> <select id="unit" aria-label="unit"></select></label>
<label><input type="radio" name="mode" value="depends"> what the chosen token depends on</label></div>
<div id="scale"></div>
<p id="text" role="listbox" aria-label="the text; arrow keys move" tabindex="0"></p>
<p id="said" aria-live="polite"></p>"""


@cache
def _asset(name: str) -> str:
    return (files("tinygrad_rnn.inspection") / "assets" / name).read_text(encoding="utf-8")


def _mean(reading: Reading) -> str:
    mean = float(reading.nats.mean())
    if not math.isfinite(mean):
        return "The model's chances are not numbers: its training went astray."
    count = len(reading.nats)
    tokens = f"{count:,} tokens" if count == reading.total else f"The first {count:,} of {reading.total:,} tokens"
    return f"{tokens}: {mean:.3f} nats per token, perplexity {math.exp(min(mean, 700)):.1f}."


def _data(reading: Reading, between: str) -> dict[str, Any]:
    units = {name: value for name, value in reading.units.items() if not name.endswith(".pre")}
    return {
        "between": between,
        "tokens": reading.tokens,
        "unknown": reading.unknown,
        "nats": _rounded(reading.nats),
        "guesses": [[[token, round(p, 4) if math.isfinite(p) else None] for token, p in g] for g in reading.guesses],
        "units": {name: _rounded(value, 3) for name, value in units.items()},
        "depends": _rounded(reading.depends),
    }


def _rounded(values: HostArray, digits: int = 4) -> Any:
    """Lists of numbers; what is not finite is None."""
    if values.ndim > 1:
        return [_rounded(row, digits) for row in values]
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in values.astype(np.float64)]


# --- Curves ------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 240, 46, 40
_MOST_DRAWN = 1e300
_FEW_POINTS = 40
"""Points of a curve that are marked, each, at most."""


def curves(lines: Curves, unit: str) -> str:
    """An SVG of curves over steps, each thinned to about 300 points; empty where there is none."""
    lines = {name: _thinned([p for p in points if abs(p[1]) <= _MOST_DRAWN]) for name, points in lines.items()}
    colors = dict(zip(lines, ("blue", "red"), strict=False))
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    xs, ys = ([p[i] for points in lines.values() for p in points] for i in (0, 1))
    across, up = ticks(min(xs), max(xs), 4), ticks(min(ys), max(ys), 5)

    def at(x: float, y: float) -> tuple[float, float]:
        right, high = (x - across[0]) / (across[-1] - across[0]), (y - up[0]) / (up[-1] - up[0])
        return _LEFT + right * (_WIDTH - _LEFT - 16), _HEIGHT - _BOTTOM - high * (_HEIGHT - _BOTTOM - 24)

    parts = [f'<text x="4" y="12">{escape(unit)}</text>']
    for y in up:
        _, place = at(0, y)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 16}" y1="{place:.1f}" y2="{place:.1f}" class="grid"/>'
            f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{y:g}</text>'
        )
    for x in across:
        place, _ = at(x, 0)
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - 22}" text-anchor="middle">{x:,g}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH - 16) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">steps</text>')
    for name, points in lines.items():
        places = [at(*p) for p in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places if len(points) <= _FEW_POINTS)
        parts.append(f'<g class="{colors[name]}"><title>{escape(name)}</title><polyline points="{path}"/>{marks}</g>')
    keys = "".join(f'<span class="{colors[name]}"><i></i>{escape(name)}</span>' for name in lines)
    told = "; ".join(f"{name} from {p[0][1]:.3g} to {p[-1][1]:.3g} at step {p[-1][0]:,}" for name, p in lines.items())
    label = escape(f"{unit}: {told}", quote=True)
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="chart" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    return f'{svg}<p class="keys">{keys}</p>'


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


# --- Tables ------------------------------------------------------------------------------------------------------


def bars(norms: dict[str, float]) -> str:
    """The norms of gradients as horizontal bars: of each layer, and, folded, of each Parameter."""
    layers: dict[str, float] = {}
    tied = "output_bias" in norms and "output_weight" not in norms
    for name, norm in norms.items():
        layer = _layer(name) + (_TIED if tied and _layer(name) == "output" else "")
        layers[layer] = math.hypot(layers.get(layer, 0.0), norm)
    each = _bars(norms, "each Parameter, by its name in the model")
    return f"{_bars(layers, 'by layer')}<details><summary>by Parameter</summary>{each}</details>"


_TIED = " (its bias; the weights are the embedding's)"


def _layer(parameter: str) -> str:
    """The layer that a Parameter of a language model belongs to."""
    first, *rest = parameter.split(".")
    if first == "recurrent":
        return f"recurrent layer {rest[1]}"
    return "embedding" if first == "embedding" else "output"


def _bars(values: dict[str, float], caption: str) -> str:
    largest = max((v for v in values.values() if math.isfinite(v)), default=0.0) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="bar">'
        f'<i style="width:{100 * v / largest if math.isfinite(v) else 0:.1f}%"></i></td><td>{v:.3g}</td></tr>'
        for name, v in values.items()
    )
    return f'<div class="wide" tabindex="0"><table><caption>{caption}</caption><tbody>{rows}</tbody></table></div>'


def near(neighbours: dict[str, list[tuple[str, float]]]) -> str:
    """A table of tokens and those nearest to each."""
    rows = ""
    for token, others in neighbours.items():
        listed = " &nbsp; ".join(f"{_code(other)} {cosine:.2f}" for other, cosine in others)
        rows += f'<tr><th scope="row">{_code(token)}</th><td>{listed}</td></tr>'
    head = "<thead><tr><th>token</th><th>nearest, with the cosine</th></tr></thead>"
    return f'<div class="wide" tabindex="0"><table>{head}<tbody>{rows}</tbody></table></div>' if rows else ""


def _code(token: str) -> str:
    """A token as it is, in quotation marks where that would not be seen."""
    return f"<code>{escape(token if token.isalnum() else json.dumps(token, ensure_ascii=False))}</code>"
