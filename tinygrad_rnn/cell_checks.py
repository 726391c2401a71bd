"""check_cell: the battery that every cell must pass, the built-in ones and a user's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

import numpy as np

from tinygrad_rnn import checkpoint
from tinygrad_rnn.backend import DeviceUnavailable, cuda_namespace
from tinygrad_rnn.checks import GradientError, compare_gradients, numerical_gradient
from tinygrad_rnn.loops import compiled
from tinygrad_rnn.loops.scanning import reasons
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tape import no_grad
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.transforms import grad

STEPS, BATCH = 4, 3
FIRST, SECOND, SAME = 1e-6, 1e-6, 1e-10
"""Relative errors allowed: of first and second derivatives against finite differences, and of what must be equal but
for rounding."""
STEP_SIZES = (1e-3, 1e-4)
"""Of finite differences: the smaller one is for entries where a function bends so much that the larger one is too
coarse, or has a kink nearby."""

SCALE = 0.5
"""The deviation of the weights that are drawn for the checks, biases and gains too: none is at a special place."""


class CellError(AssertionError):
    """A cell failed a check; the message names the gate, the parameter and the entry where there are such."""


@dataclass(frozen=True)
class Row:
    """One check: what was checked, whether it held (None where it could not be tried), and the figure."""

    what: str
    held: bool | None
    figure: str

    def __str__(self) -> str:
        return f"  {_WORDS[self.held]}  {self.what:<{WIDTH}}  {self.figure}"


_WORDS = {True: "ok  ", False: "FAIL", None: "note"}
WIDTH = 46


@dataclass(frozen=True)
class CellReport:
    """What `check_cell` found: printed, a table."""

    title: str
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(row.held is not False for row in self.rows)

    def __str__(self) -> str:
        failed = sum(row.held is False for row in self.rows)
        held = sum(row.held is True for row in self.rows)
        end = f"{held} checks passed" if not failed else f"{failed} of {held + failed} checks failed"
        return "\n".join([self.title, *map(str, self.rows), end])


def check_cell(
    cell: type[Cell],
    input_size: int = 2,
    hidden_size: int = 3,
    *,
    seed: int = 0,
    show: bool = True,
    **options: Any,
) -> CellReport:
    """Checks a class made with `Cell`, in float64 and with every weight drawn at random from `seed`: all entries of its
    first and second derivatives against finite differences; the compiled scan against the plain loop; two halves with
    the carried state against the whole; that batch rows do not depend on one another, nor on padding; both directions
    and several layers; dropout; float32; a file with its weights; and, where there is one, the GPU. Prints a table of
    what was checked, with the figure, unless `show` is False, and returns it.

    A Parameter that no output depends on is reported, and so is a step that cannot be compiled; neither is a failure.
    `options` are the cell's. Raises CellError (an AssertionError) naming the parameter, the entry and both values where
    a check fails; TypeError where `cell` is no such class."""
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise TypeError(f"check_cell: cell must be a class made with Cell, got {cell!r}")
    battery = _Battery(cell, input_size, hidden_size, seed, options)
    report = CellReport(battery.title, battery.rows())
    if show:
        print(report)
    if not report.passed:
        failures = [f"{row.what}: {row.figure}" for row in report.rows if row.held is False]
        raise CellError(f"{cell.__name__}: {'; '.join(failures)}")
    return report


class _Remark(Exception):
    """A check could not be tried, or found what is no failure."""


Check = Callable[[], str]


class _Battery:
    def __init__(self, cell: type[Cell], input_size: int, hidden_size: int, seed: int, options: dict[str, Any]) -> None:
        self.cell, self.sizes, self.options, self.seed = cell, (input_size, hidden_size), options, seed
        self.rng = np.random.default_rng(seed)
        self.layer = self.made()
        own = self.layer.cells[0]
        gates = [gate.name for gate in own.all_gates()]
        self.title = (
            f"{cell.__name__}({input_size}, {hidden_size}): gates {' '.join(gates) or 'none'}; states {own.state}; "
            f"{own.size} weights"
        )

    def move(self) -> None:
        """To another point: other inputs, and states such as the cell comes to."""
        self.xs = self.rng.standard_normal((STEPS, BATCH, self.sizes[0]))
        with no_grad():
            self.start = [s.numpy() for s in self.layer(Tensor(self.rng.standard_normal(self.xs.shape)))[1]]

    def rows(self) -> tuple[Row, ...]:
        """All checks, made."""
        self.plain: list[str] = []  # why a scan ran as a plain loop
        token = reasons.set(self.plain)
        try:
            self.move()
            return tuple(self._row(what, check) for what, check in self.checks())
        finally:
            reasons.reset(token)

    def _row(self, what: str, check: Check) -> Row:
        try:
            return Row(what, True, check())
        except _Remark as remark:
            return Row(what, None, str(remark))
        except AssertionError as error:
            return Row(what, False, str(error))
        except Exception as error:
            return Row(what, False, f"{type(error).__name__}: {error}{_place(error)}")

    def checks(self) -> Iterator[tuple[str, Check]]:
        """What is checked, and the check: it returns the figure, and raises AssertionError where it does not hold."""
        yield "first derivatives = finite differences", self.first
        yield "second derivatives = finite differences", self.second
        yield "every parameter takes part", self.used
        yield "compiled = plain loop, values and gradients", self.compiled
        yield "two halves with the carried state = the whole", self.halves
        yield "batch rows are independent", self.alone
        yield "padding changes nothing", self.padding
        yield "both directions, two layers", self.directions
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
        return [outputs.numpy(), *(s.numpy() for s in last)]

    # --- Derivatives ---

    def scalar(self, layer: Recurrent, xs: Tensor, *start: Tensor) -> Tensor:
        """Outputs and last states in one number, each entry with a weight of its own."""
        outputs, last = layer(xs, start)
        rng = np.random.default_rng(3)
        parts = [
            (r * rng.choice([-1.0, 1.0], r.shape) * rng.uniform(0.5, 1.5, r.shape)).sum() for r in (outputs, *last)
        ]
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
        """Every entry of the gradient of `f`, against finite differences."""
        named = self.named()
        arrays = list(named.values())

        def value(*xs: Any) -> float:
            return float(f(*map(Tensor, xs)).item())

        worst = 0.0
        noise = 64 * np.finfo(np.float64).eps * max(1.0, abs(value(*arrays))) / STEP_SIZES[0]  # rounding, divided by h
        for i, (name, gradient_of) in enumerate(zip(named, gradient(*map(Tensor, arrays)), strict=True)):
            analytic, what = gradient_of.numpy(), f"{which} by {_told(name)}"
            numeric = analytic + np.inf
            for step in STEP_SIZES:
                found = numerical_gradient(value, arrays, i, step)
                nearer = np.abs(found - analytic) < np.abs(numeric - analytic)
                numeric = np.where(nearer | ~np.isfinite(numeric), found, numeric)
                numeric = np.where(np.abs(numeric - analytic) <= noise, analytic, numeric)
                try:
                    error = compare_gradients(analytic, numeric, tolerance, what)
                except GradientError:
                    if step == STEP_SIZES[-1]:
                        raise
                else:
                    break
            worst = max(worst, error)
        return f"{worst:.1e} at most, allowed {tolerance:.0e}; {sum(a.size for a in arrays)} entries"

    def twice(self, check: Check) -> str:
        """A check that may fail by chance where a function has a kink: two points of three must pass."""
        try:
            return check()
        except GradientError as error:
            for _ in range(2):
                self.move()
                try:
                    figure = check()
                except GradientError:
                    raise error from None
            return f"{figure}; another point is too near a kink"

    def first(self) -> str:
        """Every entry of the gradient."""
        positions = tuple(range(len(self.named())))
        return self.twice(lambda: self.compare(self.of, grad(self.of, positions), FIRST, "the derivative"))

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
        """A Parameter whose gradient is 0 throughout does not reach the output, or a state that is kept."""
        idle = set(list(self.named())[1 + len(self.start) :])
        count = len(idle)
        for _ in range(3):
            idle -= {name for name, g in self.gradients().items() if g.any()}
            if not idle:
                return f"{count} of them"
            self.move()
        raise _Remark(f"nothing depends on {', '.join(map(_told, sorted(idle)))}")

    # --- What must be equal ---

    def compiled(self) -> str:
        """The compiled scan, and that there is one."""
        self.plain.clear()
        fast = [*self.run(self.layer, self.xs, self.start), *self.gradients().values()]
        because = set(self.plain)
        with compiled(False):
            plain = [*self.run(self.layer, self.xs, self.start), *self.gradients().values()]
        figure = _same(fast, plain, "compiled and as a plain loop")
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
        return _same(apart, together, "row by row and as a batch")

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
        return figure

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
        assert np.array_equal(first, again), "one seed gave two results"
        assert not np.array_equal(first, other), "two seeds gave one result"
        assert np.isfinite(first).all(), "outputs are not finite"
        return ", ".join(kinds)

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


def _place(error: BaseException) -> str:
    """Where in a user's file an error comes from."""
    frames = [(f.f_code.co_filename, line) for f, line in walk_tb(error.__traceback__) if not _ours(f)]
    return f" ({frames[-1][0]}, line {frames[-1][1]})" if frames else ""


def _ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("tinygrad_rnn.")


def _told(name: str) -> str:
    """A Parameter as it is called in the cell: "U of gate z"."""
    gate, dot, parameter = name.partition(".")
    if dot:
        return f"parameter {parameter} of gate {gate}"
    return name if name.startswith(("state ", "the ")) else f"parameter {name}"
