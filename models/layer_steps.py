"""The step of a layer: that of its cell, and around it what the layer adds, dropout, zoneout, padding and notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.notes import StepNotes, notes_of_step
from tinygrad_rnn.models.padding import Padding, beside
from tinygrad_rnn.tensor import Tensor

State = tuple[Any, ...]


class Masks(NamedTuple):
    """What is drawn, or known, of a sequence before it begins. `recurrent` is put on the state where gates read it, a
    mask (B,R) for each; `keep` has for each state under zoneout which entries stay as they were, (S,B,H) booleans.
    `live` holds which rows are within their length, `starting` which rows begin, (S,B,1) booleans. All are empty where
    there are none, or none is asked for. `noise` is what the step reads, (S,B,...) of Tensors; None where it gets
    none."""

    recurrent: tuple[Tensor, ...]
    keep: tuple[Tensor, ...]
    live: tuple[Tensor, ...]
    starting: tuple[Tensor, ...]
    noise: Any


class Inputs(NamedTuple):
    """What a step is given beside the state: of x, of the masks and of the noise the part for its time step."""

    x: Tensor
    live: tuple[Tensor, ...]
    starting: tuple[Tensor, ...]
    keep: tuple[Tensor, ...]
    noise: Any


CellStep = Callable[[State, Inputs], tuple[State, Tensor | None]]
"""To the new state, and the output where the step of the cell returns it beside that."""


def advancing(cell: Cell, masks: tuple[Tensor, ...], padding: Padding | None, context: Any) -> CellStep:
    """The equations of the cell, to be wrapped by what the layer adds to them."""
    if masks and padding is not None:
        return _advancing_padded(cell, masks, padding, context)
    if masks:
        cell = cell.masked(masks)

    def advanced(old: State, given: Inputs) -> tuple[State, Tensor | None]:
        return cell.stepped(given.x, old, context, given.noise)

    return advanced


def _advancing_padded(cell: Cell, masks: tuple[Tensor, ...], padding: Padding, context: Any) -> CellStep:
    """A padded step has the masks of the longest row too, since it computes on its state."""
    lent = [padding.of_longest(mask) for mask in masks]

    def advanced(old: State, given: Inputs) -> tuple[State, Tensor | None]:
        (live,) = given.live
        here = tuple(ops.where(live, own, other) for own, other in zip(masks, lent, strict=True))
        return cell.masked(here).stepped(given.x, old, context, given.noise)

    return advanced


def zoned_out(step: CellStep, cell: Cell) -> CellStep:
    """Entries that were drawn keep their old value (Krueger et al. 2017, eq. 4)."""
    names, kept = cell.states, cell.kept.split()

    def zoned_out(old: State, given: Inputs) -> tuple[State, Tensor | None]:
        (new, y), keep = step(old, given), iter(given.keep)
        named = zip(names, old, new, strict=True)
        return tuple(n if name in kept else ops.where(next(keep), o, n) for name, o, n in named), y

    return zoned_out


def zoned_out_on_average(step: CellStep, cell: Cell, rate: float) -> CellStep:
    """The expectation of that, for evaluation."""
    names, kept = cell.states, cell.kept.split()

    def averaged(old: State, given: Inputs) -> tuple[State, Tensor | None]:
        new, y = step(old, given)
        named = zip(names, old, new, strict=True)
        return tuple(n if name in kept else rate * o + (1 - rate) * n for name, o, n in named), y

    return averaged


def lending(step: CellStep, padding: Padding) -> CellStep:
    """Rows past their length go on from the longest row's state."""

    def from_the_longest(old: State, given: Inputs) -> tuple[State, Tensor | None]:
        (live,) = given.live
        return step(tuple(padding.lent(live, o) for o in old), given)

    return from_the_longest


def beginning_late(step: CellStep, initial: State) -> CellStep:
    """Rows begin where their padding ends, each from a state of its own."""

    def from_the_initial(old: State, given: Inputs) -> tuple[State, Tensor | None]:
        (starting,) = given.starting
        return step(tuple(ops.where(beside(starting, o), i, o) for i, o in zip(initial, old, strict=True)), given)

    return from_the_initial


# --- The step as `scan` wants it: the new state, and what it puts out ---


PutOut = tuple[Tensor, StepNotes, State]
"""Of one step: the output, what was noted, and where they are wanted all states. No named tuple: the names in its
constructor would be taken for the step's own by `explain`."""


def putting_out(
    cell: Cell, step: CellStep, noted: bool, every_state: bool = False, still: bool = False
) -> Callable[[State, Inputs], tuple[State, PutOut]]:
    """The step and what it puts out; where it stands `still`, rows past their length keep their state."""

    def driven(old: State, given: Inputs) -> tuple[State, PutOut]:
        with notes_of_step(noted) as notes:
            new, y = step(old, given)
            out = (cell.put_out(given.x, new, y), notes, new if every_state else ())
        if still:
            (live,) = given.live
            new = tuple(ops.where(beside(live, n), n, o) for n, o in zip(new, old, strict=True))
        return new, out

    driven.__qualname__ = f"{type(cell).__name__}.step"  # as warnings call it
    return driven
