"""How an op runs for all time steps at once: with a leading time axis on what differs from step to step."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.blas import product, summed_product
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.loops.contractions import contracted
from tinygrad_rnn.loops.products import affine, sum_of_products
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.ops.activations import _normal_distribution
from tinygrad_rnn.ops.arithmetic import _clip
from tinygrad_rnn.ops.indexing import Slot, _add_along_axis, _getitem, _parts, _row_at, _scatter, _within
from tinygrad_rnn.ops.losses import _binary_cross_entropy, _cross_entropy_rows, _softmax_off_target
from tinygrad_rnn.ops.products import _einsum
from tinygrad_rnn.ops.reductions import _max, _mean, _min, _step_along, _sum
from tinygrad_rnn.ops.shapes import _concatenate, _split, _stack, _unstack
from tinygrad_rnn.ops.surrogates import _straight_through
from tinygrad_rnn.sums import total
from tinygrad_rnn.tape import Primitive, _astype, _detached, _truncated

BatchRule = Callable[[Equation, list[Array], list[bool], int], Any]
"""`rule(equation, values, timed, T)`: values[i] has a leading axis of T where timed[i]."""

_rules: dict[Primitive[Any], BatchRule] = {}


def whole(equation: Equation) -> bool:
    """Whether an equation is to run for all time steps at once, if it can wait: an einsum takes longer so on a CPU."""
    return equation.primitive is not _einsum and can_be_whole(equation)


def can_be_whole(equation: Equation) -> bool:
    """Whether an equation can run for all time steps at once."""
    if equation.primitive is ops.matmul:
        return all(len(a.shape) >= 2 for a in equation.reads)
    if equation.primitive in (_getitem, _scatter):
        return _stays_in_place(equation)
    if equation.primitive in (_stack, _concatenate) and len(equation.reads) < len(equation.args):
        return False  # a list or a number among them
    return equation.primitive in _rules


def run_whole(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    """The equation's results with a leading time axis."""
    return _rules[equation.primitive](equation, values, timed, steps)


def _aligned(x: Array, var: Var, rank: int) -> Array:
    """(T, *shape) with axes of size 1 after T, so that it broadcasts against values of more axes."""
    missing = rank - len(var.shape)
    return x.reshape((x.shape[0], *(1,) * missing, *var.shape)) if missing > 0 else x


