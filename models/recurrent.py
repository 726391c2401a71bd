"""Recurrent: drives a cell over time, in layers and directions, with lengths, dropout and carried state."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, overload

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray, as_array, to_host, xp
from tinygrad_rnn.frames import user_frame
from tinygrad_rnn.inspection.tracing import current_trace
from tinygrad_rnn.loops import scan
from tinygrad_rnn.loops.trees import flat, rebuild
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell, LSTMCell, RNNCell
from tinygrad_rnn.models.contract import checked_rows
from tinygrad_rnn.models.layer_steps import (
    Inputs,
    Masks,
    PutOut,
    State,
    advancing,
    beginning_late,
    lending,
    putting_out,
    zoned_out,
    zoned_out_on_average,
)
from tinygrad_rnn.models.layers import LayerNorm, RMSNorm
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.notes import LayerNotes, StepNotes, layers_listener
from tinygrad_rnn.models.padding import Padding, beside, checked_lengths
from tinygrad_rnn.models.stacking import layers_of, options_of_each
from tinygrad_rnn.ops.noise import dropout_mask
from tinygrad_rnn.surroundings import is_recording, label
from tinygrad_rnn.tensor import Tensor, as_tensor

NORMS: dict[str, type[LayerNorm] | type[RMSNorm]] = {"rms": RMSNorm, "layer": LayerNorm}
"""What normalises the inputs of layers, by name."""


class Recurrent(Module):
    """Drives a cell over time, in layers and directions, with lengths, dropout and carried state: xs (T,B,I) -> outputs
    (T,B,D*H), D being the number of directions.

    The cells stand in `layer.cells`, layer by layer, forward before backward. They may be replaced by others that fit.

    Args:
        cell: a class made with `Cell`, or a list of them, one per layer.
        input_size, hidden_size: I and H; a list of H for layers of different sizes.
        num_layers: 1, or as many as the lists have.
        bidirectional: a second cell in each layer, with weights of its own, reads backwards.
        dropout: while training, zeroes entries between layers.
        recurrent_dropout: while training, zeroes entries of the state where the gates read it, one mask a sequence and
            gate (Gal & Ghahramani 2016, sect. 4, with the weights untied).
        zoneout: while training, keeps a state's old entries, drawn each step (Krueger et al. 2017, eq. 4; otherwise
            their expectation), but for those that the cell lists in `kept`.
        residual: adds a layer's input to its output where their sizes agree.
        norm: "rms" or "layer" normalises what a layer reads, and not what is added to its output; with `residual`, the
            sum of all is normalised once more at the end (Xiong et al. 2020).
        share_layers: makes layers of the same cell and sizes one cell, with one set of weights for each direction.
        truncate: k lets no gradient through the state at every k-th step (see `scan`).
        checkpoint_every: k saves only every k-th state for the backward pass (see `scan`).
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        cell_options: go to the cells that take them.

    Raises:
        ValueError, TypeError: sizes, rates and options do not fit. Warns of a `dropout` for a single layer, where it
            does nothing.

    Example:
        >>> layer = models.Recurrent(models.GRUCell, 4, 8, num_layers=2, bidirectional=True)
        >>> outputs, (h,) = layer(np.ones((20, 3, 4), np.float32), lengths=[20, 7, 0])
        >>> outputs.shape, h.shape
        ((20, 3, 16), (4, 3, 8))
        >>> bool(outputs[7:, 1].numpy().any())  # past a row's end
        False
    """

    def __init__(
        self,
        cell: type[Cell] | Sequence[type[Cell]],
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        residual: bool = False,
        norm: str | None = None,
        share_layers: bool = False,
        *,
        truncate: int | None = None,
        checkpoint_every: int | None = None,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        **cell_options: Any,
    ) -> None:
        layers = layers_of(cell, hidden_size, num_layers)
        self.input_size = init.size("input_size", input_size)
        self.num_layers = len(layers)
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
        if norm not in (None, *NORMS):
            raise ValueError(f"norm must be {', '.join(NORMS)} or None, got {norm!r}")
        of_layer = inspect.signature(Recurrent.__init__).parameters
        options = options_of_each(dict.fromkeys(kind for kind, _ in layers), cell_options, of_layer)
        rng = init.generator(rng)
        self.cells: list[Cell] = []
        self.norms: list[LayerNorm | RMSNorm] = []
        shared: dict[Any, list[Cell]] = {}
        size = input_size
        for kind, hidden in layers:
            if norm is not None:
                self.norms.append(NORMS[norm](size, dtype=dtype))
            layer = shared.get((kind, size, hidden)) or [
                kind(size, hidden, dtype=dtype, rng=rng, **options[kind]) for _ in range(self.directions)
            ]
            if share_layers:
                shared[kind, size, hidden] = layer
            self.cells += layer
            size = sum(each.output_size for each in layer)
        if norm is not None and residual:
            self.norms.append(NORMS[norm](size, dtype=dtype))
        self.output_size = size
        self._dtype = np.dtype(dtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the weights, which inputs and states must share."""
        weight = self._weight()
        return self._dtype if weight is None else weight.dtype

    @overload
    def __call__(
        self,
        xs: Any,
        state: Any = None,
        lengths: Any = None,
        rng: np.random.Generator | None = None,
        context: Any = None,
        notes: Literal[False] = False,
    ) -> tuple[Tensor, State]: ...
    @overload
    def __call__(
        self,
        xs: Any,
        state: Any = None,
        lengths: Any = None,
        rng: np.random.Generator | None = None,
        context: Any = None,
        *,
        notes: Literal[True],
    ) -> tuple[Tensor, State, dict[str, Any]]: ...
    def __call__(
        self,
        xs: Any,
        state: Any = None,
        lengths: Any = None,
        rng: np.random.Generator | None = None,
        context: Any = None,
        notes: bool = False,
    ) -> tuple[Tensor, State] | tuple[Tensor, State, dict[str, Any]]:
        """Runs the cells. Only as many steps are made as the longest row has.

        Args:
            xs: (T,B,I), of the layer's dtype.
            state: what an earlier call returned, to carry on from; `initial_state` unless told. (`begun_anew` is for
                rows that begin anew.)
            lengths: (B,). Row b ends after lengths[b] steps: outputs past it are 0, the last state is that of its own
                last step, and the backward direction starts there. A row's gradient is what it is when the row is
                alone, whatever stands in the padding.
            rng: a generator makes the layer train: it draws dropout, zoneout and the noise of cells whose step has a
                parameter `noise`. Without it the layer evaluates.
            context: for cells whose step has a parameter of that name, which gets it at every time step: a Tensor
                (B,...), or a tuple of them. Rows past their length read their own.
            notes: returns a third value.

        Returns:
            The outputs (T,B,D*H), and the last state, a tuple with one Tensor (layers*D, B, H) per state name of the
            cell, layer by layer, forward before backward. A state that some of the cells have is stacked over these,
            and is a tuple of Tensors (B, H_l) where their sizes differ. With `notes` what the cells noted in their
            steps (`Cell.note`), by name Tensors (cells,T,B,...) over those that noted it, in padding 0.

        Raises:
            ValueError, TypeError: shapes, dtypes or cells that were put into `cells` do not fit.
        """
        self._check_cells()
        xs = self._checked(as_tensor(xs))
        context = self._context(context, xs.shape[1])
        states = self._initial(state, xs)
        rows = None if lengths is None else checked_lengths(xs, lengths)
        rng = None if rng is None else init.generator(rng)
        steps = len(xs) if rows is None else int(rows.max(initial=0))
        listener = layers_listener()
        noted: dict[str, list[Tensor]] | None = {} if notes or listener is not None else None
        if steps:
            outputs = self._stacked(xs, states, rows, steps, rng, context, noted)
        else:
            outputs = self._nothing_read(xs, states, context)
        count = xs.shape[0] * xs.shape[1] if rows is None else int(rows.sum())
        found = LayerNotes(noted or {}, count, (self, xs, rows))
        if listener is not None:
            listener.append(found)
        state = self._by_name(states)
        if not notes:
            return outputs, state
        return outputs, state, {name: _joined(parts) for name, parts in found.columns.items()}

    def _stacked(
        self,
        xs: Tensor,
        states: list[State],
        rows: HostArray | None,
        steps: int,
        rng: np.random.Generator | None,
        context: Any,
        noted: dict[str, list[Tensor]] | None,
    ) -> Tensor:
        """The layers, one on another, over so many `steps`: the outputs (T,B,D*H). New states take the places of those
        in `states`, and notes, where they are wanted, are put into `noted`."""
        paddings: list[Padding | None] = [None] * self.directions
        if rows is not None and rows.min() < steps:
            paddings = [Padding(rows, xs, bool(direction)) for direction in range(self.directions)]
        outputs: Tensor = xs[:steps] if steps < len(xs) else xs
        for number in range(self.num_layers):
            below = outputs
            if number and rng is not None and self.dropout:
                below = ops.dropout(below, self.dropout, rng)
            if paddings[0] is not None:
                below = paddings[0].filled(below)
            inputs: Tensor = self.norms[number](below) if self.norms else below
            parts = []
            for direction, padding in enumerate(paddings):
                k = number * self.directions + direction
                with label("layer", number), self._direction(direction), label("cell", type(self.cells[k]).__name__):
                    ys, states[k], notes = self._run(
                        self.cells[k], inputs, states[k], padding, bool(direction), rng, context, noted is not None
                    )
                parts.append(ys)
                if noted is not None:
                    for name, column in notes.items():
                        live = column if paddings[0] is None else _zero_in_padding(paddings[0], column)
                        noted.setdefault(name, []).append(_as_long(live, len(xs)))
            outputs = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
            if self.residual and outputs.shape == below.shape:
                outputs = outputs + below
        if len(self.norms) > self.num_layers:
            outputs = self.norms[-1](outputs)
        if paddings[0] is not None:
            outputs = _zero_in_padding(paddings[0], outputs)
        return _as_long(outputs, len(xs))

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
    def states(self) -> list[str]:
        """The names of the states that the layer returns, in their order: those of its cells, each once."""
        return [*dict.fromkeys(name for cell in self.cells for name in cell.states)]

    @property
    def batch_axes(self) -> tuple[int, ...]:
        """Of each state that the layer returns, the axis of its rows: 0 where it is a tuple, of layers that differ in
        size, and otherwise 1, behind the layers."""
        shapes: dict[str, set[tuple[int, ...]]] = {}
        for cell in self.cells:
            for name, shape in zip(cell.states, cell.state_shapes, strict=True):
                shapes.setdefault(name, set()).add(shape)
        return tuple(1 if len(shapes[name]) == 1 else 0 for name in self.states)

    def initial_state(self, batch_size: int) -> State:
        """Where a sequence begins, as the layer takes and returns states: zeros, or what its cells say
        (`Cell.initial_state`). Raises ValueError for a batch size below 0, TypeError where a cell's own is not a Tensor
        for each state."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 0:
            raise ValueError(f"batch_size must be a whole number of at least 0, got {batch_size!r}")
        return self._by_name([cell.beginning(int(batch_size)) for cell in self.cells])

    def begun_anew(self, state: Any, rows: Any) -> State:
        """A state in which a new sequence begins in some rows of the batch.

        Args:
            state: as the layer returns it.
            rows: (B,), a boolean for each.

        Raises:
            ValueError: they do not fit.
        """
        begins = as_array(rows)
        if begins.dtype.kind != "b" or begins.ndim != 1:
            raise ValueError(f"rows must be booleans (B,), got {begins.dtype} of {begins.shape}")
        fresh = self.initial_state(len(begins))

        def chosen(new: Any, old: Any, axis: int) -> Any:
            if isinstance(old, tuple):
                return tuple(chosen(n, o, axis) for n, o in zip(new, old, strict=True))
            if new.shape != old.shape:
                raise ValueError(f"state must be that of {len(begins)} rows, of {new.shape}, got {old.shape}")
            return ops.where(begins.reshape(*[1] * axis, -1, *[1] * (old.ndim - axis - 1)), new, old)

        columns = zip(fresh, state, self.batch_axes, strict=True)
        return tuple(chosen(new, old, axis) for new, old, axis in columns)

    def _by_name(self, states: list[State]) -> State:
        """The states of the cells as the layer returns them."""
        columns: dict[str, list[Tensor]] = {}
        for cell, state in zip(self.cells, states, strict=True):
            for name, part in zip(cell.states, state, strict=True):
                columns.setdefault(name, []).append(part)
        return tuple(map(_joined, columns.values()))

    def _run(
        self,
        cell: Cell,
        xs: Tensor,
        state: State,
        padding: Padding | None,
        backward: bool,
        rng: np.random.Generator | None,
        context: Any,
        noted: bool,
    ) -> tuple[Tensor, State, StepNotes]:
        """One cell over the whole sequence: outputs (S,B,H), the last state, and what was noted (S,B,...)."""
        if backward:
            xs = ops.flip(xs, 0)
        masks = self._masks(cell, xs, state, padding, rng)
        step = advancing(cell, masks.recurrent, padding, context)
        if masks.keep:
            step = zoned_out(step, cell)
        elif self.zoneout:
            step = zoned_out_on_average(step, cell, self.zoneout)
        inputs = Inputs(xs, masks.live, masks.starting, masks.keep, masks.noise)
        if padding is None:
            last, out = self._scanned(cell, putting_out(cell, step, noted), state, inputs, backward)
        elif backward:
            step = beginning_late(step, state)
            first = tuple(padding.lent(padding.live[0], s) for s in state)
            last, out = self._scanned(cell, putting_out(cell, step, noted), first, inputs, backward, padding, state)
            last = tuple(padding.begun_or(s, i) for s, i in zip(last, state, strict=True))
        else:
            step = lending(step, padding)
            if not is_recording() or (self.checkpoint_every is not None and self.truncate is None):
                driven = putting_out(cell, step, noted, still=True)
                last, out = self._scanned(cell, driven, state, inputs, backward, padding, state)
            else:  # every state is wanted, for the rows that end there; a gradient needs most of them anyway
                driven = putting_out(cell, step, noted, every_state=True)
                _, out = self._scanned(cell, driven, state, inputs, backward, padding, state)
                last = tuple(padding.last(s, i) for s, i in zip(out[2], state, strict=True))
        ys, notes, _ = out
        if backward:
            return ops.flip(ys, 0), last, {name: ops.flip(column, 0) for name, column in notes.items()}
        return ys, last, notes

    def _scanned(
        self,
        cell: Cell,
        driven: Callable[[State, Inputs], tuple[State, PutOut]],
        first: State,
        inputs: Inputs,
        backward: bool,
        padding: Padding | None = None,
        initial: State = (),
    ) -> tuple[State, PutOut]:
        """`scan` of this layer's kind, traced where somebody traces."""
        options: dict[str, Any] = {"truncate": self.truncate, "checkpoint_every": self.checkpoint_every}
        if (tracer := current_trace()) is None:
            return scan(driven, first, inputs, **options)
        held = None if padding is None else (to_host(padding.live.data), initial)
        return tracer.scan(self, driven, first, inputs, cell.states, backward, held, **options)

    def _masks(
        self, cell: Cell, xs: Tensor, state: State, padding: Padding | None, rng: np.random.Generator | None
    ) -> Masks:
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
        noise = self._noise(cell, xs, rng)
        if padding is None:
            return Masks(recurrent, keep, (), (), noise)
        keep = tuple(padding.filled(each) for each in keep)
        noise = rebuild(noise, map(padding.filled, flat(noise)))
        live = (padding.live,) if recurrent or not padding.backward else ()
        return Masks(recurrent, keep, live, (padding.starting,) if padding.backward else (), noise)

    def _noise(self, cell: Cell, xs: Tensor, rng: np.random.Generator | None) -> Any:
        """What a step that reads noise gets over the whole sequence: a Tensor (S,B,...), or a tuple of them; None while
        evaluating."""
        if rng is None or not cell.reads_noise:
            return None
        parts = []
        for shape in checked_rows(cell, "noise_shapes", cell.noise_shapes):
            drawn = np.asarray(cell.draw_noise(rng, (*xs.shape[:2], *shape)))
            if drawn.shape != (*xs.shape[:2], *shape) or drawn.dtype.kind not in "fiub":
                own = f"{type(cell).__name__}.draw_noise must return numbers of the shape {(*xs.shape[:2], *shape)}"
                raise TypeError(f"{own}, got {drawn.dtype} of {drawn.shape}")
            parts.append(Tensor(xp(xs.data).asarray(drawn.astype(xs.dtype))))
        return parts[0] if len(parts) == 1 else tuple(parts)

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
        one of other sizes."""
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
        """The state of each cell: that with which it begins, or its slices of the given one."""
        beginnings = [cell.beginning(xs.shape[1]) for cell in self.cells]
        if state is None:
            return beginnings
        names = self.states
        given = state if isinstance(state, tuple | list) else (state,)
        if len(given) != len(names):
            raise ValueError(
                f"{type(self).__name__}: state must be a tuple of {len(names)} ({', '.join(names)}), got {len(given)}"
            )
        columns = {name: iter(self._column(name, v, xs)) for name, v in zip(names, given, strict=True)}
        return [tuple(next(columns[name]) for name in cell.states) for cell in self.cells]

    def _column(self, name: str, value: Any, xs: Tensor) -> list[Tensor]:
        """One of the states, in its parts for the cells that have it."""
        column = list(value) if isinstance(value, tuple | list) else list(ops.unstack(as_tensor(value)))
        shapes = [cell.state_shapes[cell.states.index(name)] for cell in self.cells if name in cell.states]
        expected = [(xs.shape[1], *shape) for shape in shapes]
        if [tuple(part.shape) for part in column] != expected:
            raise ValueError(
                f"{type(self).__name__}: state {name!r} must have the shape {(len(expected), *expected[0])}, "
                f"got {tuple(value.shape) if hasattr(value, 'shape') else [tuple(p.shape) for p in column]}"
            )
        parts = [as_tensor(part) for part in column]
        if wrong := [part.dtype for part in parts if part.dtype != xs.dtype]:
            raise TypeError(
                f"{type(self).__name__}: state {name!r} must have the layer's dtype {xs.dtype}, got {wrong[0]}; "
                "cast one of them with astype"
            )
        return parts


def _joined(parts: list[Tensor]) -> Any:
    """One Tensor with the cells in front, or a tuple where their shapes differ."""
    return ops.stack(parts) if len({part.shape for part in parts}) == 1 else tuple(parts)


def _zero_in_padding(padding: Padding, values: Tensor) -> Tensor:
    """(S,B,...), with 0 in padding."""
    return ops.where(beside(padding.live, values, 2), values, 0.0)


def _as_long(values: Tensor, steps: int) -> Tensor:
    """(S,B,...) -> (T,B,...), with zeros after the longest row's end."""
    if len(values) == steps:
        return values
    rest = xp(values.data).zeros((steps - len(values), *values.shape[1:]), dtype=values.dtype)
    return ops.concatenate([values, rest])


