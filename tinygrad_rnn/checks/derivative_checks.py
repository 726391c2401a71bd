"""The checks of check_cell that are about derivatives."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getmembers_static
from typing import Any

import numpy as np

from tinygrad_rnn.checks.derivatives import gradient_along
from tinygrad_rnn.checks.differences import KinkError, compare_with_differences
from tinygrad_rnn.checks.rows import Remark
from tinygrad_rnn.checks.stops import Held, LinesOfStops
from tinygrad_rnn.checks.subject import BATCH, Subject, name_in_cell, noise_of, told
from tinygrad_rnn.loops.placeholders import CannotRecord
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.models.contexts import as_read
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.surroundings import recording
from tinygrad_rnn.tape import Box
from tinygrad_rnn.tensor import Tensor

FIRST, SECOND = 1e-6, 1e-6
"""Relative errors allowed of first and second derivatives against finite differences."""
LARGE_INPUT = 1e3
"""By which inputs are multiplied that are large."""


def first_derivatives(subject: Subject) -> str:
    """Every entry of the gradient, and again where inputs are large."""

    def check() -> str:
        return _compared(subject, subject.weighed_results, FIRST, "the derivative")

    figure = despite_kinks(subject, check)
    kept = subject.xs
    try:
        subject.xs = 4 * kept
        despite_kinks(subject, check)
    finally:
        subject.xs = kept
    counting = subject.counting
    return f"{figure}; not by {', '.join(counting)}, which counts" if counting else figure


def second_derivatives(subject: Subject) -> str:
    """Every entry of the gradient of the gradient's product with a random direction."""

    def check() -> str:
        rng = np.random.default_rng(4)
        directions = [rng.standard_normal(a.shape) for a in subject.named().values()]

        def along(layer: Recurrent) -> Callable[..., Tensor]:
            return gradient_along(subject.bent_results(layer), directions)

        return _compared(subject, along, SECOND, "the second derivative")

    return despite_kinks(subject, check)


def _compared(
    subject: Subject, function_of: Callable[[Recurrent], Callable[..., Tensor]], tolerance: float, which: str
) -> str:
    """The gradient of a function of a layer against its finite differences; where the step stops gradients, against
    those with what is stopped held."""
    declared = None
    if lines_of_stops(subject):
        held = Held()
        layer = subject.made(cell=held.kind(subject.cell))
        with held.noting():
            subject.results_here(layer)
        declared = held.put_in_place(function_of(layer))
    return compare_with_differences(function_of(subject.layer), _by_told_name(subject), tolerance, which, declared)


def large_inputs(subject: Subject) -> str:
    """Values and gradients are numbers where inputs are large: an exponential, or a slope of a root, may not be."""
    kept = subject.xs
    try:
        subject.xs = LARGE_INPUT * kept
        results = [r.numpy() for r in subject.results_here(subject.layer)]
        gradients = subject.gradients()
    finally:
        subject.xs = kept
    if not all(np.isfinite(r).all() for r in results):
        raise Remark(f"with inputs of {LARGE_INPUT:.0f} results are not: the line is told by tg.detect_anomaly()")
    if wrong := [told(name) for name, g in gradients.items() if not np.isfinite(g).all()]:
        raise Remark(f"with inputs of {LARGE_INPUT:.0f} the gradient is not, by {', '.join(wrong)}")
    return f"with inputs of {LARGE_INPUT:.0f}"


def gradients_go_through(subject: Subject) -> str:
    """Where a step stops gradients, that is said: it may be meant, and may not."""
    if lines := lines_of_stops(subject):
        raise Remark(f"stopped or replaced, on purpose? {'; '.join(lines)}")
    return "nothing stops them"


def lines_of_stops(subject: Subject) -> list[str]:
    """The lines of the step in which gradients stop; none where it cannot be recorded."""
    recorder = LinesOfStops()
    try:
        with recording():
            record_step(_step_of(subject), subject.layer.cells[0].beginning(BATCH), Tensor(subject.xs), recorder)
    except CannotRecord:
        return []
    return [*recorder.lines]


def _step_of(subject: Subject) -> Callable[[Any, Any], Any]:
    """The step of the cell, as `scan` has it."""
    cell, context = subject.layer.cells[0], as_read(subject.context)
    noise = noise_of(cell, BATCH, np.random.default_rng(0))

    def step(state: Any, x: Any) -> Any:
        new, y = cell.stepped(x, state, context, noise)
        return new, cell.put_out(x, new, y)

    return step


def despite_kinks(subject: Subject, check: Callable[[], str]) -> str:
    """A check that may fail by chance where a function has a kink: two points of three must pass."""
    try:
        return check()
    except KinkError as error:
        for _ in range(2):
            subject.move()
            try:
                figure = check()
            except KinkError:
                raise error from None
        return f"{figure}; another point is too near a kink"


def parameters_take_part(subject: Subject) -> str:
    """A Parameter whose gradient is 0 throughout does not reach the output, or a state that is kept. And what asks for
    a gradient must be found as a Parameter, or it is neither trained nor saved."""
    if strays := _strays(subject):
        stray = strays[0]
        named = [f"{name!r}, " for name, value in getmembers_static(subject.layer.cells[0]) if value is stray]
        raise AssertionError(
            f"{''.join(named)}a Tensor of the shape {stray.shape} asks for a gradient and is no Parameter among the "
            "cell's attributes: it would be neither trained nor saved (what is made of Parameters is made in the step)"
        )
    idle = {name_in_cell(name) for name, _ in subject.layer.named_parameters()}
    count = len(idle)
    for _ in range(3):
        idle -= {name for name, g in subject.gradients().items() if g.any()}
        if not idle:
            return f"{count} of them"
        subject.move()
    raise Remark(f"declared, and never reaches the loss: {', '.join(map(told, sorted(idle)))}")


def _strays(subject: Subject) -> list[Any]:
    """Tensors that the step closes over and whose gradient is asked for, which are no Parameters of the cell."""
    cell = subject.layer.cells[0]
    try:
        program, _, _ = record_step(_step_of(subject), cell.beginning(BATCH), Tensor(subject.xs))
    except CannotRecord:
        return []
    known = {id(p) for p in cell.parameters()}
    return [v for v in program.operands if isinstance(v, Box) and v.node is not None and id(v) not in known]


def _by_told_name(subject: Subject) -> dict[str, Any]:
    """All that the number depends on, by the names that a message gives."""
    return {told(name): array for name, array in subject.named().items()}
