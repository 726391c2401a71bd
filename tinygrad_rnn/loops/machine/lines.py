"""What the lines of a loop are: one op, entry by entry over a space of indices, or one product of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.machine.views import StridedView
from tinygrad_rnn.machine.refusal import NotInMachineCode
from tinygrad_rnn.tape import Primitive

DTYPES = frozenset("fd?bhilqBHILQ")
"""What entries may be: all but float16, whose arithmetic is that of float32 here and of float16 there."""


MULTIPLIED = (np.dtype(np.float32), np.dtype(np.float64))
"""What products are made of."""


@dataclass(frozen=True, eq=False)
class Line:
    """`primitive` of `args`, views and numbers that are taken as `dtypes`, for each index of `out.shape`. With `folded`
    axes it has one argument, of that shape, and the result is over these: a sum where it is `add`; there strides of
    `out` are 0."""

    primitive: Primitive[Any]
    args: tuple[Any, ...]
    dtypes: tuple[np.dtype[Any], ...]
    out: StridedView
    folded: tuple[int, ...] = ()

    @property
    def reads(self) -> list[StridedView]:
        """The views among its arguments, and of the numbers that say where these lie."""
        views = [a for a in self.args if isinstance(a, StridedView)]
        return [*views, *(numbers for view in views if (numbers := view.numbers) is not None)]


@dataclass(frozen=True, eq=False)
class Product:
    """out = Σ left @ right, each left (M,K), each right a matrix (K,N) that is the same at every step."""

    lefts: tuple[StridedView, ...]
    rights: tuple[StridedView, ...]
    out: StridedView

    @property
    def reads(self) -> tuple[StridedView, ...]:
        """What is made anew at each step."""
        return self.lefts


# --- Which ops are one line ------------------------------------------------------------------------------------

COMPARISONS = frozenset({ops.equal, ops.not_equal, ops.less, ops.less_equal, ops.greater, ops.greater_equal})
LOGIC = frozenset({ops.logical_and, ops.logical_or, ops.logical_not})
FLOATING = frozenset(
    {ops.div, ops.sqrt, ops.reciprocal, ops.exp, ops.expm1, ops.log, ops.log1p, ops.sin, ops.cos, ops.tanh, ops.erf,
     ops.sigmoid, ops.pow, ops.mod, ops.floor, ops.floor_divide}
)  # fmt: skip
"""Of floats alone: integers have rules of their own for these."""

ENTRYWISE = (
    COMPARISONS
    | LOGIC
    | FLOATING
    | {ops.add, ops.sub, ops.mul, ops.neg, ops.square, ops.abs, ops.sign, ops.maximum, ops.minimum, ops.where}
    | {ops.zeros_like, copy}
)
"""What an emitter must know, entry by entry."""


def _is_one_of(dtype: np.dtype[Any], a: Any) -> bool:
    """Whether a number is one of these integers; a view is."""
    limits = np.iinfo(dtype)
    return isinstance(a, StridedView) or limits.min <= a <= limits.max


def taken_as(primitive: Primitive[Any], args: Sequence[Any], dtype: np.dtype[Any]) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which the arguments of an op are taken, that of its result being `dtype`."""
    truth = np.dtype(bool)
    if primitive in COMPARISONS:
        given = [a.piece.dtype if isinstance(a, StridedView) else a for a in args]
        common = np.result_type(*given)
        if common == truth:  # True is more than False
            common = np.dtype(np.int8)
        if common.kind in "iu" and not all(_is_one_of(common, a) for a in args):
            raise NotInMachineCode(f"{primitive.name} of {common} and a larger number is not done in machine code")
        return (common,) * len(args)
    if primitive in LOGIC:
        return (truth,) * len(args)
    if primitive is ops.where:
        return (truth, dtype, dtype)
    if dtype.kind != "f" and (primitive in FLOATING or dtype == truth) and primitive is not copy:
        raise NotInMachineCode(f"{primitive.name} of {dtype} is not done in machine code")
    return (dtype,) * len(args)
