"""Ops that are written in simpler ones before they become machine code, each as its formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.batching import options_of
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.placeholders import Placeholder
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.recorder import Recorder
from tinygrad_rnn.ops.arithmetic import _clip
from tinygrad_rnn.ops.reductions import _mean, _step_along
from tinygrad_rnn.ops.surrogates import _straight_through
from tinygrad_rnn.surroundings import recording_with
from tinygrad_rnn.tape import Primitive


def _below_the_largest(x: Any, axis: Any) -> Any:
    return x - ops.max(x, axis, keepdims=True)


def _softmax(x: Any, axis: Any) -> Any:
    e = ops.exp(_below_the_largest(x, axis))
    return e / ops.sum(e, axis, keepdims=True)


def _log_softmax(x: Any, axis: Any) -> Any:
    below = _below_the_largest(x, axis)
    return below - ops.log(ops.sum(ops.exp(below), axis, keepdims=True))


def _logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    top = ops.max(x, axis, keepdims=True)
    top = ops.where(ops.abs(top) < np.inf, top, 0.0)  # infinite ones are not taken off
    found = top + ops.log(ops.sum(ops.exp(x - top), axis, keepdims=True))
    return found if keepdims else found.reshape(ops.sum(x, axis).shape)


def _mean_of(x: Any, axis: Any, keepdims: bool) -> Any:
    total = ops.sum(x, axis, keepdims)
    return total / (x.size // max(total.size, 1))


def _softplus(x: Any) -> Any:
    return ops.maximum(x, 0.0) + ops.log1p(ops.exp(-ops.abs(x)))


def _log_sigmoid(x: Any) -> Any:
    return ops.minimum(x, 0.0) - ops.log1p(ops.exp(-ops.abs(x)))


def _clipped(x: Any, a_min: Any, a_max: Any) -> Any:
    x = x if a_min is None else ops.maximum(x, a_min)
    return x if a_max is None else ops.minimum(x, a_max)


def _running_sum(x: Any, axis: Any) -> Any:
    """To each entry is added the sum of those before it, of 1, 2, 4 and so on of them."""
    x, axis = (x.reshape((-1,)), 0) if axis is None else (x, axis % x.ndim)
    before: tuple[slice, ...] = (slice(None),) * axis
    reach = 1
    while reach < x.shape[axis]:
        later = x[(*before, slice(reach, None))] + x[(*before, slice(None, -reach))]
        x = ops.concatenate([x[(*before, slice(None, reach))], later], axis=axis)
        reach *= 2
    return x


def _norm(x: Any, axis: Any, keepdims: bool) -> Any:
    top = ops.max(ops.abs(x), axis, keepdims=True)  # squares of x / top neither overflow nor vanish
    top = ops.where(ops.logical_and(top < np.inf, top > 0), top, 1.0)
    found = top * ops.sqrt(ops.sum(ops.square(x / top), axis, keepdims=True))
    return found if keepdims else found.reshape(ops.sum(x, axis).shape)


SIMPLER: dict[Primitive[Any], Callable[..., Any]] = {
    ops.softmax: _softmax,
    ops.log_softmax: _log_softmax,
    ops.logsumexp: _logsumexp,
    ops.norm: _norm,
    ops.cumsum: _running_sum,
    ops.softplus: _softplus,
    ops.log_sigmoid: _log_sigmoid,
    ops.hard_sigmoid: lambda x: ops.minimum(ops.maximum(x * 0.2 + 0.5, 0.0), 1.0),
    ops.relu: lambda x: ops.maximum(x, 0),
    ops.leaky_relu: lambda x, slope: ops.where(x > 0, x, slope * x),
    ops.elu: lambda x, alpha: ops.where(x > 0, x, alpha * ops.expm1(ops.minimum(x, 0.0))),
    _straight_through: lambda hard, soft: copy(hard),
    _mean: _mean_of,
    _clip: _clipped,
    _step_along: lambda x, length, step: x * (step / ops.where(length == 0, 1.0, length)),
}


def _size(v: Var) -> int:
    return math.prod(v.shape)


def in_simpler_ops(e: Equation, numbers: Iterator[int]) -> list[Equation] | None:
    """The equations that do the same, the last of which makes the result of `e`; None where it has no simpler form.
    `numbers` are for new Vars."""
    rule = SIMPLER.get(e.primitive)
    if rule is None or e.several or (out := e.outs[0]).dtype.kind != "f" or not all(map(_size, e.reads)):
        return None
    recorder = _Numbered(numbers)
    options = options_of(e)
    args = {name: Placeholder(a, recorder) if isinstance(a, Var) else a for name, a in options.items()}
    with recording_with(recorder):
        result = rule(*args.values())
    return [*recorder.equations, Equation(copy, (result.var,), {}, (out,))]


class _Numbered(Recorder):
    """Takes the numbers of new values from elsewhere."""

    def __init__(self, numbers: Iterator[int]) -> None:
        super().__init__()
        self.numbers = numbers

    def var(self, shape: tuple[int, ...], dtype: Any) -> Var:
        return Var(next(self.numbers), tuple(shape), np.dtype(dtype))
