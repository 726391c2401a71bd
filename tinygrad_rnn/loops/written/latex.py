r"""Equations as LaTeX: i_t = \sigma(x_t U_i + b_i + h_{t-1} W_i)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinygrad_rnn.loops.written.expressions import EquationLine
from tinygrad_rnn.loops.written.mathematics import Mathematics
from tinygrad_rnn.loops.written.notation import ALONE, COMPARED, PRODUCT, Spelling
from tinygrad_rnn.loops.written.symbols import Symbol

GREEK = (
    """alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega""".split()
)
"""Names that are letters of their own."""
_MARKS = {"value": "", "sum": "", "gradient": r"\partial ", "delta": "", "later": r"\partial^{+}"}
_FUNCTIONS = {"sigmoid": r"\sigma", "normal_distribution": r"\Phi", "maximum": r"\max", "minimum": r"\min"}
_KNOWN = {"tanh", "exp", "log", "sin", "cos", "max", "min"}
_SIGNS = {"==": "=", "!=": r"\ne", "<=": r"\le", ">=": r"\ge"}


def subscript(symbol: Symbol) -> list[str]:
    """What stands below a name: the gate, or a number where there are several of the name, and the time."""
    time = {"always": [], "old": ["t-1"], "now": ["t"], "new": ["t"]}[symbol.when]
    number = [str(symbol.version)] if symbol.version and not symbol.name else []
    of = [symbol.of] if symbol.of else []
    return [*([symbol.name or "u"] if symbol.kind in ("sum", "delta") else []), *number, *of, *time]


def base(symbol: Symbol) -> str:
    """What the name is: that of the value, or a for what goes into it, and δ for the gradient by that."""
    return {"sum": "a", "delta": "delta"}.get(symbol.kind, symbol.name or "u")


class LaTeX(Mathematics):
    """For TeX and whatever reads it. A state before the step is that of the time t-1."""

    def spelled(self, symbol: Symbol) -> str:
        below = ",".join(_letters(part) for part in subscript(symbol))
        above = f"^{{({symbol.version})}}" if symbol.version and symbol.name else ""
        return f"{_MARKS[symbol.kind]}{_letters(base(symbol))}{f'_{{{below}}}' if below else ''}{above}"

    def bracketed(self, text: str) -> str:
        return rf"\left({text}\right)"

    def signed(self, parts: Sequence[tuple[bool, str]]) -> str:
        (minus, first), *rest = parts
        return ("-" if minus else "") + first + "".join((" - " if m else " + ") + text for m, text in rest)

    def product(self, numbers: Sequence[str], parts: Sequence[str]) -> str:
        return r" \, ".join([*numbers, r" \odot ".join(parts)] if parts else numbers)

    def matrix_product(self, parts: Sequence[str]) -> str:
        return r" \, ".join(parts)

    def quotient(self, above: Spelling, below: Spelling) -> Spelling:
        return rf"\frac{{{above[0]}}}{{{below[0]}}}", PRODUCT

    def power(self, base: Spelling, exponent: Spelling) -> str:
        return f"{{{self.within(base, ALONE)}}}^{{{exponent[0]}}}"

    def transposed(self, text: str, axes: int) -> str:
        return rf"{{{text}}}^{{\top}}"

    def compared(self, sign: str, left: str, right: str) -> str:
        return f"{left} {_SIGNS.get(sign, sign)} {right}"

    def function(self, name: str, given: Sequence[str]) -> str:
        written = name.replace("_", r"\_")
        spelled = _FUNCTIONS.get(name) or (rf"\{name}" if name in _KNOWN else rf"\operatorname{{{written}}}")
        return rf"{spelled}\left({', '.join(given)}\right)"

    def total(self, text: str, over: str) -> str:
        return rf"\textstyle\sum_{{{over}}} {text}" if over else rf"\textstyle\sum {text}"

    def entry(self, text: str, index: str) -> str:
        return f"{text}[{index}]"

    def choice(self, condition: str, yes: str, no: str) -> Spelling:
        return rf"\begin{{cases}}{yes} & {condition} \\ {no} & \text{{otherwise}}\end{{cases}}", COMPARED

    def root(self, text: str, piece: Spelling) -> Spelling:
        return rf"\sqrt{{{text}}}", ALONE

    def magnitude(self, text: str) -> str:
        return rf"\left|{text}\right|"

    def number(self, value: object) -> str:
        text = super().number(value)
        return re.sub(r"^(-?[\d.]+)e([+-])0*(\d+)$", lambda m: rf"{m[1]} \cdot 10^{{{m[2].strip('+')}{m[3]}}}", text)

    def equations(self, lines: Sequence[EquationLine], over: str = "") -> str:
        rows = [
            rf"  {', '.join(self.name(self.symbols[v]) for v in line.outs)} &= {self.right(line, over)}"
            for line in lines
        ]
        return "\n".join([r"\begin{aligned}", " \\\\\n".join(rows), r"\end{aligned}"])


def _letters(name: str) -> str:
    """A name, set as one thing where it has several letters."""
    if name in GREEK:
        return rf"\{name}"
    if len(name) == 1 or re.fullmatch(r"t-1|\d+", name):
        return name
    return rf"\mathit{{{name.replace('_', chr(92) + '_')}}}"
