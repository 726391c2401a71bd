"""Recurrent: drives a cell over time, in layers and directions, with lengths, dropout and carried state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import to_host, xp
from tinygrad_rnn.inspection.tracing import current_trace
from tinygrad_rnn.loops import scan
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell, LSTMCell, RNNCell
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.ops.noise import dropout_mask
from tinygrad_rnn.surroundings import label
from tinygrad_rnn.tensor import Tensor, as_tensor

State = tuple[Any, ...]


class Recurrent(Module):
    """`outputs, state = layer(xs, state=None, lengths=None, rng=None)`: xs (T,B,I) -> outputs (T,B,D*H), D being the
    number of directions, and the state a tuple with one Tensor (layers*D, B, H) per state name of the cell, layer by
    layer, forward before backward.

    `cell` is a class made with `Cell`; `cell_options` go to it. `hidden_size` may be a list, one size per layer; a
    state is then a tuple of Tensors (B, H_l) where the sizes differ.

    The state carries over: pass it to the next call. With `lengths` (B,), row b ends after lengths[b] steps: outputs
    past it are 0, the last state is that of its own last step, and the backward direction starts there.

    Called with `rng` (a numpy.random.Generator) the layer trains: `dropout` zeroes entries between layers,
    `recurrent_dropout` zeroes entries of the state where the gates read it, one mask a sequence (Gal & Ghahramani
    2016), `zoneout` keeps a state's old entries, drawn each step (Krueger et al. 2017, eq. 4; without `rng` their
    expectation). `residual` adds a layer's input to its output where their sizes agree.

    `truncate=k` lets no gradient through the state at every k-th step; `checkpoint_every=k` saves only every k-th state
    for the backward pass, and runs the steps between once more (see `scan`).

    Raises ValueError, TypeError for sizes, rates, shapes and dtypes that do not fit."""

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
        return next((p.dtype for _, p in self.named_parameters()), self._dtype)

    def __call__(
        self, xs: Any, state: Any = None, lengths: Any = None, rng: np.random.Generator | None = None
    ) -> tuple[Tensor, State]:
        xs = self._checked(as_tensor(xs))
        states = self._initial(state, xs)
        live = None if lengths is None else within_lengths(xs, lengths)
        rng = None if rng is None else init.generator(rng)
        outputs: Tensor = xs if live is None else ops.where(live, xs, 0.0)  # whatever stands in the padding
        for number in range(self.num_layers):
            inputs = outputs
            if number and rng is not None and self.dropout:
                inputs = ops.dropout(inputs, self.dropout, rng)
            parts = []
            for direction in range(self.directions):
                k = number * self.directions + direction
                with ExitStack() as place:
                    place.enter_context(label("layer", number))
                    if self.directions == 2:
                        place.enter_context(label("direction", "backward" if direction else "forward"))
                    place.enter_context(label("cell", type(self.cells[k]).__name__))
                    ys, states[k] = self._run(self.cells[k], inputs, states[k], live, bool(direction), rng)
                parts.append(ys)
            outputs = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
            if self.residual and outputs.shape == inputs.shape:
                outputs = outputs + inputs
        return outputs, tuple(_joined([each[i] for each in states]) for i in range(len(self.cells[0].states)))

    def _run(
        self, cell: Cell, xs: Tensor, state: State, live: Any, backward: bool, rng: np.random.Generator | None
    ) -> tuple[Tensor, State]:
        """One cell over the whole sequence: outputs (T,B,H) and the last state."""
        steps, batch = xs.shape[:2]
        if steps == 0:
            return Tensor(xp(xs.data).zeros((0, batch, cell.output_size), dtype=xs.dtype)), state
        if backward:  # padding then comes first, and leaves the state as it was
            xs, live = ops.flip(xs, 0), None if live is None else live[::-1]
        masks = self._masks(cell, xs, state, live, rng)
        if masks.recurrent is not None:
            cell = cell.masked(masks.recurrent)
        step = _advancing(cell)
        if masks.keep:
            step = _zoned_out(step)
        elif self.zoneout:
            step = _zoned_out_on_average(step, self.zoneout)
        if masks.live:
            step = _standing_still_past_the_end(step)
        driven = _putting_out(cell, step)
        inputs = _Inputs(xs, masks.live, masks.keep)
        options: dict[str, Any] = {"truncate": self.truncate, "checkpoint_every": self.checkpoint_every}
        if (tracer := current_trace()) is None:
            last, ys = scan(driven, state, inputs, **options)
        else:
            last, ys = tracer.scan(self, driven, state, inputs, cell.states, backward, **options)
        return (ops.flip(ys, 0) if backward else ys), last

    def _masks(self, cell: Cell, xs: Tensor, state: State, live: Any, rng: np.random.Generator | None) -> _Masks:
        """All that one cell is masked with over the sequence."""
        asarray = xp(xs.data).asarray
        recurrent: Tensor | None = None
        keep: tuple[Tensor, ...] = ()
        if rng is not None and self.recurrent_dropout:
            shape = (xs.shape[1], cell.hidden_size)
            recurrent = Tensor(dropout_mask(shape, self.recurrent_dropout, rng, xs))
        if rng is not None and self.zoneout:
            draws = (rng.random((len(xs), *s.shape), dtype=np.float32) for s in state)
            keep = tuple(Tensor(asarray(drawn < self.zoneout)) for drawn in draws)
        return _Masks(recurrent, keep, () if live is None else (Tensor(live),))

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
    """What is drawn, or known, of a sequence before it begins. `recurrent` (B,H) is put on the state where gates read
    it; `keep` has for each state which entries stay as they were, (T,B,H) booleans; `live` holds which rows are within
    their length, (T,B,1) booleans. The latter two are empty where there are none."""

    recurrent: Tensor | None
    keep: tuple[Tensor, ...]
    live: tuple[Tensor, ...]


class _Inputs(NamedTuple):
    """What a step is given beside the state: of x and of the masks the part for its time step."""

    x: Tensor
    live: tuple[Tensor, ...]
    keep: tuple[Tensor, ...]


_Step = Callable[[State, _Inputs], State]


def _advancing(cell: Cell) -> _Step:
    """The equations of the cell, to be wrapped by what the layer adds to them."""

    def advanced(old: State, given: _Inputs) -> State:
        return cell.advance(given.x, old)

    return advanced


def _zoned_out(step: _Step) -> _Step:
    """Entries that were drawn keep their old value (Krueger et al. 2017, eq. 4)."""

    def zoned_out(old: State, given: _Inputs) -> State:
        new = step(old, given)
        return tuple(ops.where(k, o, n) for k, o, n in zip(given.keep, old, new, strict=True))

    return zoned_out


def _zoned_out_on_average(step: _Step, rate: float) -> _Step:
    """The expectation of that, for evaluation."""

    def averaged(old: State, given: _Inputs) -> State:
        new = step(old, given)
        return tuple(rate * o + (1 - rate) * n for o, n in zip(old, new, strict=True))

    return averaged


def _standing_still_past_the_end(step: _Step) -> _Step:
    """Rows past their length keep their state."""

    def within(old: State, given: _Inputs) -> State:
        new = step(old, given)
        (live,) = given.live
        return tuple(ops.where(_rows(live, n), n, o) for n, o in zip(new, old, strict=True))

    return within


def _putting_out(cell: Cell, step: _Step) -> Callable[[State, _Inputs], tuple[State, Tensor]]:
    """The step as `scan` wants it: the new state, and the output, which past a row's length is 0."""

    def driven(old: State, given: _Inputs) -> tuple[State, Tensor]:
        new = step(old, given)
        y = cell.output(*new)
        return new, ops.where(given.live[0], y, 0.0) if given.live else y

    driven.__qualname__ = f"{type(cell).__name__}.step"  # as warnings call it
    return driven


def within_lengths(xs: Tensor, lengths: Any) -> Any:
    """Which steps of which rows count: booleans (T,B,1) beside `xs`. Raises ValueError for lengths that do not fit."""
    steps, batch = xs.shape[:2]
    rows = to_host(lengths.data if isinstance(lengths, Tensor) else lengths)
    if rows.shape != (batch,) or rows.dtype.kind not in "iu" or (batch and not 0 <= rows.min() <= rows.max() <= steps):
        raise ValueError(f"lengths must be {batch} whole numbers between 0 and {steps}, one per row, got {rows!r}")
    return xp(xs.data).asarray((np.arange(steps)[:, None] < rows)[..., None])


def _rows(mask: Tensor, like: Tensor) -> Tensor:
    """(B,1) with as many axes as `like` (B,...)."""
    return mask if like.ndim == 2 else mask.reshape((-1, *(1,) * (like.ndim - 1)))


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
