"""Reading and adding at an index. `getitem` and `scatter` are each other's adjoint, and so are `take_along_axis` and
what adds along an axis.

On a GPU an array of indices out of range raises nothing: there CuPy counts modulo the size. `Embedding` and the losses,
which check their ids, raise IndexError there too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import Array, is_array, xp
from tinygrad_rnn.libraries import add_at
from tinygrad_rnn.ops.arithmetic import add
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.sums import SUMMED_AT_ONCE, accumulator
from tinygrad_rnn.surroundings import current_surroundings
from tinygrad_rnn.tape import Box, primitive, undifferentiable

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor


@dataclass(frozen=True)
class Slot:
    """The place in an index of the array with this number: arrays are arguments of an op, the rest is an option."""

    number: int


def _taken_apart(index: Any) -> tuple[Any, list[Any]]:
    """An index with slots for its arrays, and these. In a recording a mask becomes the numbers of its entries: how many
    there are decides the shape of the result."""
    if type(index) is int or type(index) is slice:
        return index, []
    arrays: list[Any] = []
    in_numbers = current_surroundings.get().recorder is not None

    def slots(part: Any) -> Iterator[Any]:
        if not (isinstance(part, Box) or is_array(part)):
            yield _plain(part)
            return
        mask = in_numbers and part.dtype.kind == "b"
        for array in _plain(part).nonzero() if mask else (part,):
            yield Slot(len(arrays))
            arrays.append(array)

    parts = [slot for part in _parts(index) for slot in slots(part)]
    return tuple(parts) if isinstance(index, tuple) or len(parts) != 1 else parts[0], arrays


def _put_together(index: Any, arrays: tuple[Array, ...]) -> Any:
    if isinstance(index, tuple):
        return tuple(_put_together(part, arrays) for part in index)
    return arrays[index.number] if isinstance(index, Slot) else index


def _plain(index: Any) -> Any:
    """What an index has in place of Tensors: their arrays."""
    if isinstance(index, list):
        return [_plain(part) for part in index]
    return index.data if isinstance(index, Box) else index


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _is_of_integers(part: Any) -> bool:
    """Whether a part of an index is what can name an entry twice: an array of integers, or a list."""
    return isinstance(part, list) or (is_array(part) and part.dtype.kind in "iu")


@primitive
def _getitem(x: Array, index: Any, *arrays: Array) -> Array:
    return x[_put_together(index, arrays)]


def _getitem_rule(g: Any, out: Any, x: Any, index: Any, *arrays: Any) -> Any:
    return _scatter(g, index, x.shape, *arrays)


_getitem.vjp(_getitem_rule)


def getitem(x: Any, index: Any) -> Tensor:
    """x[index], for every index that NumPy knows: numbers, slices with steps, `...`, None, integer and boolean
    arrays and Tensors. Entries read twice receive both gradients. Raises IndexError out of range."""
    index, arrays = _taken_apart(index)
    return _getitem(x, index, *arrays)


@primitive
def _scatter(updates: Array, index: Any, shape: tuple[int, ...], *arrays: Array) -> Array:
    index = _put_together(index, arrays)
    lib, named = xp(updates), [part for part in _parts(index) if _is_of_integers(part)]
    if not named:
        out = lib.zeros(shape, dtype=updates.dtype)
        out[index] = updates
        return out
    count = max(map(np.size, named))
    if len(_parts(index)) == 1 and count > SUMMED_AT_ONCE:
        rows = lib.asarray(named[0])
        return RowSparse.from_indices(rows, lib.broadcast_to(updates, (*rows.shape, *shape[1:])), shape).dense()
    out = lib.zeros(shape, dtype=accumulator(updates.dtype, count))
    add_at(out, index, updates.astype(out.dtype, copy=False))
    return out.astype(updates.dtype, copy=False)


_scatter.vjp(lambda g, out, updates, index, shape, *arrays: _getitem(g, index, *arrays))


def scatter(updates: Any, index: Any, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape` with `updates` added at `index`; an index named twice receives both.

    Example:
        >>> ops.scatter(Tensor([1.0, 2.0, 3.0]), np.array([0, 2, 2]), (4,))
        Tensor([1., 0., 5., 0.], shape=(4,), dtype=float32)
    """
    index, arrays = _taken_apart(index)
    return _scatter(updates, index, shape, *arrays)


def scatter_add(x: Any, index: Any, updates: Any) -> Tensor:
    """`x` with `updates` added at `index`: what `x[index] += updates` means, as a new array, except that an index named
    twice receives both.

    Example:
        >>> ops.scatter_add(Tensor([10.0, 20.0]), np.array([1, 1]), [1.0, 2.0])
        Tensor([10., 23.], shape=(2,), dtype=float32)
    """
    if not hasattr(updates, "shape"):  # numbers and lists take the dtype of `x`
        updates = (x.xp if isinstance(x, Box) else xp(x)).asarray(updates, dtype=x.dtype)
    return add(x, scatter(updates, index, tuple(x.shape)))


