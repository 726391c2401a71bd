"""Where the values of a loop lie: with a time axis, side by side in a stack, or only as long as a step lasts.

T steps, B rows, H units; carry h goes into a step and h' comes out of it:

    timed        x      │ x 0 │ x 1 │ ... │ x T-1 │          (T, B, H)
                                                              step t has x[t]

    a stack      z  z_i │  0  │  1  │ ... │  T-1  │          (3, T, B, H) in memory: a slice is in one piece
    of three        z_f │  0  │  1  │ ... │  T-1  │          (T, 3, B, H) as it is seen: step t has z[t]
    gates           z_o │  0  │  1  │ ... │  T-1  │          home[z_f] = Place(z, 1): all steps of it are z[:, 1]

    paired       both   │ h 0 │ h 1 │ ... │ h T-1 │ h T │    (T + 1, B, H)
                        └───────── h ─────────┘               step t reads both[t] and makes both[t + 1]
                              └───────── h' ────────────┘     (in reverse it is the other way round: h is both[1:])

    ringed       a, b   │ h 0 │  │ h 1 │                     2 arrays (B, H)
                        │ h 2 │  │ h 3 │ ...                 h is a and h' is b, at the next step h is b and h' is a

    scratch      s0     │ t1, then t2, ... │                 (B, H)
                 s1     │ z_i │ z_f │ z_o  │                 (3, B, H): a stack of which no step is kept
                                                              both as long as a step lasts: see scratch.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.loops.places import Home, Place
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.splitting import Parts

Env = dict[Var, Array]
"""What values are: an array for each Var, with a leading time axis where the layout has it timed."""


class Layout:
    """What an emitter is told about the loop of a split program.

    `equations` are the loop's. `carry` comes from step to step and `next_carry` is what a step makes of it, each made
    in the loop by an equation of its own. `timed` values have a time axis; of these `stored` are made in the loop.
    `paired` states are kept for all steps, in one array of T + 1 that both names share; of `ringed` ones only two
    exist, which change places. `home` says which values lie in a stack. `reverse`: the last step comes first."""

    def __init__(
        self,
        parts: Parts,
        carry: list[Var],
        next_carry: list[Var],
        timed: Iterable[Var],
        kept: Iterable[Var],
        home: Home,
        reverse: bool,
    ) -> None:
        self.equations = parts.loop
        self.carry, self.next_carry, self.home, self.reverse = carry, next_carry, home, reverse
        self.stacks = {place.stack for place in home.values()}
        self.made = _made_by(parts.loop, home)
        later = {*kept, *(a for equation in parts.after for a in equation.reads)}
        self.stored = _stored(self.made, later, home)
        pairs = [*zip(carry, next_carry, strict=True)]
        # What a step makes of a state is what the next one reads: where either is wanted later, one array has both.
        self.paired = [(c, n) for c, n in pairs if c in later or n in self.stored]
        # Of the others nobody wants an earlier step: two arrays are enough, and stay in cache.
        self.ringed = [pair for pair in pairs if pair not in self.paired]
        # What is calculated for all steps at once has a time axis, and so has what is read or stored with one.
        at_once = _made_by(parts.before, {}) | _made_by(parts.after, {})
        self.timed = {*timed, *at_once, *self.stored, *(v for pair in self.paired for v in pair)}
        self.timed |= {v for v, place in home.items() if place.stack in self.timed}
        self.slices: dict[Var, list[tuple[Var, Place]]] = {}
        """Of each stack, the values that lie in it."""
        for v, place in home.items():
            self.slices.setdefault(place.stack, []).append((v, place))
        apart = self.stored - {*next_carry, *home, *(c for c, _ in self.paired)}
        self._apart = sorted(apart, key=lambda v: v.number)

    def allocate(self, steps: int, env: Env, start: Sequence[Array]) -> tuple[dict[Var, tuple[Array, Array]], Env]:
        """Makes the arrays that the loop fills: into `env` those with a time axis; returned are the two arrays of each
        ringed state, in the order of use, and for each state the array in which its last value will stand."""
        lib = xp(start[0] if start else next(iter(env.values())))
        rings: dict[Var, tuple[Array, Array]] = {}
        ends: Env = {}
        pairs = dict(self.paired)
        for v in self._apart:
            env[v] = over_time(v, steps, v in self.stacks, lib)
            self.show(env, v)
        for c, n, value in zip(self.carry, self.next_carry, start, strict=True):
            if c in pairs:
                both = empty_buffer((steps + 1, *c.shape), c.dtype, lib)
                both[-1 if self.reverse else 0] = value
                env[c], env[n] = (both[1:], both[:-1]) if self.reverse else (both[:-1], both[1:])
                ends[c] = both[0 if self.reverse else -1, ...]
            else:
                rings[c] = (empty_buffer(c.shape, c.dtype, lib), empty_buffer(c.shape, c.dtype, lib))
                rings[c][0][...] = value
                ends[c] = rings[c][steps % 2]
        return rings, ends

    def show(self, env: Env, stack: Var) -> None:
        """Gives the values that lie in a stack, which is there; in one that is none, there are none."""
        for v, place in self.slices.get(stack, ()):
            if v not in env:
                env[v] = place.of(env[stack], stack in self.timed)

    def show_slices(self, env: Env) -> None:
        """The same of all stacks that are there."""
        for stack in self.slices:
            if stack in env:
                self.show(env, stack)


def _made_by(equations: list[Equation], home: Home) -> set[Var]:
    """What equations make; with a slice its stack, and with a stack all its slices."""
    made = {out for equation in equations for out in equation.outs}
    made |= {place.stack for v, place in home.items() if v in made}
    return made | {v for v, place in home.items() if place.stack in made}


def _stored(made: set[Var], later: set[Var], home: Home) -> set[Var]:
    """Of what the loop makes, that which is read after the loop has ended: every step of it must still be there then. A
    slice is stored with its stack."""
    stored = made & later
    return stored | {home[v].stack for v in stored if v in home}


def over_time(v: Var, steps: int, stack: bool, lib: Any = np) -> Array:
    """An array of `lib` for all steps of a value. In a stack each slice is in one piece, all its steps together."""
    if stack:
        return empty_buffer((v.shape[0], steps, *v.shape[1:]), v.dtype, lib).swapaxes(0, 1)
    return empty_buffer((steps, *v.shape), v.dtype, lib)
