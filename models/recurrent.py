"""Recurrent: drives a cell over time, in layers and directions, with lengths, dropout and carried state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import to_host, xp
from tinygrad_rnn.frames import user_frame
from tinygrad_rnn.inspection.tracing import current_trace
from tinygrad_rnn.loops import scan
from tinygrad_rnn.loops.trees import flat, rebuild
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell, LSTMCell, RNNCell
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.padding import Padding, beside, checked_lengths
from tinygrad_rnn.ops.noise import dropout_mask
from tinygrad_rnn.surroundings import is_recording, label
from tinygrad_rnn.tensor import Tensor, as_tensor

State = tuple[Any, ...]


class Recurrent(Module):
    """`outputs, state = layer(xs, state=None, lengths=None, rng=None, context=None)`: xs (T,B,I) -> outputs (T,B,D*H),
    D being the number of directions, and the state a tuple with one Tensor (layers*D, B, H) per state name of the
    cell, layer by layer, forward before backward.

    `cell` is a class made with `Cell`; `cell_options` go to it. `hidden_size` may be a list, one size per layer; a
    state is then a tuple of Tensors (B, H_l) where the sizes differ.

    The state carries over: pass it to the next call. With `lengths` (B,), row b ends after lengths[b] steps: outputs
    past it are 0, the last state is that of its own last step, and the backward direction starts there. A row's
    gradient is what it is when the row is alone, whatever stands in the padding. Only as many steps are made as the
    longest row has.

    Called with `rng` (a numpy.random.Generator) the layer trains: `dropout` zeroes entries between layers,
    `recurrent_dropout` zeroes entries of the state where the gates read it, one mask a sequence and gate (Gal &
    Ghahramani 2016, sect. 4, with the weights untied), `zoneout` keeps a state's old entries, drawn each step (Krueger
    et al. 2017, eq. 4; without `rng` their expectation), but for those that the cell lists in `kept`. `residual` adds
    a layer's input to its output where their sizes agree.

    `context` is for cells whose step has a parameter of that name, which gets it at every time step: a Tensor (B,...),
    or a tuple of them. Rows past their length read their own.

    `truncate=k` lets no gradient through the state at every k-th step; `checkpoint_every=k` saves only every k-th state
    for the backward pass, and runs the steps between once more (see `scan`).

    Raises ValueError, TypeError for sizes, rates, shapes and dtypes that do not fit, and, when it is called, for cells
    that were put into `cells` and do not fit. Warns of a `dropout` for a single layer, where it does nothing."""

    def __init__(
        self,
        cell: type[Cell],
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        residual: bool = False,
        *,
        truncate: int | None = None,
        checkpoint_every: int | None = None,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **cell_options: Any,
    ) -> None:
        if not (isinstance(cell, type) and issubclass(cell, Cell)):
            raise TypeError(f"cell must be a class made with Cell, such as GRUCell, got {cell!r}")
        if isinstance(hidden_size, Sequence):
            sizes = list(hidden_size)
            if not sizes:
                raise ValueError("hidden_size must be a size, or a list with one per layer, got an empty list")
            if num_layers not in (None, len(sizes)):
                raise ValueError(f"num_layers must be {len(sizes)}, the number of hidden sizes, got {num_layers}")
        else:
            sizes = [hidden_size] * init.size("num_layers", 1 if num_layers is None else num_layers)
        self.input_size = init.size("input_size", input_size)
        self.num_layers = len(sizes)
        self.directions = 2 if bidirectional else 1
        self.dropout = init.rate("dropout", dropout)
        self.recurrent_dropout = init.rate("recurrent_dropout", recurrent_dropout)
        self.zoneout = init.rate("zoneout", zoneout)
        self.residual = residual
        self.truncate = None if truncate is None else init.size("truncate", truncate)
        self.checkpoint_every = None if checkpoint_every is None else init.size("checkpoint_every", checkpoint_every)
        if self.dropout and self.num_layers == 1:
            message = f"dropout={dropout} does nothing with num_layers=1: it stands between layers"
            warnings.warn(message, UserWarning, stacklevel=user_frame()[1])
        rng = init.generator(rng)
        self.cells: list[Cell] = []
        size = input_size
        for hidden in sizes:
            layer = [cell(size, hidden, dtype=dtype, rng=rng, **cell_options) for _ in range(self.directions)]
            self.cells += layer
            size = sum(each.output_size for each in layer)
        self.output_size = size
        self._dtype = np.dtype(dtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the weights, which inputs and states must share."""
        weight = self._weight()
        return self._dtype if weight is None else weight.dtype

    def __call__(
        self,
        xs: Any,
        state: Any = None,
        lengths: Any = None,
        rng: np.random.Generator | None = None,
        context: Any = None,
    ) -> tuple[Tensor, State]:
        self._check_cells()
        xs = self._checked(as_tensor(xs))
        context = self._context(context, xs.shape[1])
        states = self._initial(state, xs)
        rows = None if lengths is None else checked_lengths(xs, lengths)
        rng = None if rng is None else init.generator(rng)
        steps = len(xs) if rows is None else int(rows.max(initial=0))
        if not steps:
            return self._nothing_read(xs, states, context), self._by_name(states)
        paddings: list[Padding | None] = [None] * self.directions
        if rows is not None and rows.min() < steps:
            paddings = [Padding(rows, xs, bool(direction)) for direction in range(self.directions)]
        outputs: Tensor = xs[:steps] if steps < len(xs) else xs
        for number in range(self.num_layers):
            inputs = outputs
            if number and rng is not None and self.dropout:
                inputs = ops.dropout(inputs, self.dropout, rng)
            if paddings[0] is not None:
                inputs = paddings[0].filled(inputs)
            parts = []
            for direction, padding in enumerate(paddings):
                k = number * self.directions + direction
                with label("layer", number), self._direction(direction), label("cell", type(self.cells[k]).__name__):
                    ys, states[k] = self._run(self.cells[k], inputs, states[k], padding, bool(direction), rng, context)
                parts.append(ys)
            outputs = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
            if self.residual and outputs.shape == inputs.shape:
                outputs = outputs + inputs
        if paddings[0] is not None:
            outputs = ops.where(paddings[0].live, outputs, 0.0)
        if steps < len(xs):
            rest = xp(xs.data).zeros((len(xs) - steps, *outputs.shape[1:]), dtype=outputs.dtype)
            outputs = ops.concatenate([outputs, rest])
        return outputs, self._by_name(states)

    def _direction(self, number: int) -> AbstractContextManager[None]:
        """Its label, where there are two."""
        return label("direction", "backward" if number else "forward") if self.directions == 2 else nullcontext()

    def _nothing_read(self, xs: Tensor, states: list[State], context: Any) -> Tensor:
        """The outputs of a batch in which no row has a step: zeros (T,B,D*H), which depend on all that they would
        depend on, with a gradient of zero."""
        read = [part for part in flat(context) if part.dtype.kind == "f"]
        leaves = [xs, *(part for state in states for part in state), *read, *self.parameters()]
        total = sum((leaf.sum() for leaf in leaves[1:]), leaves[0].sum())
        return ops.broadcast_to(ops.where(False, total, 0.0), (*xs.shape[:2], self.output_size))

    @property
    def batch_axes(self) -> tuple[int, ...]:
        """Of each state that the layer returns, the axis of its rows: 0 where it is a tuple, of layers that differ in
        size, and otherwise 1, behind the layers."""
        shapes = [cell.state_shapes for cell in self.cells]
        return tuple(1 if len(set(column)) == 1 else 0 for column in zip(*shapes, strict=True))

    def _by_name(self, states: list[State]) -> State:
        """The states of the cells as the layer returns them."""
        return tuple(_joined([each[i] for each in states]) for i in range(len(self.cells[0].states)))

    def _run(
        self,
        cell: Cell,
        xs: Tensor,
        state: State,
        padding: Padding | None,
        backward: bool,
        rng: np.random.Generator | None,
        context: Any,
    ) -> tuple[Tensor, State]:
        """One cell over the whole sequence: outputs (S,B,H) and the last state."""
        if backward:
            xs = ops.flip(xs, 0)
        masks = self._masks(cell, xs, state, padding, rng)
        step = _advancing(cell, masks.recurrent, padding, context)
        if masks.keep:
            step = _zoned_out(step, cell)
        elif self.zoneout:
            step = _zoned_out_on_average(step, cell, self.zoneout)
        inputs = _Inputs(xs, masks.live, masks.starting, masks.keep)
        if padding is None:
            last, ys = self._scanned(cell, _putting_out(cell, step), state, inputs, backward)
        elif backward:
            step = _beginning_late(step, state)
            first = tuple(padding.lent(padding.live[0], s) for s in state)
            last, ys = self._scanned(cell, _putting_out(cell, step), first, inputs, backward, padding, state)
            last = tuple(padding.begun_or(s, i) for s, i in zip(last, state, strict=True))
        else:
            step = _lending(step, padding)
            if not is_recording() or (self.checkpoint_every is not None and self.truncate is None):
                driven: Any = _standing_still(cell, step)
                last, ys = self._scanned(cell, driven, state, inputs, backward, padding, state)
            else:  # every state is wanted, for the rows that end there; a gradient needs most of them anyway
                driven = _putting_out_states(cell, step)
                _, (ys, every) = self._scanned(cell, driven, state, inputs, backward, padding, state)
                last = tuple(padding.last(s, i) for s, i in zip(every, state, strict=True))
        return (ops.flip(ys, 0) if backward else ys), last

    def _scanned(
        self,
        cell: Cell,
        driven: Callable[[State, _Inputs], Any],
        first: State,
        inputs: _Inputs,
        backward: bool,
        padding: Padding | None = None,
        initial: State = (),
    ) -> tuple[State, Any]:
        """`scan` of this layer's kind, traced where somebody traces."""
        driven.__qualname__ = f"{type(cell).__name__}.step"  # as warnings call it
        options: dict[str, Any] = {"truncate": self.truncate, "checkpoint_every": self.checkpoint_every}
        if (tracer := current_trace()) is None:
            return scan(driven, first, inputs, **options)
        held = None if padding is None else (to_host(padding.live.data), initial)
        return tracer.scan(self, driven, first, inputs, cell.states, backward, held, **options)

    def _masks(
        self, cell: Cell, xs: Tensor, state: State, padding: Padding | None, rng: np.random.Generator | None
    ) -> _Masks:
        """All that one cell is masked with over the sequence."""
        recurrent: tuple[Tensor, ...] = ()
        keep: tuple[Tensor, ...] = ()
        if rng is not None and self.recurrent_dropout:
            shapes = [(xs.shape[1], gate.W.shape[0]) for gate in cell.gates_to_mask()]
            recurrent = tuple(Tensor(dropout_mask(shape, self.recurrent_dropout, rng, xs)) for shape in shapes)
        if rng is not None and self.zoneout:
            zoned = [s for name, s in zip(cell.states, state, strict=True) if name not in cell.kept.split()]
            drawn = (rng.random((len(xs), *s.shape), dtype=np.float32) < self.zoneout for s in zoned)
            keep = tuple(Tensor(xp(xs.data).asarray(each)) for each in drawn)
        if padding is None:
            return _Masks(recurrent, keep, (), ())
        keep = tuple(padding.filled(each) for each in keep)
        live = (padding.live,) if recurrent or not padding.backward else ()
        return _Masks(recurrent, keep, live, (padding.starting,) if padding.backward else ())

    def _context(self, context: Any, batch: int) -> Any:
        """The context as Tensors. Raises TypeError where one is missing or nothing reads it, ValueError for another
        batch."""
        if context is None:
            if needing := [type(cell).__name__ for cell in self.cells if cell.needs_context]:
                raise TypeError(f"{type(self).__name__}: {needing[0]}.step reads a context: call with context=...")
            return None
        if not any(cell.reads_context for cell in self.cells):
            kind = type(self.cells[0]).__name__
            raise TypeError(f"{type(self).__name__}: context was given, and {kind}.step has no parameter `context`")
        parts = [as_tensor(part) for part in flat(context)]
        for part in parts:
            if part.shape[:1] != (batch,):
                raise ValueError(f"{type(self).__name__}: context must have {batch} rows as xs have, got {part.shape}")
        return rebuild(context, iter(parts))

    def _check_cells(self) -> None:
        """Raises where a cell was put in another's place that does not fit: TypeError for what is none, ValueError for
        one of other states or sizes."""
        if len(self.cells) != self.num_layers * self.directions:
            expected = f"{self.num_layers * self.directions}, by layer and direction, got {len(self.cells)}"
            raise ValueError(f"{type(self).__name__}.cells must be {expected}")
        size = self.input_size
        for start in range(0, len(self.cells), self.directions):
            layer = self.cells[start : start + self.directions]
            for k, cell in enumerate(layer, start):
                where = f"{type(self).__name__}.cells[{k}]"
                if not isinstance(cell, Cell):
                    raise TypeError(f"{where} must be a Cell, got {type(cell).__name__}")
                if cell.state != self.cells[0].state:
                    states = f"the states of cells[0] ({self.cells[0].state})"
                    raise ValueError(f"{where} must have {states}, got a {type(cell).__name__} of {cell.state}")
                if cell.input_size != size:
                    raise ValueError(f"{where} must have input_size {size}, as what is below it, got {cell.input_size}")
            size = sum(cell.output_size for cell in layer)
        if size != self.output_size:
            raise ValueError(f"{type(self).__name__}.cells must put out {self.output_size} features, got {size}")

    def _checked(self, xs: Tensor) -> Tensor:
        if xs.ndim != 3 or xs.shape[2] != self.input_size:
            raise ValueError(f"{type(self).__name__}: xs must have the shape (T, B, {self.input_size}), got {xs.shape}")
        if xs.dtype != self.dtype:
            raise TypeError(
                f"{type(self).__name__}: xs must have the layer's dtype {self.dtype}, got {xs.dtype}; "
                "cast one of them with astype"
            )
        return xs

    def _initial(self, state: Any, xs: Tensor) -> list[State]:
        """The state of each cell: zeros, or the slices of the given one."""
        batch = xs.shape[1]
        zeros = [cell.initial_state(batch) for cell in self.cells]
        if state is None:
            return zeros
        names = self.cells[0].states
        given = state if isinstance(state, tuple | list) else (state,)
        if len(given) != len(names):
            raise ValueError(
                f"{type(self).__name__}: state must be a tuple of {len(names)} ({', '.join(names)}), got {len(given)}"
            )
        columns = []
        for i, (name, value) in enumerate(zip(names, given, strict=True)):
            column = list(value) if isinstance(value, tuple | list) else list(ops.unstack(as_tensor(value)))
            expected = [zero[i].shape for zero in zeros]
            if [tuple(part.shape) for part in column] != expected:
                raise ValueError(
                    f"{type(self).__name__}: state {name!r} must have the shape {(len(expected), *expected[0])}, "
                    f"got {tuple(value.shape) if hasattr(value, 'shape') else [tuple(p.shape) for p in column]}"
                )
            columns.append([as_tensor(part) for part in column])
            wrong = [part.dtype for part in columns[-1] if part.dtype != xs.dtype]
            if wrong:
                raise TypeError(
                    f"{type(self).__name__}: state {name!r} must have the layer's dtype {xs.dtype}, got {wrong[0]}; "
                    "cast one of them with astype"
                )
        return [tuple(each) for each in zip(*columns, strict=True)]


