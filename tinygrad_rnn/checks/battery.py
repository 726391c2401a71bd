"""The checks of check_cell, each a row of its table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.backend import DeviceUnavailable, cuda_namespace
from tinygrad_rnn.checks.derivatives import GradientError, compare_gradients, numerical_gradient
from tinygrad_rnn.frames import user_lines
from tinygrad_rnn.loops import compiled
from tinygrad_rnn.loops.recorder import CannotRecord, record_step
from tinygrad_rnn.loops.scanning import reasons
from tinygrad_rnn.loops.trees import flat
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tape import Box, no_grad
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.transforms import grad

STEPS, BATCH = 4, 3
FIRST, SECOND, SAME = 1e-6, 1e-6, 1e-10
"""Relative errors allowed: of first and second derivatives against finite differences, and of what must be equal but
for rounding."""
STEP_SIZES = (1e-3, 1e-4)
"""Of finite differences: the smaller one is for entries where a function bends so much that the larger one is too
coarse, or has a kink nearby."""

CALLS = 40
"""Of a step with the same values, among others: it must not count them."""

SCALE = 0.5
"""The deviation of the weights that are drawn for the checks, biases and gains too: none is at a special place."""


@dataclass(frozen=True)
class Row:
    """One check: what was checked, whether it held (None where it could not be tried), and the figure."""

    what: str
    held: bool | None
    figure: str

    def __str__(self) -> str:
        return f"  {_WORDS[self.held]}  {self.what:<{_WIDTH}}  {self.figure}"


_WORDS = {True: "ok  ", False: "FAIL", None: "note"}
_WIDTH = 46


_DIFFERS = "the step does something else each time it is called"


class _Remark(Exception):
    """A check could not be tried, or found what is no failure."""


class _Kink(GradientError):
    """Gradient and finite differences disagree where the function has a kink."""


Check = Callable[[], str]


class Battery:
    """All checks of one cell. See check_cell."""

    def __init__(self, cell: type[Cell], input_size: int, hidden_size: int, seed: int, options: dict[str, Any]) -> None:
        self.cell, self.sizes, self.options, self.seed = cell, (input_size, hidden_size), options, seed
        self.rng = np.random.default_rng(seed)
        self.title = f"{cell.__name__}({input_size}, {hidden_size})"

    def move(self) -> None:
        """To another point: other inputs, and states such as the cell comes to."""
        self.xs = self.rng.standard_normal((STEPS, BATCH, self.sizes[0]))
        with no_grad():
            self.start = [s.numpy() for s in self.layer(Tensor(self.rng.standard_normal(self.xs.shape)))[1]]

    def rows(self) -> tuple[Row, ...]:
        """All checks, made: where the cell cannot be built and run, that one."""
        self.plain: list[str] = []  # why a scan ran as a plain loop
        token = reasons.set(self.plain)
        try:
            begun = self._row("it can be built and run", self.begin)
            if not begun.held:
                return (begun,)
            return tuple(self._row(what, check) for what, check in self.checks())
        finally:
            reasons.reset(token)

    def begin(self) -> str:
        """The layer that is checked, and a first call of its cell."""
        self.layer = self.made()
        cell = self.layer.cells[0]
        gates = " ".join(gate.name for gate in cell.all_gates()) or "none"
        self.title += f": gates {gates}; states {cell.state}; {cell.size} weights"
        self.first_call = self.called(cell, BATCH)
        self.move()
        return ""

    def _row(self, what: str, check: Check) -> Row:
        try:
            with np.errstate(all="ignore"):  # what is not finite is told by the checks
                return Row(what, True, check())
        except _Remark as remark:
            return Row(what, None, str(remark))
        except AssertionError as error:
            return Row(what, False, str(error))
        except Exception as error:
            return Row(what, False, f"{type(error).__name__}: {error}{_place(error)}")

    def checks(self) -> Iterator[tuple[str, Check]]:
        """What is checked, and the check: it returns the figure, and raises AssertionError where it does not hold."""
        yield "the step depends on its arguments alone", self.function
        yield "first derivatives = finite differences", self.first
        yield "second derivatives = finite differences", self.second
        yield "every parameter takes part", self.used
        yield "compiled = plain loop, values and gradients", self.compiled
        yield "two halves with the carried state = the whole", self.halves
        yield "batch rows are independent", self.alone
        yield "padding changes nothing", self.padding
        yield "both directions, two layers", self.directions
        yield "another number of inputs and units", self.resized
        yield "dropout of every kind is reproducible", self.dropout
        yield "float32 = float64 but for rounding", self.single
        yield "weights come back from a file", self.file
        yield "GPU = CPU", self.device

    def made(self, dtype: Any = np.float64, **options: Any) -> Recurrent:
        """A layer of the cell, every weight drawn anew."""
        rng = np.random.default_rng([self.seed, 1])
        layer = Recurrent(self.cell, *self.sizes, **{**self.options, **options, "dtype": dtype, "rng": rng})
        for parameter in layer.parameters():
            drawn = parameter.data + SCALE * rng.standard_normal(parameter.shape)
            parameter.data = drawn.astype(parameter.dtype)
        return layer

    def run(self, layer: Recurrent, xs: Any, start: Any = None, **options: Any) -> list[Any]:
        """Outputs and last states, as arrays."""
        with no_grad():
            outputs, last = layer(Tensor(xs), None if start is None else tuple(map(Tensor, start)), **options)
        return [outputs.numpy(), *(s.numpy() for s in flat(last))]

    # --- The step ---

    def called(self, cell: Cell, batch: int) -> list[Any]:
        """What a step makes of values that are always the same, for so many rows."""
        rng = np.random.default_rng(batch)
        x = Tensor(rng.standard_normal((batch, cell.input_size)))
        state = tuple(Tensor(0.5 * rng.standard_normal(s.shape)) for s in cell.initial_state(batch))
        with no_grad():
            new = cell.advance(x, state)
            return [part.numpy().copy() for part in (*new, cell.output(*new))]

    def function(self) -> str:
        """The same call gives the same result, whatever was called before, and in another layer."""
        other = self.made()
        self.called(other.cells[0], 1)
        for call in range(CALLS):
            for layer in (self.layer, other):
                cell = layer.cells[0]
                same = zip(self.called(cell, BATCH), self.first_call, strict=True)
                assert all(np.array_equal(a, b, equal_nan=True) for a, b in same), (
                    "the same call gave two results: the step remembers something, or draws random numbers"
                )
                if call % 3 == 0:
                    self.called(cell, 1 + call % 5)
        return f"{CALLS} calls of each of two layers"

    # --- Derivatives ---

    def scalar(self, layer: Recurrent, xs: Tensor, *start: Tensor) -> Tensor:
        """Outputs and last states in one number, each entry with a weight of its own."""
        outputs, last = layer(xs, start)
        results = [outputs, *flat(last)]
        if self.cell.initial_state is not Cell.initial_state:  # one that may depend on Parameters
            results.append(layer(xs)[0])
        rng = np.random.default_rng(3)
        parts = [(r * rng.choice([-1.0, 1.0], r.shape) * rng.uniform(0.5, 1.5, r.shape)).sum() for r in results]
        total: Tensor = sum(parts[1:], parts[0])
        return total

    def named(self) -> dict[str, Any]:
        """All that the number depends on: the inputs, the states, and every Parameter by its name in the cell."""
        states = {f"state {name}": s for name, s in zip(self.layer.cells[0].states, self.start, strict=True)}
        parameters = {name.removeprefix("cells.0."): p.data for name, p in self.layer.named_parameters()}
        return {"the inputs": self.xs} | states | parameters

    def of(self, *values: Tensor) -> Tensor:
        """The number as a function of all that is `named`."""
        names = [name for name, _ in self.layer.named_parameters()]
        given = len(self.start) + 1
        layer = self.layer.with_values(dict(zip(names, values[given:], strict=True)))
        return self.scalar(layer, *values[:given])

    def compare(self, f: Callable[..., Tensor], gradient: Callable[..., Any], tolerance: float, which: str) -> str:
        """Every entry of the gradient of `f`, against finite differences. Raises GradientError, and where finite
        differences from the left and from the right tell of a kink at each wrong entry, _Kink."""
        named = self.named()
        arrays = list(named.values())

        def value(*xs: Any) -> float:
            return float(f(*map(Tensor, xs)).item())

        worst, wrong = 0.0, {}
        middle = value(*arrays)
        noise = 64 * np.finfo(np.float64).eps * max(1.0, abs(middle)) / STEP_SIZES[0]  # rounding, divided by h
        for i, (name, gradient_of) in enumerate(zip(named, gradient(*map(Tensor, arrays)), strict=True)):
            analytic, what = gradient_of.numpy(), f"{which} by {_told(name)}"
            numeric = analytic + np.inf
            for step in STEP_SIZES:
                found = numerical_gradient(value, arrays, i, step)
                nearer = np.abs(found - analytic) < np.abs(numeric - analytic)
                numeric = np.where(nearer | ~np.isfinite(numeric), found, numeric)
                numeric = np.where(np.abs(numeric - analytic) <= noise, analytic, numeric)
                try:
                    worst = max(worst, compare_gradients(analytic, numeric, tolerance, what))
                    break
                except GradientError as error:
                    if step == STEP_SIZES[-1]:
                        gaps = np.abs(numeric - analytic)
                        at = np.unravel_index(int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps))), gaps.shape)
                        wrong[name] = error, gaps[at] <= _jump(value, arrays, i, at, middle)
        if wrong:
            first = min(wrong, key=lambda name: name.startswith(("the inputs", "state ")))
            others = [_told(name) for name in wrong if name != first]
            message = f"{wrong[first][0]}" + (f"; so is that by {', '.join(others)}" if others else "")
            raise (_Kink if all(kink for _, kink in wrong.values()) else GradientError)(message)
        entries = f"{sum(a.size for a in arrays)} entries"
        return f"{f'{worst:.1e} at most' if worst else 'equal but for rounding'}, allowed {tolerance:.0e}; {entries}"

    def twice(self, check: Check) -> str:
        """A check that may fail by chance where a function has a kink: two points of three must pass."""
        try:
            return check()
        except _Kink as error:
            for _ in range(2):
                self.move()
                try:
                    figure = check()
                except _Kink:
                    raise error from None
            return f"{figure}; another point is too near a kink"

    def first(self) -> str:
        """Every entry of the gradient, and again where inputs are large."""
        positions = tuple(range(len(self.named())))

        def check() -> str:
            return self.compare(self.of, grad(self.of, positions), FIRST, "the derivative")

        figure, kept = self.twice(check), self.xs
        try:
            self.xs = 4 * kept
            self.twice(check)
        finally:
            self.xs = kept
        return figure

    def second(self) -> str:
        """Every entry of the gradient of the gradient's product with a random direction."""
        return self.twice(self._second)

    def _second(self) -> str:
        arrays = list(self.named().values())
        positions = tuple(range(len(arrays)))
        rng = np.random.default_rng(4)
        directions = [rng.standard_normal(a.shape) for a in arrays]

        def along(*values: Tensor) -> Tensor:
            parts = [(g * v).sum() for g, v in zip(grad(self.of, positions)(*values), directions, strict=True)]
            total: Tensor = sum(parts[1:], parts[0])
            return total

        return self.compare(along, grad(along, positions), SECOND, "the second derivative")

    def gradients(self) -> dict[str, Any]:
        """The gradient by all that is `named`."""
        named = self.named()
        found = grad(self.of, tuple(range(len(named))))(*map(Tensor, named.values()))
        return {name: g.numpy() for name, g in zip(named, found, strict=True)}

    def used(self) -> str:
        """A Parameter whose gradient is 0 throughout does not reach the output, or a state that is kept. And what asks
        for a gradient must be found as a Parameter, or it is neither trained nor saved."""
        strays = self.strays()
        assert not strays, (
            f"a Tensor of the shape {strays[0].shape} asks for a gradient and is no Parameter among the cell's "
            "attributes: it would be neither trained nor saved"
        )
        idle = set(list(self.named())[1 + len(self.start) :])
        count = len(idle)
        for _ in range(3):
            idle -= {name for name, g in self.gradients().items() if g.any()}
            if not idle:
                return f"{count} of them"
            self.move()
        raise _Remark(f"declared, and never reaches the loss: {', '.join(map(_told, sorted(idle)))}")

    def strays(self) -> list[Any]:
        """Tensors that the step closes over and whose gradient is asked for, which are no Parameters of the cell."""
        cell = self.layer.cells[0]

        def step(state: Any, x: Any) -> Any:
            new = cell.advance(x, state)
            return new, cell.output(*new)

        try:
            program, _, _ = record_step(step, cell.initial_state(BATCH), Tensor(self.xs))
        except CannotRecord:
            return []
        known = {id(p) for p in cell.parameters()}
        return [v for v in program.operands if isinstance(v, Box) and v.node is not None and id(v) not in known]

    # --- What must be equal ---

    def compiled(self) -> str:
        """The compiled scan, and that there is one."""
        self.plain.clear()
        fast = [*self.run(self.layer, self.xs, self.start), *self.gradients().values()]
        because = set(self.plain)
        with compiled(False):
            plain = [*self.run(self.layer, self.xs, self.start), *self.gradients().values()]
        figure = _same(fast, plain, "compiled and as a plain loop")
        assert not any(_DIFFERS in reason for reason in because), _DIFFERS
        if because:
            raise _Remark("; ".join(sorted(because)))
        return figure

    def halves(self) -> str:
        """Half the steps, and the rest from the states that those left."""
        outputs, *last = self.run(self.layer, self.xs, self.start)
        cut = STEPS // 2
        first, *between = self.run(self.layer, self.xs[:cut], self.start)
        second, *end = self.run(self.layer, self.xs[cut:], between)
        return _same([np.concatenate([first, second]), *end], [outputs, *last], "in two halves and as a whole")

    def alone(self) -> str:
        """Each row of a batch, by itself: rows that are alike, and small ones beside large ones."""
        together, apart = [], []
        for factors in np.ones(BATCH), np.geomspace(1e-3, 1e1, BATCH), np.geomspace(1e1, 1e-3, BATCH):
            xs = self.xs * factors[:, None]
            start = [s * np.minimum(factors, 1).reshape(-1, *[1] * (s.ndim - 2)) for s in self.start]
            together += self.run(self.layer, xs, start)
            rows = [self.run(self.layer, xs[:, b : b + 1], [s[:, b : b + 1] for s in start]) for b in range(BATCH)]
            apart += [np.concatenate(parts, axis=1) for parts in zip(*rows, strict=True)]
        pair = self.run(self.layer, self.xs[:, :2], [s[:, :2] for s in self.start])
        whole = self.run(self.layer, self.xs, self.start)
        return _same([*apart, *pair], [*together, *(a[:, :2] for a in whole)], "row by row and as a batch")

    def padding(self) -> str:
        """Rows of different lengths, whatever stands after their end."""
        lengths = np.arange(BATCH) * STEPS // max(BATCH - 1, 1)
        found = []
        for filler in (0.0, 1e3):
            xs = np.where(np.arange(STEPS)[:, None, None] < lengths[:, None], self.xs, filler)
            found.append(self.run(self.layer, xs, self.start, lengths=lengths))
        figure = _same(found[0], found[1], "with zeros and with other padding")
        for b, length in enumerate(lengths):
            row = [self.xs[:length, b : b + 1], [s[:, b : b + 1] for s in self.start]]
            outputs, *last = self.run(self.layer, *row)
            padded = [found[0][0][:length, b : b + 1], *(s[:, b : b + 1] for s in found[0][1:])]
            _same(padded, [outputs, *last], f"of a row of {length} steps, padded and not")
            assert not found[0][0][length:, b].any(), "outputs past the length are not 0"
        together = self.by_weights(self.xs, self.start, lengths)
        lone = [
            self.by_weights(self.xs[:length, b : b + 1], [s[:, b : b + 1] for s in self.start])
            for b, length in enumerate(lengths)
        ]
        for name, gradient in together.items():
            what = f"the derivative by {_told(name)}"
            assert np.isfinite(gradient).all(), f"{what} is not finite where there is padding, which the step sees as 0"
            _same([gradient], [sum(each[name] for each in lone)], f"({what}), padded and not")
        return figure

    def by_weights(self, xs: Any, start: Any, lengths: Any = None) -> dict[str, Any]:
        """The gradient of the sum of all outputs by the Parameters."""
        weights = {name: p.data for name, p in self.layer.named_parameters()}
        found: Any = [np.zeros(w.shape) for w in weights.values()]

        def total(*values: Tensor) -> Tensor:
            layer = self.layer.with_values(dict(zip(weights, values, strict=True)))
            return layer(Tensor(xs), tuple(map(Tensor, start)), lengths=lengths)[0].sum()

        if weights and len(xs):
            gradients = grad(total, tuple(range(len(weights))))(*map(Tensor, weights.values()))
            found = [g.numpy() for g in gradients]
        return {name.removeprefix("cells.0."): g for name, g in zip(weights, found, strict=True)}

    def directions(self) -> str:
        """The backward half of a bidirectional layer is a forward layer on the reversed inputs; layers stack."""
        layer = self.made(num_layers=2, bidirectional=True)
        outputs, *_ = self.run(layer, self.xs)
        single, xs = self.made(), self.xs
        for number in range(2):
            if number:
                single = Recurrent(self.cell, xs.shape[2], self.sizes[1], dtype=np.float64, **self.options)
            halves = []
            for direction in range(2):
                single.cells[0] = layer.cells[2 * number + direction]
                ys, *_ = self.run(single, xs[::-1] if direction else xs)
                halves.append(ys[::-1] if direction else ys)
            xs = np.concatenate(halves, axis=2)
        return _same([outputs], [xs], "of a layer of two and of its parts")

    def dropout(self) -> str:
        """The same generator gives the same numbers, another one others."""
        masked = any("h" in gate.reads for gate in self.layer.cells[0].all_gates())
        kinds = {"dropout": 0.5, "zoneout": 0.5} | ({"recurrent_dropout": 0.5} if masked else {})
        layer = self.made(num_layers=2, **kinds)
        first, again, other = (self.run(layer, self.xs, rng=np.random.default_rng(seed))[0] for seed in (5, 5, 6))
        assert np.isfinite(first).all(), "outputs are not finite"
        assert np.array_equal(first, again), "one seed gave two results"
        if np.array_equal(first, other):
            raise _Remark("outputs do not depend on the noise")
        return ", ".join(kinds)

    def resized(self) -> str:
        """Nothing is made for one size."""
        sizes = self.sizes[0] + 2, self.sizes[1] + 2
        try:
            layer = Recurrent(self.cell, *sizes, dtype=np.float64, **self.options)
        except ValueError as error:
            raise _Remark(f"not tried: {error}") from None
        outputs, *_ = self.run(layer, self.rng.standard_normal((STEPS, 2, sizes[0])))
        assert np.isfinite(outputs).all(), "outputs are not finite"
        return f"{sizes[0]} and {sizes[1]}"

    def single(self) -> str:
        """In float32 throughout."""
        wide = self.run(self.layer, self.xs, self.start)
        layer = self.made(np.float32)
        for p, other in zip(layer.parameters(), self.layer.parameters(), strict=True):
            p.data = other.data.astype(np.float32)
        narrow = self.run(layer, self.xs.astype(np.float32), [s.astype(np.float32) for s in self.start])
        kept = {str(a.dtype) for a in narrow}
        assert kept == {"float32"}, f"a float32 layer returned {', '.join(sorted(kept))}"
        return _same(narrow, wide, "in float32 and in float64", 1e-4)

    def file(self) -> str:
        """To a file and into another layer."""
        other = Recurrent(self.cell, *self.sizes, dtype=np.float64, **self.options)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.safetensors"
            checkpoint.save(path, self.layer.state_dict(), {})
            other.load_state_dict(checkpoint.load(path).arrays)
        here, there = (self.run(layer, self.xs, self.start) for layer in (self.layer, other))
        equal = all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
        assert equal, "the cell holds numbers that are not in its Parameters"
        return "bit for bit"

    def device(self) -> str:
        """Where there is a GPU."""
        try:
            cupy = cuda_namespace()
        except DeviceUnavailable:
            raise _Remark("not tried: there is no GPU here") from None
        here = self.run(self.layer, self.xs, self.start)
        layer = self.made().to("cuda")
        there = self.run(layer, cupy.asarray(self.xs), [cupy.asarray(s) for s in self.start])
        return _same(there, here, "on the GPU and on the CPU", 1e-8)


