"""What a value is called, apart from how that is spelled: z, the new h, U of gate z, the gradient of any of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Program, Var
from tinygrad_rnn.loops.value_names import Names, is_made_up

Kind = Literal["value", "sum", "gradient", "delta", "later"]
"""A value; the sum that goes into an activation; the gradient of either; what comes to a state from later steps."""
When = Literal["always", "old", "now", "new"]
"""A weight; a state before the step; what the step makes; a state after it."""


@dataclass(frozen=True)
class Symbol:
    """`name` is what the step calls it, and empty where it does not; `of` is the gate of a weight; `version` tells
    values of one name apart."""

    name: str
    of: str = ""
    kind: Kind = "value"
    when: When = "now"
    version: int = 0

    @property
    def gradient(self) -> Symbol:
        """What its gradient is called."""
        return replace(self, kind="delta" if self.kind == "sum" else "gradient")


SymbolOf = dict[Var, Symbol]

ACTIVATION_OPS = {
    ops.sigmoid, ops.tanh, ops.relu, ops.hard_sigmoid, ops.softplus, ops.leaky_relu, ops.elu, ops.log_sigmoid
}  # fmt: skip
"""Ops whose argument has no name of its own: it is what goes into z."""


class _Calling:
    """Gives each Var a symbol that no other has: a state after the step may be called as the one before it, and nothing
    else in the step as a state."""

    def __init__(self) -> None:
        self.found: SymbolOf = {}
        self.taken: set[Symbol] = set()

    def call(self, var: Var, symbol: Symbol) -> None:
        while self._place(symbol) in self.taken:
            symbol = replace(symbol, version=symbol.version + 1)
        if var not in self.found:
            self.found[var] = symbol
            self.taken.add(self._place(symbol))

    @staticmethod
    def _place(symbol: Symbol) -> Symbol:
        return symbol if symbol.when == "new" else replace(symbol, when="now")


def symbols_of(program: Program, names: Names, operands: Iterable[Var]) -> tuple[SymbolOf, set[Var]]:
    """A symbol for every value of a recorded step, and for each of the operands, by the names that `named_recording`
    found; and the values that the step itself names."""
    calling = _Calling()
    groups: list[tuple[Iterable[Var], When]] = [(program.states, "old"), (program.xs, "now"), (operands, "always")]
    for group, when in groups:
        for var in group:
            calling.call(var, _weight(names[var]) if when == "always" else Symbol(names[var], when=when))
    made = {out for e in program.equations for out in e.outs}
    for old, new in zip(program.states, program.new_states, strict=True):
        if new in made:
            calling.call(new, Symbol(names[old], when="new"))
    for var in sorted((v for v in made if v in names and not is_made_up(names[v])), key=lambda v: v.number):
        calling.call(var, Symbol(names[var].rstrip("'")))
    told = set(calling.found)
    _call_sums(program, names, calling)
    for var in sorted(made - set(calling.found), key=lambda v: v.number):
        calling.call(var, Symbol("", version=var.number))
    return calling.found, told


def _weight(name: str) -> Symbol:
    of, _, own = name.rpartition(".")
    if own.isdigit():  # in a list
        return Symbol(name.replace(".", "_"), when="always")
    return Symbol(own, of, when="always")


def _call_sums(program: Program, names: Names, calling: _Calling) -> None:
    """What goes into an activation is called by what comes out; that, where the step does not name it, by the gate.
    So is a gate's sum that goes elsewhere."""
    for e in program.equations:
        if e.primitive in ACTIVATION_OPS and isinstance(e.args[0], Var):
            into, out = e.args[0], e.outs[0]
            if out not in calling.found and names.get(into, "").endswith(".sum"):
                calling.call(out, Symbol(names[into].removesuffix(".sum")))
            if out in calling.found:
                calling.call(into, replace(calling.found[out], kind="sum"))
            elif into in calling.found:
                calling.call(out, replace(calling.found[into], name=f"{e.primitive.name}_{calling.found[into].name}"))
    for e in program.equations:
        for out in e.outs:
            symbol = Symbol(names.get(out, "").removesuffix(".sum"), kind="sum")
            if names.get(out, "").endswith(".sum") and symbol not in calling.taken:
                calling.call(out, symbol)


def with_numbers(symbols: SymbolOf, shown: Iterable[Var]) -> SymbolOf:
    """The same with the values that have no name, and are shown, with_numbers in their order: t1, t2, ..., and what is
    called by them with them."""
    versions: dict[int, int] = {}
    for var in shown:
        if not symbols[var].name:
            versions.setdefault(symbols[var].version, len(versions) + 1)
    return {
        var: symbol if symbol.name else replace(symbol, version=versions.get(symbol.version, symbol.version))
        for var, symbol in symbols.items()
    }