class _Masks(NamedTuple):
    """What is drawn, or known, of a sequence before it begins. `recurrent` is put on the state where gates read it, a
    mask (B,R) for each; `keep` has for each state under zoneout which entries stay as they were, (S,B,H) booleans.
    `live` holds which rows are within their length, `starting` which rows begin, (S,B,1) booleans. All are empty where
    there are none, or none is asked for."""

    recurrent: tuple[Tensor, ...]
    keep: tuple[Tensor, ...]
    live: tuple[Tensor, ...]
    starting: tuple[Tensor, ...]


class _Inputs(NamedTuple):
    """What a step is given beside the state: of x and of the masks the part for its time step."""

    x: Tensor
    live: tuple[Tensor, ...]
    starting: tuple[Tensor, ...]
    keep: tuple[Tensor, ...]


_Step = Callable[[State, _Inputs], State]


def _advancing(cell: Cell, masks: tuple[Tensor, ...], padding: Padding | None, context: Any) -> _Step:
    """The equations of the cell, to be wrapped by what the layer adds to them."""
    if masks and padding is not None:
        return _advancing_padded(cell, masks, padding, context)
    if masks:
        cell = cell.masked(masks)

    def advanced(old: State, given: _Inputs) -> State:
        return cell.advance(given.x, old, context)

    return advanced


