"""A view of a piece is the view that NumPy has of an array with the same entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from tinygrad_rnn.loops.machine.views import Piece, StridedView, all_of, natural_strides
from tinygrad_rnn.loops.program import Var

Array = np.ndarray[Any, Any]


def entries(view: StridedView) -> Array:
    """Which entry of the piece is where."""
    numbers = np.arange(max(view.piece.size, 1))
    strides = [s * numbers.itemsize for s in view.strides]
    if 0 in view.shape:
        return np.empty(view.shape, int)
    found: Array = np.array(as_strided(numbers[view.offset :], view.shape, strides, writeable=False))
    return found


def piece(*shape: int) -> Piece:
    return Piece(Var(0, shape, np.dtype(float)))


@st.composite
def changes(draw: st.DrawFn) -> tuple[StridedView, Array]:
    """A view that was changed several times, and the array that NumPy makes by the same changes."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    view, array = all_of(piece(*shape)), np.arange(int(np.prod(shape))).reshape(shape)
    for kind in draw(st.lists(st.sampled_from(["transpose", "index", "broadcast", "reshape", "axis"]), max_size=5)):
        rank = array.ndim
        if kind == "transpose":
            axes = draw(st.permutations(range(rank)))
            view, array = view.transpose(axes), array.transpose(axes)
        elif kind == "index":
            parts = draw(indices(array.shape))
            view, array = view.index(parts), array[tuple(parts)]
        elif kind == "broadcast":
            ones = [draw(st.integers(0, 3)) if n == 1 else n for n in array.shape]
            larger = (*draw(st.lists(st.integers(0, 3), max_size=max(0, 4 - rank))), *ones)
            view, array = view.broadcast_to(larger), np.broadcast_to(array, larger)
        elif kind == "axis":
            at = draw(st.integers(0, rank))
            view, array = view.with_axis(at), np.expand_dims(array, at)
        else:
            new = draw(shapes_of(array.size))
            seen = view.reshape(new)
            assert seen is not None or must_be_copied(array, new)
            array = array.reshape(new)
            view = seen or all_of(piece(*new))
            array = array if seen is not None else np.arange(array.size).reshape(new)
    return view, array


def must_be_copied(array: Array, shape: tuple[int, ...]) -> bool:
    """Whether NumPy has no view of an array in another shape."""
    return not np.shares_memory(array, array.reshape(shape))


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Any]:
    parts: list[Any] = []
    limits = st.none() | st.integers(-6, 6)
    for n in shape[: draw(st.integers(0, len(shape)))]:
        spans = st.builds(slice, limits, limits, st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))
        parts.append(draw(spans | st.integers(-n, n - 1) if n else spans))
        parts += [None] * draw(st.sampled_from([0, 0, 0, 1]))
    if draw(st.booleans()):
        full = sum(part is not None for part in parts) == len(shape)
        parts.insert(len(parts) if not full else draw(st.integers(0, len(parts))), Ellipsis)
    return parts


@st.composite
def shapes_of(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """A shape of so many entries."""
    if not size:
        others = draw(st.lists(st.integers(0, 3), max_size=2))
        return (*others, 0)
    found: list[int] = []
    while size > 1 and len(found) < 4:
        factor = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
        found.append(factor)
        size //= factor
    return (*found, size) if size > 1 or draw(st.booleans()) else tuple(found)


@given(changes())
def test_a_view_has_the_entries_that_numpy_has_there(pair: Any) -> None:
    view, array = pair
    assert view.shape == array.shape
    assert np.array_equal(entries(view), array)


def test_known_views_are_at_known_places() -> None:
    c = all_of(piece(2, 3))
    assert (c.strides, c.offset) == ((3, 1), 0)
    assert c.transpose((1, 0)).strides == (1, 3)
    assert (c.index((slice(None), 1)).strides, c.index((slice(None), 1)).offset) == ((3,), 1)
    assert c.broadcast_to((4, 2, 3)).strides == (0, 3, 1)
    assert (c.index((..., slice(None, None, -1))).strides, c.index((..., slice(None, None, -1))).offset) == ((3, -1), 2)
    assert c.transpose((1, 0)).reshape((6,)) is None
    assert natural_strides((2, 3, 4)) == (12, 4, 1)


def test_a_slice_of_a_stack_is_a_piece_of_its_own() -> None:
    stack = Var(3, (5, 2, 3), np.dtype(np.float32))
    assert (Piece(stack, 1).shape, Piece(stack, 1).size, Piece(stack).size) == ((2, 3), 6, 30)
    assert Piece(stack, 1) != Piece(stack, 2)


@pytest.mark.parametrize("shape", [(1,), (1, 1, 1), ()])
def test_axes_of_size_one_may_come_and_go(shape: tuple[int, ...]) -> None:
    assert all_of(piece(1, 1)).reshape(shape) is not None
