"""A step for print: without the ops that change no number, and with a line for whatever has a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.recorder import reading
from tinygrad_rnn.loops.value_names import Names
from tinygrad_rnn.loops.written.expressions import EquationLine, WrittenValue, lines_of, needed, uses
from tinygrad_rnn.loops.written.mathematics import changes_no_number
from tinygrad_rnn.loops.written.symbols import ACTIVATION_OPS, Symbol, SymbolOf, symbols_of, with_numbers

_SMALL = {ops.add, ops.sub, ops.neg, ops.mul, ops.square, ops.swapaxes, ops.transpose}


def without_lying(
    equations: Sequence[Equation], symbols: SymbolOf, told: set[Var], same: dict[Var, Var]
) -> list[Equation]:
    """The equations without those that change no number. `same` gets what stands in the place of their results; where
    one of these had a name, what it was made of takes it, in `symbols` and `told`, unless the step was given that."""
    left: list[Equation] = []
    made: set[Var] = set()
    for equation in equations:
        e = reading(equation, same)
        source, out = e.args[0] if e.args else None, e.outs[0]
        if len(e.outs) > 1 or not isinstance(source, Var) or not changes_no_number(e.primitive, e.args):
            left.append(e)
            made.update(e.outs)
            continue
        same[out] = source
        if out in told and source in made:
            told.add(source)
            symbols[source] = symbols[out]
    return left


def made_in_a_moment(equations: Iterable[Equation], named: set[Var], functions: bool) -> Callable[[Var], bool]:
    """Tells whether a value is made of a single one that has a name: 1 - z, and where `functions` says so tanh(c)."""
    makers = {out: e for e in equations for out in e.outs}
    again = _SMALL | ACTIVATION_OPS if functions else _SMALL

    def is_small(v: Var) -> bool:
        e = makers.get(v)
        if e is None or e.primitive not in again or len(set(e.reads)) != 1:
            return False
        return e.reads[0] not in makers or e.reads[0] in named

    return is_small


def renamed(
    symbols: SymbolOf, lines: list[EquationLine], ends: Iterable[tuple[Symbol, Var | None]]
) -> list[EquationLine]:
    """The lines, and further ones for what has another symbol than it is to have as an end: two states that are one
    value, one that stays as it is, and None for zero. Adds their symbols."""
    others = [(symbol, var) for symbol, var in ends if var is None or symbols[var] != symbol]
    return [*lines, *(_alias(symbols, symbol, 0 if var is None else var) for symbol, var in others)]


def in_order(
    symbols: SymbolOf, lines: list[EquationLine], ends: Iterable[tuple[Symbol, Var | None]]
) -> list[EquationLine]:
    """A line for each end, in their order. Adds symbols, as `renamed` does."""
    by_var = {line.outs[0]: line for line in lines}
    found = []
    for symbol, var in ends:
        if var is None:
            found.append(_alias(symbols, symbol, 0))
        elif symbols[var] == symbol and var in by_var:
            found.append(by_var[var])
        else:
            found.append(_alias(symbols, symbol, by_var[var].made if var in by_var else var))
    return found


def _alias(symbols: SymbolOf, symbol: Symbol, made: WrittenValue) -> EquationLine:
    """A line for another name of a value."""
    alias = Var(-len(symbols), (), np.dtype(float))
    symbols[alias] = symbol
    return EquationLine((alias,), made)


def step_lines(program: Program, names: Names) -> tuple[list[EquationLine], SymbolOf]:
    """A recorded step in lines, and what its values are called."""
    symbols, told = symbols_of(program, names, program.captured)
    same: dict[Var, Var] = {}
    ends = [*program.new_states, *program.ys]
    equations = without_lying(needed(program.equations, ends), symbols, told, same)
    new = [same.get(v, v) for v in program.new_states]
    named = {*told, *new, *(same.get(v, v) for v in program.ys)}
    is_small, counts = made_in_a_moment(equations, named, True), uses(equations)
    lines = lines_of(equations, lambda v: v in named or (counts[v] > 1 and not is_small(v)), {})
    wanted = [Symbol(symbols[v].name, when="new") for v in program.states]
    symbols = with_numbers(symbols, (v for line in lines for v in line.outs))
    return renamed(symbols, lines, zip(wanted, new, strict=True)), symbols
