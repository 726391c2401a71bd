"""Equations as plain text: i = σ(x U_i + b_i + h W_i), c' = f ⊙ c + i ⊙ g."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise

from tinygrad_rnn.loops.written.expressions import EquationLine
from tinygrad_rnn.loops.written.mathematics import SIGNS, Mathematics
from tinygrad_rnn.loops.written.notation import ALONE, POWER, PRODUCT, TERM, Spelling
from tinygrad_rnn.loops.written.symbols import Symbol

EQUATION_WIDTH = 75
"""Of a line, with room for four more signs before it."""
_MARKS = {"value": "", "sum": "a_", "gradient": "∂", "delta": "δ", "later": "∂⁺"}
_FUNCTIONS = {"sigmoid": "σ", "normal_distribution": "Φ", "maximum": "max", "minimum": "min"}


class Plain(Mathematics):
    """For a terminal. h is a state before the step, and h' the one after it."""

    def spelled(self, symbol: Symbol) -> str:
        number = (f"_{symbol.version}" if symbol.name else symbol.version) if symbol.version else ""
        of = f"_{symbol.of}" if symbol.of else ""
        return f"{_MARKS[symbol.kind]}{symbol.name or 't'}{number}{of}{chr(39) if symbol.when == 'new' else ''}"

    def number(self, value: object) -> str:
        return re.sub("^-", "−", super().number(value))

    def bracketed(self, text: str) -> str:
        return f"({text})"

    def signed(self, parts: Sequence[tuple[bool, str]]) -> str:
        (minus, first), *rest = parts
        return ("−" if minus else "") + first + "".join((" − " if m else " + ") + text for m, text in rest)

    def product(self, numbers: Sequence[str], parts: Sequence[str]) -> str:
        return " ".join([*numbers, " ⊙ ".join(parts)] if parts else numbers)

    def matrix_product(self, parts: Sequence[str]) -> str:
        return " ".join(parts)

    def quotient(self, above: Spelling, below: Spelling) -> Spelling:
        return f"{self.within(above, PRODUCT)} / {self.within(below, POWER)}", TERM

    def power(self, base: Spelling, exponent: Spelling) -> str:
        raised = {"2": "²", "3": "³"}.get(exponent[0], f"^{self.within(exponent, ALONE)}")
        return f"{self.within(base, ALONE)}{raised}"

    def transposed(self, text: str, axes: int) -> str:
        return f"{text}ᵀ"

    def compared(self, sign: str, left: str, right: str) -> str:
        return f"{left} {SIGNS.get(sign, sign)} {right}"

    def function(self, name: str, given: Sequence[str]) -> str:
        return f"{_FUNCTIONS.get(name, name)}({', '.join(given)})"

    def total(self, text: str, over: str) -> str:
        return f"Σ_{over} {text}" if over else f"Σ {text}"

    def entry(self, text: str, index: str) -> str:
        return f"{text}[{index}]"

    def choice(self, condition: str, yes: str, no: str) -> Spelling:
        return f"({yes} if {condition} else {no})", ALONE

    def root(self, text: str, piece: Spelling) -> Spelling:
        return f"√{self.within(piece, ALONE)}", POWER

    def magnitude(self, text: str) -> str:
        return f"|{text}|"

    def equations(self, lines: Sequence[EquationLine], over: str = "") -> str:
        lefts = [", ".join(self.name(self.symbols[v]) for v in line.outs) for line in lines]
        widest = max(map(len, lefts), default=0)
        within = "\n" + " " * (widest + 3)
        rights = (within.join(_in_lines(self.right(line, over), EQUATION_WIDTH - widest - 3)) for line in lines)
        return "\n".join(f"{left:<{widest}} = {right}" for left, right in zip(lefts, rights, strict=True))


def _in_lines(text: str, width: int) -> list[str]:
    """A right side in lines that are no longer, where it has summands to go on with."""
    found: list[str] = []
    for piece in _pieces(text, width):
        if found and len(found[-1]) + 1 + len(piece) <= width:
            found[-1] += f" {piece}"
        else:
            found.append(piece)
    return found


def _pieces(text: str, width: int) -> list[str]:
    """What it is the sum of, from the second on with the signs, and of what is longer again its summands."""
    depths = list(accumulate((sign in "([") - (sign in ")]") for sign in text))
    signs = [i for i in range(1, len(text)) if text[i : i + 3] in (" + ", " − ")]
    if len(text) <= width or not signs:
        return [text]
    outermost = min(depths[i] for i in signs)
    cuts = [-1, *(i for i in signs if depths[i] == outermost), len(text)]
    return [piece for a, b in pairwise(cuts) for piece in _pieces(text[a + 1 : b], width)]
