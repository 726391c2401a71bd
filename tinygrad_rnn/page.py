"""A page about a trained language model: one HTML file that needs no server and no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from tinygrad_rnn.pictures import heat_map, table
from tinygrad_rnn.reading import Reading

Points = Sequence[tuple[float, float]]


def page(
    title: str,
    about: Sequence[tuple[str, str]],
    losses: dict[str, Points],
    norms: dict[str, Points],
    reading: Reading,
    between: str = " ",
) -> str:
    """`about` is shown as a list of names and values; `losses` and `norms` are curves over steps, by name; `between` is
    what stands between two tokens."""
    values = {
        "between": between,
        "tokens": reading.tokens,
        "read": reading.read,
        "nats": _rounded(reading.nats),
        "guesses": [[[token, round(p, 4)] for token, p in each] for each in reading.guesses],
        "units": {name: _rounded(value) for name, value in reading.units.items() if not name.endswith(".pre")},
        "depends": _rounded(reading.depends),
    }
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in about)
    mean = f"{reading.nats.mean():.3f} nats per token, perplexity {np.exp(min(reading.nats.mean(), 700)):.1f}"
    gates = "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>{heat_map(value.T)}</figure>"
        for name, value in reading.units.items()
        if not name.endswith(".pre")
    )
    near = table(
        ("word", "nearest in the embedding, with the cosine"),
        [(word, ", ".join(f"{other} {c:.2f}" for other, c in each)) for word, each in reading.neighbours.items()],
    )
    parts = {
        "Losses (nats per token)": curves(losses),
        "Norm of the gradient": curves(norms) + bars(reading.gradients),
        "A text, as the model reads it": f"<p>{mean}</p>{_TEXT}",
        "Gates and states over the text": f'<p>A row is a unit, a column a token.</p><div class="wide">{gates}</div>',
        "Nearest words": f'<div class="wide">{near}</div>',
    }
    body = "".join(f"<section><h2>{escape(name)}</h2>{part}</section>" for name, part in parts.items() if part)
    data = json.dumps(values, ensure_ascii=False).replace("<", "\\u003c")  # no token can end the script
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<dl>{facts}</dl>{body}</main><script type="application/json" id="data">{data}</script>'
        f"<script>{_SCRIPT}</script></body></html>"
    )


def _rounded(values: np.ndarray[Any, Any]) -> Any:
    """Lists of numbers with four digits; what is not finite is None."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{v:.4g}") if np.isfinite(v) else None for v in values.astype(np.float64)]


COLORS = ("var(--blue)", "var(--red)", "var(--green)")


def curves(lines: dict[str, Points], width: int = 640, height: int = 220) -> str:
    """An SVG of curves over steps, each thinned to about 300 points; empty where there is none."""
    lines = {name: [(x, y) for x, y in points if np.isfinite(y)] for name, points in lines.items()}
    lines = {name: _thinned(points) for name, points in lines.items() if len(points) > 1}
    if not lines:
        return ""
    xs, ys = (np.array([p[i] for points in lines.values() for p in points]) for i in (0, 1))
    left, right, low, high = xs.min(), xs.max(), ys.min(), ys.max()
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)

    def at(x: float, y: float) -> tuple[float, float]:
        return 48 + (x - left) / max(right - left, 1) * (width - 60), 10 + (high - y) / (high - low) * (height - 40)

    parts = []
    for y in np.linspace(low, high, 5):
        _, place = at(left, y)
        parts.append(
            f'<line x1="48" x2="{width - 12}" y1="{place:.1f}" y2="{place:.1f}" class="grid"/>'
            f'<text x="42" y="{place + 4:.1f}" text-anchor="end">{y:.3g}</text>'
        )
    for x, anchor in ((left, "start"), (right, "end")):
        place, _ = at(x, low)
        parts.append(f'<text x="{place:.1f}" y="{height - 8}" text-anchor="{anchor}">{x:,.0f}</text>')
    for (name, points), color in zip(lines.items(), COLORS, strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in points))
        parts.append(f'<polyline points="{path}" style="stroke:{color}"><title>{escape(name)}</title></polyline>')
    keys = "".join(
        f'<span><i style="background:{color}"></i>{escape(name)}</span>'
        for name, color in zip(lines, COLORS, strict=False)
    )
    svg = f'<svg viewBox="0 0 {width} {height}" class="chart" role="img">{"".join(parts)}</svg>'
    return f'{svg}<p class="keys">{keys} over steps</p>'


def _thinned(points: Points, most: int = 300) -> Points:
    """Means of neighbouring points."""
    size = -(-len(points) // most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(group[-1][0], float(np.mean([y for _, y in group]))) for group in groups]


def bars(values: dict[str, float]) -> str:
    """A list of numbers as horizontal bars."""
    largest = max(values.values(), default=0.0) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="bar"><i style="width:{100 * v / largest:.1f}%"></i></td>'
        f"<td>{v:.3g}</td></tr>"
        for name, v in values.items()
    )
    return (
        f'<div class="wide"><table class="bars"><caption>by Parameter, for the text below</caption>{rows}</table></div>'
    )


