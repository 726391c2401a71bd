"""named_values: which value of a recorded step is traced, and by which name.

The equations of a step know in which gate they were recorded, and no more. The rules here find out what a gate is: its
ends are what it makes and does not read again itself, and its value is the nearest activation after them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.program import Equation, Program, Var

ACTIVATIONS = frozenset(
    getattr(ops, name) for name in "sigmoid log_sigmoid hard_sigmoid tanh softmax relu leaky_relu elu softplus".split()
)

LOGARITHM = ".log"
"""How the names of values end that are logarithms of gates."""


def named_values(program: Program, states: list[str]) -> dict[str, Var]:
    """What is traced of a recorded step: gates and their sums as the step comes to them, then tags, then states.

    The step of an LSTM, with the gates i, f, o, g and the states h, c,

        c = sigmoid(i(x, h)) * tanh(g(x, h)) + sigmoid(f(x, h)) * c
        h = sigmoid(o(x, h)) * tanh(c)

    gives i, i.pre, g, g.pre, f, f.pre, o, o.pre, h, c: "i" is what the sigmoid returns, "i.pre" the sum that it takes.

    A gate that is used twice, in a step with the state h,

        h = tanh(n(x, h))
        return sigmoid(n(x, h))

    gives n, n.pre, n.2, n.2.pre, h."""
    found: dict[str, Var] = {}
    for gate, equations in equations_of_gates(program).items():
        found |= values_of_gate(program, gate_name(gate, states), equations)
    found |= program.tags
    found |= dict(zip(states, program.new_states, strict=True))
    return found


def gate_name(gate: str, states: list[str]) -> str:
    """A gate that is called as a state is "h.gate", since "h" is the state."""
    return f"{gate}.gate" if gate in states else gate


def values_of_gate(program: Program, name: str, equations: list[Equation]) -> dict[str, Var]:
    """What is traced of one gate: its activations; what is left without one, as the n of MinGRU, stands for itself."""
    found: dict[str, Var] = {}
    for count, (activation, ends) in enumerate(ends_by_activation(program, equations), 1):
        each = numbered(name, count)
        if activation is not None:
            found |= activated(each, activation, ends)
        elif len(ends) == 1:
            found[each] = ends[0]
        else:
            found |= parted(program, each, ends)
    return found


def numbered(name: str, count: int) -> str:
    """The first use of a gate has its name, the others "n.2", "n.3"."""
    return name if count == 1 else f"{name}.{count}"


def activated(name: str, activation: Equation, parts: list[Var]) -> dict[str, Var]:
    """A gate that is squashed: "n" is the activation, "n.pre" the gate's own sum, without what the cell adds to it (as
    peepholes do). Where the cell itself adds the gate's parts (GRU's n), it is what the activation takes. A gate in log
    space, log_sigmoid of its sum, is "f.log", and "f" what that is the logarithm of."""
    value = f"{name}{LOGARITHM}" if activation.primitive is ops.log_sigmoid else name
    return {value: activation.outs[0], f"{name}.pre": parts[0] if len(parts) == 1 else activation.reads[0]}


def parted(program: Program, name: str, ends: list[Var]) -> dict[str, Var]:
    """A gate whose two parts are never added, as the m of a multiplicative LSTM: "m.input" is made from the inputs,
    "m.recurrent" is not."""
    inputs = made_from(program, program.xs)
    return {f"{name}.{'input' if v in inputs else 'recurrent'}": v for v in ends}


# --- What a step tells of its gates ----------------------------------------------------------------------------


def equations_of_gates(program: Program) -> dict[str, list[Equation]]:
    """By the name of the gate that they were recorded in, in the order of the step."""
    found: dict[str, list[Equation]] = {}
    for e in program.equations:
        for key, name in e.where:
            if key == "gate":
                found.setdefault(name, []).append(e)
    return found


def ends_by_activation(program: Program, equations: list[Equation]) -> list[tuple[Equation | None, list[Var]]]:
    """What a gate ends in, by the activation that squashes it, in the order of the step: the parts of a sum by the one
    that is behind them all. Those of a use that none squashes are together."""
    found: dict[Any, tuple[Equation | None, list[Var]]] = {}
    for ends in ends_by_use(equations):
        behind = [activations_behind(program, end) for end in ends]
        common = [a for a in behind[0] if all(a in others for others in behind)]
        for end, activations in zip(ends, behind, strict=True):
            nearest = next(iter(common or activations), None)
            found.setdefault(nearest or ends[0], (nearest, []))[1].append(end)
    return list(found.values())


def ends_by_use(equations: list[Equation]) -> list[list[Var]]:
    """What these equations make and do not read: of every use of a gate its sum, or the two parts of it. Parts of one
    use are made of different weights, and of different values."""
    read = {v for e in equations for v in e.reads}
    sources: dict[Var, set[Var]] = {}  # of each value of the gate, what it is made of that is none
    for e in equations:
        made_of = set[Var]().union(*(sources.get(v, {v}) for v in e.reads))
        sources |= dict.fromkeys(e.outs, made_of)
    uses: list[list[Var]] = []
    for end in (v for e in equations for v in e.outs if v not in read):
        fitting = (use for use in uses if all(sources[end].isdisjoint(sources[other]) for other in use))
        use = next(fitting, None)
        if use is None:
            uses.append([end])
        else:
            use.append(end)
    return uses


def activations_behind(program: Program, end: Var) -> list[Equation]:
    """The activations that come first after this value, the nearest before the others, not past a state, a product of
    matrices or anything else that is of another shape: behind those they squash something else, a part of it or what
    was found by it."""
    waiting = deque([end])
    seen = {end}
    found = []
    while waiting:
        v = waiting.popleft()
        for e in program.equations:
            if v not in e.reads or e.primitive is ops.matmul or any(out.shape != end.shape for out in e.outs):
                continue
            if e.primitive in ACTIVATIONS:
                found.append(e)
                continue
            fresh = [out for out in e.outs if out not in seen and out not in program.new_states]
            seen.update(fresh)
            waiting += fresh
    return found


def made_from(program: Program, sources: list[Var]) -> set[Var]:
    """All that is made from these values, and they."""
    found = set(sources)
    for e in program.equations:
        if found.intersection(e.reads):
            found.update(e.outs)
    return found
