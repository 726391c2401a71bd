"""The split of a step: what need not wait for the state is done for all time steps at once.

    once      depends neither on the state nor on the time step
    before    depends on the inputs: for all T at once, before the loop
    loop      depends on the state, and the next state on it: step by step, and nothing else is
    after     depends on the state, and no later state on it: for all T at once, after the loop

The same split serves the backward step, whose state is the gradient of the state: weight gradients then come after the
loop, as one product over N = T B rows, and whatever reads only values of the forward pass comes before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tinygrad_rnn.loops.batching import ELEMENTWISE
from tinygrad_rnn.loops.program import Equation, Var


@dataclass(frozen=True, eq=False)
class Parts:
    """Equations by when they run, each in order, without those that nothing needs."""

    once: list[Equation]
    before: list[Equation]
    loop: list[Equation]
    after: list[Equation]


def split_step(
    equations: list[Equation],
    carry: Iterable[Var],
    timed: Iterable[Var],
    next_carry: Iterable[Var],
    results: Iterable[Var],
    whole: Callable[[Equation], bool],
) -> Parts:
    """`carry` comes from step to step, `timed` differs from step to step and is known beforehand, `next_carry` is what
    a step hands on, `results` are asked for at every step; `whole(equation)` tells whether an op can run for all time
    steps at once. One that cannot stays in the loop."""
    stop = set(next_carry)
    equations = _needed(equations, stop | set(results))
    on_carry, on_time = set(carry), set(timed)
    for equation in equations:
        late = any(a in on_time for a in equation.reads)
        if any(a in on_carry for a in equation.reads) or (late and not whole(equation)):
            on_carry.update(equation.outs)
        elif late:
            on_time.update(equation.outs)
    looped = set()
    for equation in reversed(equations):
        if equation.outs[0] in on_carry and (stop.intersection(equation.outs) or not whole(equation)):
            looped.add(equation)
            stop.update(equation.reads)
    parts = Parts([], [], [], [])
    for equation in equations:
        out = equation.outs[0]
        late_part = parts.after if out in on_carry else parts.before if out in on_time else parts.once
        (parts.loop if equation in looped else late_part).append(equation)
    return parts


SINKS_FROM = 2048
"""Entries of a step's value from which a pass over memory costs more than a call."""


def sink(parts: Parts, kept: Iterable[Var]) -> None:
    """Moves cheap work back into the loop, in place: what is done entry by entry to large values, for the loop alone,
    is done there on values that are in cache, instead of once for all T through memory."""
    outside = set(kept) | {a for e in (*parts.after, *parts.once) for a in e.reads}
    stay: list[Equation] = []
    moved: list[Equation] = []
    for e in reversed(parts.before):
        large = math.prod(e.outs[0].shape) >= SINKS_FROM
        if e.primitive in ELEMENTWISE and large and not outside.intersection(e.outs):
            moved.append(e)
        else:
            stay.append(e)
            outside.update(e.reads)
    parts.before[:] = stay[::-1]
    for e in moved:  # last first: each to just before its first reader, which is when its arguments are in cache
        at = next((i for i, other in enumerate(parts.loop) if set(e.outs).intersection(other.reads)), None)
        if at is not None:
            parts.loop.insert(at, e)


def gather(parts: Parts, is_cheap: Callable[[Equation], bool]) -> None:
    """Moves all that is cheap into the loop, in place, but what a product for all time steps at once waits for. For
    code in which what is done entry by entry, or by a matrix in cache, costs no pass over memory of its own."""
    outside = {a for e in parts.once for a in e.reads}
    early: list[Equation] = []
    for e in reversed(parts.before):
        if is_cheap(e) and outside.isdisjoint(e.outs):
            at = next((i for i, other in enumerate(parts.loop) if set(e.outs).intersection(other.reads)), None)
            parts.loop.insert(len(parts.loop) if at is None else at, e)
        else:
            early.append(e)
            outside.update(e.reads)
    parts.before[:] = early[::-1]
    late: list[Equation] = []
    made_late: set[Var] = set()
    for e in parts.after:
        if is_cheap(e) and made_late.isdisjoint(e.reads):
            parts.loop.append(e)
        else:
            late.append(e)
            made_late.update(e.outs)
    parts.after[:] = late


def _needed(equations: list[Equation], wanted: set[Var]) -> list[Equation]:
    wanted = set(wanted)
    kept = []
    for equation in reversed(equations):
        if wanted.intersection(equation.outs):
            kept.append(equation)
            wanted.update(equation.reads)
    return kept[::-1]