def _elementwise(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    rank = len(equation.outs[0].shape)
    args = [_aligned(x, a, rank) if late else x for x, a, late in zip(values, equation.args, timed, strict=True)]
    ufunc = _UFUNCS.get(equation.primitive)
    out = equation.outs[0]
    if ufunc is None or out.dtype.kind != "f" or any(a.dtype != out.dtype for a in equation.reads):
        return equation.primitive.forward(*args, **equation.params)
    lib = xp(values[timed.index(True)])  # the others may be numbers
    return ufunc(*args, out=empty_buffer((steps, *out.shape), out.dtype, lib))


_UFUNCS: dict[Primitive[Any], Any] = {
    ops.neg: np.negative,
    ops.add: np.add,
    ops.sub: np.subtract,
    ops.mul: np.multiply,
    ops.square: np.square,
}
"""What writes their results for all time steps into memory that is there: fresh pages cost more than the arithmetic."""


def options_of(equation: Equation) -> dict[str, Any]:
    bound = signature(equation.primitive.forward).bind(*equation.args, **equation.params)
    bound.apply_defaults()
    return bound.arguments


def _negative(axis: Any, rank: int) -> Any:
    """Axes counted from the end, where a new leading one does not move them. A number has none."""
    if not rank:
        return ()
    axes = range(rank) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(a - rank if a >= 0 else a for a in axes)


def _reduction(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    options = options_of(equation)
    axes = _negative(options["axis"], len(equation.args[0].shape))
    if not axes:  # of a number there is nothing to sum, but its sign, or its dtype, may change all the same
        return equation.primitive.forward(values[0][..., None], axis=-1)
    return equation.primitive.forward(values[0], axis=axes, keepdims=options["keepdims"])


def _along(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    x, rank = values[0], len(equation.args[0].shape)
    if not rank:
        return equation.primitive.forward(x[..., None], axis=-1)[..., 0]
    (axis,) = _negative(options_of(equation)["axis"], rank)
    return equation.primitive.forward(x, axis=axis)


def _reshaped(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    return values[0].reshape((steps, *equation.outs[0].shape))


def _swapped(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    options = options_of(equation)
    return values[0].swapaxes(*_negative((options["axis1"], options["axis2"]), len(equation.args[0].shape)))


def _transposed(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    rank, axes = len(equation.args[0].shape), options_of(equation)["axes"]
    axes = range(rank)[::-1] if axes is None else [a % rank for a in axes]
    return values[0].transpose((0, *(a + 1 for a in axes)))


def _broadcast(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    shape = equation.outs[0].shape
    return xp(values[0]).broadcast_to(_aligned(values[0], equation.args[0], len(shape)), (steps, *shape))


def _summed_to(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    x, shape = equation.args[0], equation.outs[0].shape
    extra = len(x.shape) - len(shape)
    stretched = tuple(1 + extra + i for i, n in enumerate(shape) if n == 1 and x.shape[extra + i] != 1)
    axes = (*range(1, 1 + extra), *stretched)
    return (total(values[0], axes) if axes else values[0]).reshape((steps, *shape))


def _stays_in_place(equation: Equation) -> bool:
    """Whether an index reads the same axes where there is one more in front: so do numbers and slices, and one constant
    array among slices, which does not move its axes to the front."""
    parts = _parts(equation.args[1])
    arrays = sum(isinstance(part, Slot) for part in parts)
    return (
        all(
            part is None or part is Ellipsis or isinstance(part, slice | Slot | (slice if arrays else int))
            for part in parts
        )
        and arrays < 2
    )


def _step_by_step(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    given = ([x[t] if late else x for x, late in zip(values, timed, strict=True)] for t in range(steps))
    results = [equation.primitive.forward(*args, **equation.params) for args in given]
    return xp(results[0]).stack(results)


def _read(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    if any(timed[2:]):  # the index differs from step to step
        return _step_by_step(equation, values, timed, steps)
    return _getitem.forward(values[0], (slice(None), *_parts(equation.args[1])), *values[2:])


def _written(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    if any(timed[3:]):
        return _step_by_step(equation, values, timed, steps)
    index, shape = (slice(None), *_parts(equation.args[1])), (steps, *equation.outs[0].shape)
    return _scatter.forward(values[0], index, shape, *values[3:])


def _looked_up(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    if timed[0] or options_of(equation)["axis"] != 0:
        return _step_by_step(equation, values, timed, steps)
    return ops.take.forward(*values)


def _beside_each_other(values: list[Array], timed: list[bool]) -> Iterator[Array]:
    """What reads or adds along an axis, and its indices: what is the same at each step has a time axis of 1."""
    lib = xp(values[0])
    return (x if late else lib.asarray(x)[None] for x, late in zip(values[:2], timed, strict=False))


def _row_of_each(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    if timed[1]:
        return _step_by_step(equation, values, timed, steps)
    return xp(values[0]).take(values[0], values[1], axis=1)


def _taken_along(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    x, indices = _beside_each_other(values, timed)
    axis = options_of(equation)["axis"]
    if axis is None:
        return ops.take_along_axis.forward(x.reshape(len(x), -1), indices, axis=1)
    return ops.take_along_axis.forward(x, indices, axis=_negative(axis, len(equation.args[0].shape))[0])


def _added_along(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    updates, indices = _beside_each_other(values, timed)
    axis, shape = equation.args[2:]
    return _add_along_axis.forward(updates, indices, _negative(axis, len(shape))[0], (steps, *shape))


def _position(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    axis, rank = options_of(equation)["axis"], len(equation.args[0].shape)
    if axis is None or not rank:
        return ops.argmax.forward(values[0].reshape(steps, -1), axis=1)
    return ops.argmax.forward(values[0], axis=_negative(axis, rank)[0])


def _running(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    axis, rank = options_of(equation)["axis"], len(equation.args[0].shape)
    if axis is None or not rank:
        return ops.cumsum.forward(values[0].reshape(steps, -1), axis=1)
    return ops.cumsum.forward(values[0], axis=_negative(axis, rank)[0])


def _row_by_row(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    """An op on (N,...) for which N may be any: on the rows of all steps."""
    spread = (x if late else xp(x).broadcast_to(x, (steps, *x.shape)) for x, late in zip(values, timed, strict=True))
    rows = steps * equation.args[0].shape[0]
    result = equation.primitive.forward(*(x.reshape((rows, *x.shape[2:])) for x in spread))
    return result.reshape((steps, *equation.outs[0].shape))


def _product(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    left, right = equation.args
    if timed == [True, False] and len(right.shape) == 2:  # one product of all rows
        out = empty_buffer((steps, *equation.outs[0].shape), equation.outs[0].dtype, xp(values[0]))
        rows = steps * math.prod(left.shape[:-1])
        flat = values[0].reshape(rows, left.shape[-1])
        return product(flat, values[1], out.reshape(rows, right.shape[1])).reshape(out.shape)
    if timed == [True, False] and len(left.shape) == 2 and len(right.shape) == 3:  # the same for every slice
        (m, k), (g, _, n) = left.shape, right.shape
        out = empty_buffer((g, steps * m, n), equation.outs[0].dtype, xp(values[0]))
        product(values[0].reshape(steps * m, k), values[1], out)
        return out.reshape(g, steps, m, n).swapaxes(0, 1)
    rank = len(equation.outs[0].shape)
    args = [_aligned(x, a, rank) if late else x for x, a, late in zip(values, equation.args, timed, strict=True)]
    return args[0] @ args[1]


def _affine(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    (m, k), out = equation.args[0].shape, equation.outs[0].shape
    result = affine.forward(values[0].reshape(steps * m, k), *values[1:])
    return result.reshape(*out[:-2], steps, m, out[-1]).swapaxes(0, len(out) - 2)


def _summed_product(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    (g, m, k), n = equation.args[0].shape, equation.args[1].shape[-1]
    slices = values[0].swapaxes(0, 1).reshape(g, steps * m, k)
    out = empty_buffer((steps * m, n), equation.outs[0].dtype, xp(values[0]))
    return summed_product(slices, values[1], out).reshape(steps, m, n)


def _joined(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    (axis,) = _negative(equation.params["axis"], len(equation.outs[0].shape))
    parts = [
        x if late else xp(x).broadcast_to(x, (steps, *a.shape))
        for x, a, late in zip(values, equation.args, timed, strict=True)
    ]
    return equation.primitive.forward(*parts, axis=axis)


def _parted(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    options = options_of(equation)
    (axis,) = _negative(options.pop("axis"), len(equation.args[0].shape))
    return equation.primitive.forward(values[0], *[v for k, v in options.items() if k != "x"], axis=axis)


def _by_einstein(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    subscripts: Any = equation.args[0]
    terms, result = subscripts.split("->")
    time = next(letter for letter in string.ascii_letters if letter not in subscripts)
    spelled = (time * late + term for term, late in zip(terms.split(","), timed[1:], strict=True))
    return _einsum.forward(f"{','.join(spelled)}->{time}{result}", *values[1:])


def _contracted(equation: Equation, values: list[Array], timed: list[bool], steps: int) -> Any:
    return equation.params["contraction"].at_each_step(values, timed, steps)


_BY_ENTRY = (
    "neg add sub mul div floor_divide mod pow square sqrt reciprocal abs sign floor zeros_like where maximum minimum "
    "exp expm1 log log1p sin cos tanh erf sigmoid log_sigmoid hard_sigmoid relu leaky_relu elu softplus equal "
    "not_equal less less_equal greater greater_equal logical_and logical_or logical_not"
).split()
for _name in _BY_ENTRY:
    _rules[getattr(ops, _name)] = _elementwise
for _primitive in (
    _clip,
    _astype,
    _truncated,
    _detached,
    _within,
    _normal_distribution,
    _binary_cross_entropy,
    _step_along,
    _straight_through,
):
    _rules[_primitive] = _elementwise
for _primitive in (_sum, _mean, _max, _min, ops.logsumexp, ops.norm):
    _rules[_primitive] = _reduction
for _name in "reshape expand_dims squeeze".split():
    _rules[getattr(ops, _name)] = _reshaped
_rules |= {_row_at: _row_of_each, ops.take: _looked_up, ops.argmax: _position, ops.cumsum: _running}
_rules |= {ops.take_along_axis: _taken_along, _add_along_axis: _added_along}
_rules |= {_cross_entropy_rows: _row_by_row, _softmax_off_target: _row_by_row}
_rules |= {ops.softmax: _along, ops.log_softmax: _along, ops.swapaxes: _swapped, ops.transpose: _transposed}
_rules |= {ops.broadcast_to: _broadcast, ops.sum_to: _summed_to, ops.matmul: _product}
_rules |= {_getitem: _read, _scatter: _written, _stack: _joined, _concatenate: _joined}
_rules |= {
    _split: _parted,
    _unstack: _parted,
    sum_of_products: _summed_product,
    affine: _affine,
    contracted: _contracted,
    _einsum: _by_einstein,
}

ELEMENTWISE = frozenset(primitive for primitive, rule in _rules.items() if rule is _elementwise)
"""Ops that work entry by entry."""
