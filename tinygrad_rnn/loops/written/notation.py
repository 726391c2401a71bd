"""Expressions in some notation: what they have in common is how tightly each part holds together, and so where brackets
stand; how a part is spelled, a notation says."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.written.expressions import Call, WrittenValue, factors, signed_terms
from tinygrad_rnn.loops.written.symbols import Symbol, SymbolOf
from tinygrad_rnn.ops.indexing import Slot
from tinygrad_rnn.tape import Primitive

COMPARED, SUM, TERM, PRODUCT, SIGNED, POWER, ALONE = range(7)
"""How tightly what is written holds together: a comparison, a sum, a product entry by entry, one of matrices, a number
with a sign, a power, and what is one thing."""


class Spelled(str):
    """What an op is given, written out; other strings are options."""

    __slots__ = ()


class Several(list[Spelled]):
    """What stands where an op takes any number of values."""


Spelling = tuple[str, int]
"""What is written, and how tightly it holds together."""

SIGNS_OF_COMPARISONS: dict[str, str] = {
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip
"""By the names of ops."""


class Notation(ABC):
    """How the parts of an expression are spelled. What a method is given is spelled already, in brackets where it has
    to be."""

    def __init__(self, symbols: SymbolOf) -> None:
        self.symbols = symbols

    # --- What a notation says ---

    @abstractmethod
    def name(self, symbol: Symbol) -> str:
        """A value by its name."""

    @abstractmethod
    def number(self, value: Any) -> str:
        """A number or another option."""

    @abstractmethod
    def bracketed(self, text: str) -> str:
        """In brackets."""

    @abstractmethod
    def signed(self, parts: Sequence[tuple[bool, str]]) -> str:
        """A sum of parts, of which some are taken away."""

    @abstractmethod
    def numbers_in_product(self, numbers: Sequence[Any]) -> list[str]:
        """The numbers of a product, spelled."""

    @abstractmethod
    def product(self, numbers: Sequence[str], parts: Sequence[str]) -> str:
        """Entry by entry, of numbers and of others."""

    @abstractmethod
    def matrix_product(self, parts: Sequence[str]) -> str:
        """Of matrices."""

    @abstractmethod
    def quotient(self, above: Spelling, below: Spelling) -> Spelling:
        """One over the other."""

    @abstractmethod
    def power(self, base: Spelling, exponent: Spelling) -> str:
        """One to the power of the other."""

    @abstractmethod
    def transposed(self, text: str, axes: int) -> str:
        """A matrix with its rows as columns, or where it has more than two axes each of those that it holds."""

    @abstractmethod
    def compared(self, sign: str, left: str, right: str) -> str:
        """A comparison; `sign` is Python's."""

    @abstractmethod
    def call(self, primitive: Primitive[Any], given: dict[str, Any], value: Call) -> Spelling:
        """Any other op, with what it is given by the names of its arguments: values written out, options as such."""

    # --- What all have in common ---

    def written(self, value: WrittenValue, least: int = COMPARED) -> str:
        """An expression, in brackets where it holds together less than that."""
        return self.within(self.piece(value), least)

    def within(self, piece: Spelling, least: int) -> str:
        """A piece, in brackets where it holds together less than that."""
        text, tight = piece
        return text if tight >= least else self.bracketed(text)

    def piece(self, value: WrittenValue) -> Spelling:
        """An expression, and how tightly it holds together."""
        if isinstance(value, Var):
            return self.name(self.symbols[value]), ALONE
        if not isinstance(value, Call):
            return self.number(value), SIGNED if isinstance(value, int | float) and value < 0 else ALONE
        if value.primitive in _SUMS:
            return self._sum(value)
        if value.primitive is ops.mul:
            return self._product(value)
        special = _SPECIAL.get(value.primitive)
        if special is not None:
            return special(self, value)
        if value.primitive.name in SIGNS_OF_COMPARISONS:
            left, right = (self.written(a, SUM) for a in value.args)
            return self.compared(SIGNS_OF_COMPARISONS[value.primitive.name], left, right), COMPARED
        if is_transposition(value):
            return self.transposed(self.written(value.args[0], ALONE), len(value.shape)), POWER
        return self.call(value.primitive, self._given(value), value)

    def _sum(self, value: Call) -> Spelling:
        parts = [(minus, self.written(part, TERM)) for minus, part in signed_terms(value)]
        if len(parts) == 1 and not parts[0][0]:
            return self.piece(signed_terms(value)[0][1])
        return self.signed(parts), SIGNED if len(parts) == 1 else SUM

    def _product(self, value: Call) -> Spelling:
        ((minus, whole),) = signed_terms(value) if len(signed_terms(value)) == 1 else ((False, value),)
        found = factors(whole)
        if len(found) == 2 and found[0] is found[1]:
            piece = self.power(self.piece(found[0]), ("2", ALONE)), POWER
        elif len(found) == 1:
            piece = self.piece(found[0])
        else:
            rest = _squares([a for a in found if isinstance(a, Var | Call)])
            numbers = self.numbers_in_product([a for a in found if not isinstance(a, Var | Call)])
            least = [POWER if i or numbers else PRODUCT for i in range(len(rest))]
            parts = [self.written(a, tight) for a, tight in zip(rest, least, strict=True)]
            piece = self.product(numbers, parts), TERM
        return (self.signed([(True, self.within(piece, TERM))]), SIGNED) if minus else piece

    def _square(self, value: Call) -> Spelling:
        return self.power(self.piece(value.args[0]), ("2", ALONE)), POWER

    def _power(self, value: Call) -> Spelling:
        return self.power(self.piece(value.args[0]), self.piece(value.args[1])), POWER

    def _quotient(self, value: Call) -> Spelling:
        return self.quotient(self.piece(value.args[0]), self.piece(value.args[1]))

    def _reciprocal(self, value: Call) -> Spelling:
        return self.quotient((self.number(1), ALONE), self.piece(value.args[0]))

    def _matrix_product(self, value: Call) -> Spelling:
        ((minus, whole),) = signed_terms(value)
        left, right = self.written(whole.args[0], PRODUCT), self.written(whole.args[1], POWER)
        text = self.matrix_product([left, right])
        return (self.signed([(True, text)]), SIGNED) if minus else (text, PRODUCT)

    def _given(self, value: Call) -> dict[str, Any]:
        """What the op is given, by the names that it has for it."""

        def part(a: Any) -> Any:
            return Spelled(self.written(a)) if isinstance(a, Var | Call) else a

        bound = inspect.signature(value.primitive.forward).bind(*value.args, **value.params)
        bound.apply_defaults()
        kinds = inspect.signature(value.primitive.forward).parameters
        several = inspect.Parameter.VAR_POSITIONAL
        return {
            name: Several(map(part, given)) if kinds[name].kind is several else part(given)
            for name, given in bound.arguments.items()
        }


