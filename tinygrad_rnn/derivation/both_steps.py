"""A cell's step and its backward step, recorded, with a symbol for every value."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_rnn.frames import owner
from tinygrad_rnn.loops.differentiating import Backward, differentiate
from tinygrad_rnn.loops.placeholders import CannotRecord
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.recorder import Recorder
from tinygrad_rnn.loops.written.expressions import needed
from tinygrad_rnn.loops.written.notation import RowCount
from tinygrad_rnn.loops.written.shown import without_lying
from tinygrad_rnn.loops.written.symbols import Symbol, SymbolOf, symbols_of
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.contexts import as_read, context_of
from tinygrad_rnn.models.equations import recorded_step
from tinygrad_rnn.models.module import constants_by_path
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tape import Primitive
from tinygrad_rnn.tensor import Parameter, Tensor

ROW_COUNTS = 1009, 1013
"""A step is recorded twice, for so many rows: what differs between the recordings is the number of rows."""


class DerivationError(ValueError):
    """The gradient of a cell cannot be written out: what its step does depends on numbers, or an op has no form in
    NumPy here."""


class SourceLine(NamedTuple):
    """A line of the step: the name of its file, its number, and what stands there."""

    file: str
    number: int
    text: str


class _LineRecorder(Recorder):
    """Writes down, too, which line of the step asked for each op."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[SourceLine] = []

    def __call__(self, primitive: Primitive[Any], args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and owner(frame) == "engine":
            frame = frame.f_back
        if frame is not None:
            file, number = frame.f_code.co_filename, frame.f_lineno
            self.lines.append(SourceLine(Path(file).name, number, linecache.getline(file, number).strip()))
        return super().__call__(primitive, args, params)


@dataclass(frozen=True, eq=False, kw_only=True)
class BothSteps:
    """What was recorded of a cell."""

    cell: Cell
    program: Program
    equations: list[Equation]
    """Of the step, those that its states or its output need."""
    backward: Backward
    backward_equations: list[Equation]
    symbols: SymbolOf
    told: set[Var]
    """The values that the step itself names, and the states and inputs."""
    weights: dict[str, Var]
    """The Parameters that the step reads, by their names in the cell."""
    constants: dict[Var, Any]
    """What else it reads, with its numbers."""
    context: list[Var]
    source: dict[Var, SourceLine]
    """By the values of the step the line that made them."""


def both_steps(cell: Cell) -> BothSteps:
    """Records the step of a cell and its backward step. Raises DerivationError."""
    _try_out(cell)
    found, other = (_recorded(cell, rows) for rows in ROW_COUNTS)
    what = type(cell).__name__
    if any(
        np.shape(a) != np.shape(b) for a, b in zip(found.constants.values(), other.constants.values(), strict=False)
    ):
        raise DerivationError(f"{what}: its step makes an array of as many rows as the batch has, which is no equation")
    return replace(
        found,
        equations=_marked(found.equations, other.equations, what),
        backward_equations=_marked(found.backward_equations, other.backward_equations, what),
    )


def _try_out(cell: Cell) -> None:
    """A step of two rows. Raises DerivationError where it fails: the message is then about two rows."""
    context = [Tensor(part) for part in context_of(cell, 2, np.random.default_rng(0))]
    try:
        with no_grad(), np.errstate(all="ignore"):
            x, state = Tensor(np.ones((2, cell.input_size), cell.dtype)), cell.beginning(2)
            new, y = cell.stepped(x, state, as_read([*context]) if context else None)
            cell.put_out(x, new, y)
    except Exception as error:
        raise DerivationError(f"{type(cell).__name__}: its step fails: {error}") from error


def _recorded(cell: Cell, rows: int) -> BothSteps:
    """The step and the backward step for so many rows."""
    context = [Tensor(part) for part in context_of(cell, rows, np.random.default_rng(0))]
    recorder = _LineRecorder()
    try:
        program, names = recorded_step(cell, rows, context, recorder)
    except CannotRecord as error:
        raise DerivationError(f"{type(cell).__name__} has no one backward step: {error}") from None
    source = {out: line for e, line in zip(recorder.equations, recorder.lines, strict=True) for out in e.outs}
    operands = dict(zip(program.captured, program.operands, strict=True))
    paths = {id(parameter): path for path, parameter in cell.named_parameters()}
    for operand in operands.values():
        if isinstance(operand, Parameter) and id(operand) not in paths:
            raise DerivationError(f"{type(cell).__name__}: its step reads a Parameter that is no attribute of the cell")
    weights = {paths[id(value)]: var for var, value in operands.items() if isinstance(value, Parameter)}
    called = "read_context" if any(name.startswith("context") for name in weights) else "context"
    given = {id(part): f"{called}_{i}" if i else called for i, part in enumerate(context)}
    read = {given[id(value)]: var for var, value in operands.items() if id(value) in given}
    backward = _differentiated(program, {*weights.values(), *read.values()})
    operands |= zip(backward.constants, backward.operands, strict=True)
    constants = {v: a for v, a in operands.items() if v not in {*weights.values(), *read.values()}}
    known = {id(value): path for path, value in constants_by_path(cell)}
    names |= {var: name for group in (weights, read) for name, var in group.items()}
    names |= {var: known.get(id(value), "constant") for var, value in constants.items()}
    symbols, told = symbols_of(program, names, [*operands])
    _call_gradients(symbols, program, backward)
    ends = [*backward.g_states, *backward.g_xs, *backward.g_captured]
    return BothSteps(
        cell=cell,
        program=program,
        equations=needed(program.equations, [*program.new_states, *program.ys]),
        backward=backward,
        backward_equations=needed(backward.equations, [v for v in ends if v is not None]),
        symbols=symbols,
        told=told,
        weights=weights,
        constants=constants,
        context=[read[name] for name in given.values() if name in read],
        source=source,
    )


def _marked(equations: list[Equation], others: list[Equation], what: str) -> list[Equation]:
    """The equations, with a RowCount for each number that is one by the same equations for another number of rows."""
    if [e.primitive for e in equations] != [e.primitive for e in others]:
        raise DerivationError(f"{what}: what its step does depends on how many rows there are")

    def part(a: Any, b: Any) -> Any:
        if isinstance(a, Var):
            return a
        if isinstance(a, tuple | list) and len(a) == len(b):
            return type(a)(map(part, a, b))
        if isinstance(a, slice):
            return slice(part(a.start, b.start), part(a.stop, b.stop), part(a.step, b.step))
        if isinstance(a, int) and isinstance(b, int) and a != b and a * ROW_COUNTS[1] == b * ROW_COUNTS[0]:
            return RowCount(a // ROW_COUNTS[0], ROW_COUNTS[0])
        if a != b:
            raise DerivationError(
                f"{what}: its step calculates with the number of rows, {a!r} where there are {ROW_COUNTS[0]}"
            )
        return a

    return [
        replace(e, args=part(e.args, o.args), params={k: part(v, o.params[k]) for k, v in e.params.items()})
        for e, o in zip(equations, others, strict=True)
    ]


def in_print(both: BothSteps) -> BothSteps:
    """The same without ops that change no number."""
    old = both.backward
    of_backward = {*old.g_new_states, *old.g_ys, *(out for e in old.equations for out in e.outs)}
    symbols = {v: symbol for v, symbol in both.symbols.items() if v not in of_backward}
    told, same = {*both.told}, dict[Var, Var]()
    equations = without_lying(both.equations, symbols, told, same)
    backward_equations = without_lying(both.backward_equations, symbols, told, same)

    def instead(group: Iterable[Any]) -> list[Any]:
        return [same.get(v, v) for v in group]

    program = replace(both.program, new_states=instead(both.program.new_states), ys=instead(both.program.ys))
    backward = replace(
        old,
        equations=backward_equations,
        g_states=instead(old.g_states),
        g_xs=instead(old.g_xs),
        g_captured=instead(old.g_captured),
        gradients={same.get(g, g): v for g, v in old.gradients.items() if v not in same},
    )
    _call_gradients(symbols, program, backward)
    return replace(
        both,
        program=program,
        equations=equations,
        backward=backward,
        backward_equations=backward_equations,
        symbols=symbols,
        told=told,
    )


def _differentiated(program: Program, operands: set[Var]) -> Backward:
    """By its states, its inputs and these operands, of all that it hands on and puts out."""
    wanted = {v for v in (*operands, *program.states, *program.xs) if v.dtype.kind == "f"}
    active = set(wanted)
    for e in program.equations:
        if e.graded and not active.isdisjoint(e.reads):
            active.update(out for out in e.outs if out.dtype.kind == "f")
    return differentiate(program, wanted, active, (True,) * (len(program.new_states) + len(program.ys)))


def _call_gradients(symbols: SymbolOf, program: Program, backward: Backward) -> None:
    """Adds the symbols of gradients, in place."""
    states = [symbols[v] for v in program.states]
    for seed, symbol in zip(backward.g_new_states, states, strict=True):
        symbols[seed] = replace(symbol, kind="later", when="new")
    of_y = {symbols[v].name for v in symbols if v not in program.ys}
    of_y |= {symbols[v].name for g, v in backward.gradients.items() if v in program.ys and g not in backward.g_ys}
    for seed in backward.g_ys:
        symbols[seed] = Symbol("output" if "y" in of_y else "y", kind="gradient")
    for g, symbol in zip(backward.g_states, states, strict=True):
        if g is not None:
            symbols.setdefault(g, replace(symbol, kind="later"))
    for g, v in backward.gradients.items():
        symbols.setdefault(g, symbols[v].gradient)
    nameless = [out for e in backward.equations for out in e.outs if out not in symbols]
    symbols |= {v: Symbol("", version=v.number) for v in nameless}