@undifferentiable
def _within(indices: Array, size: int, what: str) -> Array:
    """The indices themselves. Raises IndexError, in a sentence that begins with `what`, where one does not lie between
    0 and size - 1."""
    if indices.size and int(_unsigned(indices).max()) >= size:
        wrong = int(indices.min()) if int(indices.min()) < 0 else int(indices.max())
        raise IndexError(f"{what} must lie between 0 and {size - 1}, got {wrong}")
    return indices


_UNSIGNED = {np.dtype(f"{order}i{size}"): np.dtype(f"{order}u{size}") for order in "<>" for size in (1, 2, 4, 8)}


def _unsigned(indices: Array) -> Array:
    """The same bits as numbers from 0 up, in which what is negative is larger than any size."""
    return indices.view(_UNSIGNED[indices.dtype]) if indices.dtype.kind == "i" else indices


def _integers(name: str, lib: Any, indices: Any) -> Array:
    """Indices as an array of a library; they may lie on the host. Raises TypeError where they are no integers."""
    found = indices if hasattr(indices, "dtype") and xp(indices) is lib else lib.asarray(indices)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must be integers, got dtype {found.dtype}")
    return found


@primitive
def take(x: Array, indices: Array, axis: int = 0) -> Array:
    """The slices of `x` along `axis` named by an array of integers, as an embedding reads its table: shapes (V,E)
    and (T,B) give (T,B,E). The gradient of a table (axis 0) is row-sparse. Unlike NumPy's, `axis` is 0 unless
    given. Raises IndexError out of range, TypeError for indices that are not integers."""
    return xp(x).take(x, _integers("take", xp(x), indices), axis=axis)


def _take_rule(g: Any, out: Any, x: Any, indices: Any, axis: int) -> Any:
    if not x.ndim:
        return g.sum()
    axis %= x.ndim
    if axis == 0 and not isinstance(g, Box):
        return RowSparse.from_indices(indices, g, x.shape)
    return scatter(g, (slice(None),) * axis + (indices,), x.shape)


take.vjp(_take_rule)


@primitive
def _row_at(x: Array, number: Array) -> Array:
    """x[number], of the number of a row (1,) that is known to be there: what a loop reads without asking."""
    return xp(x).take(x, number, axis=0)


_row_at.vjp(lambda g, out, x, number: scatter(g, (number,), x.shape))


def _along(lib: Any, indices: Array, axis: int, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """The index that reads at `indices` along `axis`, and at every place of the other axes of `shape`."""
    rank = len(shape)
    axis = np.lib.array_utils.normalize_axis_index(axis, rank)
    if indices.ndim != rank or any(
        i != axis and n != m and 1 not in (n, m) for i, (n, m) in enumerate(zip(shape, indices.shape, strict=True))
    ):
        raise ValueError(
            f"take_along_axis: indices must have as many axes as x {shape}, which broadcast but for axis {axis}, got "
            f"the shape {tuple(indices.shape)}"
        )
    places = (lib.arange(n).reshape((-1,) + (1,) * (rank - 1 - i)) for i, n in enumerate(shape))
    return tuple(indices if i == axis else place for i, place in enumerate(places))


@primitive
def take_along_axis(x: Array, indices: Array, axis: int | None = -1) -> Array:
    """Entries of `x` along `axis` (None: of the flattened array), at every place of the other axes those that `indices`
    name there: (N,V) and (N,K) give (N,K). Both have as many axes, which broadcast but for `axis`; negative numbers
    count from the end. Raises TypeError for indices that are not integers, ValueError for another shape, IndexError out
    of range."""
    lib, indices = xp(x), _integers("take_along_axis", xp(x), indices)
    if axis is None:
        x, axis = x.reshape(-1), 0
    return x[_along(lib, indices, axis, x.shape)]


def _take_along_axis_rule(g: Any, out: Any, x: Any, indices: Any, axis: int | None) -> Any:
    if axis is None:
        return _add_along_axis(g, indices, 0, (x.size,)).reshape(x.shape)
    return _add_along_axis(g, indices, axis, tuple(x.shape))


take_along_axis.vjp(_take_along_axis_rule)


@primitive
def _add_along_axis(updates: Array, indices: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape`, with `updates` added where `take_along_axis` would read."""
    lib = xp(updates)
    indices = lib.asarray(indices)
    out = lib.zeros(shape, dtype=accumulator(updates.dtype, indices.size))
    add_at(out, _along(lib, indices, axis, shape), updates.astype(out.dtype, copy=False))
    return out.astype(updates.dtype, copy=False)


_add_along_axis.vjp(lambda g, out, updates, indices, axis, shape: take_along_axis(g, indices, axis))
