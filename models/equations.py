"""The equations of a cell, from its recorded step: they cannot differ from what is computed. (Cells are Any here, since
they show their own equations by this.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.loops.placeholders import CannotRecord
from tinygrad_rnn.loops.program import Program
from tinygrad_rnn.loops.recorder import Recorder
from tinygrad_rnn.loops.value_names import Names, named_recording
from tinygrad_rnn.loops.written.mathematics import Mathematics
from tinygrad_rnn.loops.written.mathml import MathML
from tinygrad_rnn.loops.written.shown import step_lines
from tinygrad_rnn.models.contexts import as_read, context_of
from tinygrad_rnn.tensor import Tensor


def recorded_step(
    cell: Any, rows: int, context: Sequence[Any] = (), recorder: Recorder | None = None
) -> tuple[Program, Names]:
    """The step of a cell that evaluates, for so many rows, with its output; and what its values are called. Raises
    CannotRecord."""

    def step(state: Any, x: Any) -> Any:
        new, y = cell.stepped(x, state, as_read([*context]) if context else None)
        return new, cell.put_out(x, new, y)

    xs = Tensor(np.zeros((1, rows, cell.input_size), cell.dtype))
    return named_recording(step, cell.beginning(rows), xs, recorder)


def cell_equations(cell: Any, notation: type[Mathematics]) -> str:
    """The equations of its step in that notation. Raises CannotRecord where what a step does depends on numbers."""
    context = [Tensor(part) for part in context_of(cell, 2, np.random.default_rng(0))]
    lines, symbols = step_lines(*recorded_step(cell, 2, context))
    return notation(symbols).equations(lines)


def equations_as_html(cell: Any) -> str:
    """The same for a notebook; nothing where there are none."""
    try:
        return cell_equations(cell, MathML)
    except (CannotRecord, TypeError):  # a step that depends on numbers, or that is not one yet
        return ""