def _advancing_padded(cell: Cell, masks: tuple[Tensor, ...], padding: Padding, context: Any) -> _Step:
    """A padded step has the masks of the longest row too, since it computes on its state."""
    lent = [padding.of_longest(mask) for mask in masks]

    def advanced(old: State, given: _Inputs) -> State:
        (live,) = given.live
        here = tuple(ops.where(live, own, other) for own, other in zip(masks, lent, strict=True))
        return cell.masked(here).advance(given.x, old, context)

    return advanced


def _zoned_out(step: _Step, cell: Cell) -> _Step:
    """Entries that were drawn keep their old value (Krueger et al. 2017, eq. 4)."""
    names, kept = cell.states, cell.kept.split()

    def zoned_out(old: State, given: _Inputs) -> State:
        new, keep = step(old, given), iter(given.keep)
        named = zip(names, old, new, strict=True)
        return tuple(n if name in kept else ops.where(next(keep), o, n) for name, o, n in named)

    return zoned_out


def _zoned_out_on_average(step: _Step, cell: Cell, rate: float) -> _Step:
    """The expectation of that, for evaluation."""
    names, kept = cell.states, cell.kept.split()

    def averaged(old: State, given: _Inputs) -> State:
        named = zip(names, old, step(old, given), strict=True)
        return tuple(n if name in kept else rate * o + (1 - rate) * n for name, o, n in named)

    return averaged


