"""explain: what became of a step, to be read."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.frames import owner
from tinygrad_rnn.loops.compiling import Compiled
from tinygrad_rnn.loops.emitting import Emitted
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.recorder import CannotRecord, Placeholder, record_step
from tinygrad_rnn.loops.scanning import Heard, listener
from tinygrad_rnn.loops.totals import Term
from tinygrad_rnn.loops.trees import flat
from tinygrad_rnn.loops.unrolling import Step
from tinygrad_rnn.ops.indexing import _getitem

_WIDTH = 100


def explain(function: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Calls `function(*args, **options)` and prints, for every scan in it, what the compiled scan made of its step: the
    step as recorded; what goes before, into and after the loop, forward and backward; what is kept for the backward
    pass; and the source of both loops.

        explain(layer, xs)              # a layer, or a whole model
        explain(scan, step, state, xs)  # a step of your own

    Values have the names that the step gives them; dx is the gradient of x, [i f o] a stack of three values, and those
    that have no name in the step are t1, t2, ... Raises ValueError where `function` scans nothing."""
    heard: Heard = []
    token = listener.set(heard)
    try:
        function(*args, **options)
    finally:
        listener.reset(token)
    if not heard:
        name = getattr(function, "__name__", type(function).__name__)
        raise ValueError(f"explain: a function that scans was expected (explain(layer, xs)), and {name} does not")
    told = set()
    for step, state, xs in heard:
        try:
            program, names = _named_recording(step, state, xs)
        except CannotRecord as error:
            print(f"A scan of {step.__qualname__} runs as a plain loop: {error}\n")
            continue
        if program.key not in told:
            told.add(program.key)
            print(_Explanation(program, names).text())


# --- Names -----------------------------------------------------------------------------------------------------


