"""A text whose tokens are coloured by what a gate or a state of each was, as HTML for notebooks. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.pictures import BLUE, RED

FEW_UNITS = 4
"""Units that are shown unless told."""
_STRONGEST = 0.65
"""How much of the ground a colour covers at most: text stays to be read on light and on dark."""

_GRID = "display:grid;grid-template-columns:max-content 1fr;align-items:baseline;column-gap:1em;line-height:1.9"


class ColoredText:
    """`values` (T,H) of the units of a gate or a state after each of T tokens, over the text: for each of `units`, the
    four that change most unless told, the text once, red where a value is above 0 and blue below, and a legend.
    `between` is what stands between two tokens. Raises ValueError for another number of tokens, IndexError for a unit
    that is not there."""

    def __init__(
        self,
        tokens: Sequence[str],
        values: HostArray,
        name: str = "",
        units: Sequence[int] | None = None,
        between: str = " ",
    ) -> None:
        if values.ndim != 2 or len(values) != len(tokens):
            raise ValueError(f"values (T,H) for {len(tokens)} tokens were expected, got the shape {values.shape}")
        self.tokens, self.values, self.name, self.between = list(tokens), values, name, between
        if units is None:
            changes = np.nan_to_num(values.astype(np.float64).std(axis=0)) if len(values) else np.zeros(values.shape[1])
            units = sorted(np.argsort(-changes, kind="stable")[:FEW_UNITS].tolist())
        self.units = list(units)
        """Which are shown."""
        if wrong := [unit for unit in self.units if not 0 <= unit < values.shape[1]]:
            raise IndexError(f"there are units 0 ... {values.shape[1] - 1} of {name or 'these values'}, got {wrong[0]}")

    def __repr__(self) -> str:
        lines = []
        for unit in self.units:
            each = zip(self.tokens, self.values[:, unit], strict=True)
            lines.append(f"{self.name} {unit}: {' '.join(f'{token} {value:.2f}' for token, value in each)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        shown = self.values[:, self.units].astype(np.float64)
        finite = np.abs(shown[np.isfinite(shown)])
        share = bool((shown >= 0).all() and (shown <= 1).all())
        most = 1.0 if share else float(finite.max(initial=0.0)) or 1.0
        rows = "".join(
            f"<div>unit {unit}</div><div>{self._line(column, most)}</div>"
            for unit, column in zip(self.units, shown.T, strict=True)
        )
        ends = ("0", f"{most:.3g}") if share else (f"-{most:.3g}", f"{most:.3g}")
        scale = f"{_mark(ends[0], 0.0 if share else -1.0)} to {_mark(ends[1], 1.0)}"
        return f'<div><div><b>{escape(self.name)}</b>, from {scale}</div><div style="{_GRID}">{rows}</div></div>'

    def _line(self, column: HostArray, most: float) -> str:
        pairs = zip(self.tokens, column.tolist(), strict=True)
        spans = (_mark(token, value / most, f"{value:.3g}") for token, value in pairs)
        return escape(self.between).join(spans)


def _mark(text: str, share: float, told: str = "") -> str:
    """Text on a ground of a colour. A line break is seen as an arrow, and breaks."""
    red, green, blue = RED if share > 0 else BLUE
    ground = f"rgba({red},{green},{blue},{_STRONGEST * min(1.0, abs(share)):.3f})" if np.isfinite(share) else "#e6c700"
    title = f' title="{escape(told, quote=True)}"' if told else ""
    shown = escape(text).replace("\n", "↵<br/>")
    return (
        f'<span{title} style="background:{ground};padding:.1em .15em;border-radius:.2em;white-space:pre-wrap">'
        f"{shown}</span>"
    )
