"""Changing shape: reordering, joining and taking apart. Each op's adjoint is another op here."""

from __future__ import annotations

import builtins
import itertools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import Array, HostArray, as_array, to_host, xp
from tinygrad_rnn.ops.arithmetic import zeros_like
from tinygrad_rnn.ops.indexing import getitem
from tinygrad_rnn.tape import Box, broadcast_to, primitive

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor

Axes = int | tuple[int, ...]


@primitive
def reshape(x: Array, shape: int | tuple[int, ...]) -> Array:
    """The same numbers, in the same order, in another shape; one size may be -1."""
    return x.reshape(shape)


reshape.vjp(lambda g, out, x, shape: g.reshape(x.shape))


@primitive
def transpose(x: Array, axes: Axes | None = None) -> Array:
    """The axes in another order (reversed by default): (A,B) -> (B,A)."""
    return xp(x).transpose(x, axes)


def _transpose_rule(g: Any, out: Any, x: Any, axes: Axes | None) -> Any:
    if axes is None or isinstance(axes, int):  # a number is the one axis of a vector
        return transpose(g)
    return transpose(g, tuple(int(i) for i in np.argsort([a % x.ndim for a in axes])))


transpose.vjp(_transpose_rule)


@primitive
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    return x.swapaxes(axis1, axis2)


swapaxes.vjp(lambda g, out, x, axis1, axis2: swapaxes(g, axis1, axis2))


@primitive
def moveaxis(x: Array, source: Axes, destination: Axes) -> Array:
    """Axes moved to other places, the rest in order."""
    return xp(x).moveaxis(x, source, destination)


moveaxis.vjp(lambda g, out, x, source, destination: moveaxis(g, destination, source))


@primitive
def expand_dims(x: Array, axis: Axes) -> Array:
    """New axes of size 1, at the places that they have in the result: (B,H) with axis 1 -> (B,1,H)."""
    return xp(x).expand_dims(x, axis)


expand_dims.vjp(lambda g, out, x, axis: g.reshape(x.shape))


@primitive
def squeeze(x: Array, axis: Axes | None = None) -> Array:
    """Without axes of size 1 (by default all of them): (B,1,H) -> (B,H). Raises ValueError for one of another size."""
    return xp(x).squeeze(x, axis=axis)


squeeze.vjp(lambda g, out, x, axis: g.reshape(x.shape))


@primitive
def flip(x: Array, axis: Axes | None = None) -> Array:
    """The order along axes reversed (all of them by default)."""
    return xp(x).flip(x, axis=axis)


flip.vjp(lambda g, out, x, axis: flip(g, axis))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each entry along `axis` (None: of the flattened array) several times, one after the other: as often as the number
    `repeats`, or each as often as its own of several numbers. Its gradient is the sum of those of its copies. Raises
    TypeError where they are not whole, ValueError for negative ones, and where there is not one for each entry."""
    x = x if hasattr(x, "dtype") else as_array(x)
    if axis is None:
        return repeat(reshape(x, -1), repeats, 0)
    axis = np.lib.array_utils.normalize_axis_index(axis, builtins.max(x.ndim, 1))
    before, n, after = x.shape[:axis], x.shape[axis] if x.ndim else 1, x.shape[axis + 1 :]
    times = _whole_numbers(repeats, n)
    if times.size == 1:
        copies = broadcast_to(reshape(x, (*before, n, 1, *after)), (*before, n, times.item(), *after))
        return reshape(copies, (*before, n * times.item(), *after))
    index = (x.xp if isinstance(x, Box) else xp(x)).asarray(np.repeat(np.arange(n), times))
    return getitem(x, (*(slice(None),) * axis, index))


def _whole_numbers(repeats: Any, n: int) -> HostArray:
    """How often each of n entries is repeated: one number, or n."""
    times = np.asarray(to_host(repeats.data if isinstance(repeats, Box) else repeats))
    if times.size and times.dtype.kind not in "iub":
        raise TypeError(f"repeat: repeats must be whole numbers, got dtype {times.dtype}")
    if times.shape not in ((), (1,), (n,)):
        raise ValueError(f"repeat: repeats must be one number, or one for each of {n} entries, got shape {times.shape}")
    if times.size and times.min() < 0:
        raise ValueError(f"repeat: repeats must be 0 or more, got {times.min()}")
    return times.astype(np.int64)


def _pad_pairs(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    return [(operator.index(a), operator.index(b)) for a, b in np.broadcast_to(np.asarray(pad_width), (ndim, 2))]


@primitive
def pad(x: Array, pad_width: Any, constant_values: float = 0.0) -> Array:
    """A border of a constant: `pad_width` as in NumPy, a number, a (before, after) or one pair per axis."""
    pairs = _pad_pairs(pad_width, x.ndim)
    return xp(x).pad(x, pairs, mode="constant", constant_values=constant_values) if pairs else x


pad.vjp(
    lambda g, out, x, pad_width, constant_values: g[
        tuple(slice(a, a + n) for (a, _), n in zip(_pad_pairs(pad_width, x.ndim), x.shape, strict=True))
    ]
)


def _arrays(name: str, xs: Sequence[Any]) -> Sequence[Any]:
    """What is to be joined: lists as arrays, numbers in the dtype of what has one."""
    if not len(xs):
        raise ValueError(f"{name}: at least one array was expected, got none")
    if all(hasattr(x, "dtype") for x in xs):
        return xs
    xs = [as_array(x) if isinstance(x, list | tuple) else x for x in xs]
    dtypes = [x.dtype for x in xs if hasattr(x, "dtype")]
    dtype = np.result_type(*dtypes) if dtypes else None
    return [x if hasattr(x, "dtype") else as_array(x, dtype) for x in xs]


@primitive
def _stack(*xs: Array, axis: int) -> Array:
    shapes = [x.shape for x in xs]
    if shapes.count(shapes[0]) < len(shapes):
        raise ValueError(f"stack: arrays of one shape were expected, got {', '.join(map(str, shapes))}")
    new = (slice(None),) * (axis % (xs[0].ndim + 1)) + (None,)
    return xp(xs[0]).concatenate([x[new] for x in xs], axis=axis)  # a third of the time that a stack of few takes


_stack.vjp_each(lambda n, g, out, *xs, axis: g[(slice(None),) * (axis % len(g.shape)) + (n,)])


def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis: K of (B,H) -> (K,B,H). Raises ValueError where there are several
    shapes, and for no arrays."""
    return _stack(*_arrays("stack", xs), axis=axis)


