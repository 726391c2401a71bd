"""The loop of a split program as straight-line NumPy: one call per op, into buffers that are there already.

This is one emitter. Another (compiled kernels, CuPy) takes the same Layout and offers the same `source` and `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import cycle
from math import isfinite
from textwrap import fill
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array
from tinygrad_rnn.blas import product, rows_at_a_time
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.loops.layout import Env, Layout
from tinygrad_rnn.loops.merging import Place
from tinygrad_rnn.loops.products import sum_of_products
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.ops.arithmetic import _clip
from tinygrad_rnn.tape import Primitive, primitive


@primitive
def copy(x: Array) -> Array:
    """The same numbers in an array of their own."""
    return x.copy()


copy.vjp(lambda g, out, x: g)


# --- Ops that write into a given array -------------------------------------------------------------------------


@cache
def _half(dtype: np.dtype[Any]) -> Array:
    return np.array(0.5, dtype)


def _sigmoid(x: Array, scratch: Array, out: Array) -> None:
    half = _half(out.dtype)
    np.multiply(x, half, out=scratch)
    np.tanh(scratch, out=scratch)
    np.multiply(scratch, half, out=scratch)
    np.add(scratch, half, out=out)


def _hard_sigmoid(x: Array, out: Array) -> None:
    np.multiply(x, 0.2, out=out)
    np.add(out, 0.5, out=out)
    np.clip(out, 0, 1, out=out)


def _where(condition: Array, x: Array, y: Array, out: Array) -> None:
    np.copyto(out, y)
    np.copyto(out, x, where=np.asarray(condition, bool))


def _copy(x: Array, out: Array) -> None:
    np.copyto(out, x)


def _sum(x: Array, axis: Any = None, keepdims: bool = False, *, out: Array) -> None:
    np.add.reduce(x, axis=axis, keepdims=keepdims, out=out)


def _mean(x: Array, axis: Any = None, keepdims: bool = False, *, out: Array) -> None:
    if x.dtype.itemsize < 4 or x.dtype.kind != "f" or not x.size:
        np.copyto(out, np.mean(x, axis=axis, keepdims=keepdims))
    else:  # the same, in less than half the time
        np.add.reduce(x, axis=axis, keepdims=keepdims, out=out)
        np.divide(out, x.size // out.size, out=out)


def _sum_of_products(a: Array, b: Array, scratch: Array, out: Array) -> None:
    product(a, b, scratch)
    np.add.reduce(scratch, axis=0, out=out)


_INTO: dict[Primitive[Any], tuple[str, Callable[..., Any]]] = {
    getattr(ops, name): (numpy_name, getattr(np, numpy_name))
    for name, numpy_name in {
        "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "square": "square",
        "sqrt": "sqrt", "abs": "absolute", "exp": "exp", "log": "log", "tanh": "tanh",
        "sin": "sin", "cos": "cos", "maximum": "maximum", "minimum": "minimum", "matmul": "matmul", "equal": "equal",
        "less": "less", "greater": "greater", "less_equal": "less_equal", "greater_equal": "greater_equal",
    }.items()
} | {
    ops.sigmoid: ("sigmoid", _sigmoid),
    ops.hard_sigmoid: ("hard_sigmoid", _hard_sigmoid),
    ops.reciprocal: ("reciprocal", lambda x, out: np.divide(1, x, out=out)),
    ops.where: ("where", _where),
    ops.sum: ("sum", _sum),
    ops.mean: ("mean", _mean),
    ops.broadcast_to: ("broadcast", lambda x, shape, out: np.copyto(out, x)),
    _clip: ("clip", np.clip),
    sum_of_products: ("sum_of_products", _sum_of_products),
    copy: ("copy", _copy),
}  # fmt: skip
"""Their names in the source, and what they call."""

_ARITHMETIC = frozenset({ops.add, ops.sub, ops.mul, ops.div, ops.maximum, ops.minimum})

_WORDS: dict[float, str] = {-1: "minus_one", 0.5: "half", 1: "one", 2: "two"}

_FUNCTIONS = {name: function for name, function in _INTO.values()} | {"product": product}


def _function(equation: Equation) -> str:
    if equation.primitive is ops.matmul and all(len(a.shape) >= 2 for a in equation.args):
        left, right = equation.args
        if rows_at_a_time(left.shape[-2], *right.shape[-2:]):
            return "product"
    return _INTO[equation.primitive][0]


_APART = frozenset({ops.matmul, ops.where, ops.sum, ops.mean, ops.broadcast_to, sum_of_products})
"""Of these, the ones whose result must not lie where an argument does."""


def writes(equation: Equation) -> bool:
    """Whether its result can be written into a given array; otherwise it comes in a new one."""
    return equation.primitive in _INTO and not equation.several


def _rows(x: Array) -> Any:
    """Something that gives a writable view of each time step: an array does, but for numbers."""
    return [x[t : t + 1].reshape(()) for t in range(len(x))] if x.ndim == 1 else x


# --- Writing the source ----------------------------------------------------------------------------------------


def _wrapped(names: Iterable[str], indent: int) -> str:
    return fill(", ".join(names), 100, initial_indent=" " * indent, subsequent_indent=" " * indent)


class Emitted:
    """A loop as a Python function; `source` is its text. `names` are identifiers for values, where they have any."""

    def __init__(self, layout: Layout, names: Mapping[Var, str] | None = None) -> None:
        self.layout = layout
        self.given = names or {}
        self.names: dict[Var, str] = {}
        self.scratch: list[tuple[str, Var]] = []
        self.options: dict[str, Any] = {}
        self.numbers: dict[tuple[str, Any], str] = {}
        self.functions: dict[str, Any] = _FUNCTIONS | {"zip": zip, "range": range, "cycle": cycle}
        equations, timed = layout.equations, layout.timed
        reads = {a for equation in equations for a in equation.reads}
        touched = reads | {out for equation in equations for out in equation.outs}

        def chosen(those: Iterable[Var]) -> list[Var]:
            return sorted(those, key=lambda v: v.number)

        self.stepped = chosen(v for v in touched if v in timed)
        bound = {*self.stepped, *(v for pair in layout.ringed for v in pair)}
        self.slices = chosen(v for v in touched - bound if v in layout.home and layout.home[v].stack in layout.made)
        self._place_scratch(bound)
        self.constants = chosen(v for v in reads - bound if v not in layout.made and v not in self.slices)
        self._write()

    def _write(self) -> None:
        lines = [self._line(equation) for equation in self.layout.equations] or ["pass"]
        order = "[::-1]" if self.layout.reverse else ""
        columns = [("_", "range(steps)")]  # it alone ends the loop where all the others go round
        columns += [(self.name(v), f"{self.name(v)}_t{order}") for v in self.stepped]
        outer = [f"{self.name(v)}_t" for v in self.stepped]
        for c, n in self.layout.ringed:
            a, b = f"{self.name(c)}_a", f"{self.name(c)}_b"
            columns += [(self.name(c), f"cycle(({a}, {b}))"), (self.name(n), f"cycle(({b}, {a}))")]
            outer += [a, b]
        outer += [name for name, _ in self.scratch]
        outer += [self.name(v) for v in (*self.constants, *self.slices)]
        self.parameters = outer
        head = "for _ in range(steps):"
        if len(columns) > 1:
            targets, sources = (_wrapped(part, 8) for part in zip(*columns, strict=True))
            head = f"for (\n{targets}\n    ) in zip(\n{sources}\n    ):"
        body = "".join(f"\n        {line}" for line in lines)
        remarks = "".join(f"    # {remark}\n" for remark in self._remarks())
        self.source = f"def loop(\n{_wrapped(['steps', *outer], 4)}\n):\n{remarks}    {head}{body}\n"
        namespace: dict[str, Any] = {**self.functions, "options": self.options}
        exec(self.source, namespace)
        self.function = namespace["loop"]

    def _remarks(self) -> Iterable[str]:
        """What the source does not show: which arrays lie in others, or hold a number."""
        for (value, _), name in self.numbers.items():
            yield f"{name} is {value}"
        for c, n in self.layout.paired:
            if {c, n} <= {*self.stepped}:
                yield f"{self.name(n)} of one step is {self.name(c)} of the next"
        for v in (*self.stepped, *self.slices):
            if v in self.layout.home:
                stack, lo, hi = self.layout.home[v]
                yield f"{self.name(v)} is {self.name(stack)}[{lo if hi is None else f'{lo}:{hi}'}]"

    def name(self, v: Any) -> str:
        """How a value is called in the source; an option is written out."""
        if not isinstance(v, Var):
            return repr(v)
        return self.names.get(v) or self.given.get(v) or f"v{v.number}"

    def _place_scratch(self, bound: set[Var]) -> None:
        """Buffers for what lives within a step, used again as soon as it is dead, so that all stay in cache."""
        equations, home, made = self.layout.equations, self.layout.home, self.layout.made
        last: dict[Var, int] = {}
        for at, equation in enumerate(equations):
            for v in (*equation.reads, *equation.outs):
                last[v] = at
        for equation in reversed(equations):
            if not writes(equation):  # its result may be a view of an argument
                for v in equation.reads:
                    last[v] = max(last[v], *(last[out] for out in equation.outs))
        stacks = {home[v].stack for v in made if v in home} - self.layout.timed

        def root(v: Var) -> Var:  # what must be kept for a value to be there
            return home[v].stack if v in home and v not in bound else v

        own = dict(last)
        for v, at in own.items():
            last[root(v)] = max(last.get(root(v), 0), at)
        self.workplace: dict[Equation, str] = {}  # of functions that are given one
        free: dict[Any, list[str]] = {}
        for at, equation in enumerate(equations):
            dying = {root(v) for v in equation.reads if last[root(v)] == at and root(v) in self.names}
            in_place = writes(equation) and equation.primitive not in _APART
            if in_place:
                self._release(dying, free)
            if equation.primitive is sum_of_products:
                a, b = equation.args
                product = Var(-len(self.scratch), (*a.shape[:-1], b.shape[-1]), equation.outs[0].dtype)
                self.workplace[equation] = self._buffer(product, free)
                self._release({product}, free)
            for out in map(root, equation.outs):
                if out not in bound and out not in self.names and out in made and (writes(equation) or out in stacks):
                    self._buffer(out, free)
            if not in_place:
                self._release(dying, free)
            if equation.primitive is ops.sigmoid:  # works where its argument lies, near, if nobody reads that again
                (x,) = equation.reads
                worn = root(x) in self.names and all(own[v] <= at for v in own if self._overlap(x, v))
                self.workplace[equation] = self.name(x if worn else equation.outs[0])

    def _overlap(self, v: Var, other: Var) -> bool:
        a, b = (self.layout.home.get(each, Place(each, 0, 1)) for each in (v, other))
        return a.stack is b.stack and a.lo < (b.hi or b.lo + 1) and b.lo < (a.hi or a.lo + 1)

    def _buffer(self, v: Var, free: dict[Any, list[str]]) -> str:
        waiting = free.get((v.shape, v.dtype))
        if waiting:
            self.names[v] = waiting.pop()
        else:
            self.names[v] = f"s{len(self.scratch)}"
            self.scratch.append((self.names[v], v))
        return self.names[v]

    def _release(self, dying: Iterable[Var], free: dict[Any, list[str]]) -> None:
        for v in sorted(dying, key=lambda v: v.number):
            free.setdefault((v.shape, v.dtype), []).append(self.names[v])

    def _line(self, equation: Equation) -> str:
        args = [self.name(a) if isinstance(a, Var) else self._number(a, equation) for a in equation.args]
        args += [f"{key}={self._option(value)}" for key, value in equation.params.items()]
        if writes(equation):
            args += [self.workplace[equation]] if equation in self.workplace else []
            return f"{_function(equation)}({', '.join(args)}, out={self.name(equation.outs[0])})"
        name, forward = equation.primitive.name, equation.primitive.forward
        name = name if name.isidentifier() and name != "options" else "op"
        while self.functions.setdefault(name, forward) is not forward:
            name += "_"
        call = f"{name}({', '.join(args)})"
        if not equation.several:
            return self._keep(equation.outs[0], call)
        results = [f"r{i}" for i in range(len(equation.outs))]
        kept = [self._keep(out, result) for out, result in zip(equation.outs, results, strict=True)]
        return f"{', '.join(results)}, = {call}; " + "; ".join(kept)

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

    def _keep(self, out: Var, value: str) -> str:
        layout = self.layout
        placed = out in layout.timed or out in layout.home or out in layout.stacks or out in layout.next_carry
        return f"copy({value}, out={self.name(out)})" if placed else f"{self.name(out)} = {value}"

    # --- Running it ---

    def run(self, steps: int, env: Env, rings: dict[Var, tuple[Array, Array]]) -> None:
        """`env` holds what the loop reads from outside and the arrays for what it stores; `rings` the two arrays of
        each ringed state."""
        layout = self.layout
        inside = dict(env)
        arrays: list[Any] = [_rows(env[v]) for v in self.stepped]
        for c, _ in layout.ringed:
            arrays += rings[c]
        buffers = {name: empty_buffer(v.shape, v.dtype) for name, v in self.scratch}
        arrays += buffers.values()
        inside.update((v, buffers[name]) for v, name in self.names.items() if v in layout.stacks)
        layout.show_slices(inside)
        arrays += [inside[v] for v in (*self.constants, *self.slices)]
        self.function(steps, *arrays)
