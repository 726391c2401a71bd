"""scan: a step function over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_rnn import ops
from tinygrad_rnn.surroundings import label

Step = Callable[[Any, Any], tuple[Any, Any]]


def scan(step: Step, state: Any, xs: Any) -> tuple[Any, Any]:
    """Runs `step(state, x) -> (state, y)` over the leading axis of `xs` and returns the last state and the `y`s
    stacked along a new leading axis, as `jax.lax.scan` does.

    `state`, `xs` and `y` are each a Tensor or a tuple of Tensors (tuples within tuples too); all `xs` share the
    length T of their first axis. The step may close over Parameters and Tensors. Raises ValueError for T = 0 and
    for lengths that differ, and TypeError where a step does not return two things."""
    return unroll(step, state, xs)


def unroll(step: Step, state: Any, xs: Any) -> tuple[Any, Any]:
    """`scan` as a plain Python loop on the tape: every op of every step is there to be read."""
    ys = []
    for t, x in enumerate(_slices(xs, _length(xs))):
        with label("step", t):
            result = step(state, x)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"scan: the step must return (state, y), got {type(result).__name__}")
        state, y = result
        ys.append(y)
    return state, _stacked(ys)


def _length(xs: Any) -> int:
    """The number of steps, on which all the inputs must agree."""
    lengths = {x.shape[0] if x.shape else 0 for x in _flat(xs)}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"scan: xs must share one number of steps (at least 1), got {sorted(lengths)}")
    return int(lengths.pop())


def _flat(tree: Any) -> list[Any]:
    return [leaf for part in tree for leaf in _flat(part)] if isinstance(tree, tuple) else [tree]


def _slices(xs: Any, steps: int) -> list[Any]:
    """The inputs of every step, in tuples as `xs` is; an empty tuple stays one."""
    if not isinstance(xs, tuple):
        return list(ops.unstack(xs))
    parts = [_slices(x, steps) for x in xs]
    return [tuple(part[t] for part in parts) for t in range(steps)]


def _stacked(ys: list[Any]) -> Any:
    if isinstance(ys[0], tuple):
        return tuple(_stacked(list(part)) for part in zip(*ys, strict=True))
    return ops.stack(ys)
