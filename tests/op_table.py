"""One table of all public ops: for each, a strategy that draws a call of it.

A call is a function of float64 arrays (the inputs, which it is differentiated by) and of constants (index arrays,
targets, masks). Values stay further than four finite-difference steps from every kink, so that any property of
derivatives can be asked of any call. Arrays come in every memory layout and are read-only: an op that writes into
an argument fails everywhere.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_rnn import ops
from tinygrad_rnn.ops.noise import dropout_mask
from tinygrad_rnn.tape import Primitive
from tinygrad_rnn.tensor import Tensor

Array = np.ndarray[Any, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Call:
    """`op(*inputs, *constants)`, and what NumPy says it is."""

    op: Callable[..., Any]
    inputs: tuple[Array, ...]
    constants: tuple[Any, ...] = ()
    expected: Callable[..., Any] | None = None

    def function(self, move: Callable[[Array], Any] = lambda array: array) -> Callable[..., Any]:
        """The op of its inputs alone, with every constant array moved by `move`."""
        constants = [moved(constant, move) for constant in self.constants]
        return lambda *inputs: self.op(*inputs, *constants)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{x.dtype}{list(x.shape)}strides{x.strides}" for x in self.inputs)
        return f"Call({shapes}; constants {self.constants!r}; inputs {self.inputs!r})"


def moved(value: Any, move: Callable[[Array], Any]) -> Any:
    """`value` with the arrays in it moved."""
    if isinstance(value, tuple | list):
        return type(value)(moved(part, move) for part in value)
    if isinstance(value, Tensor):
        return Tensor(move(value.data))
    return move(value) if isinstance(value, np.ndarray) else value


TABLE: dict[str, st.SearchStrategy[Call]] = {}
UNDIFFERENTIABLE = {
    name for name in ops.__all__ if isinstance(op := getattr(ops, name), Primitive) and not op.differentiable
}
DIFFERENTIABLE = sorted(set(ops.__all__) - UNDIFFERENTIABLE)


def entry(*names: str) -> Callable[[Callable[[Draw, str], Call]], None]:
    """Puts ops into the table; the function below draws a call of the op with that name."""

    def register(make: Callable[[Draw, str], Call]) -> None:
        for name in names:
            TABLE[name] = st.composite(make)(name)

    return register


# --- Shapes, layouts and values --------------------------------------------------------------------------------

SIZES = st.sampled_from([2, 3, 1, 2, 3, 0])
FULL = st.sampled_from([2, 3, 1])


def a_shape(draw: Draw, min_dims: int = 0, max_dims: int = 3, sizes: st.SearchStrategy[int] = SIZES) -> tuple[int, ...]:
    return tuple(draw(st.lists(sizes, min_size=min_dims, max_size=max_dims)))


def an_axis(draw: Draw, ndim: int) -> int:
    return int(draw(st.integers(-ndim, ndim - 1)))


def some_axes(draw: Draw, ndim: int) -> Any:
    """None, a number, or a tuple: of no axes, some, or all; negative ones too."""
    kind = draw(st.sampled_from(["none", "one", "several"])) if ndim else draw(st.sampled_from(["none", "several"]))
    if kind == "none":
        return None
    if kind == "one":
        return an_axis(draw, ndim)
    return tuple(
        a - ndim * draw(st.integers(0, 1)) for a in draw(st.permutations(range(ndim)))[: draw(st.integers(0, ndim))]
    )


def laid_out(draw: Draw, array: Array) -> Array:
    """The same values with other strides, read-only."""
    layout = draw(st.sampled_from(["C", "Fortran", "sliced", "reversed", "swapped"]))
    if layout == "Fortran":
        array = np.array(array, order="F")
    elif layout == "sliced":
        room = np.full([2 * n for n in array.shape], 77, array.dtype)
        every_other = (slice(None, None, 2),) * array.ndim
        room[every_other] = array
        array = room[every_other]
    elif layout == "reversed":
        backwards = (slice(None, None, -1),) * array.ndim
        array = np.ascontiguousarray(array[backwards]).reshape(array.shape)[backwards]
    elif layout == "swapped" and array.ndim > 1:
        array = np.ascontiguousarray(array.swapaxes(0, -1)).swapaxes(0, -1)
    array = array[...]
    array.flags.writeable = False
    return array


def random(draw: Draw) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def numbers(
    draw: Draw, shape: tuple[int, ...], low: float = -2, high: float = 2, away: tuple[float, ...] = ()
) -> Array:
    """Numbers between `low` and `high`, at least 0.01 away from the points `away`."""
    values = np.asarray(random(draw).uniform(low, high, shape))
    for point in away:
        near = np.abs(values - point) < 0.01
        values = np.where(near, point + np.where(values < point, -0.02, 0.02), values)
    return laid_out(draw, values)


def apart(draw: Draw, *shapes: tuple[int, ...]) -> tuple[Array, ...]:
    """Arrays whose entries are all at least 0.03 apart, so that none can overtake another."""
    rng = random(draw)
    sizes = [math.prod(shape) for shape in shapes]
    pool = 0.03 * (rng.permutation(sum(sizes)) - sum(sizes) / 2) + 0.011
    parts = np.split(pool, np.cumsum(sizes)[:-1])
    return tuple(laid_out(draw, part.reshape(shape)) for part, shape in zip(parts, shapes, strict=True))


def broadcasting(draw: Draw, count: int) -> list[tuple[int, ...]]:
    """Shapes that broadcast together: leading axes dropped, other axes of size 1."""
    full = a_shape(draw)
    shapes = []
    for _ in range(count):
        shape = full[draw(st.integers(0, len(full))) if draw(st.booleans()) else 0 :]
        shapes.append(tuple(1 if draw(st.sampled_from([False, False, True])) else n for n in shape))
    return shapes


# --- Elementwise -----------------------------------------------------------------------------------------------

ERF = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    return np.asarray(ERF(x), dtype=np.float64)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def softmax(x: Array, axis: int = -1) -> Array:
    weights = np.exp(x)
    return np.asarray(weights / weights.sum(axis=axis, keepdims=True))


SMOOTH: dict[str, Callable[[Array], Array]] = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "sin", "cos", "tanh", "square")},
    "neg": np.negative,
    "erf": erf,
    "sigmoid": sigmoid,
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "log_sigmoid": lambda x: -np.log(1 + np.exp(-x)),
    "zeros_like": np.zeros_like,
}


@entry(*SMOOTH)
def _(draw: Draw, name: str) -> Call:
    return Call(getattr(ops, name), (numbers(draw, a_shape(draw)),), expected=SMOOTH[name])


BOUNDED: dict[str, tuple[float, float, Callable[[Array], Array]]] = {
    "log": (0.3, 3, np.log),
    "sqrt": (0.3, 3, np.sqrt),
    "log1p": (-0.6, 3, np.log1p),
    "reciprocal": (0.3, 3, np.reciprocal),
}


@entry(*BOUNDED)
def _(draw: Draw, name: str) -> Call:
    low, high, expected = BOUNDED[name]
    return Call(getattr(ops, name), (numbers(draw, a_shape(draw), low, high),), expected=expected)


KINKED: dict[str, tuple[tuple[float, ...], Callable[[Array], Array]]] = {
    "abs": ((0,), np.abs),
    "sign": ((0,), np.sign),
    "floor": (tuple(range(-4, 5)), np.floor),
    "relu": ((0,), lambda x: np.maximum(x, 0)),
    "hard_sigmoid": ((-2.5, 2.5), lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
}


@entry(*KINKED)
def _(draw: Draw, name: str) -> Call:
    kinks, expected = KINKED[name]
    return Call(getattr(ops, name), (numbers(draw, a_shape(draw), -4, 4, away=kinks),), expected=expected)


@entry("straight_through")
def _(draw: Draw, name: str) -> Call:
    # Of one argument, as which it is what its gradient says.
    return Call(lambda x: ops.straight_through(x, x), (numbers(draw, a_shape(draw)),), expected=lambda x: x)


@entry("leaky_relu")
def _(draw: Draw, name: str) -> Call:
    x, slope = numbers(draw, a_shape(draw), away=(0,)), draw(st.sampled_from([0.01, 0.3, 2.0]))
    if slope == 0.01:
        return Call(ops.leaky_relu, (x,), expected=lambda x: np.where(x > 0, x, 0.01 * x))
    return Call(lambda x: ops.leaky_relu(x, slope), (x,), expected=lambda x: np.where(x > 0, x, slope * x))


@entry("elu")
def _(draw: Draw, name: str) -> Call:
    x, alpha = numbers(draw, a_shape(draw), away=(0,)), draw(st.sampled_from([1.0, 0.5]))
    if alpha == 1.0:
        return Call(ops.elu, (x,), expected=lambda x: np.where(x > 0, x, np.exp(x) - 1))
    return Call(lambda x: ops.elu(x, alpha=alpha), (x,), expected=lambda x: np.where(x > 0, x, alpha * (np.exp(x) - 1)))


@entry("gelu")
def _(draw: Draw, name: str) -> Call:
    x = numbers(draw, a_shape(draw))
    if draw(st.booleans()):
        return Call(ops.gelu, (x,), expected=lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))))
    return Call(
        lambda x: ops.gelu(x, approximate="tanh"),
        (x,),
        expected=lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
    )


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


@entry(*ARITHMETIC)
def _(draw: Draw, name: str) -> Call:
    """Two arrays that broadcast, or an array and a Python number on either side."""
    op, expected = getattr(ops, name), ARITHMETIC[name]
    left, right = broadcasting(draw, 2)
    if name in ("maximum", "minimum"):
        x, y = apart(draw, left, right)
    else:
        low = 0.3 if name in ("div", "pow") else -2.0
        x, y = (numbers(draw, shape, low, 2) for shape in (left, right))
    match draw(st.sampled_from(["arrays", "arrays", "same", "left", "right"])):
        case "left":
            number = draw(st.sampled_from([2, 1.5, 0.5]))
            return Call(lambda y: op(number, y), (y,), expected=lambda y: expected(number, y))
        case "right":
            number = draw(st.sampled_from([2, 1.5, 3, -1, 0, 1, np.float64(0.5)]))
            number = 2 if name == "div" and number == 0 else number
            if name == "pow" and number == int(number):
                x = numbers(draw, left, -2, 2, away=(0,)) if number >= 0 else x
            return Call(lambda x: op(x, number), (x,), expected=lambda x: expected(x, float(number)))
        case "same" if name not in ("maximum", "minimum"):
            return Call(lambda x: op(x, x), (x,), expected=lambda x: expected(x, x))
    return Call(op, (x, y), expected=expected)


ROUNDED: dict[str, Callable[[Any, Any], Any]] = {"floor_divide": np.floor_divide, "mod": np.mod}


@entry(*ROUNDED)
def _(draw: Draw, name: str) -> Call:
    """Of divisors of which all multiples are multiples of a half, and numbers far from these."""
    op, expected, rng = getattr(ops, name), ROUNDED[name], random(draw)
    left, right = broadcasting(draw, 2)
    x = laid_out(draw, np.asarray(0.5 * rng.integers(-4, 4, left) + rng.uniform(0.1, 0.4, left)))
    y = laid_out(draw, np.asarray(rng.choice([-2, -1, -0.5, 0.5, 1, 2], right)))
    match draw(st.sampled_from(["arrays", "operator", "left", "right"])):
        case "left":
            return Call(lambda y: op(1.7, y), (y,), expected=lambda y: expected(1.7, y))
        case "right":
            number = draw(st.sampled_from([2, 0.5, -1, np.float64(0.5)]))
            return Call(lambda x: op(x, number), (x,), expected=lambda x: expected(x, float(number)))
        case "operator":
            return Call(lambda x, y: x // y if name == "floor_divide" else x % y, (x, y), expected=expected)
    return Call(op, (x, y), expected=expected)


@entry("where")
def _(draw: Draw, name: str) -> Call:
    where, left, right = broadcasting(draw, 3)
    mask = laid_out(draw, random(draw).random(where) < 0.5)
    x, y = numbers(draw, left), numbers(draw, right)
    if draw(st.booleans()):
        return Call(lambda x, m: ops.where(m, x, 0.0), (x,), (mask,), lambda x, m: np.where(m, x, 0.0))
    return Call(lambda x, y, m: ops.where(m, x, y), (x, y), (mask,), lambda x, y, m: np.where(m, x, y))


@entry("clip")
def _(draw: Draw, name: str) -> Call:
    x, low, high = apart(draw, *broadcasting(draw, 3))
    match draw(st.sampled_from(["arrays", "numbers", "lower", "upper"])):
        case "numbers":
            a, b = -0.1015, 0.0935  # half way between two values of `apart`
            return Call(lambda x: ops.clip(x, a, b), (x,), expected=lambda x: np.clip(x, a, b))
        case "lower":
            return Call(lambda x, low: ops.clip(x, low, None), (x, low), expected=lambda x, low: np.clip(x, low, None))
        case "upper":
            return Call(lambda x, high: ops.clip(x, None, high), (x, high), expected=lambda x, h: np.clip(x, None, h))
    return Call(ops.clip, (x, low, high), expected=np.clip)


@entry("astype")
def _(draw: Draw, name: str) -> Call:
    """To a wider dtype and back, so that the result can be compared with finite differences."""
    x = numbers(draw, a_shape(draw))
    return Call(lambda x: ops.astype(ops.astype(x, np.longdouble) * 2, x.dtype), (x,), expected=lambda x: 2 * x)


@entry("dropout")
def _(draw: Draw, name: str) -> Call:
    x, seed, rate = numbers(draw, a_shape(draw)), draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.3, 0.8]))
    return Call(
        lambda x: ops.dropout(x, rate, np.random.default_rng(seed)),
        (x,),
        expected=lambda x: x * dropout_mask(x.shape, rate, np.random.default_rng(seed), x),
    )


# --- Along axes ------------------------------------------------------------------------------------------------


def with_entries(draw: Draw, shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape, with size 2 in place of 0 along `axis`."""
    if axis is None:
        return tuple(n or 2 for n in shape)
    axes = [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
    return tuple(n or 2 if i in axes else n for i, n in enumerate(shape))


@entry("softmax", "log_softmax")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw, min_dims=1)
    axis = an_axis(draw, len(shape))
    x = numbers(draw, with_entries(draw, shape, axis))
    op, expected = getattr(ops, name), (lambda *args: np.log(softmax(*args))) if name == "log_softmax" else softmax
    if axis == -1:
        return Call(op, (x,), expected=expected)
    return Call(lambda x: op(x, axis=axis), (x,), expected=lambda x: expected(x, axis))


