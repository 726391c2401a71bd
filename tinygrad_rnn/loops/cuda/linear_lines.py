"""Lines of a loop that are linear in its states, entry by entry: what becomes of a multiple of a state in them. (The
same question about a step as it was recorded, which the CPU asks, is `loops/linear.py`'s.)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.cuda.entries_in_c import C_NAMES, expression, number_in_c
from tinygrad_rnn.loops.cuda.kernel_source import conversion
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.machine.lines import Line
from tinygrad_rnn.loops.machine.views import StridedView


@dataclass(frozen=True)
class LinearLines:
    """By their numbers, the states that are `known`, being made of inputs alone, at most `depth` steps before, and the
    `others`, of which all `sums` are sums of multiples beside something known."""

    known: tuple[int, ...]
    depth: int
    others: tuple[int, ...]
    sums: frozenset[StridedView]


def linear_lines(lines: Sequence[Line], states: Sequence[tuple[StridedView, StridedView]]) -> LinearLines | None:
    """How lines are linear in states, each an old and a new one; None where they are not, and where all are known."""
    known: set[int] = set()
    depth = 0
    while True:
        moving, sums = _moving(lines, {old for i, (old, _) in enumerate(states) if i not in known})
        more = {i for i, (_, new) in enumerate(states) if new not in moving} - known
        if not more:
            break
        known, depth = known | more, depth + 1
    others = tuple(i for i in range(len(states)) if i not in known)
    if not others or any(states[i][1] not in sums for i in others):
        return None
    return LinearLines(tuple(sorted(known)), depth, others, frozenset(sums))


def _moving(lines: Sequence[Line], states: set[StridedView]) -> tuple[set[StridedView], set[StridedView]]:
    """All that depends on states, and of that what is a sum of their multiples."""
    moving, sums = set(states), {view for view in states if view.piece.dtype.kind == "f"}
    for line in lines:
        places = [i for i, a in enumerate(line.args) if isinstance(a, StridedView) and a in moving]
        if not places or line.primitive is ops.zeros_like:
            continue
        moving.add(line.out)
        if all(line.args[i] in sums for i in places) and _is_linear(line, places) and line.out.piece.dtype.kind == "f":
            sums.add(line.out)
    return moving, sums


def _is_linear(line: Line, places: list[int]) -> bool:
    """Whether a line makes a sum of multiples of the arguments at these places."""
    return (
        line.primitive in (ops.add, ops.sub, ops.neg, copy)
        or (line.primitive is ops.mul and len(places) == 1)
        or (line.primitive is ops.div and places == [0])
        or (line.primitive is ops.where and 0 not in places)
    )


def multiples(
    lines: Sequence[Line],
    sums: frozenset[StridedView],
    names: Mapping[StridedView, str],
    multiple: dict[StridedView, str],
    prefix: str,
) -> list[str]:
    """The lines that make such sums, for multiples of a state alone: without all that is added to them. `names` are the
    variables of what is known, `multiple` those of multiples, which the new ones join; these begin with a prefix."""
    code = []
    for number, line in enumerate(lines):
        if line.out not in sums or not any(view in multiple for view in line.reads):
            continue
        dtype, out = line.dtypes[-1], line.out.piece.dtype
        args = [_taken(line, i, names, multiple) for i in range(len(line.args))]
        multiple[line.out] = f"{prefix}{number}"
        value = conversion(expression(line.primitive, args, dtype), dtype, out)
        code.append(f"const {C_NAMES[out.char]} {prefix}{number} = {value};")
    return code


def _taken(line: Line, i: int, names: Mapping[StridedView, str], multiple: Mapping[StridedView, str]) -> str:
    """An argument: a multiple, what such is multiplied with or chosen by, and nothing for what is added to it."""
    a, dtype = line.args[i], line.dtypes[i]
    if isinstance(a, StridedView) and a in multiple:
        return conversion(multiple[a], a.piece.dtype, dtype)
    if line.primitive in (ops.mul, ops.div) or (line.primitive is ops.where and i == 0):
        return conversion(names[a], a.piece.dtype, dtype) if isinstance(a, StridedView) else number_in_c(a, dtype)
    return number_in_c(0, dtype)