def _named_recording(step: Step, state: Any, xs: Any) -> tuple[Program, dict[Var, str]]:
    """The recorded step, and how it calls its values: they are seen in the local variables of its functions."""
    names: dict[Var, str] = {}
    taken: set[str] = set()

    def call(var: Var, name: str) -> None:
        while name in taken:
            name += "'"
        if var not in names:
            names[var] = name
            taken.add(name)

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "return") and owner(frame) != "engine":
            for name, value in frame.f_locals.items():
                for i, leaf in enumerate(leaves := flat(value)):
                    if isinstance(leaf, Placeholder) and leaf.var not in names:
                        call(leaf.var, name if len(leaves) == 1 else f"{name}{i}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        program, _, _ = record_step(step, state, xs)
    finally:
        sys.setprofile(before)
    for var, operand in zip(program.captured, program.operands, strict=True):
        call(var, getattr(operand, "name", "") or "w")
    for vars_, name in ((program.states, "s"), (program.xs, "x")):
        for var in vars_:
            call(var, name)
    for old, new in zip(program.states, program.new_states, strict=True):
        call(new, f"{names[old]}'")
    for var in program.ys:
        call(var, "y")
    sums = {dict(e.where).get("gate"): e.outs[0] for e in program.equations}  # a gate's last value
    for gate, var in sums.items():
        if gate is not None:
            call(var, f"{gate}.sum")
    number = 0
    for equation in program.equations:
        for out in equation.outs:
            if out not in names:
                number += 1
                call(out, f"t{number}")
    return program, names


def _gradient_names(compiled: Compiled, names: dict[Var, str]) -> None:
    backward = compiled.backward
    assert backward is not None
    program = compiled.program
    for g, v in backward.gradients.items():
        names.setdefault(g, f"d{names[v]}")
    for g, v in zip(backward.g_new_states, program.states, strict=True):
        names[g] = f"d{names[v]}' so far"
    for g, v in zip(backward.g_ys, program.ys, strict=True):
        names[g] = "dy" if len(program.ys) == 1 else f"dy {names[v]}"
    for v, operand in zip(backward.constants, backward.operands, strict=True):
        names[v] = getattr(operand, "name", "") or "w"


def _stack_names(loop: Loop, names: dict[Var, str]) -> None:
    """A stack is called by its slices."""
    slices: dict[Var, dict[int, str]] = {}
    for v, (stack, lo, hi) in loop.layout.home.items():
        if hi is None:
            slices.setdefault(stack, {})[lo] = names.get(v, f"v{v.number}")
    for v, (stack, lo, hi) in loop.layout.home.items():
        if hi is not None:
            names[v] = f"[{' '.join(slices[stack].get(i, '·') for i in range(lo, hi))}]"
    for stack, parts in slices.items():
        names[stack] = f"[{' '.join(parts.get(i, '·') for i in range(stack.shape[0]))}]"


def _identifiers(names: dict[Var, str]) -> dict[Var, str]:
    found: dict[Var, str] = {}
    taken: set[str] = set()
    for v, name in names.items():
        text = re.sub(r"\W+", "_", name.replace("'", "_new")).strip("_")
        text = text if text.isidentifier() and text not in _RESERVED else f"v_{text}"
        while text in taken:
            text += "_"
        taken.add(text)
        found[v] = text
    return found


_RESERVED = {"steps", "cycle", "options", "copy", "where", "clip", "sum", "mean", "broadcast", *dir(math), *vars(ops)}


# --- The text --------------------------------------------------------------------------------------------------

_INFIX = {ops.add: "+", ops.sub: "-", ops.mul: "*", ops.div: "/", ops.matmul: "@", ops.pow: "**"}
_INFIX |= {ops.equal: "==", ops.not_equal: "!=", ops.less: "<", ops.greater: ">"}


class _Explanation:
    def __init__(self, program: Program, names: dict[Var, str]) -> None:
        self.program, self.names = program, names
        self.compiled = Compiled(program, (True,) * (len(program.operands) + len(program.states) + len(program.xs)))
        _stack_names(self.compiled.forward_loop, names)
        _gradient_names(self.compiled, names)
        number = 0
        for loop in (self.compiled.forward_loop, self.compiled.backward_loop):
            parts = loop.parts
            slices = [v for v, place in loop.layout.home.items() if place.hi is None]
            outs = [out for e in (*parts.once, *parts.before, *parts.loop, *parts.after) for out in e.outs]
            for v in (*slices, *outs):
                if v not in names and v not in self._stacks() and (v in slices or v not in loop.layout.home):
                    number += 1
                    names[v] = f"u{number}"
        _stack_names(self.compiled.backward_loop, names)
        self._name_constants()
        self.identifiers = _identifiers(names)

    def _stacks(self) -> set[Var]:
        return self.compiled.forward_loop.layout.stacks | self.compiled.backward_loop.layout.stacks

    def _name_constants(self) -> None:
        """What is made of weights alone is called by how it is made."""
        for loop in (self.compiled.forward_loop, self.compiled.backward_loop):
            for e in loop.parts.once:
                if e.primitive is ops.swapaxes:
                    self.names[e.outs[0]] = f"{self._value(e.args[0])}ᵀ"
                elif e.primitive.name == "stacked":
                    self.names[e.outs[0]] = f"[{' '.join(map(self._value, e.args))}]"

    def text(self) -> str:
        """All of it."""
        program, compiled = self.program, self.compiled
        given = ", ".join(f"{self.names[v]} {v.shape}" for v in (*program.xs, *program.states))
        handed = ", ".join(self.names[v] for v in program.new_states)
        out = ", ".join(self.names[v] for v in program.ys)
        lines = [
            _rule("The step, as recorded"),
            f"given {given}",
            *(f"    {self._equation(e)}" for e in program.equations),
            f"hands on {handed}; puts out {out}",
            "",
            *self._direction("Forward", compiled.forward_loop),
            *self._kept(),
            "",
            *self._direction("Backward", compiled.backward_loop),
            *self._sums(),
            "",
        ]
        return "\n".join(lines)

    def _direction(self, title: str, loop: Loop) -> list[str]:
        parts = loop.parts
        source = Emitted(loop.layout, self.identifiers).source
        lines = [_rule(title)]
        lines += self._part("once, from the weights", [e for e in parts.once if e.primitive is not ops.swapaxes])
        lines += self._part("before the loop, for all T steps at once", parts.before)
        count = len(parts.loop)
        lines += [
            f"in the loop, from the {'last' if loop.layout.reverse else 'first'} step on: {count} operations a step"
        ]
        lines += [f"    {line}" for line in source.rstrip().split("\n")]
        lines += self._part("after the loop, for all T steps at once", parts.after)
        return lines

    def _part(self, title: str, equations: list[Equation]) -> list[str]:
        return [f"{title}{'' if equations else ': nothing'}", *(f"    {self._equation(e)}" for e in equations)]

    def _kept(self) -> list[str]:
        layout = self.compiled.forward_loop.layout
        inputs = self.program.xs
        kept = [v for v in self.compiled.read & layout.timed if v not in layout.home and v not in inputs]
        kept.sort(key=lambda v: self.names.get(v, ""))
        size = sum(math.prod(v.shape) * v.dtype.itemsize for v in kept)
        what = ", ".join(self.names.get(v, repr(v)) for v in kept)
        return [f"kept for the backward pass: {what} ({size:,} bytes a step)"]

    def _sums(self) -> list[str]:
        lines = []
        for v, group in zip(self.program.captured, self.compiled.sums, strict=True):
            if group is not None:
                lines.append(f"    d{self.names[v]} = Σ " + " + ".join(map(self._term, group)))
        return [f"sums over time, as products over all T steps{'' if lines else ': none'}", *lines]

    def _term(self, term: Term) -> str:
        right = self._value(term.right)
        return right if term.left is None else f"{self._value(term.left)}ᵀ @ {right}"

    def _equation(self, e: Equation) -> str:
        left = f"{', '.join(map(self._value, e.outs))} = {self._right(e)}"
        shape = " ".join(str(v.shape) for v in e.outs)
        return f"{left:<{_WIDTH - 30}} {shape}".rstrip()

    def _right(self, e: Equation) -> str:
        args = [self._value(a) for a in e.args]
        if e.primitive in _INFIX and len(args) == 2:
            return f"{args[0]} {_INFIX[e.primitive]} {args[1]}"
        if e.primitive is ops.neg:
            return f"-{args[0]}"
        if e.primitive is _getitem:
            return f"{args[0]}[{_index(e.args[1])}]"
        if e.primitive is ops.swapaxes and len(e.reads[0].shape) == 2:
            return f"{args[0]}ᵀ"
        if e.primitive.name == "affine":
            return f"{args[0]} @ {args[1]} + {args[2]}"
        if e.primitive.name == "stacked":
            return f"stack({', '.join(args)})"
        if e.primitive.name == "sum_of_products":
            return f"Σ {args[0]} @ {args[1]}"
        args += [f"{key}={value!r}" for key, value in e.params.items()]
        return f"{e.primitive.name}({', '.join(args)})"

    def _value(self, v: Any) -> str:
        return self.names.get(v, f"v{v.number}") if isinstance(v, Var) else repr(v)


def _index(index: Any) -> str:
    def one(part: Any) -> str:
        if not isinstance(part, slice):
            return "..." if part is Ellipsis else repr(part)
        ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
        return ":".join(ends) + ("" if part.step is None else f":{part.step}")

    return ", ".join(map(one, index if isinstance(index, tuple) else (index,)))


def _rule(title: str) -> str:
    return f"── {title} ".ljust(_WIDTH, "─")
