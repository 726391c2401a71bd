"""explain: what became of a step, to be read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.engines import Engine
from tinygrad_rnn.loops.compiling import BackwardLoop, compile_program
from tinygrad_rnn.loops.contractions import AxisNumbers, Contraction, contracted
from tinygrad_rnn.loops.emitting import Emitted
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.lifting import lifted
from tinygrad_rnn.loops.linear import linear_recurrence
from tinygrad_rnn.loops.lookups import Lookup
from tinygrad_rnn.loops.one_pass import STEPS_FROM
from tinygrad_rnn.loops.placeholders import CannotRecord
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.reading_schedules import INFIX, as_entries, in_short
from tinygrad_rnn.loops.scanning import Heard, listener
from tinygrad_rnn.loops.segments import BLOCK_BYTES
from tinygrad_rnn.loops.totals import Term
from tinygrad_rnn.loops.value_names import Names, called, identifiers, name_compiled, named_recording
from tinygrad_rnn.loops.written.latex import LaTeX
from tinygrad_rnn.loops.written.notation import index_text
from tinygrad_rnn.loops.written.shown import step_lines
from tinygrad_rnn.ops.indexing import _getitem

_WIDTH = 100


def explain(function: Callable[..., Any], *args: Any, form: str | None = None, **options: Any) -> None:
    """Calls `function(*args, **options)` and prints, for every scan in it, what the compiled scan made of its step: the
    step as recorded; what is made of weights alone, before the scan; what goes before, into and after the loop, forward
    and backward; what is kept for the backward pass; the source of both loops in NumPy, and how much that is as machine
    code.

        explain(layer, xs)                  # a layer, or a whole model
        explain(scan, step, state, xs)      # a step of your own
        explain(layer, xs, form="entries")  # the loops of machine code, entry by entry, as a textbook has them
        explain(layer, xs, form="latex")    # the step alone, as equations for TeX

    Values have the names that the step gives them; dx is the gradient of x, [i f o] a stack of three values, and those
    that have no name in the step are t1, t2, ...

    Args:
        function: what is called; it scans once or more.
        args, options: what it is called with.
        form: None for all of that; "entries", and "latex", as above.

    Raises:
        ValueError: where `function` scans nothing, and for another `form`.
    """
    if form not in (None, "entries", "latex"):
        raise ValueError(f'explain: form must be "entries", "latex" or None, got {form!r}')
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
            program, names = named_recording(step, state, xs)
        except CannotRecord as error:
            print(f"A scan of {step.__qualname__} runs as a plain loop: {error}\n")
            continue
        if program.key not in told:
            told.add(program.key)
            if form == "latex":
                lines, symbols = step_lines(program, names)
                print(f"\\[\n{LaTeX(symbols).equations(lines)}\n\\]")
                continue
            print(_Explanation(program, names, form == "entries").text())


# --- The text --------------------------------------------------------------------------------------------------


class _Explanation:
    """What there is to say of one program, compiled for NumPy, or for machine code that is shown by `entries`: all
    values have names first."""

    def __init__(self, program: Program, names: Names, entries: bool) -> None:
        self.recorded, self.names, self.entries = program, names, entries
        self.program, self.lifted = lifted(program)
        self.forward, self.backward = _both_loops(self.program, "machine" if entries else "numpy")
        forward, backward = (self.forward, self.backward) if entries else _both_loops(self.program, "machine")
        self.of_machine = {self.forward: forward, self.backward.loop: backward.loop}
        name_compiled(self.forward, self.backward, names)
        self.identifiers = identifiers(names)

    def text(self) -> str:
        """All of it."""
        program = self.recorded
        given = ", ".join(f"{self.names[v]} {v.shape}" for v in (*program.xs, *program.states))
        handed = ", ".join(self.names[v] for v in program.new_states)
        out = ", ".join(self.names[v] for v in program.ys)
        lines = [
            _rule("The step, as recorded"),
            f"given {given}",
            *(f"    {self._equation(e)}" for e in program.equations),
            f"hands on {handed}; puts out {out}",
            *self._linear(),
            "",
            *self._before(),
            *self._direction("Forward", self.forward),
            *self._kept(),
            "",
            *self._direction("Backward", self.backward.loop),
            *self._blocks(),
            *self._sums(),
            "",
        ]
        return "\n".join(lines)

    def _linear(self) -> list[str]:
        found = linear_recurrence(self.program)
        if found is None:
            return []
        told = [f"{', '.join(self.names[v] for v in found.linear)}: linear in the state, entry by entry"]
        told += [f"    {self.names[v]}' = {self._multiples(of)}" for v, of in found.linear.items()]
        if found.known:
            told.append(f"    known beforehand, of the inputs alone: {', '.join(self.names[v] for v in found.known)}")
        return told

    def _multiples(self, of: frozenset[Var]) -> str:
        """A sum of multiples of these states and a rest."""
        letters = iter("abdefgijklmnopqrstuvwxyz")
        parts = [f"{next(letters)} {self.names[v]}" for v in self.program.states if v in of]
        return f"{' + '.join([*parts, 'c'])}, with {'all' if parts else 'it'} of the input"

    def _before(self) -> list[str]:
        if not self.lifted:
            return []
        title = "from weights alone, on the tape that is around the scan"
        return [_rule("Before the scan"), *self._part(title, self.lifted), ""]

    def _direction(self, title: str, loop: Loop) -> list[str]:
        parts = loop.parts
        lines = [_rule(title)]
        lines += self._part("once, from the weights", [e for e in parts.once if e.primitive is not ops.swapaxes])
        lines += self._part("before the loop, for all T steps at once", parts.before)
        count = len(parts.loop)
        lines += [
            f"in the loop, from the {'last' if loop.layout.reverse else 'first'} step on: {count} operations a step"
        ]
        lines += [f"    {line}" for line in self._loop(loop).rstrip().split("\n")]
        lines += [in_short(self.of_machine[loop])]
        if loop.linear:
            lines += [f"or, from {STEPS_FROM} steps on, in one pass over all of them, where that is faster"]
        lines += self._part("after the loop, for all T steps at once", parts.after)
        return lines

    def _loop(self, loop: Loop) -> str:
        if self.entries and loop.schedule is not None:
            return as_entries(loop, loop.schedule, self.names)
        return Emitted(loop.layout, self.identifiers).source

    def _part(self, title: str, equations: list[Equation]) -> list[str]:
        return [f"{title}{'' if equations else ': nothing'}", *(f"    {self._equation(e)}" for e in equations)]

    def _kept(self) -> list[str]:
        layout = self.forward.layout
        inputs = self.program.xs
        kept = [v for v in self.backward.reads & layout.timed if v not in layout.home and v not in inputs]
        kept.sort(key=lambda v: self.names.get(v, ""))
        size = sum(math.prod(v.shape) * v.dtype.itemsize for v in kept)
        what = ", ".join(self.names.get(v, repr(v)) for v in kept)
        return [f"kept for the backward pass: {what} ({size:,} bytes a step)"]

    def _blocks(self) -> list[str]:
        room = self.backward.room
        steps = max(1, BLOCK_BYTES // room) if room else 0
        return [f"all of it in blocks of {steps} steps: {room:,} bytes a step are made"] if room else []

    def _sums(self) -> list[str]:
        lines = []
        for v, group in zip(self.program.captured, self.backward.sums, strict=True):
            if group is not None:
                lines.append(f"    d{self.names[v]} = Σ_t " + " + ".join(map(self._term, group)))
        return [f"sums over time, as products over all T steps{'' if lines else ': none'}", *lines]

    def _term(self, term: Term | Contraction | Lookup) -> str:
        if isinstance(term, Contraction):
            return self._contraction(term)
        if isinstance(term, Lookup):
            return f"{self._value(term.values)} in the rows {self._value(term.numbers)}"
        right = self._value(term.right)
        return right if term.left is None else f"{self._value(term.left)}ᵀ @ {right}"

    def _contraction(self, term: Contraction) -> str:
        letters: dict[int, str] = {}

        def spelled(axes: AxisNumbers) -> str:
            return "".join(letters.setdefault(n, chr(ord("a") + len(letters))) for n in axes if n is not None)

        scale = "" if term.scale == 1 else f"{term.scale} * "
        result = spelled(term.axes)
        return f"{scale}[{result}] " + " ".join(f"{self._value(v)}[{spelled(axes)}]" for v, axes in term.factors)

    def _equation(self, e: Equation) -> str:
        left = f"{', '.join(map(self._value, e.outs))} = {self._right(e)}"
        shape = " ".join(str(v.shape) for v in e.outs)
        return f"{left:<{_WIDTH - 30}} {shape}".rstrip()

    def _right(self, e: Equation) -> str:
        args = [self._value(a) for a in e.args]
        if e.primitive in INFIX and len(args) == 2:
            return f"{args[0]} {INFIX[e.primitive][0]} {args[1]}"
        if e.primitive is ops.neg:
            return f"-{args[0]}"
        if e.primitive is _getitem:
            return f"{args[0]}[{index_text(e.args[1], args[2:])}]"
        if e.primitive is ops.swapaxes and len(e.reads[0].shape) == 2:
            return f"{args[0]}ᵀ"
        if e.primitive is contracted:
            return self._contraction(e.params["contraction"])
        if e.primitive.name == "affine":
            return f"{args[0]} @ {args[1]} + {args[2]}"
        if e.primitive.name == "stacked":
            return f"stack({', '.join(args)})"
        if e.primitive.name == "sum_of_products":
            return f"Σ {args[0]} @ {args[1]}"
        args += [f"{key}={value!r}" for key, value in e.params.items()]
        return f"{e.primitive.name}({', '.join(args)})"

    def _value(self, v: Any) -> str:
        return called(v, self.names)


def _both_loops(program: Program, engine: Engine) -> tuple[Loop, BackwardLoop]:
    everything = (*program.captured, *program.states, *program.xs)
    compiled = compile_program(program, (True,) * len(everything), engine)
    if compiled.backward is None:
        raise RuntimeError("explain needs a program with its backward loop")
    return compiled.forward, compiled.backward


def _rule(title: str) -> str:
    return f"── {title} ".ljust(_WIDTH, "─")
