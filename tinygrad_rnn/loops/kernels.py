"""Ops that write into a given array: what the body of an emitted loop calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array
from tinygrad_rnn.blas import product, rows_at_a_time
from tinygrad_rnn.loops.products import sum_of_products
from tinygrad_rnn.loops.program import Equation
from tinygrad_rnn.ops.activations import saturation
from tinygrad_rnn.ops.arithmetic import _clip
from tinygrad_rnn.ops.reductions import _mean, _sum
from tinygrad_rnn.sums import is_added_up_well
from tinygrad_rnn.tape import Primitive, primitive


@primitive
def copy(x: Array) -> Array:
    """The same numbers in an array of their own."""
    return x.copy()


copy.vjp(lambda g, out, x: g)


# --- The functions ---------------------------------------------------------------------------------------------


@cache
def _sigmoids_numbers(dtype: np.dtype[Any]) -> tuple[Array, Array]:
    return np.array(saturation(dtype), dtype), np.array(1, dtype)


def _sigmoid(x: Array, scratch: Array, out: Array) -> None:
    top, one = _sigmoids_numbers(out.dtype)
    np.minimum(x, top, out=scratch)
    np.exp(scratch, out=scratch)
    np.add(scratch, one, out=out)
    np.divide(scratch, out, out=out)


def _hard_sigmoid(x: Array, out: Array) -> None:
    np.multiply(x, 0.2, out=out)
    np.add(out, 0.5, out=out)
    np.clip(out, 0, 1, out=out)


def _where(condition: Array, x: Array, y: Array, out: Array) -> None:
    np.copyto(out, y)
    np.copyto(out, x, where=np.asarray(condition, bool))


def _copy(x: Array, out: Array) -> None:
    np.copyto(out, x)


def _sum_into(x: Array, axis: Any = None, keepdims: bool = False, *, out: Array) -> None:
    if is_added_up_well(x, axis):
        np.add.reduce(x, axis=axis, keepdims=keepdims, out=out)
    else:
        np.copyto(out, _sum.forward(x, axis, keepdims))


def _mean_into(x: Array, axis: Any = None, keepdims: bool = False, *, out: Array) -> None:
    if x.dtype.kind != "f" or not x.size or not is_added_up_well(x, axis):
        np.copyto(out, _mean.forward(x, axis, keepdims))
    else:  # the same, in less than half the time
        np.add.reduce(x, axis=axis, keepdims=keepdims, out=out)
        np.divide(out, x.size // out.size, out=out)


def _sum_of_products(a: Array, b: Array, scratch: Array, out: Array) -> None:
    product(a, b, scratch)
    np.add.reduce(scratch, axis=0, out=out)


# --- Which op calls which --------------------------------------------------------------------------------------

_INTO: dict[Primitive[Any], tuple[str, Callable[..., Any]]] = {
    getattr(ops, name): (numpy_name, getattr(np, numpy_name))
    for name, numpy_name in {
        "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "square": "square",
        "sqrt": "sqrt", "abs": "absolute", "exp": "exp", "log": "log", "tanh": "tanh",
        "sin": "sin", "cos": "cos", "maximum": "maximum", "minimum": "minimum", "matmul": "matmul", "equal": "equal",
        "floor": "floor", "floor_divide": "floor_divide", "mod": "remainder",
        "less": "less", "greater": "greater", "less_equal": "less_equal", "greater_equal": "greater_equal",
    }.items()
} | {
    ops.sigmoid: ("sigmoid", _sigmoid),
    ops.hard_sigmoid: ("hard_sigmoid", _hard_sigmoid),
    ops.reciprocal: ("reciprocal", lambda x, out: np.divide(1, x, out=out)),
    ops.where: ("where", _where),
    _sum: ("sum", _sum_into),
    _mean: ("mean", _mean_into),
    ops.broadcast_to: ("broadcast", lambda x, shape, out: np.copyto(out, x)),
    _clip: ("clip", np.clip),
    sum_of_products: ("sum_of_products", _sum_of_products),
    copy: ("copy", _copy),
}  # fmt: skip
"""Their names in the source, and what they call."""

_APART = frozenset({ops.matmul, ops.where, _sum, _mean, ops.broadcast_to, sum_of_products})
"""Of these, the ones whose result must not lie where an argument does."""

KERNELS: dict[str, Callable[..., Any]] = {name: kernel for name, kernel in _INTO.values()} | {"product": product}
"""All of them, by the names that they have in the source."""


def kernel_name(equation: Equation) -> str:
    """What the source calls for it."""
    if equation.primitive is ops.matmul and all(len(a.shape) >= 2 for a in equation.args):
        left, right = equation.args
        if rows_at_a_time(left.shape[-2], *right.shape[-2:]):
            return "product"
    return _INTO[equation.primitive][0]


def writes(equation: Equation) -> bool:
    """Whether its result can be written into a given array; otherwise it comes in a new one."""
    return equation.primitive in _INTO and not equation.several


def writes_where_it_reads(equation: Equation) -> bool:
    """Whether that array may be the one in which an argument lies: entry by entry, each is read before it is
    overwritten."""
    return writes(equation) and equation.primitive not in _APART