@entry("sum", "mean", "prod", "var", "max", "min", "logsumexp", "norm")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    axis, keepdims = some_axes(draw, len(shape)), draw(st.booleans())
    if name not in ("sum", "prod", "norm"):
        shape = with_entries(draw, shape, axis)
    x = apart(draw, shape)[0] if name in ("max", "min") else numbers(draw, shape, away=(0,))
    if name not in ("logsumexp", "norm") and draw(st.booleans()):
        return _of_what_counts(draw, name, x, axis, keepdims)
    if name == "var" and draw(st.booleans()) and math.prod(shape) > math.prod(np.sum(x, axis=axis).shape):
        return Call(
            lambda x: ops.var(x, axis=axis, ddof=1, keepdims=keepdims),
            (x,),
            expected=lambda x: np.var(x, axis=axis, ddof=1, keepdims=keepdims),
        )
    if axis is None and not keepdims and name not in ("norm", "logsumexp"):
        return Call(getattr(ops, name), (x,), expected=getattr(np, name))
    if name == "norm":
        root: Callable[..., Any] = lambda x: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))  # noqa: E731
    elif name == "logsumexp":
        root = lambda x: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))  # noqa: E731
    else:
        root = lambda x: getattr(np, name)(x, axis=axis, keepdims=keepdims)  # noqa: E731
    return Call(lambda x: getattr(ops, name)(x, axis=axis, keepdims=keepdims), (x,), expected=root)


