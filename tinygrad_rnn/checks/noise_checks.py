"""The checks of check_cell that are about noise on the states: whether it is put where it makes sense."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.checks.rows import Remark
from tinygrad_rnn.checks.subject import BATCH, Subject, noise_of, told
from tinygrad_rnn.loops.placeholders import CannotRecord
from tinygrad_rnn.loops.program import Equation, Program
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.models.contexts import as_read
from tinygrad_rnn.ops.products import _einsum
from tinygrad_rnn.tensor import Tensor


def zoneout_on_units(subject: Subject) -> str:
    """Zoneout looks at states entry by entry, as at units: a state that is no row of H units may be something else."""
    cell = subject.layer.cells[0]
    kept = cell.kept.split()
    shapes = {name: shape for name, shape in zip(cell.states, cell.state_shapes, strict=True) if name not in kept}
    others = [f"{name} {(BATCH, *shape)}" for name, shape in shapes.items() if shape != (cell.hidden_size,)]
    if others:
        units = (BATCH, cell.hidden_size)
        raise Remark(f"it is on {', '.join(others)}, not {units}: list in `kept` what counts or sums")
    return f"on {' '.join(shapes) or 'none'}" + (f", not on {' '.join(kept)}" if kept else "")


def recurrent_dropout_on_products(subject: Subject) -> str:
    """Recurrent dropout is put where gates read a state: what the step multiplies by a matrix past them has none."""
    cell = subject.layer.cells[0]
    gates = [gate for gate in cell.all_gates() if "h" in gate.reads]
    masks = [Tensor(np.ones((BATCH, gate.W.shape[0]))) for gate in gates]
    masked, context = cell.masked(masks) if gates else cell, as_read(subject.context)
    noise = noise_of(cell, BATCH, np.random.default_rng(0))

    def step(state: Any, x: Any) -> Any:
        return masked.advance(x, state, context, noise), x

    try:
        program, _, _ = record_step(step, cell.beginning(BATCH), Tensor(subject.xs))
    except CannotRecord as error:
        raise Remark(f"not tried: {error}") from None
    of_inputs = {id(gate.U) for gate in cell.all_gates() if "x" in gate.reads}  # whatever a gate is given as x
    names = {id(p): name for name, p in cell.named_parameters() if id(p) not in of_inputs}
    if past := _multipliers_past_masks(program, {id(mask) for mask in masks}, names):
        raise Remark(f"the step multiplies states by {', '.join(map(told, past))} past the gates, where no mask is put")
    return f"{len(masks)} gate{'s' * (len(masks) > 1)}" if masks else "nothing multiplies a state"


def _multipliers_past_masks(program: Program, masks: set[int], names: dict[int, str]) -> list[str]:
    """The Parameters by which a step multiplies, as matrices, what it makes of its states without a mask."""
    captured = list(zip(program.captured, program.operands, strict=True))
    of_masks = {v for v, operand in captured if id(operand) in masks}
    parameters = {v: {names[id(operand)]} for v, operand in captured if id(operand) in names}
    bare = set(program.states)  # and what is made of them
    fixed = set(program.captured)
    found: dict[str, None] = {}
    for e in program.equations:
        made_of = set[str]().union(*(parameters.get(a, ()) for a in e.reads))
        if fixed.issuperset(e.reads):
            fixed.update(e.outs)
            parameters |= {out: made_of for out in e.outs}
        elif bare.intersection(e.reads) and not of_masks.intersection(e.reads):
            if _sums_products(e):
                found |= dict.fromkeys(sorted(made_of))
            bare.update(e.outs)
    return list(found)


def _sums_products(e: Equation) -> bool:
    """Whether an op is a product of matrices: of two operands it sums over an axis that they share."""
    if e.primitive is not _einsum:
        return e.primitive is ops.matmul
    operands, _, result = e.args[0].partition("->")
    shared = [letter for letter in set(operands) - {*result, ","} if sum(letter in o for o in operands.split(",")) > 1]
    return bool(shared)
