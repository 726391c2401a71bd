"""Notes: what a step says beside its states and its output, losses of its own or figures to look at.

A step writes them with `Cell.note`; a layer stacks them over time where they are asked for, by its caller
(`layer(xs, notes=True)`) or by somebody around it (`notes_of_layers`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_rnn.surroundings import PerThread
from tinygrad_rnn.tensor import Tensor

StepNotes = dict[str, Tensor]
"""(B,) or (B,...) by name."""


class LayerNotes:
    """What the cells of one layer's call noted: of each name the Tensors (T,B,...), cell by cell, in padding 0; how
    many steps of all rows are no padding; and the `call`: the layer itself, the inputs (T,B,I) that it was given, and
    the lengths of the rows, if it was."""

    def __init__(self, columns: dict[str, list[Tensor]], count: int, call: tuple[Any, Tensor, Any]) -> None:
        self.columns, self.count, self.call = columns, count, call

    def mean(self, name: str) -> Tensor:
        """Over the entries of all steps and rows that are no padding; added up over the cells. Scalar."""
        parts = [part.sum() * (part.shape[0] * part.shape[1] / (part.size * self.count)) for part in self.columns[name]]
        return sum(parts[1:], parts[0])


_of_step: PerThread[StepNotes | None] = PerThread("tinygrad_rnn.notes_of_step", None)
_of_layers: PerThread[list[LayerNotes] | None] = PerThread("tinygrad_rnn.notes_of_layers", None)


@contextmanager
def notes_of_step(wanted: bool) -> Iterator[StepNotes]:
    """Within it what a step notes is written down, if it is wanted."""
    found: StepNotes = {}
    token = _of_step.set(found if wanted else None)
    try:
        yield found
    finally:
        _of_step.reset(token)


@contextmanager
def notes_of_layers() -> Iterator[list[LayerNotes]]:
    """Within it each recurrent layer that is called, by this thread, writes down what its cells noted."""
    found: list[LayerNotes] = []
    token = _of_layers.set(found)
    try:
        yield found
    finally:
        _of_layers.reset(token)


def layers_listener() -> list[LayerNotes] | None:
    """Where a layer is to write down its notes, if anywhere."""
    return _of_layers.get()


def write_note(cell: str, name: str, value: Any) -> None:
    """Writes down one note of a step of `cell`, where somebody wants it. Raises TypeError for what is no Tensor of
    floating-point numbers with a row for each of the batch, ValueError for a name that the step has used before."""
    if not isinstance(value, Tensor) or value.dtype.kind != "f" or not value.ndim:
        got = f"{value.dtype} of {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{cell}.note: {name!r} must be a Tensor (B,) or (B,...) of floating-point numbers, got {got}")
    found = _of_step.get()
    if found is not None:
        if name in found:
            raise ValueError(f"{cell}.note: the step notes {name!r} twice; add the values, or use two names")
        found[name] = value