_TEXT = """<div class="modes" role="group" aria-label="what the colours show">
<label><input type="radio" name="mode" value="nats" checked> surprise</label>
<label><input type="radio" name="mode" value="unit"> a unit:
<select id="name" aria-label="gate or state"></select><select id="unit" aria-label="unit"></select></label>
<label><input type="radio" name="mode" value="depends"> what the chosen token depends on</label></div>
<p id="text" role="listbox" aria-label="the text; arrow keys move" tabindex="0"></p>
<p id="said" aria-live="polite"></p>"""

_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1c1e21;--pale:#667;--line:#ccd;--blue:#2166ac;--red:#b2182b;
--green:#1b7837}
@media(prefers-color-scheme:dark){:root{--ground:#16181c;--ink:#e6e6e6;--pale:#a0a4ad;--line:#3a3f48;--blue:#74a9d8;
--red:#ef8a62;--green:#7fbf7b}}
body{background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;margin:0}
main{max-width:56rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin-top:2rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:var(--pale)}
dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}.chart{width:100%;height:auto;max-width:44rem}
.chart text{font-size:11px;fill:var(--pale)}.grid{stroke:var(--line)}polyline{fill:none;stroke-width:2}
.keys span{margin-right:1rem}
.keys i{display:inline-block;width:1rem;height:.25rem;margin-right:.4rem;vertical-align:middle}
table{border-collapse:collapse}td,th{padding:.1rem .6rem .1rem 0;text-align:left;font-weight:400}
caption{text-align:left;color:var(--pale)}.bar{width:14rem}.bar i{display:block;height:.7rem;background:var(--blue)}
.modes label{display:inline-block;margin-right:1.2rem}
#text{line-height:2;font-size:1.05rem;overflow-wrap:anywhere}
#text span{padding:.15rem .2rem;border-radius:.2rem;cursor:pointer;white-space:pre-wrap}
#text span[aria-selected=true]{outline:2px solid var(--ink)}
#said{min-height:5rem;color:var(--pale)}
figure{display:inline-block;margin:.5rem 1rem .5rem 0}
"""

_SCRIPT = """
const d=JSON.parse(document.getElementById('data').textContent),text=document.getElementById('text'),
said=document.getElementById('said'),names=document.getElementById('name'),units=document.getElementById('unit');
let chosen=d.tokens.length-1;
const mode=()=>document.querySelector('input[name=mode]:checked').value;
const near=v=>v===null?'not a number':Number(v.toPrecision(3)).toString();
const spans=d.tokens.map((t,i)=>{const s=document.createElement('span');
s.textContent=t==='\\n'?'\\u21b5\\n':t;s.id='t'+i;
s.setAttribute('role','option');s.onclick=()=>choose(i);
text.append(s,d.between);return s});
for(const n of Object.keys(d.units))names.add(new Option(n));
function fill(){units.replaceChildren();if(!names.value)return;
d.units[names.value][0].forEach((_,j)=>units.add(new Option('unit '+j,j)))}
function color(v,max){const a=Math.min(1,Math.abs(v)/(max||1));
return `color-mix(in srgb, var(${v<0?'--blue':'--red'}) ${Math.round(70*a)}%, transparent)`}
function show(){const m=mode();let v;
if(m==='nats')v=d.nats;
else if(m==='unit')v=names.value?d.units[names.value].map(r=>r[+units.value]):d.nats.map(()=>0);
else v=d.tokens.map((_,i)=>i+1<=chosen?d.depends[chosen][i+1]:0);
const max=m==='nats'?Math.max(8,...v):Math.max(...v.map(Math.abs));
spans.forEach((s,i)=>{s.style.background=color(v[i],max);s.title=`${near(d.nats[i])} nats`;
s.setAttribute('aria-selected',i===chosen)});
text.setAttribute('aria-activedescendant','t'+chosen);
const g=d.guesses[chosen].map(([t,p])=>`${JSON.stringify(t)} ${(100*p).toFixed(1)}%`).join(', ');
const [t,r]=[d.tokens[chosen],d.read[chosen]].map(w=>JSON.stringify(w));
said.textContent=`${t} after ${r}: ${near(d.nats[chosen])} nats. Expected: ${g}.`+
(m==='unit'?` The unit: ${near(v[chosen])}.`:'')}
function choose(i){chosen=Math.max(0,Math.min(d.tokens.length-1,i));show()}
text.onkeydown=e=>{const step={ArrowRight:1,ArrowDown:1,ArrowLeft:-1,ArrowUp:-1}[e.key];
if(step){e.preventDefault();choose(chosen+step)}else if(e.key==='Home'||e.key==='End'){e.preventDefault();
choose(e.key==='Home'?0:d.tokens.length-1)}};
document.querySelectorAll('input[name=mode]').forEach(e=>e.onchange=show);
const use=()=>{document.querySelector('input[value=unit]').checked=true;show()};
names.onchange=()=>{fill();use()};units.onchange=use;fill();show();
"""
