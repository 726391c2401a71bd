"""Where the values of a loop lie: with a time axis, side by side in a stack, or only as long as a step lasts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinygrad_rnn.backend import Array
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.loops.merging import Home
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.splitting import Parts

Env = dict[Var, Array]


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
        made = {out for equation in parts.loop for out in equation.outs}
        made |= {place.stack for v, place in home.items() if v in made}
        made |= {v for v, place in home.items() if place.stack in made}
        later = set(kept) | {a for equation in parts.after for a in equation.reads}
        self.stored = {v for v in made if v in later}
        self.stored |= {home[v].stack for v in self.stored if v in home}
        pairs = [*zip(carry, next_carry, strict=True)]
        self.paired = [(c, n) for c, n in pairs if c in later or n in self.stored]
        self.ringed = [pair for pair in pairs if pair not in self.paired]
        outside = {out for part in (parts.before, parts.after) for e in part for out in e.outs}
        self.timed = set(timed) | outside | self.stored | {v for pair in self.paired for v in pair}
        self.timed |= {v for v, place in home.items() if place.stack in self.timed}
        self.made = made
        self.stacks = {place.stack for place in home.values()}

    def allocate(self, steps: int, env: Env, start: Sequence[Array]) -> tuple[dict[Var, tuple[Array, Array]], Env]:
        """Makes the arrays that the loop fills: into `env` those with a time axis; returned are the two arrays of each
        ringed state, in the order of use, and for each state the array in which its last value will stand."""
        rings: dict[Var, tuple[Array, Array]] = {}
        ends: Env = {}
        pairs = dict(self.paired)
        handed_on = set(self.next_carry)
        for v in self.stored - handed_on - set(pairs):
            if v not in self.home:
                env[v] = over_time(v, steps, v in self.stacks)
        for c, n, value in zip(self.carry, self.next_carry, start, strict=True):
            if c in pairs:
                both = empty_buffer((steps + 1, *c.shape), c.dtype)
                both[-1 if self.reverse else 0] = value
                env[c], env[n] = (both[1:], both[:-1]) if self.reverse else (both[:-1], both[1:])
                ends[c] = both[0 if self.reverse else -1, ...]
            else:
                rings[c] = (empty_buffer(c.shape, c.dtype), empty_buffer(c.shape, c.dtype))
                rings[c][0][...] = value
                ends[c] = rings[c][steps % 2]
        self.show_slices(env)
        return rings, ends

    def show_slices(self, env: Env) -> None:
        """Gives the values that lie in a stack which is there."""
        for v, place in self.home.items():
            if v not in env and place.stack in env:
                env[v] = place.of(env[place.stack], place.stack in self.timed)


def over_time(v: Var, steps: int, stack: bool) -> Array:
    """An array for all steps of a value. In a stack each slice is in one piece, all its steps together."""
    if stack:
        return empty_buffer((v.shape[0], steps, *v.shape[1:]), v.dtype).swapaxes(0, 1)
    return empty_buffer((steps, *v.shape), v.dtype)
