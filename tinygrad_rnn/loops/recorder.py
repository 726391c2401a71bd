"""A step runs once on placeholders, which have shapes and no numbers, and what it does is taken down as a Program."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_rnn.backend import REAL, as_array, is_array
from tinygrad_rnn.loops.placeholders import CannotRecord, Placeholder
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.trees import flat, rebuild
from tinygrad_rnn.loops.unrolling import handed_on
from tinygrad_rnn.loops.walking import walk_back
from tinygrad_rnn.surroundings import current_surroundings, recording_with
from tinygrad_rnn.tape import Box, Primitive, _alias
from tinygrad_rnn.tensor import Tensor


class Signature:
    """An op on values of certain shapes and dtypes, with certain options: all that decides what comes out of it. There
    is one object for each, as long as it is remembered, so that two recordings of the same ops are compared in no
    time; one that was forgotten in between is known by its value."""

    __slots__ = ("_hash", "_key", "args", "options", "primitive", "results", "several")

    def __init__(self, key: Any, given: Sequence[Any], params: dict[str, Any]) -> None:
        self.primitive, self.args, self.options = key
        """Of each argument its shape and dtype, or if it has none what it is; and the options by name."""
        self._key, self._hash = key, hash(key)
        self.results, self.several = _results_of(self.primitive, given, params)
        """The shape and dtype of each result, and whether they come as a tuple."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signature) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash


_signatures: OrderedDict[Any, Signature] = OrderedDict()
_REMEMBERED = 4096

_PLAIN = frozenset({int, float, bool, str, type(None)})
"""Types of most options: they cannot change, and say of themselves what they are."""


class Recorder:
    """Takes down every op while it is in force (see `tape.recording_with`)."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.equations: list[Equation] = []
        self.captured: dict[int, tuple[Var, Any]] = {}
        self.keys: list[Any] = []
        self.tags: dict[str, Var] = {}
        self.moving: set[int] = set()
        """The numbers of states and inputs, and of all that is made of them."""
        self.all_moves = True
        """Whether every op so far read some of that."""

    def var(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Var:
        """A new value."""
        self.count += 1
        return Var(self.count, shape, dtype)

    def placeholder(self, shape: tuple[int, ...], dtype: Any) -> Placeholder:
        """What stands for it in the step."""
        return Placeholder(self.var(shape, dtype), self)

    def lift(self, value: Any) -> Any:
        """The Var of a placeholder; a Tensor or an array from outside becomes an operand; the rest is an option."""
        if isinstance(value, Placeholder):
            if value.recorder is not self:
                raise CannotRecord("the step keeps a Tensor of one call for another")
            return value.var
        if type(value) in _PLAIN:
            return value
        if isinstance(value, Box) or is_array(value):
            array = value.data if isinstance(value, Box) else value
            if id(value) not in self.captured:
                self.captured[id(value)] = (self.var(array.shape, array.dtype), value)
            return self.captured[id(value)][0]
        return value.item() if isinstance(value, np.generic) else deepcopy(value)

    def gradients(self, out: Tensor, seed: Tensor, variables: Sequence[Tensor]) -> list[Tensor | None]:
        """Within the step, the gradients of `variables`, placeholders under new names, when that of `out` is `seed`;
        None where it does not depend on one."""
        end = self.lift(out)
        sought = [self.lift(v) for v in variables]
        active = set(sought)
        since = list(self.equations)
        for e in since:
            if e.graded and not active.isdisjoint(e.reads):
                active.update(each for each in e.outs if each.dtype.kind == "f")
        grads: dict[Var, Tensor] = {end: seed} if end in active else {}
        walk_back(since, grads, active, self)
        return [grads.get(v) for v in sought]

    def __call__(self, primitive: Primitive[Any], args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Takes down one op and returns placeholders for its results."""
        here = current_surroundings.get()
        params = deepcopy(params) if params else params  # a list among them may be changed later
        lifted: list[Any] = []
        known: list[Any] = []  # see Signature
        reads: list[int] = []
        for i, a in enumerate(args):
            if type(a) is Placeholder and a.recorder is self:  # most often
                value = a.var
            else:
                value = self.lift(as_array(a) if i < primitive.arrays and isinstance(a, list | tuple) else a)
            lifted.append(value)
            if type(value) is Var:
                known.append((value.shape, value.dtype))
                reads.append(value.number)
            else:
                known.append(frozen(value))
        key = (primitive, tuple(known), frozen(params) if params else ())
        signature = _signatures.get(key) or _new_signature(key, lifted, params)
        results = [Placeholder(self.var(shape, dtype), self) for shape, dtype in signature.results]
        outs = tuple([result.var for result in results])
        if self.moving.isdisjoint(reads):
            self.all_moves = False
        else:
            self.moving.update([out.number for out in outs])
        graded = here.recording and primitive.differentiable
        self.equations.append(Equation(primitive, tuple(lifted), params, outs, signature.several, graded, here.where))
        self.keys.append((signature, tuple(reads), here.recording))
        return tuple(results) if signature.several else results[0]


def _new_signature(key: Any, given: Sequence[Any], params: dict[str, Any]) -> Signature:
    """That of an op that is not remembered; it then is, and the oldest is forgotten where there are too many."""
    found = _signatures.setdefault(key, Signature(key, given, params))  # another thread's, if that was faster
    while len(_signatures) > _REMEMBERED:
        _signatures.popitem(last=False)
    return found


