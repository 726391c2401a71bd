"""What the notations of mathematics have in common: how numbers lie is left out (new axes, reshaping, broadcasting),
and so is along which axis something is summed, as in print."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.written.expressions import Call, EquationLine
from tinygrad_rnn.loops.written.notation import (
    ALONE,
    PRODUCT,
    SUM,
    TERM,
    Notation,
    RowCount,
    Several,
    Spelling,
    index_text,
)
from tinygrad_rnn.loops.written.symbols import Symbol, SymbolOf
from tinygrad_rnn.tape import Primitive

_LYING = {"broadcast_to", "alias", "detached", "expand_dims", "squeeze", "reshape", "straight_through", "moveaxis"}
_SHAPED = {"axis", "keepdims", "shape"}
"""Options of how numbers lie."""
SIGNS = {"==": "=", "!=": "≠", "<=": "≤", ">=": "≥"}
"""Comparisons in print, by Python's signs."""


class Mathematics(Notation):
    """Expressions as print has them."""

    def __init__(self, symbols: SymbolOf) -> None:
        super().__init__(symbols)
        self._spelled: dict[Symbol, str] = {}

    @abstractmethod
    def spelled(self, symbol: Symbol) -> str:
        """A value by its name."""

    @abstractmethod
    def function(self, name: str, given: Sequence[str]) -> str:
        """A function of what it is given."""

    @abstractmethod
    def total(self, text: str, over: str) -> str:
        """The sum over something, or over whatever is clear."""

    @abstractmethod
    def entry(self, text: str, index: str) -> str:
        """A part of a value."""

    @abstractmethod
    def choice(self, condition: str, yes: str, no: str) -> Spelling:
        """One or the other."""

    @abstractmethod
    def root(self, text: str, piece: Spelling) -> Spelling:
        """The square root."""

    @abstractmethod
    def magnitude(self, text: str) -> str:
        """The absolute value."""

    @abstractmethod
    def equations(self, lines: Sequence[EquationLine], over: str = "") -> str:
        """All lines, their signs of equality below each other; what they make is summed over something, where that is
        told, and over the rows with it."""

    def right(self, line: EquationLine, over: str) -> str:
        """What a line makes, summed where that is told."""
        made = line.made
        if isinstance(made, Call) and made.primitive is ops.where and not over:
            return self.written(made)
        if not over or not isinstance(made, Var | Call):
            return self.written(made, SUM)
        if isinstance(made, Call) and made.primitive is ops.sum_to:
            made = made.args[0]
        return self.total(self.written(made, PRODUCT), over)

    def numbers_in_product(self, numbers: Sequence[Any]) -> list[str]:
        rows = [a for a in numbers if isinstance(a, RowCount)]
        whole = math.prod(a for a in numbers if not isinstance(a, RowCount))
        return [*([] if whole == 1 else [self.number(whole)]), *map(self.number, rows)]

    def name(self, symbol: Symbol) -> str:
        if symbol not in self._spelled:
            other = symbol
            while self.spelled(other) in self._spelled.values():  # another value is spelled so
                other = replace(other, version=other.version + 1)
            self._spelled[symbol] = self.spelled(other)
        return self._spelled[symbol]

    def number(self, value: Any) -> str:
        if isinstance(value, RowCount):
            return "B" if value.times == 1 else f"{value.times} B"
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
            return str(int(value))
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    def call(self, primitive: Primitive[Any], given: dict[str, Any], value: Call) -> Spelling:
        name = primitive.name
        if changes_no_number(primitive, value.args):
            return self.piece(value.args[0])
        if name == "astype":
            return self.function("trunc", [given["x"]]), ALONE
        if name in ("sum_to", "sum"):
            return self.total(self.written(value.args[0], PRODUCT), ""), TERM
        if name == "einsum":
            return self._summed_products(value)
        if name == "where":
            return self.choice(given["condition"], *(self.written(a, SUM) for a in value.args[1:]))
        if name == "sqrt":
            return self.root(given["x"], self.piece(value.args[0]))
        if name == "abs":
            return self.magnitude(given["x"]), ALONE
        if name == "getitem":
            index = index_text(given["index"], given["arrays"], self.number)
            return self.entry(self.written(value.args[0], ALONE), index), ALONE
        if name == "scatter":
            index = index_text(given["index"], given["arrays"], self.number)
            return self.function("scatter", [given["updates"], index]), ALONE
        parts = [
            text
            for key, a in given.items()
            for text in (a if isinstance(a, Several) else [] if a is None or key in _SHAPED else [self._option(a)])
        ]
        return self.function(name, parts), ALONE

    def _option(self, value: Any) -> str:
        """An argument: written out already, or an option."""
        return value if isinstance(value, str) else self.number(value)

    def _summed_products(self, value: Call) -> Spelling:
        """An einsum, without the letter of the rows where every operand has it first."""
        subscripts, *operands = value.args
        inputs, result = subscripts.split("->")
        axes = [*inputs.split(","), result]
        if all(each[:1] == result[:1] for each in axes) and result:
            axes = [each[1:] for each in axes]
        parts = [
            self.entry(self.written(a, ALONE), ",".join(letters)) if letters else self.written(a, PRODUCT)
            for a, letters in zip(operands, axes[:-1], strict=True)
        ]
        over = sorted({letter for each in axes[:-1] for letter in each} - set(axes[-1]))
        product = self.matrix_product(parts)
        return (self.total(product, ",".join(over)), TERM) if over else (product, PRODUCT)


def changes_no_number(primitive: Primitive[Any], args: Sequence[Any]) -> bool:
    """Whether an op changes how numbers lie, or what a gradient does, and not the numbers."""
    if primitive.name == "astype":
        return np.dtype(args[1]).kind not in "iu"
    if primitive.name in ("getitem", "scatter"):
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return all(part is None or part is Ellipsis or part == slice(None) for part in index)
    return primitive.name in _LYING