def _of_what_counts(draw: Draw, name: str, x: Array, axis: Any, keepdims: bool) -> Call:
    """With a mask, of which something counts wherever NumPy would warn of nothing, and with an initial value."""
    options: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    mask = random(draw).random(tuple(1 if draw(st.sampled_from([False, True])) else n for n in x.shape)) < 0.6
    if name in ("mean", "var"):
        mask = mask | ~np.any(np.broadcast_to(mask, x.shape), axis=axis, keepdims=True)
    elif name in ("max", "min"):
        options["initial"] = draw(st.sampled_from([5.0 if name == "min" else -5.0, 0.001]))
    else:
        options["initial"] = draw(st.sampled_from([0.0, 1.5]))
    mask = laid_out(draw, mask[0] if mask.ndim and len(mask) == 1 and draw(st.booleans()) else mask)
    return Call(
        lambda x, m: getattr(ops, name)(x, **options, where=m),
        (x,),
        (mask,),
        lambda x, m: getattr(np, name)(x, **options, where=m),
    )


@entry("cumsum")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    axis = an_axis(draw, len(shape)) if shape and draw(st.booleans()) else None
    if axis is None:
        return Call(ops.cumsum, (numbers(draw, shape),), expected=np.cumsum)
    return Call(lambda x: ops.cumsum(x, axis), (numbers(draw, shape),), expected=lambda x: np.cumsum(x, axis))


