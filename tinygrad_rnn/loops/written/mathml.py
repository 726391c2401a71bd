"""Equations as MathML, which browsers show without a script or a font of anybody's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from tinygrad_rnn.loops.written.expressions import EquationLine
from tinygrad_rnn.loops.written.latex import GREEK, base, subscript
from tinygrad_rnn.loops.written.mathematics import SIGNS, Mathematics
from tinygrad_rnn.loops.written.notation import ALONE, COMPARED, PRODUCT, Spelling
from tinygrad_rnn.loops.written.symbols import Symbol

_LETTERS = dict(zip(GREEK, "αβγδεζηθκλμνξπρστφχψω", strict=True))
_FUNCTIONS = {"sigmoid": "σ", "normal_distribution": "Φ", "maximum": "max", "minimum": "min"}
_ALIGNED = [f'style="text-align: {side}; padding: 0.2em 0.1em"' for side in ("right", "center", "left")]


def _mo(sign: str) -> str:
    return f"<mo>{escape(sign)}</mo>"


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _mi(name: str) -> str:
    return f"<mi>{escape(_LETTERS.get(name, name))}</mi>"


class MathML(Mathematics):
    """For a page or a notebook. A state before the step is that of the time t-1."""

    def spelled(self, symbol: Symbol) -> str:
        below = _mo(",").join(_below(part) for part in subscript(symbol))
        text = f"<msub>{_mi(base(symbol))}{_row(below)}</msub>" if below else _mi(base(symbol))
        if symbol.version and symbol.name:
            above = _row(_mo("("), f"<mn>{symbol.version}</mn>", _mo(")"))
            text = f"<msubsup>{_mi(base(symbol))}{_row(below)}{above}</msubsup>"
        if symbol.kind == "later":
            return _row(f"<msup>{_mi('∂')}{_mo('+')}</msup>", text)
        return _row(_mi("∂"), text) if symbol.kind == "gradient" else text

    def number(self, value: object) -> str:
        text = super().number(value)
        found = re.fullmatch(r"(-?[\d.]+)e([+-])0*(\d+)", text)
        if not found:
            return f"<mn>{escape(text)}</mn>"
        power = f"<msup><mn>10</mn><mn>{found[2].strip('+').replace('-', '−')}{found[3]}</mn></msup>"
        return _row(f"<mn>{found[1]}</mn>", _mo("·"), power)

    def bracketed(self, text: str) -> str:
        return _row(_mo("("), text, _mo(")"))

    def signed(self, parts: Sequence[tuple[bool, str]]) -> str:
        (minus, first), *rest = parts
        return _row(_mo("−") if minus else "", first, *(_mo("−" if m else "+") + text for m, text in rest))

    def product(self, numbers: Sequence[str], parts: Sequence[str]) -> str:
        return _row(*numbers, _mo("⊙").join(parts))

    def matrix_product(self, parts: Sequence[str]) -> str:
        return _row('<mspace width="0.17em"/>'.join(parts))

    def quotient(self, above: Spelling, below: Spelling) -> Spelling:
        return f"<mfrac>{_row(above[0])}{_row(below[0])}</mfrac>", PRODUCT

    def power(self, base: Spelling, exponent: Spelling) -> str:
        raised = exponent[0] if exponent[0].startswith("<") else f"<mn>{exponent[0]}</mn>"
        return f"<msup>{_row(self.within(base, ALONE))}{_row(raised)}</msup>"

    def transposed(self, text: str, axes: int) -> str:
        return f"<msup>{_row(text)}<mi>⊤</mi></msup>"

    def compared(self, sign: str, left: str, right: str) -> str:
        return _row(left, _mo(SIGNS.get(sign, sign)), right)

    def function(self, name: str, given: Sequence[str]) -> str:
        return _row(_mi(_FUNCTIONS.get(name, name)), self.bracketed(_mo(",").join(given)))

    def total(self, text: str, over: str) -> str:
        sign = f"<munder><mo>∑</mo><mi>{escape(over)}</mi></munder>" if over else "<mo>∑</mo>"
        return _row(sign, text)

    def entry(self, text: str, index: str) -> str:
        return _row(text, _mo("["), index if "<" in index else f"<mi>{escape(index)}</mi>", _mo("]"))

    def choice(self, condition: str, yes: str, no: str) -> Spelling:
        rows = [(yes, condition), (no, "<mtext>otherwise</mtext>")]
        cells = "".join(f"<mtr><mtd>{_row(a)}</mtd><mtd>{_row(b)}</mtd></mtr>" for a, b in rows)
        return _row(_mo("{"), f'<mtable columnalign="left left">{cells}</mtable>'), COMPARED

    def root(self, text: str, piece: Spelling) -> Spelling:
        return f"<msqrt>{text}</msqrt>", ALONE

    def magnitude(self, text: str) -> str:
        return _row(_mo("|"), text, _mo("|"))

    def equations(self, lines: Sequence[EquationLine], over: str = "") -> str:
        rows = []
        for line in lines:
            left = _mo(",").join(self.name(self.symbols[v]) for v in line.outs)
            cells = zip(_ALIGNED, (left, _mo("="), self.right(line, over)), strict=True)
            rows.append(f"<mtr>{''.join(f'<mtd {style}>{_row(cell)}</mtd>' for style, cell in cells)}</mtr>")
        table = f'<mtable displaystyle="true">{"".join(rows)}</mtable>'
        return f'<div style="overflow-x: auto"><math displaystyle="true">{table}</math></div>'


def _below(part: str) -> str:
    """A part of a subscript."""
    if part == "t-1":
        return _row(_mi("t"), _mo("−"), "<mn>1</mn>")
    return f"<mn>{part}</mn>" if part.isdigit() else _mi(part)
