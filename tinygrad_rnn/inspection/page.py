"""A page about a trained language model: one HTML file that needs no server and no network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.inspection.bundled_files import bundled
from tinygrad_rnn.inspection.charts import Curves, curves


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
    gates, maps = (f"There are none: {reading.untraced}.", " hidden") if reading.untraced else (_GATES, "")
    sections = [
        ("Losses", _LOSSES, curves(losses, "nats per token")),
        ("Norm of the gradient", _NORMS, curves(norms, "norm") + bars(reading.gradients)),
        ("A text, as the model reads it", _TEXT, f"<p>{_mean(reading)}</p>{_CHOICES}"),
        ("Gates and states over the text", gates, f'<div id="maps"{maps}></div>'),
        ("Nearest in the embedding", _NEAREST, near(reading.neighbours)),
    ]
    data = json.dumps(_data(reading, between), ensure_ascii=False, allow_nan=False)
    script = (
        f'<script type="application/json" id="data">{data.replace("<", chr(92) + "u003c")}</script>'
        f"<script>{bundled('page.js')}</script>"
    )
    return facts_and_sections(title, about, sections, script)


def facts_and_sections(
    title: str, about: Sequence[tuple[str, str]], sections: Sequence[tuple[str, str, str]], script: str = ""
) -> str:
    """A whole page: names and values, sections (heading, introduction, HTML) without those that have nothing to show,
    and a script, as HTML, at its end."""
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in about)
    body = "".join(
        f"<section><h2>{escape(name)}</h2>{f'<p>{escape(intro)}</p>' if intro else ''}{part}</section>"
        for name, intro, part in sections
        if part
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{bundled('page.css')}</style></head><body><main><h1>{escape(title)}</h1>"
        f"<dl>{facts}</dl>{body}</main>{script}</body></html>"
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
    "state, as the cell's equations have them. The ground is 0, red above it, blue below. The frame is the token "
    "chosen above; a click chooses token and unit."
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