@entry("argmax")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    axis = an_axis(draw, len(shape)) if shape and draw(st.booleans()) else None
    x = laid_out(draw, random(draw).integers(0, 3, with_entries(draw, shape, axis)) * 1.0)
    return Call(lambda x: ops.argmax(x, axis), (x,), expected=lambda x: np.argmax(x, axis))


@entry("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or")
def _(draw: Draw, name: str) -> Call:
    dtype = draw(st.sampled_from([np.float64, np.int64, np.bool_]))
    x, y = (laid_out(draw, random(draw).integers(0, 3, shape).astype(dtype)) for shape in broadcasting(draw, 2))
    return Call(getattr(ops, name), (x, y), expected=getattr(np, name))


@entry("logical_not")
def _(draw: Draw, name: str) -> Call:
    return Call(ops.logical_not, (laid_out(draw, random(draw).random(a_shape(draw)) < 0.5),), expected=np.logical_not)


# --- Shapes ----------------------------------------------------------------------------------------------------


@entry("reshape")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    target: Any = [*draw(st.permutations(shape)), *[1] * draw(st.integers(0, 2))]
    if draw(st.booleans()) and 0 not in shape:
        target = -1 if draw(st.booleans()) else [*target, -1]
    target = tuple(target) if isinstance(target, list) else target
    return Call(lambda x: ops.reshape(x, target), (numbers(draw, shape),), expected=lambda x: np.reshape(x, target))


@entry("transpose")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw, min_dims=draw(st.sampled_from([0, 3])))  # fewer than three axes have no cycles
    n = len(shape)
    if draw(st.booleans()):
        return Call(ops.transpose, (numbers(draw, shape),), expected=np.transpose)
    axes: Any = tuple(a - n * draw(st.integers(0, 1)) for a in draw(st.permutations(range(n))))
    if n == 1 and draw(st.booleans()):
        (axes,) = axes
    return Call(lambda x: ops.transpose(x, axes), (numbers(draw, shape),), expected=lambda x: np.transpose(x, axes))


