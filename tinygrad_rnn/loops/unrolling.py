"""The plain loop: every op of every step on the tape, to be read and stepped through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.trees import flat, like
from tinygrad_rnn.surroundings import label

Step = Callable[[Any, Any], tuple[Any, Any]]


def unroll(step: Step, state: Any, xs: Any) -> tuple[Any, Any]:
    """`scan` as a plain Python loop on the tape: every op of every step is there to be read."""
    ys = []
    for t, x in enumerate(_slices(xs, length_of(xs))):
        with label("step", t):
            result = step(state, x)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"scan: the step must return (state, y), got {type(result).__name__}")
        state, y = result
        ys.append(y)
    return state, _stacked(ys)


def length_of(xs: Any) -> int:
    """The number of steps, on which all the inputs must agree."""
    lengths = {x.shape[0] if x.shape else 0 for x in flat(xs)}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"scan: xs must share one number of steps (at least 1), got {sorted(lengths)}")
    return int(lengths.pop())


def _slices(xs: Any, steps: int) -> list[Any]:
    """The inputs of every step, in tuples as `xs` is; an empty tuple stays one."""
    if not isinstance(xs, tuple):
        return list(ops.unstack(xs))
    parts = [_slices(x, steps) for x in xs]
    return [like(xs, (part[t] for part in parts)) for t in range(steps)]


def _stacked(ys: list[Any]) -> Any:
    if isinstance(ys[0], tuple):
        return like(ys[0], (_stacked(list(part)) for part in zip(*ys, strict=True)))
    return ops.stack(ys)