def _results_of(primitive: Primitive[Any], args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Shapes and dtypes of an op's results, found once by running it on ones, and on integers of 0: they may be
    indices."""
    given = [np.full(a.shape, a.dtype.kind not in "iu", a.dtype) if isinstance(a, Var) else a for a in args]
    with np.errstate(all="ignore"):
        out = primitive.forward(*given, **params)
    several = type(out) is tuple
    specs = [(np.shape(o), np.asarray(o).dtype) for o in (out if several else (out,))]
    if any(dtype.kind not in REAL for _, dtype in specs):
        raise CannotRecord(f"{primitive.name} gives something else than real numbers")
    return specs, several


def frozen(value: Any) -> Any:
    """Options as something to compare by value. Raises CannotRecord for arrays among them (in an index, say)."""
    if type(value) in _PLAIN:
        return (type(value), repr(value) if type(value) is float else value)
    if isinstance(value, tuple | list):
        return (type(value), *map(frozen, value))
    if isinstance(value, dict):
        return tuple((key, frozen(value[key])) for key in sorted(value))
    if isinstance(value, slice):
        return (slice, value.start, value.stop, value.step)
    if isinstance(value, Box) or is_array(value):
        raise CannotRecord("an array is part of an index or an option of an op")
    return (type(value), repr(value) if isinstance(value, float) else value)


def record_step(
    step: Callable[[Any, Any], Any], state: Any, xs: Any, recorder: Recorder | None = None
) -> tuple[Program, Any, Any]:
    """Runs `step` on placeholders with the shapes of one time step: the program, and the tuples in which its new state
    and its outputs come. Raises CannotRecord."""
    recorder = Recorder() if recorder is None else recorder
    states = [recorder.var(s.shape, s.dtype) for s in flat(state)]
    inputs = [recorder.var(x.shape[1:], x.dtype) for x in flat(xs)]
    recorder.moving.update([v.number for v in (*states, *inputs)])
    with recording_with(recorder):
        given = (iter([Placeholder(v, recorder) for v in group]) for group in (states, inputs))
        result = step(*(rebuild(tree, leaves) for tree, leaves in zip((state, xs), given, strict=True)))
        new_state, y = handed_on(state, result)
        new_states, ys = (
            [recorder.lift(as_array(v) if _is_number(v) else v) for v in flat(part)] for part in (new_state, y)
        )
    for old, new in zip(states, new_states, strict=True):
        if new.shape != old.shape or new.dtype != old.dtype:
            was, now = (f"{v.dtype} of {v.shape}" for v in (old, new))
            raise CannotRecord(f"a state changes its shape or dtype, from {was} to {now}")
    equations, same = _without_aliases(recorder.equations)
    captured = [var for var, _ in recorder.captured.values()]
    specs = tuple(tuple((v.number, v.shape, v.dtype) for v in group) for group in (states, inputs, captured))
    ends = tuple(tuple(v.number for v in group) for group in (new_states, ys))
    program = Program(
        equations,
        captured,
        [value for _, value in recorder.captured.values()],
        states,
        inputs,
        [same.get(v, v) for v in new_states],
        [same.get(v, v) for v in ys],
        recorder.count,
        (specs, tuple(recorder.keys), ends),
        {name: same.get(v, v) for name, v in recorder.tags.items()},
        recorder.all_moves,
    )
    return program, new_state, y


def _without_aliases(equations: list[Equation]) -> tuple[list[Equation], dict[Var, Var]]:
    """The equations without those that only give a value another name, as a gradient within the step wants it, and what
    each of these names stands for."""
    same: dict[Var, Var] = {}
    if not any([e.primitive is _alias for e in equations]):
        return equations, same
    left: list[Equation] = []
    for e in equations:
        if e.primitive is _alias:
            same[e.outs[0]] = same.get(e.args[0], e.args[0])
        else:
            left.append(reading(e, same))
    return left, same


def reading(e: Equation, others: dict[Var, Var]) -> Equation:
    """The equation with others in the place of some of the values that it reads."""
    if others.keys().isdisjoint(e.reads):
        return e
    return replace(e, args=tuple(others.get(a, a) if isinstance(a, Var) else a for a in e.args))


def with_numbers_as_tensors(step: Callable[[Any, Any], Any], state: Any, xs: Any) -> Any:
    """The first state, with Tensors for its Python numbers, of the dtypes in which the step hands these on: a number
    takes the dtype of what it is calculated with."""
    leaves = flat(state)
    if not any(map(_is_number, leaves)):
        return state
    found: list[Any] = []
    try:
        recorder = Recorder()
        first = (recorder.placeholder(s.shape, s.dtype) if hasattr(s, "dtype") else s for s in leaves)
        inputs = (recorder.placeholder(x.shape[1:], x.dtype) for x in flat(xs))
        with recording_with(recorder):
            found = flat(handed_on(state, step(rebuild(state, first), rebuild(xs, inputs)))[0])
    except Exception:  # it can also not be recorded
        found = leaves
    dtypes = [getattr(new, "dtype", None) for new in found]
    pairs = zip(leaves, dtypes, strict=True)
    return rebuild(state, iter([Tensor(s, dtype=dtype) if _is_number(s) else s for s, dtype in pairs]))


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.generic)


def same_recording(program: Program, again: Program) -> tuple[bool, bool]:
    """Whether a step did the same in two recordings, and whether it will for sure: not where it closes over something
    that it makes anew each time, which was equal these two times."""
    if program.key != again.key:
        return False, False
    pairs = [(a, b) for a, b in zip(program.operands, again.operands, strict=True) if a is not b]
    arrays = [[x.data if isinstance(x, Box) else x for x in pair] for pair in pairs]
    return all(np.array_equal(a, b) for a, b in arrays), not pairs
