"""What all optimisers share: which piece of which parameter is updated when, and what is saved.

An optimiser is its formula (`optim.py`), which changes a piece of a parameter and of its accumulators in
place. The pieces are blocks of a dense parameter that fit in the processor's cache, or the rows that a
row-sparse gradient touches. Arrays keep the parameter's dtype and stay on its device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, to_host, xp
from tinygrad_rnn.changes import Change, changes
from tinygrad_rnn.optim.as_one import AsOne
from tinygrad_rnn.optim.clipping import (
    BLOCK,
    Parameters,
    Trainable,
    checked,
    limits,
    named,
    peak,
    peaks_on_device,
    sum_of_squares,
)
from tinygrad_rnn.rowsparse import RowSparse

_ON_HOST = (np.ndarray, np.generic)
"""Arrays that say whether they can be written to; a number, which NumPy makes of an array without axes, never can."""

_PAIRS = 256
"""Pairs of arrays to calculate in that are remembered: row-sparse gradients have any number of rows."""


@dataclass
class _State:
    """What an optimiser remembers of one parameter."""

    arrays: list[Array]  # the accumulators, each of the parameter's shape
    steps: int = 0  # steps applied to this parameter
    last: Array | None = None  # (rows,) the step that each row is up to date with; None: all of them with `steps`
    change: Change | None = None  # of the parameter's array


class Optimizer:
    """What all optimisers share: `SGD`, `RMSprop`, `Adam`, `AdaGrad` and `AdaDelta` are their formulas.

    A row-sparse gradient, of an embedding, changes only the rows that were read where the formula allows it.

    Args:
        parameters: a list of parameters, or of (name, parameter) pairs, or a mapping; one listed twice counts once.
        lr: the learning rate; 0 leaves the parameters as they are.
        weight_decay: decoupled from the gradient: p -= lr * weight_decay * p (Loshchilov & Hutter 2019).
        eps: the formula's.

    Attributes:
        skipped: how many steps were not applied, since the gradient was NaN or infinite.
        last_skip: the parameter that the last of them was for.

    Raises:
        ValueError: an option or the list of parameters makes no sense.
    """

    accumulators: tuple[str, ...] = ()
    fade: float | None = None
    """What a step with a zero gradient multiplies every accumulator by, if it does nothing else; None where
    it still moves the parameter, so that a row-sparse gradient must be made dense."""
    squares = True
    """Whether the formula squares the gradient."""

    def __init__(self, parameters: Parameters, lr: float, weight_decay: float, eps: float = 1.0) -> None:
        self.parameters = named(parameters)
        if not self.parameters:
            raise ValueError("parameters must not be empty: there is nothing to optimise")
        self.lr = lr
        self.weight_decay = checked("weight_decay", weight_decay)
        self.eps = checked("eps", eps, strict=True)
        for name, p in self.parameters.items():
            if p.data.dtype.kind != "f":
                raise ValueError(f"parameter {name} must be of a floating dtype, got {p.data.dtype}")
            if not p.data.dtype.type(self.eps) > 0:
                raise ValueError(f"eps must be above 0 in parameter {name}'s {p.data.dtype}, got {eps!r}")
        self.skipped = 0
        self.last_skip: str | None = None
        self._state: dict[str, _State] = {}
        self._as_one = AsOne()
        self._scratch: dict[Any, tuple[Array, dict[tuple[int, ...], tuple[Array, Array]]]] = {}

    @property
    def lr(self) -> float:
        """The learning rate, settable at any time."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = checked("lr", value)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters.values():
            p.grad = None

    def step(self) -> bool:
        """Apply the gradients once, in place; parameters whose gradient is None stay as they are. What was computed
        from a parameter before cannot be differentiated after it: `backward()` then raises ChangedInPlaceError.

        Returns:
            True. Where a gradient has a NaN or an infinite entry (or one whose square is infinite in its dtype, if the
            formula squares it) nothing is changed, False is returned, `skipped` counts and `last_skip` names the
            parameter.

        Raises:
            ValueError: a gradient's shape is not its parameter's.
        """
        due = self._due()
        on_device = due and not any(isinstance(p.data, _ON_HOST) for _, p, _ in due)
        if (bad := self._stepped_on_device(due) if on_device else self._stepped(due)) is not None:
            self.skipped += 1
            self.last_skip = _called(self.parameters[bad], bad)
            return False
        number = changes.number()
        for name, p, _ in due:
            state = self._state[name]
            if state.change is None or state.change() is not p.data:
                state.change = changes.to(p.data, _called(p, name))
            state.change.number = number
            state.steps += 1
        return True

    def _stepped(self, due: list[tuple[str, Trainable, Any]]) -> str | None:
        """Updates parameters and what is remembered of them, but for the number of steps; the name of the first whose
        gradient is of no use, with which nothing is changed."""
        if (bad := self._unusable_of(due)) is not None:
            return bad
        for name, p, g in due:
            state = self._remembered(name, p.data)
            if isinstance(p.data, _ON_HOST) and not p.data.flags.writeable:
                p.data = np.array(p.data)
            if isinstance(g, RowSparse) and self.moves_rows_alone:
                self._step_rows(p.data, g, state, None)
            else:
                self._catch_up(state)
                self._step_blocks(state.steps + 1, p.data, g.dense() if isinstance(g, RowSparse) else g, state.arrays)
        return None

    def _stepped_on_device(self, due: list[tuple[str, Trainable, Any]]) -> str | None:
        """The same, where the host learns at the end only whether gradients were of use: then nothing has changed."""
        usable = self._usable_on_device(due)
        together: dict[tuple[Any, int], list[tuple[str, Array, Array, _State]]] = {}
        for name, p, g in due:
            state = self._remembered(name, p.data)
            if isinstance(g, RowSparse) and self.moves_rows_alone:
                self._step_rows(p.data, g, state, usable)
                continue
            self._catch_up(state)
            dense = g.dense() if isinstance(g, RowSparse) else g
            together.setdefault((p.data.dtype, state.steps), []).append((name, p.data, dense, state))
        for (dtype, steps), those in together.items():
            names, parameters, gradients, states = zip(*those, strict=True)
            update = partial(self._step_blocks, steps + 1)
            self._as_one.step((dtype, names[0]), parameters, gradients, states, usable, update)
        return None if bool(usable) else self._unusable_of(due) or due[0][0]

    def _remembered(self, name: str, data: Array) -> _State:
        """What is remembered of a parameter."""
        if name not in self._state:
            self._state[name] = _State([xp(data).zeros(data.shape, data.dtype) for _ in self.accumulators])
        return self._state[name]

    def unusable(self) -> str | None:
        """The first parameter whose gradient cannot be applied, by its name here; None where all can. Raises
        ValueError for a gradient of another shape than its parameter's."""
        return self._unusable_of(self._due())

    @property
    def moves_rows_alone(self) -> bool:
        """Whether a row-sparse gradient changes the rows that it has and no others."""
        return self.fade is not None and not self.weight_decay

    def _due(self) -> list[tuple[str, Trainable, Any]]:
        """The parameters that have a gradient, and that, as `_fitting` gives it."""
        held = [(name, p, p.grad) for name, p in self.parameters.items()]
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows here is found, as infinite
            return [(name, p, self._fitting(name, p.data, g)) for name, p, g in held if g is not None]

    def _usable_on_device(self, due: list[tuple[str, Trainable, Any]]) -> Array:
        """Whether all gradients can be applied, a boolean on their device that nobody has waited for."""
        arrays = [g.values if isinstance(g, RowSparse) else g for _, _, g in due]
        usable = xp(arrays[0]).ones((), bool)
        for _, dtype, top in peaks_on_device(arrays):
            usable = usable & (top <= self._largest(dtype))
        return usable

    def _unusable_of(self, due: list[tuple[str, Trainable, Any]]) -> str | None:
        with np.errstate(over="ignore", invalid="ignore"):  # the same
            for name, _, g in due:
                if not self._usable(g.values if isinstance(g, RowSparse) else g):
                    return name
        return None

    def _fitting(self, name: str, data: Array, g: Any) -> Any:
        """The gradient in the dtype of the parameter's array, which may be row-sparse. Raises where it does not fit."""
        shape, dtype = data.shape, data.dtype
        if g.shape != shape:
            found = f"the parameter's shape {shape}, got {g.shape}"
            raise ValueError(f"the gradient of parameter {name} must have {found}")
        state = self._state.get(name)
        for a in () if state is None else state.arrays:
            if a.shape != shape or a.dtype != dtype or xp(a) is not xp(data):
                raise ValueError(f"parameter {name} was moved, cast or resized: make a new optimiser")
        return g if g.dtype == dtype else g.astype(dtype, copy=False)

    def _usable(self, g: Array) -> bool:
        """Every entry is finite, and so is its square where the formula needs it."""
        if math.isfinite(sum_of_squares(g)):
            return True
        # A sum may overflow where no entry does: now look at them one by one.
        return peak(g) <= self._largest(g.dtype)

    def _largest(self, dtype: np.dtype[Any]) -> float:
        """The largest magnitude that an entry may have."""
        largest = limits(dtype).largest
        return math.sqrt(largest) if self.squares else largest

    def _step_rows(self, p: Array, g: RowSparse, state: _State, usable: Array | None) -> None:
        """The dense step for the rows in `g` alone. The others wait, and a row that is touched again first
        makes up for the steps that it missed: a *= fade ** missed."""
        lib, rows, now = xp(p), g.rows, state.steps + 1
        pieces = [lib.take(a, rows, axis=0) for a in (p, *state.arrays)]  # faster than a[rows]
        before = [None if usable is None else piece.copy() for piece in pieces]
        if self.fade != 1 and state.arrays:
            if state.last is None:
                state.last = lib.full(len(p), state.steps, dtype=np.int64)
            last = state.last[rows]
            self._decay(pieces[1:], state.steps - last)
            state.last[rows] = now if usable is None else lib.where(usable, now, last)
        self._step_blocks(now, pieces[0], g.values, pieces[1:])
        for whole, piece, old in zip((p, *state.arrays), pieces, before, strict=True):
            whole[rows] = piece if old is None else lib.where(usable, piece, old)

    def _catch_up(self, state: _State) -> None:
        """Bring all rows up to date, before a dense step."""
        if state.last is not None:
            self._decay(state.arrays, state.steps - state.last)
            state.last = None

    def _decay(self, arrays: Sequence[Array], missed: Array) -> None:
        if self.fade is None:
            raise RuntimeError(f"{type(self).__name__} has no fade: its rows cannot wait")
        factor = self.fade**missed
        for a in arrays:
            xp(a).multiply(a, factor.astype(a.dtype).reshape(-1, *[1] * (a.ndim - 1)), out=a)

    def _step_blocks(self, now: int, p: Array, g: Array, state: Sequence[Array]) -> None:
        """The dense step, block by block: each array comes from memory once, not once for each operation."""
        shrink = 1.0 - self.lr * self.weight_decay
        for block_p, block_g, *block_state in _blocks([p, g, *state]):
            if self.weight_decay:
                xp(p).multiply(block_p, shrink, out=block_p)
            self._update(now, block_p, block_g, block_state, *self._scratch_like(block_p))

    def _scratch_like(self, block: Array) -> tuple[Array, Array]:
        """Two arrays of the block's shape and dtype, of memory that is kept."""
        kind, shape, size = (type(block), block.dtype), block.shape, 2 * block.size
        memory, pairs = self._scratch.get(kind, (None, {}))
        if memory is None or memory.size < size or len(pairs) > _PAIRS:
            memory, pairs = self._scratch[kind] = (xp(block).empty(max(size, 2 * BLOCK), block.dtype), {})
        if shape not in pairs:
            a, b = memory[:size].reshape(2, *shape)
            pairs[shape] = a, b
        return pairs[shape]

    def _update(self, now: int, p: Array, g: Array, state: Sequence[Array], a: Array, b: Array) -> None:
        """The formula, in place on `p` and `state`. `now` counts from 1; `a` and `b` are free to use."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as copies: a flat dictionary of NumPy arrays, numbers and strings.

        Keys are "lr", "skipped", and for each parameter with a step behind it "steps.NAME",
        "ACCUMULATOR.NAME" and, while some of its rows wait for their decay, "last.NAME". Of a parameter that is known
        by its position, "name.NAME" is what the parameter itself is called, if it is.
        """
        saved: dict[str, Any] = {"lr": self.lr, "skipped": self.skipped}
        saved |= {f"name.{name}": own for name, own in self._own_names().items()}
        for name, state in self._state.items():
            saved[f"steps.{name}"] = state.steps
            for kind, array in zip(self.accumulators, state.arrays, strict=True):
                saved[f"{kind}.{name}"] = np.array(to_host(array))
            if state.last is not None:
                saved[f"last.{name}"] = np.array(to_host(state.last))
        return saved

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue exactly where `state_dict()` was taken; the options besides lr are the constructor's.

        Raises ValueError, and changes nothing, where keys, shapes or dtypes are not this optimiser's, and where
        parameters were listed in another order.
        """
        left = dict(saved)
        self._check_order({name: left.pop(f"name.{name}") for name in self.parameters if f"name.{name}" in left})
        states: dict[str, _State] = {}
        try:
            lr, skipped = left.pop("lr"), int(left.pop("skipped"))
            for name, p in self.parameters.items():
                if f"steps.{name}" in left:
                    steps = int(left.pop(f"steps.{name}"))
                    arrays = [_like(p.data, f"{kind}.{name}", left) for kind in self.accumulators]
                    last = left.pop(f"last.{name}", None)
                    if last is not None:
                        last = xp(p.data).array(last, dtype=np.int64)
                        if last.shape != p.data.shape[:1]:
                            raise ValueError(f"last.{name} must have shape {p.data.shape[:1]}, got {last.shape}")
                    states[name] = _State(arrays, steps, last)
        except KeyError as error:
            raise ValueError(f"the saved state of a {type(self).__name__} must have {error}, it has not") from None
        if left:
            raise ValueError(f"the saved state has {min(left)!r}, unknown to this {type(self).__name__}")
        self.lr = lr
        self.skipped, self._state = skipped, states

    def _own_names(self) -> dict[str, str]:
        """What the parameters that are known by their position are called, those that are."""
        own = {name: getattr(p, "name", "") for name, p in self.parameters.items() if name.isdecimal()}
        return {name: each for name, each in own.items() if each}

    def _check_order(self, saved: dict[str, str]) -> None:
        """Raises ValueError where two parameters stand in each other's place."""
        here = self._own_names()
        for name, was in saved.items():
            now = here.get(name)
            if was != now and was in here.values() and now in saved.values():
                order = f"parameter {name} was {was}, and is {now} here"
                raise ValueError(f"the saved state is of parameters listed in another order: {order}")