def _lending(step: _Step, padding: Padding) -> _Step:
    """Rows past their length go on from the longest row's state."""

    def from_the_longest(old: State, given: _Inputs) -> State:
        (live,) = given.live
        return step(tuple(padding.lent(live, o) for o in old), given)

    return from_the_longest


def _beginning_late(step: _Step, initial: State) -> _Step:
    """Rows begin where their padding ends, each from a state of its own."""

    def from_the_initial(old: State, given: _Inputs) -> State:
        (starting,) = given.starting
        return step(tuple(ops.where(beside(starting, o), i, o) for i, o in zip(initial, old, strict=True)), given)

    return from_the_initial


# --- The step as `scan` wants it: the new state, and what it puts out ---


def _putting_out(cell: Cell, step: _Step) -> Callable[[State, _Inputs], tuple[State, Tensor]]:
    """The output alone."""

    def driven(old: State, given: _Inputs) -> tuple[State, Tensor]:
        new = step(old, given)
        return new, cell.output(*new)

    return driven


def _putting_out_states(cell: Cell, step: _Step) -> Callable[[State, _Inputs], tuple[State, tuple[Tensor, State]]]:
    """The output and every state."""

    def driven(old: State, given: _Inputs) -> tuple[State, tuple[Tensor, State]]:
        new = step(old, given)
        return new, (cell.output(*new), new)

    return driven