def _same(found: list[Any], expected: list[Any], what: str, tolerance: float = SAME) -> str:
    """The largest difference, relative to 1 or the largest entry. Raises AssertionError where it is too large."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(b).max(initial=0.0)))
        difference = float(np.abs(a - b).max(initial=0.0)) / scale
        assert difference <= tolerance, f"results {what} differ by {difference:.2g} (allowed {tolerance:.0e})"
        worst = max(worst, difference)
    return f"{worst:.1e} at most, allowed {tolerance:.0e}"


def _jump(value: Callable[..., float], arrays: list[Any], i: int, at: Any, middle: float) -> float:
    """How much the slopes to both sides of an entry differ: twice what a kink adds to their mean."""
    slopes = []
    for h in (STEP_SIZES[-1], -STEP_SIZES[-1]):
        moved = arrays[i].copy()
        moved[at] += h
        slopes.append((value(*arrays[:i], moved, *arrays[i + 1 :]) - middle) / h)
    return abs(slopes[0] - slopes[1])


def _place(error: BaseException) -> str:
    """Where in a user's file an error comes from."""
    lines = user_lines(error)
    return f" ({lines[-1][0]}, line {lines[-1][1]})" if lines else ""


def _told(name: str) -> str:
    """A Parameter as it is called in the cell: "U of gate z"."""
    gate, dot, parameter = name.partition(".")
    if dot:
        return f"parameter {parameter} of gate {gate}"
    return name if name.startswith(("state ", "the ")) else f"parameter {name}"