@entry("swapaxes", "moveaxis")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw, min_dims=draw(st.sampled_from([1, 3])))
    a: Any = an_axis(draw, len(shape))
    b: Any = an_axis(draw, len(shape))
    if name == "moveaxis" and draw(st.booleans()):
        count = draw(st.integers(0, len(shape)))
        a, b = (tuple(draw(st.permutations(range(len(shape))))[:count]) for _ in "ab")
    op, expected = getattr(ops, name), getattr(np, name)
    return Call(lambda x: op(x, a, b), (numbers(draw, shape),), expected=lambda x: expected(x, a, b))


@entry("expand_dims")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    new: Any = draw(st.integers(-len(shape) - 1, len(shape)))
    if draw(st.booleans()):
        new = (0, new if new > 0 else -1)
    return Call(lambda x: ops.expand_dims(x, new), (numbers(draw, shape),), expected=lambda x: np.expand_dims(x, new))


@entry("squeeze")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw, sizes=st.sampled_from([1, 2, 0, 1]))
    ones = [i - len(shape) * draw(st.integers(0, 1)) for i, n in enumerate(shape) if n == 1]
    axis = draw(st.sampled_from([None, tuple(ones), *ones]))
    if axis is None:
        return Call(ops.squeeze, (numbers(draw, shape),), expected=np.squeeze)
    return Call(lambda x: ops.squeeze(x, axis), (numbers(draw, shape),), expected=lambda x: np.squeeze(x, axis))


@entry("flip")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    axis = some_axes(draw, len(shape))
    if axis is None:
        return Call(ops.flip, (numbers(draw, shape),), expected=np.flip)
    return Call(lambda x: ops.flip(x, axis), (numbers(draw, shape),), expected=lambda x: np.flip(x, axis))


@entry("repeat")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    axis = an_axis(draw, len(shape)) if shape and draw(st.booleans()) else None
    times = random(draw).integers(0, 4, math.prod(shape) if axis is None else shape[axis])
    repeats: Any = draw(st.sampled_from([0, 1, 3, laid_out(draw, times), Tensor(times), times.tolist()]))
    if axis is None:
        return Call(ops.repeat, (numbers(draw, shape),), (repeats,), lambda x, r: np.repeat(x, _whole(r)))
    return Call(
        lambda x, r: ops.repeat(x, r, axis),
        (numbers(draw, shape),),
        (repeats,),
        lambda x, r: np.repeat(x, _whole(r), axis),
    )


def _whole(repeats: Any) -> Array:
    return np.asarray(repeats.data if isinstance(repeats, Tensor) else repeats, dtype=np.int64)


@entry("pad")
def _(draw: Draw, name: str) -> Call:
    shape, width = a_shape(draw, min_dims=1), st.integers(0, 2)
    pairs = st.tuples(*[st.tuples(width, width)] * len(shape))
    border, value = draw(st.one_of(width, st.tuples(width, width), pairs)), draw(st.sampled_from([0.0, 1.5]))
    if value == 0.0:
        x = numbers(draw, shape)
        return Call(lambda x: ops.pad(x, border), (x,), expected=lambda x: np.pad(x, border))
    return Call(
        lambda x: ops.pad(x, border, constant_values=value),
        (numbers(draw, shape),),
        expected=lambda x: np.pad(x, border, constant_values=value),
    )


@entry("stack", "concatenate")
def _(draw: Draw, name: str) -> Call:
    shape, count = a_shape(draw, min_dims=name == "concatenate"), draw(st.integers(1, 3))
    op, expected = getattr(ops, name), getattr(np, name)
    if name == "stack":
        axis: Any = draw(st.integers(-len(shape) - 1, len(shape)))
        shapes = [shape] * count
    else:
        axis = draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
        along = 0 if axis is None else axis % len(shape)
        shapes = [(*shape[:along], draw(SIZES), *shape[along + 1 :]) for _ in range(count)]
    xs = tuple(numbers(draw, each) for each in shapes)
    if axis == 0:
        return Call(lambda *xs: op(xs), xs, expected=lambda *xs: expected(xs))
    if draw(st.booleans()):  # one of them twice
        return Call(lambda *xs: op([*xs, xs[0]], axis), xs, expected=lambda *xs: expected([*xs, xs[0]], axis))
    return Call(lambda *xs: op(xs, axis), xs, expected=lambda *xs: expected(xs, axis))