def _squares(parts: Sequence[WrittenValue]) -> list[WrittenValue]:
    """The factors, with a square for two that are one after the other and the same."""
    found: list[WrittenValue] = []
    for each in parts:
        if found and found[-1] is each and isinstance(each, Var):
            found[-1] = Call(ops.square, (each,), {}, each.shape)
        else:
            found.append(each)
    return found


_SUMS = {ops.add, ops.sub, ops.neg}
_SPECIAL = {
    ops.square: Notation._square,
    ops.pow: Notation._power,
    ops.div: Notation._quotient,
    ops.reciprocal: Notation._reciprocal,
    ops.matmul: Notation._matrix_product,
}


def is_transposition(value: Call) -> bool:
    """Whether it gives a matrix, or several of them, with rows as columns."""
    if value.primitive is ops.swapaxes:
        n = len(value.shape)
        return n >= 2 and {int(a) % n for a in value.args[1:3]} == {n - 2, n - 1}
    return value.primitive is ops.transpose and len(value.shape) == 2 and (len(value.args) < 2 or value.args[1] is None)


def index_text(index: Any, arrays: Sequence[str], number: Callable[[Any], str] = repr) -> str:
    """What stands in the brackets of x[...]."""

    def one(part: Any) -> str:
        if isinstance(part, Slot):
            return arrays[part.number]
        if not isinstance(part, slice):
            return "..." if part is Ellipsis else number(part) if isinstance(part, int) else repr(part)
        ends = ["" if end is None else number(end) for end in (part.start, part.stop)]
        return ":".join(ends) + ("" if part.step is None else f":{number(part.step)}")

    if index == ():
        return "()"
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(map(one, parts)) + ("," if isinstance(index, tuple) and len(parts) == 1 else "")


class RowCount(int):
    """A number that is so many times the number of rows."""

    times: int

    def __new__(cls, times: int, rows: int) -> RowCount:
        made = super().__new__(cls, times * rows)
        made.times = times
        return made
