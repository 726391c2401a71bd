"""The plain loop: every op of every step on the tape, to be read and stepped through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.trees import flat, nesting, rebuild
from tinygrad_rnn.surroundings import label
from tinygrad_rnn.tensor import as_tensor

Step = Callable[[Any, Any], tuple[Any, Any]]


def unroll(step: Step, state: Any, xs: Any) -> tuple[Any, Any]:
    """`scan` as a plain Python loop on the tape: every op of every step is there to be read.

    Args:
        step, state, xs: as in `scan`.

    Example:
        >>> step = lambda h, x: (h + x, h + x)
        >>> last, hs = tg.loops.unroll(step, Tensor(0.0), Tensor([1.0, 2.0, 4.0]))
        >>> hs
        Tensor([1., 3., 7.], shape=(3,), dtype=float32)
    """
    columns = [ops.unstack(x) for x in flat(xs)]
    ys: list[list[Any]] = []
    for t in range(length_of(xs)):
        with label("step", t):
            result = step(state, rebuild(xs, (column[t] for column in columns)))
        state, y = handed_on(state, result)
        ys.append(flat(y))
    last = rebuild(state, map(as_tensor, flat(state)))
    return last, rebuild(y, (as_tensor(ops.stack(each)) for each in zip(*ys, strict=True)))


def handed_on(state: Any, result: Any) -> tuple[Any, Any]:
    """What a step returned, as a new state and an output. Raises TypeError where it is not two things, or the new state
    is nested in another way than the old one."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"scan: the step must return (state, y), got {type(result).__name__}")
    expected, found = nesting(state), nesting(result[0])
    if found != expected:
        raise TypeError(
            f"scan: the step must return a state nested as the one that it is given, {expected}, got {found}"
        )
    return result


def length_of(xs: Any) -> int:
    """The number of steps, on which all the inputs must agree."""
    lengths = {x.shape[0] if getattr(x, "shape", ()) else 0 for x in flat(xs)}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"scan: xs must share one number of steps (at least 1), got {sorted(lengths)}")
    return int(lengths.pop())
