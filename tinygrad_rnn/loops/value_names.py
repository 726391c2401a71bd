"""What `explain` calls the values of a scan: as the step does, and what is made of them by what it is made of.

Of a step with x, h and gates i, f and o:

    x  keep  h'              as the step does; h' is the next h
    t1  t2                   what has no name in the step
    dx  dh' so far           the gradient of x, and the part of that of h' that comes from later steps
    [i f o]  [W_i W_f W_o]   stacks, by what lies in them
    Wᵀ                       made of a weight alone
    u1  u2                   what else differentiating and merging have made
"""

from __future__ import annotations

import math
import re
from keyword import iskeyword
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.compiling import BackwardLoop
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.kernels import KERNELS
from tinygrad_rnn.loops.local_names import watched_locals
from tinygrad_rnn.loops.placeholders import Placeholder
from tinygrad_rnn.loops.program import Program, Var
from tinygrad_rnn.loops.recorder import Recorder, record_step
from tinygrad_rnn.loops.trees import flat
from tinygrad_rnn.loops.unrolling import Step

Names = dict[Var, str]


def called(v: Any, names: Names) -> str:
    """What a value is called; an option is written out."""
    return names.get(v, f"v{v.number}") if isinstance(v, Var) else repr(v)


def is_made_up(name: str) -> bool:
    """Whether it is the name, or that of the gradient, of what has none in the step."""
    return re.fullmatch(r"d*(?:[tu]\d+|.*\.sum)", name) is not None


# --- As recorded -----------------------------------------------------------------------------------------------


def named_recording(step: Step, state: Any, xs: Any, recorder: Recorder | None = None) -> tuple[Program, Names]:
    """The recorded step, and what its values are called, each by a name of its own: first of all as in the functions
    of the step. `recorder` takes it down, where that is to be another one. Raises CannotRecord."""
    names: Names = {}
    taken: set[str] = set()

    def call(var: Var, name: str) -> None:
        while name in taken:
            name += "'"
        if var not in names:
            names[var] = name
            taken.add(name)

    def see(name: str, value: Any) -> None:
        for i, leaf in enumerate(leaves := flat(value)):
            if isinstance(leaf, Placeholder) and leaf.var not in names:
                call(leaf.var, name if len(leaves) == 1 else f"{name}{i}")

    with watched_locals(see):
        program, _, _ = record_step(step, state, xs, recorder)
    for var, operand in zip(program.captured, program.operands, strict=True):
        call(var, _weight_name(operand))
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
    outs = [out for e in program.equations for out in e.outs]
    for number, out in enumerate((out for out in outs if out not in names), 1):
        call(out, f"t{number}")
    return program, names


def _weight_name(operand: Any) -> str:
    return getattr(operand, "name", "") or "w"


# --- As compiled -----------------------------------------------------------------------------------------------


def name_compiled(forward: Loop, backward: BackwardLoop, names: Names) -> None:
    """Adds, to what the values of the step are called, names for everything that was made of them."""
    loops = (forward, backward.loop)
    _name_stacks(forward, names)
    _name_gradients(backward, names)
    _number_the_rest(loops, names)
    _name_stacks(backward.loop, names)
    for loop in loops:
        _name_constants(loop, names)


def _name_gradients(backward: BackwardLoop, names: Names) -> None:
    program, step = backward.program, backward.step
    for g, v in step.gradients.items():
        names.setdefault(g, f"d{names[v]}")
    for g, v in zip(step.g_new_states, program.states, strict=True):
        names[g] = f"d{names[v]}' so far"
    for g, v in zip(step.g_ys, program.ys, strict=True):
        names[g] = "dy" if len(program.ys) == 1 else f"dy {names[v]}"
    for v, operand in zip(step.constants, step.operands, strict=True):
        names[v] = _weight_name(operand)


def _name_stacks(loop: Loop, names: Names) -> None:
    """A stack, and each run of its slices, is called by the slices: [i f o], [i f]. One that has no value is a dot."""
    slices: dict[Var, dict[int, str]] = {}
    for v, (stack, lo, hi) in loop.layout.home.items():
        if hi is None:
            slices.setdefault(stack, {})[lo] = called(v, names)

    def run(stack: Var, lo: int, hi: int) -> str:
        return f"[{' '.join(slices[stack].get(i, '·') for i in range(lo, hi))}]"

    for v, (stack, lo, hi) in loop.layout.home.items():
        if hi is not None:
            names[v] = run(stack, lo, hi)
    for stack in slices:
        names[stack] = run(stack, 0, stack.shape[0])


def _number_the_rest(loops: tuple[Loop, ...], names: Names) -> None:
    """Names for what has none, but for stacks and runs, which get theirs from these."""
    stacks = {stack for loop in loops for stack in loop.layout.stacks}
    number = 0
    for loop in loops:
        parts, home = loop.parts, loop.layout.home
        slices = [v for v, place in home.items() if place.hi is None]
        outs = [out for e in (*parts.once, *parts.before, *parts.loop, *parts.after) for out in e.outs]
        for v in (*slices, *(out for out in outs if out not in home)):
            if v not in names and v not in stacks:
                number += 1
                names[v] = f"u{number}"


def _name_constants(loop: Loop, names: Names) -> None:
    """What is made of weights alone is called by how it is made."""
    for e in loop.parts.once:
        if e.primitive is ops.swapaxes:
            names[e.outs[0]] = f"{called(e.args[0], names)}ᵀ"
        elif e.primitive.name == "stacked":
            names[e.outs[0]] = f"[{' '.join(called(a, names) for a in e.args)}]"


# --- In the source ---------------------------------------------------------------------------------------------

_RESERVED = {*KERNELS, "steps", "cycle", "options", "range", "zip", *dir(math), *vars(ops)}
"""What the source of a loop uses already."""


def identifiers(names: Names) -> Names:
    """The names as Python's, each another: h' is h_new, and [i f] is i_f."""
    found: Names = {}
    taken: set[str] = set()
    for v, name in names.items():
        text = re.sub(r"\W+", "_", name.replace("'", "_new")).strip("_")
        text = text if text.isidentifier() and not iskeyword(text) and text not in _RESERVED else f"v_{text}"
        while text in taken:
            text += "_"
        taken.add(text)
        found[v] = text
    return found
