"""A Python number is part of a program: a step in which one changes from call to call, such as a rate that is annealed,
is compiled anew on every call. Somebody should say so."""

from __future__ import annotations

import linecache
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from tinygrad_rnn.frames import user_lines
from tinygrad_rnn.loops.program import Program
from tinygrad_rnn.loops.recorder import Recorder

SEVERAL = 16
"""Programs that differ in nothing but numbers, from which on it is no coincidence."""

_FAMILIES = 64
_families: OrderedDict[Any, tuple[set[int], Any]] = OrderedDict()
"""Programs that differ in nothing but numbers: the hashes of their keys, and the latest key."""


class _Reached(Exception):
    """The op that was looked for."""


class _UpTo(Recorder):
    """Records as many ops, and then raises _Reached."""

    def __init__(self, ops: int) -> None:
        super().__init__()
        self.ops = ops

    def __call__(self, *op: Any) -> Any:
        if len(self.equations) == self.ops:
            raise _Reached
        return super().__call__(*op)


def about_changing_numbers(program: Program, record_with: Callable[[Recorder], Any]) -> tuple[str, str] | None:
    """Where a number stands that was another one in each of the last several programs, and a sentence about it; None
    where there is none. To be asked once for each new program; `record_with` records its step again."""
    family = _without_numbers(program.key)
    hashes, before = _families.pop(family, (set(), None))
    hashes.add(hash(program.key))
    _families[family] = (hashes, program.key)
    while len(_families) > _FAMILIES:
        _families.popitem(last=False)
    if len(hashes) != SEVERAL or before is None or before == program.key:
        return None
    number, old, new = next(_differences(before, program.key))
    place = _line_of(number, record_with)
    dtype = program.equations[number].outs[0].dtype
    return place, (
        f"compiled anew {SEVERAL} times, because a number in it was another each time ({old}, now {new}){place}; "
        f"a Python number is part of the program, and costs nothing as a Tensor of dtype {dtype}"
    )


def _without_numbers(key: Any) -> Any:
    """The key of a program, with a blank for each number in whose place a Tensor could stand."""
    specs, equations, ends = key
    blanked = []
    for signature, reads, recording in equations:
        rules = signature.primitive.rules
        blanks = tuple(
            None if part[0] in (int, float) and i < len(rules) and rules[i] is not None else part
            for i, part in enumerate(signature.args)
        )
        blanked.append((signature.primitive, blanks, signature.options, reads, recording))
    return specs, tuple(blanked), ends


def _differences(before: Any, after: Any) -> Any:
    """Where two keys of one family differ: the number of the equation, and the two numbers."""
    for number, pair in enumerate(zip(before[1], after[1], strict=True)):
        old, new = (signature.args for signature, _, _ in pair)
        yield from ((number, a[1], b[1]) for a, b in zip(old, new, strict=True) if a != b)


def _line_of(number: int, record_with: Callable[[Recorder], Any]) -> str:
    """The user's line from which an op of a step comes, if it is one of theirs."""
    try:
        record_with(_UpTo(number))
    except _Reached as found:
        if lines := user_lines(found):
            return f", at {lines[-1][0]}:{lines[-1][1]}: {linecache.getline(*lines[-1]).strip()}"
    return ""