def _standing_still(cell: Cell, step: _Step) -> Callable[[State, _Inputs], tuple[State, Tensor]]:
    """The output; rows past their length keep their state."""

    def driven(old: State, given: _Inputs) -> tuple[State, Tensor]:
        (live,) = given.live
        new = step(old, given)
        return tuple(ops.where(beside(live, n), n, o) for n, o in zip(new, old, strict=True)), cell.output(*new)

    return driven


def _joined(parts: list[Tensor]) -> Any:
    """One Tensor with the layers in front, or a tuple where their sizes differ."""
    return ops.stack(parts) if len({part.shape for part in parts}) == 1 else tuple(parts)


class RNN(Recurrent):
    """Recurrent with RNNCell (its option: `nonlinearity`)."""

    def __init__(self, input_size: int, hidden_size: int | Sequence[int], *args: Any, **options: Any) -> None:
        super().__init__(RNNCell, input_size, hidden_size, *args, **options)


class GRU(Recurrent):
    """Recurrent with GRUCell (its options: `reset`, `update`, `recurrent_bias`, `gate`)."""

    def __init__(self, input_size: int, hidden_size: int | Sequence[int], *args: Any, **options: Any) -> None:
        super().__init__(GRUCell, input_size, hidden_size, *args, **options)


class LSTM(Recurrent):
    """Recurrent with LSTMCell (its option: `forget_bias`)."""

    def __init__(self, input_size: int, hidden_size: int | Sequence[int], *args: Any, **options: Any) -> None:
        super().__init__(LSTMCell, input_size, hidden_size, *args, **options)