@entry("split")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw, min_dims=1)
    axis = an_axis(draw, len(shape))
    cuts: Any = draw(st.lists(st.integers(-shape[axis] - 1, shape[axis] + 1), max_size=3))  # in any order
    if draw(st.booleans()):
        cuts = draw(st.sampled_from([n for n in (1, 2, 3) if shape[axis] % n == 0]))
    if axis == 0:
        return Call(lambda x: ops.split(x, cuts), (numbers(draw, shape),), expected=lambda x: np.split(x, cuts))
    return Call(lambda x: ops.split(x, cuts, axis), (numbers(draw, shape),), expected=lambda x: np.split(x, cuts, axis))


@entry("unstack")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw, min_dims=1)
    axis = an_axis(draw, len(shape))
    x = numbers(draw, with_entries(draw, shape, axis))
    if axis == 0:
        return Call(ops.unstack, (x,), expected=lambda x: [*x])
    return Call(lambda x: ops.unstack(x, axis), (x,), expected=lambda x: [*np.moveaxis(x, axis, 0)])


@entry("broadcast_to", "sum_to")
def _(draw: Draw, name: str) -> Call:
    full = a_shape(draw)
    small = tuple(1 if draw(st.booleans()) else n for n in full[draw(st.integers(0, len(full))) :])
    if name == "broadcast_to":
        return Call(
            lambda x: ops.broadcast_to(x, full), (numbers(draw, small),), expected=lambda x: np.broadcast_to(x, full)
        )

    def expected(x: Array) -> Array:
        out = np.zeros(small)
        for index in np.ndindex(full):
            kept = index[len(full) - len(small) :]
            out[tuple(i if n > 1 else 0 for i, n in zip(kept, small, strict=True))] += x[index]
        return out

    return Call(lambda x: ops.sum_to(x, small), (numbers(draw, full),), expected=expected)


# --- Indexing --------------------------------------------------------------------------------------------------


def whole_numbers(draw: Draw, size: int, shape: tuple[int, ...]) -> Array:
    """Indices into an axis of `size` entries, negative and repeated ones too."""
    dtype = draw(st.sampled_from([np.int64, np.int32]))
    return laid_out(draw, random(draw).integers(-size, size, shape).astype(dtype) if size else np.zeros(shape, dtype))


def a_slice(draw: Draw) -> slice:
    ends = st.one_of(st.none(), st.integers(-4, 4))
    return slice(draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2, -1, -2])))


def an_index(draw: Draw, shape: tuple[int, ...]) -> Any:
    """Everything that may stand between brackets: numbers, slices, `...`, None, integer arrays with repeats,
    boolean arrays, lists, Tensors, and mixtures."""
    arrays = draw(st.sampled_from([(), (2,), (3,), (2, 2)]))  # what the integer arrays broadcast to
    masked = draw(st.integers(1, len(shape))) if shape and draw(st.sampled_from([True, False, False])) else 0
    advanced = draw(st.booleans())
    parts: list[Any] = []
    if masked:
        mask = random(draw).random(shape[:masked]) < 0.5
        parts.append(draw(st.sampled_from([mask, Tensor(mask)])))
        arrays = (int(mask.sum()),)
    for size in shape[masked : draw(st.integers(masked, len(shape)))]:
        kinds = ["slice", "slice", *(["number"] if size else [])]
        if advanced and (size or 0 in arrays):
            kinds = ["array", "array", "list", "Tensor", "slice"]
        kind = draw(st.sampled_from(kinds))
        if kind == "slice":
            parts.append(a_slice(draw))
        elif kind == "number":
            parts.append(draw(st.integers(-size, size - 1)))
        else:
            kept = arrays[draw(st.integers(0, len(arrays))) :] if not masked else arrays
            chosen = whole_numbers(draw, size, tuple(1 if n > 1 and draw(st.booleans()) else n for n in kept))
            parts.append(Tensor(chosen) if kind == "Tensor" else chosen.tolist() if kind == "list" else chosen)
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    whole = sum(1 if not hasattr(p, "dtype") or p.dtype != bool else p.ndim for p in parts if p is not None)
    if draw(st.booleans()):
        # From the place of `...` on, the parts belong to the last axes: they must fit those.
        parts.insert(len(parts) if whole < len(shape) else draw(st.integers(0, len(parts))), ...)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def _raw(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_raw(part) for part in index)
    return index.data if isinstance(index, Tensor) else index


def added_at(x: Array, index: Any, updates: Any) -> Array:
    out = x.copy()
    np.add.at(out, _raw(index), updates)
    return out


@entry("getitem")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    index = an_index(draw, shape)
    op = draw(st.sampled_from([ops.getitem, lambda x, index: x[index]]))
    return Call(op, (numbers(draw, shape),), (index,), lambda x, index: x[_raw(index)])