def _called(p: Trainable, name: str) -> str:
    """What messages call a parameter: its own name, otherwise the one that it has here."""
    return getattr(p, "name", "") or name


def _blocks(arrays: list[Array]) -> Iterator[list[Array]]:
    """Views of the same piece of each array (all of one shape), piece by piece along the first axis.

    Arrays on a device stay whole: there it is the number of kernel launches that costs.
    """
    first = arrays[0]
    if first.ndim and (first.size <= BLOCK or not isinstance(first, np.ndarray)):
        yield arrays
        return
    if all(a.flags.c_contiguous for a in arrays) or not first.ndim:
        arrays = [a.reshape(-1) for a in arrays]
    first = arrays[0]
    count = max(1, BLOCK // math.prod(first.shape[1:]))
    for i in range(0, len(first), count):
        yield [a[i : i + count] for a in arrays]


def _like(data: Array, key: str, saved: dict[str, Any]) -> Array:
    """Take the array of that key out, as a copy where `data` lives. Raises KeyError or ValueError."""
    array = saved.pop(key)
    if array.shape != data.shape or array.dtype != data.dtype:
        found = f"{array.shape} of {array.dtype}"
        raise ValueError(f"{key} must be {data.shape} of {data.dtype}, got {found}")
    return xp(data).array(array)
