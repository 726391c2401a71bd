"""The unrolled network in motion, for docs/unrolled.rst: `python docs/unrolled.py` makes SVG that moves by CSS.

A drawing is a list of shapes, each with the beat at which it comes up. All shapes run through one cycle, so a beat is
two rules of CSS. Without motion, all shapes are there, with the number of their beat beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np

from tinygrad_rnn import Parameter, Tensor, ops

MADE = Path(__file__).parent / "unrolled"
STEPS, WIDE, TRUNCATE = 5, 352, 2
X = [34 + 66 * t for t in range(STEPS)]
"""Where the time steps stand."""
LOSS, OUTPUT, STATE, INPUT, TERM, NODES = 24, 66, 124, 186, 226, 274
"""How far down each row lies."""
BEATS = 6 * STEPS
"""Of the longest of the drawings that share their cycle: three lines of the program a step, forward and backward."""
REST = 6
"""Beats at the end of a cycle, in which all is seen."""

STYLE = """
.unrolled { max-width: 36rem; margin: 0 0 1.5rem; }
.unrolled svg { width: 100%; height: auto; display: block; }
.unrolled text { font: 12px system-ui, sans-serif; fill: currentColor; text-anchor: middle; stroke: none; }
.unrolled .count { font-size: 11px; display: none; }
.unrolled g { stroke: currentColor; stroke-width: 1.4; fill: none; }
.unrolled .forward { stroke: #2a7de1; } .unrolled .backward { stroke: #d9822b; } .unrolled .cut { stroke: #c2354a; }
.unrolled .forward .count { fill: color-mix(in srgb, #2a7de1 72%, currentColor); }
.unrolled .backward .count { fill: color-mix(in srgb, #d9822b 72%, currentColor); }
.unrolled .box { fill: #2a7de1; fill-opacity: .14; } .unrolled .backward .box { fill: #d9822b; fill-opacity: .2; }
.unrolled .band { fill: #2a7de1; fill-opacity: .1; stroke-dasharray: 4 3; } .unrolled .backward .band { fill: #d9822b; }
.unrolled p { margin: .3rem 0; } .unrolled label { cursor: pointer; margin-left: 1rem; }
.unrolled i { display: inline-block; width: .8rem; height: .8rem; border: 2px solid; border-radius: 3px; }
.unrolled i.forward { border-color: #2a7de1; } .unrolled i.backward { border-color: #d9822b; margin-left: 1rem; }
.unrolled ol { list-style: none; margin: .4rem 0 0; padding: 0; }
.unrolled li { padding-left: .6rem; border-left: 3px solid; margin: .3rem 0; }
.unrolled li.forward { border-color: #2a7de1; } .unrolled li.backward { border-color: #d9822b; }
.unrolled:has(input:checked) * { animation-play-state: paused; }
@media print, (prefers-reduced-motion: reduce) {
  .unrolled * { animation: none !important; }
  .unrolled .count { display: inline; } .unrolled label { display: none; }
}
"""

LEGEND = '<i class="forward"></i> values <i class="backward"></i> gradients'


class Drawing:
    """Shapes, lines of caption, and when each comes up, in beats of so many seconds."""

    def __init__(self, name: str, title: str, about: str, high: int, top: int = 0, seconds: float = 0.45) -> None:
        self.name, self.title, self.about = name, title, about
        self.view = f"0 {-top} {WIDE} {high + top}"
        self.seconds = seconds
        self.still: list[str] = []
        self.shapes: list[str] = []
        self.labels: list[str] = []
        self.captions: list[tuple[str, str, int, int]] = []
        self.beats: set[int] = set()

    def add(self, kind: str, beat: int, shape: str, count: tuple[float, float] | None = None) -> None:
        """A shape that comes up at a beat, and stays; `count` is where the number of the beat stands without motion."""
        self.beats.add(beat)
        told = "" if count is None else f'<text class="count" x="{count[0]:.1f}" y="{count[1]:.1f}">{beat + 1}</text>'
        self.shapes.append(f'<g class="{kind} beat{beat}">{shape}{told}</g>')

    def caption(self, kind: str, first: int, last: int, text: str) -> None:
        """A line below, which stands out from one beat to another."""
        self.captions.append((kind, text, first, last))

    def html(self, beats: int) -> str:
        """The drawing, of so many beats before the rest of its cycle, with all that it needs."""
        cycle = beats + REST
        rules = [STYLE, *(self._rises(beat, cycle) for beat in sorted(self.beats))]
        lines = []
        for i, (kind, text, first, last) in enumerate(self.captions):
            rules.append(self._stands_out(i, first, last, cycle))
            lines.append(f'<li class="{kind} {self.name}-line{i}">{text}</li>')
        title, about = f"{self.name}-title", f"{self.name}-about"
        drawn = "".join([*self.still, *self.shapes, *self.labels])
        return (
            f'<div class="unrolled" id="{self.name}"><style>{"".join(rules)}</style>'
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{self.view}" role="img" '
            f'aria-labelledby="{title} {about}"><title id="{title}">{escape(self.title)}</title>'
            f'<desc id="{about}">{escape(self.about)}</desc>{drawn}</svg>'
            f'<p>{LEGEND}<label><input type="checkbox"/> hold</label></p><ol>{"".join(lines)}</ol></div>\n'
        )

    def _rises(self, beat: int, cycle: int) -> str:
        name = f"{self.name}-{beat}"
        before, at, after = (100 * (beat + part) / cycle for part in (0, 0.25, 1.0))
        return (
            f"#{self.name} .beat{beat} {{ animation: {name} {cycle * self.seconds:.2f}s linear infinite; }}\n"
            f"@keyframes {name} {{ 0%, {before:.2f}% {{ opacity: .13; stroke-width: 1.4; }} "
            f"{at:.2f}%, {after:.2f}% {{ opacity: 1; stroke-width: 3; }} "
            f"{after + 1:.2f}%, 100% {{ opacity: 1; stroke-width: 1.4; }} }}\n"
        )

    def _stands_out(self, line: int, first: int, last: int, cycle: int) -> str:
        name = f"{self.name}-line{line}"
        begin, end = 100 * first / cycle, 100 * (last + 1) / cycle
        return (
            f".{name} {{ animation: {name} {cycle * self.seconds:.2f}s step-end infinite; }}\n"
            f"@keyframes {name} {{ 0% {{ opacity: {1 if first == 0 else 0.5}; }} {begin:.2f}% {{ opacity: 1; }} "
            f"{end:.2f}%, 100% {{ opacity: .5; }} }}\n"
        )


# --- Shapes ----------------------------------------------------------------------------------------------------


def low(t: int) -> str:
    """The number of a time step, from 1, below the line."""
    return chr(0x2081 + t)


def text(x: float, y: float, said: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(said)}</text>'


def circle(x: float, y: float, radius: float, said: str = "") -> str:
    kind = ' class="box"' if said else ""
    return f'<circle{kind} cx="{x}" cy="{y}" r="{radius}"/>' + (text(x, y + 4, said) if said else "")


def box(left: float, top: float, wide: float, high: float, said: str = "", kind: str = "box") -> str:
    rect = f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="4"/>'
    return rect + (text(left + wide / 2, top + high / 2 + 4, said) if said else "")


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    dx, dy = 5 * (x2 - x1) / length, 5 * (y2 - y1) / length
    head = f"M{x2 - dx - dy:.1f} {y2 - dy + dx:.1f}L{x2:.1f} {y2:.1f}L{x2 - dx + dy:.1f} {y2 - dy - dx:.1f}"
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}{head}"/>'


def reads(drawing: Drawing, t: int, beat: int) -> None:
    """The input of a step, and its product with U."""
    x = X[t]
    up = arrow(x - 5, INPUT - 14, x - 5, STATE + 18) + text(x - 14, INPUT - 24, "U")
    drawing.add("forward", beat, box(x - 14, INPUT - 14, 28, 28, f"x{low(t)}") + up, (x - 24, INPUT + 4))


def steps(drawing: Drawing, t: int, beat: int) -> None:
    """The state of a step, of its input and of the state before."""
    x = X[t]
    along = arrow(X[t - 1] + 17, STATE - 5, x - 18, STATE - 5) + text(x - 33, STATE - 11, "W") if t else ""
    drawing.add("forward", beat, circle(x, STATE, 17, f"h{low(t)}") + along, (x - 23, STATE + 24))


def speaks(drawing: Drawing, t: int, beat: int) -> None:
    """The output of a step, and its loss."""
    x = X[t]
    up = arrow(x - 5, STATE - 17, x - 5, OUTPUT + 15) + text(x - 14, OUTPUT + 30, "V")
    up += arrow(x - 5, OUTPUT - 13, x - 5, LOSS + 13)
    shapes = circle(x, OUTPUT, 14, f"y{low(t)}") + circle(x, LOSS, 13, f"L{low(t)}") + up
    drawing.add("forward", beat, shapes, (x - 23, OUTPUT + 4))


def falls(drawing: Drawing, t: int, beat: int) -> None:
    """The gradient of a step's own loss, at its state."""
    x = X[t]
    down = arrow(x + 5, LOSS + 12, x + 5, OUTPUT - 14) + arrow(x + 5, OUTPUT + 13, x + 5, STATE - 18)
    drawing.add("backward", beat, down, (x + 18, OUTPUT + 28))


def gathers(drawing: Drawing, t: int, beat: int, more: str = "") -> None:
    """All of the gradient at a state, and what it is behind tanh."""
    drawing.add("backward", beat, circle(X[t], STATE, 21) + more, (X[t] + 25, STATE + 22))


def back(t: int) -> str:
    """An arrow to the step before."""
    return arrow(X[t] - 21, STATE + 6, X[t - 1] + 22, STATE + 6) if t else ""


def term(t: int) -> str:
    """What a step adds to the gradient of W."""
    plus = text(X[t] - 33, TERM + 16, "+") if t else ""
    return box(X[t] - 26, TERM, 52, 24, f"h{chr(0x2080 + t)}ᵀδ{low(t)}") + plus


def down(t: int) -> str:
    """The gradient at the product with U."""
    return arrow(X[t] + 5, STATE + 21, X[t] + 5, INPUT - 15)


# --- The three ways --------------------------------------------------------------------------------------------

FORMULA = "<code>h = tanh(x[t] @ U + h @ W)</code>"


def by_hand() -> str:
    """Both loops in Python."""
    drawing = Drawing(
        "by-hand",
        "Backpropagation through time by hand",
        f"{STEPS} time steps run from left to right, each making a state h, an output y and a loss L. Then a loop goes "
        "from right to left: at each step the gradient of its own loss and that from the step after it meet at the "
        "state, and a term is added to the gradient of W.",
        high=256,
    )
    for t in range(STEPS):
        reads(drawing, t, 3 * t)
        steps(drawing, t, 3 * t + 1)
        speaks(drawing, t, 3 * t + 2)
        beat = BEATS - 3 * (t + 1)
        falls(drawing, t, beat)
        gathers(drawing, t, beat + 1)
        drawing.add("backward", beat + 2, back(t) + down(t) + term(t), (X[t] + 20, TERM - 4))
    half = 3 * STEPS
    drawing.caption("forward", 0, half - 1, f"Forward, a loop over t: {FORMULA}, and an output and its loss.")
    drawing.caption(
        "backward",
        half,
        2 * half - 1,
        "Backward, a loop that somebody wrote: from the last step to the first, the gradient of the step's own loss is "
        "added to what comes from the step after it, <code>δ = dh * (1 - h[t]**2)</code>, "
        "<code>dW += h[t-1].T @ δ</code>, <code>dh = δ @ W.T</code>.",
    )
    return drawing.html(BEATS)


def tape() -> str:
    """Nodes, recorded and walked."""
    drawing = Drawing(
        "tape",
        "The tape",
        f"The same {STEPS} time steps; what is computed leaves nodes in a strip below, numbered as they come. Then the "
        "strip is gone through from the newest node to the oldest, and each hands its gradient to those that it read.",
        high=312,
    )
    node = WIDE / (3 * STEPS)
    for t in range(STEPS):
        reads(drawing, t, 3 * t)
        steps(drawing, t, 3 * t + 1)
        speaks(drawing, t, 3 * t + 2)
        falls(drawing, t, BEATS - 3 * t - 3)
        gathers(drawing, t, BEATS - 3 * t - 2, back(t) + term(t))
        drawing.add("backward", BEATS - 3 * t - 1, down(t), (X[t] + 16, INPUT - 20))
    for i in range(3 * STEPS):
        left = i * node + 1
        drawing.add("forward", i, box(left, NODES, node - 2, 20, str(i + 1)))
        drawing.add("backward", BEATS - 1 - i, box(left, NODES, node - 2, 20))
    drawing.still.append(text(WIDE / 2, NODES + 35, "the tape, from its oldest node to its newest"))
    half = 3 * STEPS
    drawing.caption("forward", 0, half - 1, f"Forward, the same lines, {FORMULA}: each leaves a node on the tape.")
    drawing.caption(
        "backward",
        half,
        2 * half - 1,
        "<code>loss.backward()</code>: the nodes, newest first. Each hands its gradient, by its op's rules, to those "
        "that it read; where several meet, at every state and at W, they are added. No line of this is about time.",
    )
    return drawing.html(BEATS)


def scan() -> str:
    """What need not wait for the state is taken out of the loop."""
    drawing = Drawing(
        "scan",
        "The compiled scan",
        f"The products of all {STEPS} inputs are made at once, then the states one after the other, then all outputs "
        "and losses at once. Backward, the gradients of all losses come at once, then the loop goes back from state to "
        "state, and the gradient of W is one product at the end.",
        high=266,
        top=20,
    )
    loop, after, backward = 1, 1 + STEPS, 2 + STEPS
    last = backward + 1 + STEPS
    before_it, after_it = box(1, INPUT - 34, WIDE - 2, 68, kind="band"), box(1, -19, WIDE - 2, 120, kind="band")
    drawing.add("forward", 0, before_it + text(WIDE / 2, INPUT + 29, "before the loop: all steps at once"))
    drawing.add("forward", after, after_it + text(WIDE / 2, -4, "after the loop: all steps at once"))
    drawing.add("backward", backward, after_it)
    for t in range(STEPS):
        reads(drawing, t, 0)
        steps(drawing, t, loop + t)
        speaks(drawing, t, after)
        falls(drawing, t, backward)
        gathers(drawing, t, last - 1 - t, back(t))
        drawing.add("backward", last, down(t))
    whole = box(1, TERM, WIDE - 2, 24, "dW = [h₀ h₁ …]ᵀ [δ₁ δ₂ …]: one product for all steps")
    drawing.add("backward", last, whole, (WIDE - 10, TERM + 36))
    for kind, begin, end, said in (
        ("forward", 0, 0, "Before the loop: <code>X @ U</code> waits for no state. One product for all steps."),
        ("forward", loop, after - 1, "The loop: what has to wait for the state, and nothing else."),
        ("forward", after, after, "After it: outputs and losses, for which no state waits. All at once."),
        ("backward", backward, backward, "Backward, before the loop: the gradients of all losses, at once."),
        ("backward", backward + 1, last - 1, "The loop back: from each state to the one before."),
        ("backward", last, last, "After it: dU and dW, one product each instead of a sum of terms."),
    ):
        drawing.caption(kind, begin, end, said)
    return drawing.html(BEATS)


# --- How a gradient decays -------------------------------------------------------------------------------------


def reach(truncate: int | None = None, hidden: int = 8) -> list[float]:
    """‖∂L/∂h‖ at each step of a small network whose one loss L is at its last, as a share of that at the last, by the
    tape. `truncate`: the state is detached after so many steps, as chunks are."""
    rng = np.random.default_rng(4)
    U, W, V = (rng.standard_normal(shape) for shape in ((3, hidden), (hidden, hidden), hidden))
    W *= 1.4 / np.linalg.norm(W, 2)
    xs, taps = rng.standard_normal((STEPS, 3)), [Parameter(np.zeros(hidden)) for _ in range(STEPS)]
    h = Tensor(np.zeros(hidden))
    for t, tap in enumerate(taps):
        if truncate and t % truncate == 0:
            h = h.detach()
        h = ops.tanh(xs[t] @ U + h @ Tensor(W)) + tap  # its gradient is that of the state
    (h @ V).sum().backward()
    norms = [0.0 if tap.grad is None else float(np.linalg.norm(tap.grad)) for tap in taps]
    return [norm / norms[-1] for norm in norms]


def rows() -> Iterator[tuple[str, list[float], list[int]]]:
    """What is drawn: a title, the shares, and before which steps it is cut."""
    whole = reach()
    yield "the whole of it", whole, []
    kept = [share if t >= STEPS - TRUNCATE else 0.0 for t, share in enumerate(whole)]
    yield f"cut {TRUNCATE} states back from the output", kept, [STEPS - TRUNCATE]
    yield f"cut into chunks of {TRUNCATE}", reach(TRUNCATE), [*range(TRUNCATE, STEPS, TRUNCATE)]


def decay() -> str:
    """One loss, at the last step, and what of its gradient comes to the states before."""
    told = [f"{title}: {', '.join(map(share_of, shares))}." for title, shares, _ in rows()]
    drawing = Drawing(
        "decay",
        "What comes back from one loss",
        "The norm of the gradient of the last loss at each state, as a share of that at the last one, from the first "
        f"state to the last. {' '.join(told)}",
        high=310,
        seconds=0.9,
    )
    for i, (title, shares, cuts) in enumerate(rows()):
        y = 52 + 108 * i
        drawing.still.append(f'<text x="2" y="{y - 38}" style="text-anchor:start;font-weight:600">{title}</text>')
        drawing.add("backward", 0, arrow(X[-1], y - 38, X[-1], y - 19) + text(X[-1] + 14, y - 27, f"L{low(STEPS - 1)}"))
        for t, share in enumerate(shares):
            x, beat = X[t], 2 * (STEPS - 1 - t)
            drawing.still.append(f"<g>{circle(x, y, 17)}</g>")
            drawing.labels.append(text(x, y + 4, f"h{low(t)}"))
            if share:
                filled = f'<circle cx="{x}" cy="{y}" r="17" fill="#d9822b" fill-opacity="{0.7 * share:.3f}"/>'
                drawing.add("backward", beat, filled + text(x, y + 34, share_of(share)), (x - 19, y - 17))
            if share and t and t not in cuts:
                passed = f'<g class="backward" style="stroke-width:{1 + 7 * shares[t - 1]:.2f}">'
                drawing.add("backward", beat + 1, f"{passed}{arrow(x - 18, y, X[t - 1] + 20, y)}</g>", (x - 33, y - 8))
            if t in cuts:
                drawing.still.append(
                    f'<g class="cut"><path stroke-dasharray="4 3" d="M{x - 33} {y - 28}V{y + 36}"/></g>'
                )
            if share and t in cuts:
                drawing.add("cut", beat + 1, f'<path d="M{x - 38} {y - 5}l10 10m0 -10l-10 10"/>')
    for said in CUTS:
        drawing.caption("backward", 0, 2 * STEPS + REST - 1, said.format(share_of(reach()[0])))
    return drawing.html(2 * STEPS)


CUTS = (
    "Below each state: the norm of the gradient there, the last one's being 1. Each step back is a product with W and "
    "with the slope of tanh; {} of it comes to the first state.",
    f"From every output {TRUNCATE} states back: each output has the same past to learn from.",
    f"In chunks of {TRUNCATE}: cheaper, but an output just after a cut has no past.",
)


def share_of(share: float) -> str:
    """A share as it is told."""
    return f"{share:.2f}" if share else "0"


def thumbnail() -> str:
    """Three steps that stand still, for chapters without a picture."""
    drawing = Drawing("thumbnail", "", "", 0)
    for t in range(3):
        for part in (reads, steps, speaks):
            part(drawing, t, 0)
    style = (
        "g { stroke: #2a7de1; stroke-width: 1.4; fill: none; } .box { fill: #2a7de1; fill-opacity: .14; } "
        "text { font: 12px sans-serif; fill: #333; text-anchor: middle; stroke: none; } .count { display: none; }"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-60 0 320 224" width="400" height="280">'
        f"<style>{style}</style>{''.join(drawing.shapes)}</svg>\n"
    )


def write() -> None:
    """Writes the four drawings and the thumbnail."""
    MADE.mkdir(exist_ok=True)
    (MADE / "thumbnail.svg").write_text(thumbnail(), encoding="utf-8")
    for drawn in (by_hand, tape, scan, decay):
        (MADE / f"{drawn.__name__}.html").write_text(drawn(), encoding="utf-8")


if __name__ == "__main__":
    write()