@entry("scatter", "scatter_add")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    index = an_index(draw, shape)
    place = np.zeros(shape)[_raw(index)].shape
    if draw(st.booleans()):  # updates that broadcast
        place = place[draw(st.integers(0, len(place))) :]
        place = tuple(1 if draw(st.booleans()) else n for n in place)
    updates = numbers(draw, place)
    if name == "scatter":
        return Call(
            lambda u, index: ops.scatter(u, index, shape),
            (updates,),
            (index,),
            lambda u, index: added_at(np.zeros(shape), index, u),
        )
    if draw(st.booleans()):
        return Call(
            lambda x, index: ops.scatter_add(x, index, 1.5),
            (numbers(draw, shape),),
            (index,),
            lambda x, index: added_at(x, index, 1.5),
        )
    return Call(
        lambda x, u, index: ops.scatter_add(x, index, u),
        (numbers(draw, shape), updates),
        (index,),
        lambda x, u, index: added_at(x, index, u),
    )


@entry("take")
def _(draw: Draw, name: str) -> Call:
    shape = a_shape(draw)
    axis = draw(st.one_of(st.just(0), st.integers(-len(shape), len(shape) - 1))) if shape else 0
    size = shape[axis] if shape else 1
    indices: Any = whole_numbers(draw, size, a_shape(draw, max_dims=2) if size else (0,))
    match draw(st.sampled_from(["array", "list", "Tensor"])):
        case "list":
            indices = indices.tolist() if indices.size else indices
        case "Tensor":
            indices = Tensor(indices)
    if axis == 0:
        return Call(ops.take, (numbers(draw, shape),), (indices,), lambda x, i: np.take(x, _raw(i), axis=0))
    return Call(
        lambda x, i: ops.take(x, i, axis=axis),
        (numbers(draw, shape),),
        (indices,),
        lambda x, i: np.take(x, _raw(i), axis=axis),
    )


@entry("take_along_axis")
def _(draw: Draw, name: str) -> Call:
    """Of axes that are equal or broadcast, but for one along which there are any number of indices."""
    shape = a_shape(draw, min_dims=1)
    axis = draw(st.one_of(st.none(), st.just(-1), st.integers(-len(shape), len(shape) - 1)))
    along = -1 if axis is None else axis
    size = math.prod(shape) if axis is None else shape[axis]
    if axis is None:
        named: Any = (draw(FULL) if size else 0,)
    else:
        named = [draw(st.sampled_from([n, n, 1])) for n in shape]
        named[along] = draw(SIZES) if size else 0
        shape = tuple(1 if i != along % len(shape) and draw(st.booleans()) else n for i, n in enumerate(shape))
    indices: Any = whole_numbers(draw, size, tuple(named))
    match draw(st.sampled_from(["array", "list", "Tensor"])):
        case "list":
            indices = indices.tolist() if indices.size else indices
        case "Tensor":
            indices = Tensor(indices)
    x = numbers(draw, shape)
    if axis == -1 and draw(st.booleans()):
        return Call(ops.take_along_axis, (x,), (indices,), lambda x, i: np.take_along_axis(x, np.asarray(_raw(i)), -1))
    return Call(
        lambda x, i: ops.take_along_axis(x, i, axis),
        (x,),
        (indices,),
        lambda x, i: np.take_along_axis(x, np.asarray(_raw(i)), axis),
    )


# --- Products --------------------------------------------------------------------------------------------------


@entry("matmul")
def _(draw: Draw, name: str) -> Call:
    m, k, n = (draw(SIZES) for _ in "mkn")
    left = (k,) if draw(st.sampled_from([True, False, False])) else (m, k)
    right = (k,) if draw(st.sampled_from([True, False, False])) else (k, n)
    stacks = broadcasting(draw, 2)
    if len(left) > 1 and draw(st.booleans()):
        left = stacks[0][:2] + left
    if len(right) > 1 and draw(st.booleans()):
        right = stacks[1][:2] + right
    if len(left) > 2 and len(right) > 2:  # cut on the left, as broadcasting aligns on the right
        left, right = stacks[0][-2:] + left[-2:], stacks[1][-2:] + right[-2:]
    op = draw(st.sampled_from([ops.matmul, lambda a, b: a @ b]))
    return Call(op, (numbers(draw, left), numbers(draw, right)), expected=np.matmul)


@entry("outer")
def _(draw: Draw, name: str) -> Call:
    return Call(ops.outer, tuple(numbers(draw, a_shape(draw, max_dims=2)) for _ in "ab"), expected=np.outer)