@primitive
def _concatenate(*xs: Array, axis: int) -> Array:
    return xp(xs[0]).concatenate(xs, axis=axis)


def _concatenate_rule(n: int, g: Any, out: Any, *xs: Any, axis: int) -> Any:
    axis %= len(g.shape)
    start = builtins.sum(x.shape[axis] for x in xs[:n])
    return g[(slice(None),) * axis + (slice(start, start + xs[n].shape[axis]),)]


_concatenate.vjp_each(_concatenate_rule)


def concatenate(xs: Sequence[Any], axis: int | None = 0) -> Tensor:
    """Arrays joined along an axis that they have (None: all of them flattened): (3,H) and (2,H) -> (5,H). Raises
    ValueError where the other axes differ, and for no arrays."""
    xs = _arrays("concatenate", xs)
    return _concatenate(*xs, axis=axis) if axis is not None else _concatenate(*[reshape(x, -1) for x in xs], axis=0)


@primitive
def _unstack(x: Array, axis: int = 0) -> tuple[Array, ...]:
    moved = xp(x).moveaxis(x, axis, 0)
    return tuple(moved[i, ...] for i in range(len(moved)))


def _unstack_rule(g: Any, out: Any, x: Any, axis: int) -> Any:
    zero = zeros_like(next(part for part in g if part is not None))
    return stack([zero if part is None else part for part in g], axis)


_unstack.vjp(_unstack_rule)


def unstack(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without it: (K,B,H) -> K of (B,H), `stack` backwards. One gradient of full size however
    many are used, where indexing one at a time would make one each."""
    return _unstack(x, axis)  # type: ignore[return-value]  # a primitive with several results


@primitive
def _split(x: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> tuple[Array, ...]:
    if isinstance(indices_or_sections, int) or isinstance(x, np.ndarray):
        return tuple(xp(x).split(x, indices_or_sections, axis=axis))
    # CuPy's `split` goes to foreign memory for a cut before the beginning.
    before = (slice(None),) * (axis % x.ndim)
    return tuple(x[(*before, slice(*cut))] for cut in itertools.pairwise([0, *indices_or_sections, None]))


def _split_rule(g: Any, out: Any, x: Any, indices_or_sections: Any, axis: int) -> Any:
    axis, n = axis % x.ndim, x.shape[axis]
    parts = [zeros_like(o) if part is None else part for part, o in zip(g, out, strict=True)]
    if builtins.sum(part.shape[axis] for part in parts) == n:
        return concatenate(parts, axis)
    cuts = [0, *indices_or_sections, n]  # which do not ascend: pieces overlap, or leave some out
    places = [slice(*cut).indices(n) for cut in itertools.pairwise(cuts)]
    width = (
        tuple((start, n - start - part.shape[axis]) if a == axis else (0, 0) for a in range(x.ndim))
        for part, (start, _, _) in zip(parts, places, strict=True)
    )
    padded = [pad(part, pairs) for part, pairs in zip(parts, width, strict=True)]
    return builtins.sum(padded[1:], padded[0])


_split.vjp(_split_rule)


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Pieces along an axis: that many equal ones, or cut at the given places: (5,H) cut at [3] -> (3,H) and (2,H),
    `concatenate` backwards. Raises ValueError where equal pieces do not fit."""
    cuts: Any = indices_or_sections
    cuts = int(cuts) if isinstance(cuts, int | np.integer) else tuple(cuts)
    return _split(x, cuts, axis)  # type: ignore[return-value]  # a primitive with several results
