"""trace: what the gates and states of recurrent layers were at every time step, by name, and their gradients.

A gate is traced without its cell's knowing: the recorded step says which ops made its sum, and the gate is the nearest
activation after that (a sigmoid, tanh, softmax, relu...). Its gradient is that of zeros that are added to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray, to_host, xp
from tinygrad_rnn.inspection.colored_text import ColoredText
from tinygrad_rnn.inspection.naming import LOGARITHM, named_values
from tinygrad_rnn.inspection.plots import heat_maps
from tinygrad_rnn.loops.placeholders import CannotRecord, Placeholder
from tinygrad_rnn.loops.program import Program, Var
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.loops.scanning import perform, scan
from tinygrad_rnn.loops.trees import flat, rebuild
from tinygrad_rnn.loops.unrolling import Step, length_of
from tinygrad_rnn.surroundings import PerThread, current_surroundings, is_recording
from tinygrad_rnn.tensor import Tensor

Values = dict[str, HostArray]


class Trace(Mapping[str, HostArray]):
    """Arrays (T,B,H) by name: what recurrent layers left within `trace()`. A later call of a layer replaces what an
    earlier one left. Where lengths are given, gates of padding steps are there too; states keep their last value.

    - "0.forward.z" is gate z of layer 0, "0.forward.z.pre" the sum that it squashes;
    - "0.forward.h" is the state that each step left (a gate of a state's name is "0.forward.h.gate");
    - what a cell named with `tag`, or noted, stands beside them;
    - a second recurrent network in the same model is "1/0.forward.z", and so on;
    - a gate that a step uses twice is "z" and "z.2"; the parts of one that are never added are "z.input" and
      "z.recurrent";
    - one in log space, log_sigmoid of its sum, is "z.log", and "z" is what that is the logarithm of.

    `gradients` holds, after `backward()`, the derivative of the loss by each of them.
    """

    def __init__(self) -> None:
        self._values: Values = {}
        self._taps: dict[str, tuple[Tensor, bool]] = {}
        self._logarithms: set[str] = set()
        self._owners: list[Any] = []

    def __getitem__(self, name: str) -> HostArray:
        if name not in self._values:
            raise KeyError(f"nothing was traced as {name!r}, only {', '.join(self._values) or 'nothing at all'}")
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return "\n".join(f"{name:24} {value.shape}" for name, value in self.items()) or "an empty Trace"

    def _ipython_key_completions_(self) -> list[str]:
        """What `tr["` is completed with in IPython and in notebooks."""
        return list(self)

    @property
    def gradients(self) -> Values:
        """By the same names, arrays of the same shapes. Raises RuntimeError before `backward()`."""
        if not any(tap.grad is not None for tap, _ in self._taps.values()):
            raise RuntimeError("there are no gradients yet: call backward() on the loss first, without no_grad()")
        found = {}
        for name, (tap, reverse) in self._taps.items():
            gradient = np.zeros(tap.shape, tap.dtype) if tap.grad is None else to_host(tap.grad)
            found[name] = gradient[::-1] if reverse else gradient
            if name in self._logarithms:  # of f, where that of log f is known
                gate = self._values[gate_of := name.removesuffix(LOGARITHM)]
                found[gate_of] = np.divide(found[name], gate, out=np.zeros_like(gate), where=gate > 0)
        return found

    def save_npz(self, path: str | os.PathLike[str]) -> None:
        """All arrays by name, as `numpy.load` reads them; gradients, where there are, as "gradient of NAME"."""
        try:
            gradients = {f"gradient of {name}": g for name, g in self.gradients.items()}
        except RuntimeError:
            gradients = {}
        with open(path, "wb") as file:  # savez would add .npz to another name
            np.savez_compressed(file, **self._values, **gradients)  # type: ignore[arg-type]  # names are any strings

    def save_hdf5(self, path: str | os.PathLike[str]) -> None:
        """The form that LSTMVis reads (Strobelt et al. 2018): a matrix (B T, H) for each name, one sequence after
        another; a state of more axes is made flat. Raises ModuleNotFoundError where h5py is not installed."""
        try:
            import h5py  # noqa: PLC0415  (optional)
        except ImportError:
            raise ModuleNotFoundError(
                "save_hdf5 needs h5py, which is not installed: pip install 'tinygrad-rnn[hdf5]'"
            ) from None
        with h5py.File(path, "w") as file:
            for name, value in self.items():
                file[name] = value.swapaxes(0, 1).reshape(value.shape[0] * value.shape[1], -1)

    def plot(self, *names: str, row: int = 0, columns: Sequence[str] | None = None) -> Any:
        """A matplotlib Figure, a unit in each row, a time step in each column. A state of more axes, (T,B,H,K), has the
        K numbers of each unit below one another.

        Args:
            names: which arrays; all gates and states unless told.
            row: of the batch.
            columns: a name for each of the T time steps.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        chosen = names or [name for name in self if not name.endswith((".pre", LOGARITHM))]
        arrays = {name: self[name][:, row] for name in chosen}
        return heat_maps({name: array.reshape(len(array), -1) for name, array in arrays.items()}, columns)

    def over(
        self,
        tokens: Sequence[str],
        name: str,
        units: Sequence[int] | None = None,
        row: int = 0,
        between: str = " ",
    ) -> ColoredText:
        """A picture for a notebook: the text of `tokens` (T), coloured by units of one of these arrays, the four that
        change most unless told, for one row of the batch; `between` is what stands between two tokens. A state of more
        axes has the K numbers of each unit one after another."""
        values = self[name][:, row]
        return ColoredText(tokens, values.reshape(len(values), -1), name, units, between)

    # --- Filling it ---

    def scan(
        self,
        owner: Any,
        step: Step,
        state: Any,
        xs: Any,
        states: list[str],
        reverse: bool,
        held: tuple[HostArray, Sequence[Tensor]] | None = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """`scan`, with what happens in it taken down. `owner` is the network, `states` are the names of its states,
        `reverse` tells that `xs` are in reversed order. Where steps are padding, `held` has booleans (T,B,1), which are
        not, and the states that rows begin with. Raises CannotRecord for a step that cannot be recorded."""
        where = dict(current_surroundings.get().where)
        try:
            program, new_state, y = record_step(step, state, xs)
        except CannotRecord as error:
            raise CannotRecord(f"{step.__qualname__} cannot be traced, because {error}") from error
        named = named_values(program, states)
        watched = [*dict.fromkeys(named.values())]  # a plain RNN's one gate is its state
        taps: tuple[Tensor, ...] = ()
        if is_recording():
            lib, steps = xp(flat(state)[0].data), length_of(xs)
            taps = tuple(Tensor(lib.zeros((steps, *v.shape), dtype=v.dtype), requires_grad=True) for v in watched)
        last, (ys, seen) = scan(tapped(program, new_state, y, watched), state, (xs, taps), **options)
        if owner not in self._owners:
            self._owners.append(owner)
        number = self._owners.index(owner)
        before = f"{number}/" if number else ""
        before += f"{where.get('layer', 0)}.{where.get('direction', 'forward')}."
        for name, v in named.items():
            i = watched.index(v)
            array = to_host(seen[i].data)
            if held is not None and name in states:
                live, initial = held
                array = _standing_still(array, to_host(initial[states.index(name)].data), live)
            self._values[before + name] = array = array[::-1] if reverse else array
            if name.endswith(LOGARITHM) and name not in program.tags:
                self._logarithms.add(before + name)
                self._values[(before + name).removesuffix(LOGARITHM)] = np.exp(array)
            if taps:
                self._taps[before + name] = (taps[i], reverse)
        return last, ys


def _standing_still(state: HostArray, initial: HostArray, live: HostArray) -> HostArray:
    """A state (T,B,...) that stays as it was where a row is not `live`, from what it was at first."""
    found, before = state.copy(), initial
    for t, here in enumerate(live):
        found[t] = before = np.where(here.reshape(-1, *(1,) * (before.ndim - 1)), found[t], before)
    return found


_current: PerThread[Trace | None] = PerThread("tinygrad_rnn.trace", None)


@contextmanager
def trace() -> Iterator[Trace]:
    """`with trace() as tr:` — recurrent layers that are called within it, by this thread, leave their gates and states
    in a `Trace`. Costs memory for every one of them. A step that looks at numbers cannot be recorded,
    and neither be traced: the layer raises CannotRecord.

    Example:
        >>> layer = models.GRU(2, 3)
        >>> with tg.trace() as tr:
        ...     layer(np.ones((5, 1, 2), np.float32))[0].sum().backward()
        >>> tr["0.forward.z"].shape, tr.gradients["0.forward.z"].shape
        ((5, 1, 3), (5, 1, 3))
    """
    found = Trace()
    token = _current.set(found)
    try:
        yield found
    finally:
        _current.reset(token)


def current_trace() -> Trace | None:
    """The Trace in force in this thread."""
    return _current.get()


def tag(name: str, value: Tensor) -> Tensor:
    """A Tensor as it is, which a `Trace` will know by a name. For the use within a cell's `step`; elsewhere it does
    nothing.

    Example:
        >>> class Squared(models.Cell):
        ...     gates = "n"
        ...
        ...     def step(self, x, h):
        ...         return tg.tag("square", self.n(x, h) ** 2)
        >>> with tg.trace() as tr:
        ...     outputs, state = models.Recurrent(Squared, 2, 3)(np.ones((5, 1, 2), np.float32))
        >>> tr["0.forward.square"].shape
        (5, 1, 3)
    """
    if isinstance(value, Placeholder):
        value.recorder.tags[name] = value.var
    return value


def tapped(program: Program, new_state: Any, y: Any, watched: list[Var]) -> Step:
    """The recorded step again, which puts out the watched values too, each with a tap added: zeros, whose gradient is
    the value's."""

    def step(state: Any, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
        xs, taps = inputs
        added = dict(zip(watched, taps, strict=True)) if taps else {}

        def change(v: Var, value: Any) -> Any:
            return value + added[v] if v in added else value

        given = (*program.operands, *flat(state), *flat(xs))
        names = (*program.captured, *program.states, *program.xs)
        env = {v: change(v, value) for v, value in zip(names, given, strict=True)}
        perform(program.equations, env, change)
        states = rebuild(new_state, iter([env[v] for v in program.new_states]))
        outputs = rebuild(y, iter([env[v] for v in program.ys]))
        return states, (outputs, tuple(env[v] for v in watched))

    return step