@entry("einsum")
def _(draw: Draw, name: str) -> Call:
    """Random subscripts: repeated letters, letters in one place only, sizes 0 and 1, and `...`."""
    sizes = {letter: draw(SIZES) for letter in "abc"}
    stack = a_shape(draw, max_dims=1) if draw(st.booleans()) else None
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = "".join(draw(st.lists(st.sampled_from("abc"), max_size=3)))
        single = {letter: draw(st.sampled_from([False, False, True])) for letter in letters}
        shape = tuple(1 if single[letter] else sizes[letter] for letter in letters)
        if stack is not None and draw(st.booleans()):
            at = draw(st.integers(0, len(letters)))
            ones = tuple(1 if draw(st.booleans()) else n for n in stack[draw(st.integers(0, len(stack))) :])
            letters, shape = letters[:at] + "..." + letters[at:], shape[:at] + ones + shape[at:]
        terms.append(letters)
        shapes.append(shape)
    inputs = ",".join(terms)
    used = sorted(set(inputs) & set(string.ascii_letters))
    result = [*draw(st.permutations(used))[: draw(st.integers(0, len(used)))]]
    if "..." in inputs:
        result.insert(draw(st.integers(0, len(result))), "...")
    subscripts = inputs if draw(st.sampled_from([True, False, False])) else f"{inputs} -> {''.join(result)}"
    return Call(
        lambda *xs: ops.einsum(subscripts, *xs),
        tuple(numbers(draw, shape) for shape in shapes),
        expected=lambda *xs: np.einsum(subscripts, *xs),
    )


# --- Losses ----------------------------------------------------------------------------------------------------


def reduced(losses: Array, weights: Any, targets: Any, ignore_index: Any, reduction: str) -> Any:
    """Weighted losses as the documentation has them."""
    weights = np.ones(losses.shape) if weights is None else np.asarray(weights, np.float64)
    weights = weights * (targets != ignore_index) if ignore_index is not None else weights
    if reduction == "none":
        return losses * weights
    total = (losses * weights).sum()
    return total / (weights.sum() or 1.0) if reduction == "mean" else total


@entry("softmax_cross_entropy", "linear_cross_entropy")
def _(draw: Draw, name: str) -> Call:
    rows, classes = a_shape(draw, max_dims=2), draw(FULL)
    targets = random(draw).integers(0, classes, rows)
    reduction = draw(st.sampled_from(["mean", "sum", "none"]))
    ignore_index = draw(st.sampled_from([None, None, 0, -100]))
    if ignore_index == -100:
        targets = np.where(random(draw).random(rows) < 0.4, -100, targets)
    weights = numbers(draw, rows, 0.5, 2) if draw(st.booleans()) else None
    targets = laid_out(draw, targets)
    smoothing = draw(st.sampled_from([0.0, 0.1, 1.0]))

    def losses(logits: Array, targets: Array) -> Array:
        shares = np.full(logits.shape, smoothing / classes)
        np.put_along_axis(shares, np.where(targets < 0, 0, targets)[..., None], 1 - smoothing + smoothing / classes, -1)
        return np.asarray(-(shares * np.log(softmax(logits))).sum(axis=-1))

    def expected(logits: Array, targets: Array, weights: Any) -> Any:
        return reduced(losses(logits, targets), weights, targets, ignore_index, reduction)

    options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": smoothing}
    if name == "softmax_cross_entropy":
        return Call(
            lambda z, t, w: ops.softmax_cross_entropy(z, t, w, **options),
            (numbers(draw, (*rows, classes)),),
            (targets, weights),
            expected,
        )
    hidden = draw(FULL)
    h, W, b = numbers(draw, (*rows, hidden)), numbers(draw, (hidden, classes)), numbers(draw, (classes,))
    if draw(st.booleans()):
        return Call(
            lambda h, W, t, w: ops.linear_cross_entropy(h, W, None, t, w, **options),
            (h, W),
            (targets, weights),
            lambda h, W, t, w: expected(h @ W, t, w),
        )
    return Call(
        lambda h, W, b, t, w: ops.linear_cross_entropy(h, W, b, t, w, **options),
        (h, W, b),
        (targets, weights),
        lambda h, W, b, t, w: expected(h @ W + b, t, w),
    )


@entry("mse", "binary_cross_entropy_with_logits")
def _(draw: Draw, name: str) -> Call:
    shape, reduction = a_shape(draw), draw(st.sampled_from(["mean", "sum", "none"]))
    op = getattr(ops, name)
    x, target = numbers(draw, shape), numbers(draw, shape, 0, 1)

    def expected(x: Array, target: Array, weights: Any = None) -> Any:
        s = sigmoid(x)
        each = (x - target) ** 2 if name == "mse" else -(target * np.log(s) + (1 - target) * np.log(1 - s))
        return reduced(each, None if weights is None else np.broadcast_to(weights, shape), None, None, reduction)

    if draw(st.booleans()):
        beside = tuple(1 if draw(st.booleans()) else n for n in shape[draw(st.integers(0, len(shape))) :])
        weights = laid_out(draw, random(draw).choice([0.0, 0.5, 2.0], beside))
        return Call(lambda x, t, w: op(x, t, w, reduction), (x, target), (weights,), expected)
    if draw(st.booleans()):
        return Call(lambda x, t: op(x, t, reduction=reduction), (x,), (target,), expected)
    return Call(lambda x, t: op(x, t, reduction=reduction), (x, target), expected=expected)
