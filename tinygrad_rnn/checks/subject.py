"""The cell under check: a layer of it, the point at which it is tried, and the number whose derivatives are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from tinygrad_rnn.checks.anomaly import AnomalyError, detect_anomaly
from tinygrad_rnn.checks.derivatives import curvatures, curved, weighed_sum
from tinygrad_rnn.checks.rows import unchanged
from tinygrad_rnn.loops.scanning import reasons
from tinygrad_rnn.loops.trees import flat
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.contexts import as_read, context_of
from tinygrad_rnn.models.contract import checked_rows
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.transforms import grad

STEPS, BATCH = 4, 3

SCALE = 0.5
"""The deviation of the weights that are drawn for the checks, biases and gains too: none is at a special place."""


class Subject:
    """A cell, and where the checks stand with it: they share one layer, and one point that some of them move."""

    layer: Recurrent
    xs: Any
    start: list[Any]
    context: list[Any]
    """What the step reads beside x and the states, as arrays (B,...); empty where it reads nothing."""
    first_call: list[Any]
    """What the first call of the cell gave: see `called`."""

    def __init__(self, cell: type[Cell], input_size: int, hidden_size: int, seed: int, options: dict[str, Any]) -> None:
        self.cell, self.sizes, self.options, self.seed = cell, (input_size, hidden_size), options, seed
        self.rng = np.random.default_rng(seed)
        self.title = f"{cell.__name__}({input_size}, {hidden_size})"

    def begin(self) -> str:
        """Before all else: makes the layer that is checked (`layer`), calls its cell once (`first_call`), and goes to a
        first point (`xs`, `start`). There is no figure to tell."""
        self.layer = self.made()
        cell = self.layer.cells[0]
        gates = " ".join(gate.name for gate in cell.all_gates()) or "none"
        self.title += f": gates {gates}; states {cell.state}; {cell.size} weights"
        self.context = context_of(cell, BATCH, self.rng)
        self.first_call = self.called(cell, BATCH)
        self.move()
        self._require_numbers()
        return ""

    def _require_numbers(self) -> None:
        """Raises AssertionError, with the op and its line, where the outputs of small inputs are no numbers."""
        if np.isfinite(self.run(self.layer, self.xs, self.start)[0]).all():
            return
        try:
            with detect_anomaly():
                self.run(self.layer, self.xs)  # from the beginning: where it has come to there may be none any more
                self.run(self.layer, self.xs, self.start)
        except AnomalyError as error:
            raise AssertionError(f"its outputs are no numbers: {error}") from None
        raise AssertionError("its outputs are no numbers")

    def made(self, dtype: Any = np.float64, cell: type[Cell] | None = None, **options: Any) -> Recurrent:
        """A layer of the cell, or of another class with its weights, every weight drawn anew."""
        rng = np.random.default_rng([self.seed, 1])
        layer = Recurrent(cell or self.cell, *self.sizes, **{**self.options, **options, "dtype": dtype, "rng": rng})
        for parameter in layer.parameters():
            drawn = parameter.data + SCALE * rng.standard_normal(parameter.shape)
            parameter.data = np.asarray(drawn, parameter.dtype)
        return layer

    def move(self) -> None:
        """To another point: other inputs, and states such as the cell comes to."""
        self.xs = self.rng.standard_normal((STEPS, BATCH, self.sizes[0]))
        with no_grad():
            xs = Tensor(self.rng.standard_normal(self.xs.shape))
            self.start = [s.numpy() for s in self.layer(xs, context=as_read(self.context))[1]]

    # --- What it computes ---

    def called(self, cell: Cell, batch: int) -> list[Any]:
        """What a step makes of values that are always the same, for so many rows. Raises AssertionError where it writes
        into them, or into a Parameter."""
        rng = np.random.default_rng(batch)
        x = rng.standard_normal((batch, cell.input_size))
        state = [0.5 * rng.standard_normal(s.shape) for s in cell.beginning(batch)]
        context, noise = context_of(cell, batch, rng), noise_of(cell, batch, rng)
        given = [x, *state, *context, *(p.data for p in cell.parameters())]
        with no_grad(), unchanged(given, "the step writes into what it is given, or into a weight"):
            new, y = cell.stepped(Tensor(x), tuple(map(Tensor, state)), as_read(context), noise)
            return [part.numpy().copy() for part in (*new, cell.put_out(Tensor(x), new, y))]

    def run(
        self, layer: Recurrent, xs: Any, start: Any = None, context: list[Any] | None = None, **options: Any
    ) -> list[Any]:
        """Outputs and last states, as arrays."""
        read = as_read(self.context if context is None else context)
        with no_grad():
            state = None if start is None else tuple(map(Tensor, start))
            outputs, last = layer(Tensor(xs), state, context=read, **options)
        return [outputs.numpy(), *(s.numpy() for s in flat(last))]

    # --- A number, and all that it depends on ---

    @property
    def counting(self) -> list[str]:
        """The states under `kept` that hold whole numbers alone, and other ones than 0: there what a step makes of a
        count jumps, and no difference is a derivative."""
        cell = self.layer.cells[0]
        named = zip(cell.states, self.start, strict=True)
        return [name for name, s in named if name in cell.kept.split() and s.any() and (s == np.round(s)).all()]

    def named(self) -> dict[str, Any]:
        """All that the number depends on: the inputs, the states, the context, and every Parameter by its name in the
        cell. States that count are not among them."""
        named = zip(self.layer.cells[0].states, self.start, strict=True)
        counting = self.counting
        states = {f"state {name}": s for name, s in named if name not in counting}
        context = {f"the context, part {i}": part for i, part in enumerate(self.context) if part.dtype.kind == "f"}
        parameters = {name_in_cell(name): p.data for name, p in self.layer.named_parameters()}
        return {"the inputs": self.xs} | states | context | parameters

    def weighed_results(self, layer: Recurrent) -> Callable[..., Tensor]:
        """The number that a layer makes, as a function of all that is `named`."""
        return lambda *values: _weighed(self._results(layer, values))

    def bent_results(self, layer: Recurrent) -> Callable[..., Tensor]:
        """The same with each result slightly curved, as second derivatives want it (see `curved`)."""
        bends = curvatures(self.results_here(self.layer))
        return lambda *values: _weighed(curved(self._results(layer, values), bends))

    def results_here(self, layer: Recurrent) -> list[Tensor]:
        """Outputs and last states of a layer where the checks stand."""
        with no_grad():
            return self._results(layer, tuple(map(Tensor, self.named().values())))

    def _results(self, layer: Recurrent, values: tuple[Tensor, ...]) -> list[Tensor]:
        """Outputs and last states of a layer, of all that is `named`."""
        names = [name for name, _ in layer.named_parameters()]
        given = len(values) - len(names)
        layer = layer.with_values(dict(zip(names, values[given:], strict=True)))
        xs, *rest = values[:given]
        counting, read = self.counting, iter(rest)
        states = zip(layer.cells[0].states, self.start, strict=True)
        start = [Tensor(s) if name in counting else next(read) for name, s in states]
        context = as_read([next(read) if part.dtype.kind == "f" else part for part in self.context])
        rng = np.random.default_rng(self.seed) if layer.cells[0].reads_noise else None
        outputs, last = layer(xs, tuple(start), rng=rng, context=context)
        results = [outputs, *flat(last)]
        if self.cell.initial_state is not Cell.initial_state:  # one that may depend on Parameters
            results.append(layer(xs, context=context)[0])
        return results

    def gradients(self) -> dict[str, Any]:
        """The gradient by all that is `named`."""
        named = self.named()
        found = grad(self.weighed_results(self.layer), tuple(range(len(named))))(*map(Tensor, named.values()))
        return {name: g.numpy() for name, g in zip(named, found, strict=True)}


def noise_of(cell: Cell, batch: int, rng: np.random.Generator) -> Any:
    """Noise for one step of so many rows, as a step reads it; None where it reads none."""
    if not cell.reads_noise:
        return None
    shapes = checked_rows(cell, "noise_shapes", cell.noise_shapes)
    return as_read([np.asarray(cell.draw_noise(rng, (1, batch, *shape)))[0] for shape in shapes])


def _weighed(results: list[Tensor]) -> Tensor:
    """Results in one number, each entry with a weight of its own."""
    return weighed_sum(results, _weights(tuple(r.shape for r in results)))


@lru_cache(maxsize=16)  # finite differences ask for the same ones hundreds of times
def _weights(shapes: tuple[tuple[int, ...], ...]) -> tuple[Any, ...]:
    rng = np.random.default_rng(3)
    return tuple(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape) for shape in shapes)


def name_in_cell(name: str) -> str:
    """A Parameter's name in the layer, "cells.0.z.U", as the cell has it: "z.U"."""
    return name.removeprefix("cells.0.")


def told(name: str) -> str:
    """What is `named`, as a reader calls it: "z.U" is "parameter U of gate z"."""
    gate, _, parameter = name.rpartition(".")
    if gate and parameter in ("U", "W", "b", "c"):
        return f"parameter {parameter} of gate {gate}"
    return name if name.startswith(("state ", "the ")) else f"parameter {name}"


@contextmanager
def reasons_noted() -> Iterator[list[str]]:
    """Within it a scan that runs as a plain loop does not warn, but writes down why, in the list."""
    noted: list[str] = []
    token = reasons.set(noted)
    try:
        yield noted
    finally:
        reasons.reset(token)
