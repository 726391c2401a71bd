"""The loop of a split program as straight-line NumPy: one call per op, into buffers that are there already.

This is one emitter. Another (compiled kernels, CuPy) takes the same Layout and offers the same `source` and `run`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle
from math import isfinite
from textwrap import fill
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.loops.kernels import KERNELS, kernel_name, writes
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.scratch import Scratch, ScratchBuffer, allocate_scratch

_ARITHMETIC = frozenset({ops.add, ops.sub, ops.mul, ops.div, ops.maximum, ops.minimum})

_WORDS: dict[float, str] = {-1: "minus_one", 0.5: "half", 1: "one", 2: "two"}

_TAKEN = {"loop", "options", "steps", *_WORDS.values()}
"""What an op cannot be called in the source, nor by a name that ends with a digit, as those of values do."""


class Emitted:
    """A loop as a Python function; `source` is its text. `names` are identifiers for values, where they have any."""

    def __init__(self, layout: Layout, names: Mapping[Var, str] | None = None) -> None:
        self.layout = layout
        equations, home = layout.equations, layout.home
        reads = {a for equation in equations for a in equation.reads}
        touched = reads | {out for equation in equations for out in equation.outs}
        self.stepped = _sorted(v for v in touched if v in layout.timed)
        """What has a time axis: a step gets its own part of it."""
        bound = {*self.stepped, *(v for pair in layout.ringed for v in pair)}
        self.scratch = allocate_scratch(equations, home, bound)
        self.stacks = [(v, buffer) for v, buffer in self.scratch.buffer_of.items() if v in layout.stacks]
        inside = {v for v in touched - bound if v in home and home[v].stack in layout.made}
        self.slices = _sorted(inside)
        """What lies in the stacks of scratch."""
        self.constants = _sorted(v for v in reads - bound - inside if v not in layout.made)
        """What is the same at every step."""
        self._calls = _Calls(layout, self.scratch, names or {})
        self.source = self._written([self._calls.line(equation) for equation in equations] or ["pass"])
        namespace: dict[str, Any] = {**self._calls.functions, "options": self._calls.options, "__name__": __name__}
        exec(self.source, namespace)
        self.function = namespace.pop("loop")  # which refers to them: left there it would be a cycle

    def _written(self, lines: list[str]) -> str:
        """The source of a function whose loop has these lines. It takes the number of steps and then the arrays that
        `run` gives it."""
        name = self._calls.name
        order = "[::-1]" if self.layout.reverse else ""
        columns = [("_", "range(steps)")]  # it alone ends the loop where all the others go round
        columns += [(name(v), f"{name(v)}_t{order}") for v in self.stepped]
        parameters = ["steps", *(f"{name(v)}_t" for v in self.stepped)]
        for c, n in self.layout.ringed:
            a, b = f"{name(c)}_a", f"{name(c)}_b"
            columns += [(name(c), f"cycle(({a}, {b}))"), (name(n), f"cycle(({b}, {a}))")]
            parameters += [a, b]
        parameters += [buffer.name for buffer in self.scratch.buffers]
        parameters += [name(v) for v in (*self.constants, *self.slices)]
        head = "for _ in range(steps):"
        if len(columns) > 1:
            targets, sources = (_wrapped(part, 8) for part in zip(*columns, strict=True))
            head = f"for (\n{targets}\n    ) in zip(\n{sources}\n    ):"
        body = "".join(f"\n        {line}" for line in lines)
        remarks = "".join(f"    # {remark}\n" for remark in self._remarks())
        return f"def loop(\n{_wrapped(parameters, 4)}\n):\n{remarks}    {head}{body}\n"

    def _remarks(self) -> Iterable[str]:
        """What the source does not show: which arrays lie in others, or hold a number."""
        name = self._calls.name
        for (value, _), number in self._calls.numbers.items():
            yield f"{number} is {value}"
        for c, n in self.layout.paired:
            if {c, n} <= {*self.stepped}:
                yield f"{name(n)} of one step is {name(c)} of the next"
        for v in (*self.stepped, *self.slices):
            if v in self.layout.home:
                stack, lo, hi = self.layout.home[v]
                yield f"{name(v)} is {name(stack)}[{lo if hi is None else f'{lo}:{hi}'}]"

    def run(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> None:
        """`env` holds what the loop reads from outside and the arrays for what it stores; `rings` the two arrays of
        each ringed state."""
        arrays: list[Any] = [_rows(env[v]) for v in self.stepped]
        for c, _ in self.layout.ringed:
            arrays += rings[c]
        buffers = {buffer.name: empty_buffer(buffer.shape, buffer.dtype) for buffer in self.scratch.buffers}
        arrays += buffers.values()
        inside = {**env, **{stack: buffers[buffer.name] for stack, buffer in self.stacks}}
        self.layout.show_slices(inside)
        arrays += [inside[v] for v in (*self.constants, *self.slices)]
        self.function(steps, *arrays)


def _sorted(those: Iterable[Var]) -> list[Var]:
    return sorted(those, key=lambda v: v.number)


def _wrapped(names: Iterable[str], indent: int) -> str:
    margin = " " * indent
    return fill(", ".join(names), 100, initial_indent=margin, subsequent_indent=margin, break_long_words=False)


def _rows(x: Array) -> Any:
    """Something that gives a writable view of each time step: an array does, but for numbers."""
    return [x[t : t + 1].reshape(()) for t in range(len(x))] if x.ndim == 1 else x


class _Calls:
    """The lines of a loop's body, one for each equation, and what they refer to."""

    def __init__(self, layout: Layout, scratch: Scratch, given: Mapping[Var, str]) -> None:
        self.layout, self.scratch, self.given = layout, scratch, given
        self.functions: dict[str, Any] = KERNELS | {"zip": zip, "range": range, "cycle": cycle}
        """What the names in the source stand for, but for arrays and options."""
        self.options: dict[str, Any] = {}
        """Options that cannot be written out."""
        self.numbers: dict[tuple[str, Any], str] = {}
        """The names of numbers, by how they are written and their dtype."""

    def name(self, v: Any) -> str:
        """How a value is called in the source; an option is written out."""
        if not isinstance(v, Var):
            return repr(v)
        if v in self.scratch.buffer_of:
            return self.scratch.buffer_of[v].name
        return self.given.get(v) or f"v{v.number}"

    def line(self, equation: Equation) -> str:
        """The call that an equation is, and where its results go."""
        args = [self.name(a) if isinstance(a, Var) else self._number(a, equation) for a in equation.args]
        args += [f"{key}={self._option(value)}" for key, value in equation.params.items()]
        if writes(equation):
            return f"{kernel_name(equation)}({', '.join([*args, *self._places(equation)])})"
        call = f"{self._function(equation)}({', '.join(args)})"
        if not equation.several:
            return self._keep(equation.outs[0], call)
        results = [f"r{i}" for i in range(len(equation.outs))]
        kept = [self._keep(out, result) for out, result in zip(equation.outs, results, strict=True)]
        return f"{', '.join(results)}, = {call}; " + "; ".join(kept)

    def _places(self, equation: Equation) -> Iterable[str]:
        """Where a function works and writes, as arguments of the call."""
        workplace = self.scratch.workplaces.get(equation)
        if workplace is not None:
            yield workplace.name if isinstance(workplace, ScratchBuffer) else self.name(workplace)
        yield f"out={self.name(equation.outs[0])}"

    def _function(self, equation: Equation) -> str:
        """The name of an op that returns its result; another's op of that name has one more underscore."""
        name, forward = equation.primitive.name, equation.primitive.forward
        name = name if name.isidentifier() and name not in _TAKEN and not name[-1].isdigit() else "op"
        while self.functions.setdefault(name, forward) is not forward:
            name += "_"
        return name

    def _keep(self, out: Var, value: str) -> str:
        """Such a result is copied to where it must lie, if that matters to anyone."""
        layout = self.layout
        placed = out in layout.timed or out in layout.home or out in layout.stacks or out in layout.next_carry
        return f"copy({value}, out={self.name(out)})" if placed else f"{self.name(out)} = {value}"

    def _number(self, value: Any, equation: Equation) -> str:
        """A number beside arrays is an array of no axes: beside one, a call takes half the time that it takes beside a
        Python number."""
        dtype = equation.outs[0].dtype
        if equation.primitive not in _ARITHMETIC or type(value) not in (int, float) or not isfinite(value):
            return self._option(value)
        if dtype.kind != "f":
            return self._option(value)
        key = (repr(value), dtype)  # -0.0 is not 0.0
        if key not in self.numbers:
            word = _WORDS.get(value)
            taken = word in (None, *self.numbers.values(), *self.given.values())
            self.numbers[key] = f"number{len(self.numbers)}" if taken else str(word)
        name = self.numbers[key]
        self.functions[name] = np.array(value, dtype)
        return name

    def _option(self, value: Any) -> str:
        """A plain option is written out; another (a slice, a dtype) stands in a table."""
        plain = value if isinstance(value, tuple) else (value,)
        if all(v is None or type(v) in (int, bool, str) or (type(v) is float and isfinite(v)) for v in plain):
            return repr(value)
        key = f"o{len(self.options)}"
        self.options[key] = value
        return f"options[{key!r}]"