class RNN(Recurrent):
    """`Recurrent` with `RNNCell`: h' = tanh(x U + b + h W).

    Args:
        input_size, hidden_size, args, options: as in `Recurrent`, and the cell's option `nonlinearity`, "tanh" or
            "relu".

    Example:
        >>> outputs, (h,) = models.RNN(2, 3)(np.ones((5, 1, 2), np.float32))
        >>> outputs.shape, h.shape
        ((5, 1, 3), (1, 1, 3))
    """

    def __init__(self, input_size: int, hidden_size: int | Sequence[int], *args: Any, **options: Any) -> None:
        super().__init__(RNNCell, input_size, hidden_size, *args, **options)


class GRU(Recurrent):
    """`Recurrent` with `GRUCell`, whose docstring has the equations.

    Args:
        input_size, hidden_size, args, options: as in `Recurrent`, and the cell's options `reset` ("after", "before"),
            `update` ("keep", "write"), `recurrent_bias` (False) and `gate` ("sigmoid", "hard_sigmoid").

    Example:
        >>> layer = models.GRU(2, 3, reset="before")
        >>> outputs, (h,) = layer(np.ones((5, 1, 2), np.float32))
        >>> layer.cells[0].z.U.shape, layer.cells[0].n.W.shape
        ((2, 3), (3, 3))
    """

    def __init__(self, input_size: int, hidden_size: int | Sequence[int], *args: Any, **options: Any) -> None:
        super().__init__(GRUCell, input_size, hidden_size, *args, **options)


class LSTM(Recurrent):
    """`Recurrent` with `LSTMCell`, whose states are h and c.

    Args:
        input_size, hidden_size, args, options: as in `Recurrent`, and the cell's option `forget_bias`, 1 at the start.

    Example:
        >>> outputs, (h, c) = models.LSTM(2, 3)(np.ones((5, 1, 2), np.float32))
        >>> outputs.shape, c.shape
        ((5, 1, 3), (1, 1, 3))
    """

    def __init__(self, input_size: int, hidden_size: int | Sequence[int], *args: Any, **options: Any) -> None:
        super().__init__(LSTMCell, input_size, hidden_size, *args, **options)
