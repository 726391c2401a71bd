"""A pass as a kernel in CUDA C: a thread for each entry, or where a pass adds up, a block for each sum.

A kernel is given a table and a time step. The table holds two numbers for each piece in memory, an address and a stride
in bytes: at step t it lies at the address + t strides, and a ring's, of which there are two, at every other step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.cuda.entries_in_c import C_NAMES, DEVICE_FUNCTIONS, expression, made_in, number_in_c
from tinygrad_rnn.loops.machine.lines import Line
from tinygrad_rnn.loops.machine.schedule import LoopSchedule, Pass
from tinygrad_rnn.loops.machine.views import Piece, StridedView
from tinygrad_rnn.sums import SUMMED_AT_ONCE

THREADS = 128
"""In a block."""


def kernels(schedule: LoopSchedule, ringed: set[Piece]) -> str:
    """The source of a module, with a kernel `pass0`, `pass1`, ... for each pass."""
    numbers = {piece: n for n, piece in enumerate(schedule.memory)}
    passes = [part for part in schedule.parts if isinstance(part, Pass)]
    written = (PassKernel(part, numbers, ringed).source(f"pass{n}") for n, part in enumerate(passes))
    return "\n".join([DEVICE_FUNCTIONS, *written])


def entries(part: Pass) -> int:
    """How many entries a pass keeps: those of its space, each sum counted as one."""
    return math.prod(n for i, n in enumerate(part.shape) if i not in part.folded)


class PassKernel:
    """Writes a pass."""

    def __init__(self, part: Pass, numbers: dict[Piece, int], ringed: set[Piece]) -> None:
        self.part, self.numbers, self.ringed = part, numbers, ringed
        self.kept = [i for i in range(len(part.shape)) if i not in part.folded]
        self.names: dict[StridedView, str] = {}
        """The variables that hold entries."""

    def source(self, name: str) -> str:
        """The kernel of this name."""
        body = self._sums() if self.part.folded else self._entries()
        head = f'extern "C" __global__ void {name}(const long long *table, long long t) {{'
        return "\n".join([head, *(f"  {line}" for line in (*self._pointers(), *body)), "}", ""])

    def _pointers(self) -> Iterable[str]:
        made = {line.out.piece for line in self.part.lines if line.out.piece not in self.part.kept}
        touched = {view.piece for line in self.part.lines for view in (*line.reads, line.out)} - made
        for piece in sorted(touched, key=self.numbers.__getitem__):
            n, kind = self.numbers[piece], C_NAMES[piece.dtype.char]
            steps = "(t & 1)" if piece in self.ringed else "t"
            yield f"{kind} *p{n} = ({kind} *)(table[{2 * n}] + {steps} * table[{2 * n + 1}]);"

    def _entries(self) -> list[str]:
        """Each thread goes through entries that are as far apart as there are threads."""
        return [
            f"for (long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x; n < {entries(self.part)}LL;"
            " n += gridDim.x * (long long)blockDim.x) {",
            *(f"  {line}" for line in (*self._indices("n", self.kept), *self._lines(self.part.kept))),
            "}",
        ]

    def _sums(self) -> list[str]:
        """The threads of a block add up each its part, in the same order whatever else there is, and then in pairs."""
        folds = [line for line in self.part.lines if line.folded]
        kinds = {line: C_NAMES[self._sum_dtype(line).char] for line in folds}
        count = math.prod(self.part.shape[i] for i in self.part.folded)
        body = [*self._indices("n", self.kept)]
        for k, line in enumerate(folds):
            body.append(f"{kinds[line]} total{k} = {self._neutral(line)};")
        body += [
            f"for (long long m = threadIdx.x; m < {count}LL; m += blockDim.x) {{",
            *(f"  {line}" for line in (*self._indices("m", [*self.part.folded]), *self._lines(self.part.kept))),
            "}",
        ]
        for k, line in enumerate(folds):
            added = expression(line.primitive, [f"shared{k}[threadIdx.x]", f"shared{k}[threadIdx.x + s]"],
                               self._sum_dtype(line))  # fmt: skip
            body += [
                f"shared{k}[threadIdx.x] = total{k};",
                "__syncthreads();",
                "for (int s = blockDim.x / 2; s > 0; s /= 2) {",
                f"  if ((int)threadIdx.x < s) shared{k}[threadIdx.x] = {added};",
                "  __syncthreads();",
                "}",
                f"if (threadIdx.x == 0) {self._place(line.out)} = shared{k}[0];",
                "__syncthreads();",
            ]
        return [
            *(f"__shared__ {kinds[line]} shared{k}[{THREADS}];" for k, line in enumerate(folds)),
            f"for (long long n = blockIdx.x; n < {entries(self.part)}LL; n += gridDim.x) {{",
            *(f"  {line}" for line in body),
            "}",
        ]

    def _indices(self, of: str, axes: list[int]) -> Iterable[str]:
        """The index along each axis, of the number of an entry."""
        rest = of
        for axis in reversed(axes):
            size = self.part.shape[axis]
            yield f"const long long i{axis} = {rest if axis == axes[0] else f'{rest} % {size}LL'};"
            rest = f"({rest} / {size}LL)"

    def _lines(self, stored: set[Piece], known: Mapping[StridedView, str] | None = None) -> Iterable[str]:
        """All lines, for the entry at hand, and what is stored of it. `known` are variables that hold entries."""
        self.names = dict(known or {})
        folds = 0
        for number, line in enumerate(self.part.lines):
            args = []
            for a, dtype in zip(line.args, line.dtypes, strict=True):
                if not isinstance(a, StridedView):
                    args.append(number_in_c(a, dtype))
                    continue
                if a not in self.names:
                    self.names[a] = f"x{len(self.names)}"
                    yield f"const {C_NAMES[a.piece.dtype.char]} {self.names[a]} = {self._place(a)};"
                args.append(conversion(self.names[a], a.piece.dtype, dtype))
            if line.folded:
                dtype = self._sum_dtype(line)
                value = conversion(args[0], line.dtypes[0], dtype)
                yield f"total{folds} = {expression(line.primitive, [f'total{folds}', value], dtype)};"
                folds += 1
                continue
            dtype = line.dtypes[-1] if line.dtypes else line.out.piece.dtype
            out = line.out.piece.dtype
            value = conversion(expression(line.primitive, args, dtype), made_in(line.primitive, dtype), out)
            self.names[line.out] = f"y{number}"
            yield f"const {C_NAMES[out.char]} y{number} = {value};"
            if line.out.piece in stored:
                yield f"{self._place(line.out)} = y{number};"

    def _place(self, view: StridedView, pointer: str | None = None) -> str:
        """The entry of a view at which the indices are, of the step at hand unless told where its piece lies."""
        terms = [f"i{axis} * {stride}LL" for axis, stride in enumerate(view.strides) if stride]
        if view.further is not None:
            piece, at, stride = view.further
            terms.append(f"p{self.numbers[piece]}[{at}LL] * {stride}LL")
        return f"{pointer or f'p{self.numbers[view.piece]}'}[{' + '.join([f'{view.offset}LL', *terms])}]"

    def _sum_dtype(self, line: Line) -> np.dtype[Any]:
        """In which a line adds up: many float32 in float64."""
        dtype = line.out.piece.dtype
        count = math.prod(self.part.shape[i] for i in self.part.folded)
        return np.dtype(np.float64) if dtype.char == "f" and count > SUMMED_AT_ONCE else dtype

    def _neutral(self, line: Line) -> str:
        dtype = self._sum_dtype(line)
        if line.primitive is ops.add:
            return number_in_c(0, dtype)
        highest = math.inf if dtype.kind == "f" else np.iinfo(dtype).max
        lowest = -math.inf if dtype.kind == "f" else np.iinfo(dtype).min
        return number_in_c(lowest if line.primitive is ops.maximum else highest, dtype)


def conversion(value: str, old: np.dtype[Any], new: np.dtype[Any]) -> str:
    """A value of one dtype as one of another."""
    if old == new:
        return value
    return f"({value} != 0)" if new.kind == "b" else f"(({C_NAMES[new.char]}){value})"
