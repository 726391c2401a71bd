"""RowSparse behaves as the dense array that it stands for."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinygrad_rnn.rowsparse import RowSparse

Case = tuple[NDArray[Any], NDArray[Any], tuple[int, ...]]


@st.composite
def cases(draw: st.DrawFn, dtype: str = "f8") -> Case:
    """Indices of any shape, repeated and negative ones too, and a value for each."""
    shape = (draw(st.integers(1, 6)), *draw(st.lists(st.integers(0, 3), max_size=2)))
    size = draw(st.lists(st.integers(0, 4), min_size=1, max_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    indices = rng.integers(-shape[0], shape[0], size)
    return indices, rng.integers(-9, 9, (*size, *shape[1:])).astype(dtype), shape


def scattered(indices: NDArray[Any], values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    out = np.zeros(shape, values.dtype)
    np.add.at(out, indices, values)
    return out


@given(cases())
def test_dense_is_the_scatter_add_of_all_values(case: Case) -> None:
    sparse = RowSparse.from_indices(*case)
    np.testing.assert_array_equal(sparse.dense(), scattered(*case))
    assert sparse.shape == case[2] and sparse.ndim == len(case[2]) and sparse.dtype == case[1].dtype


@pytest.mark.parametrize("size", [1 << 16, (1 << 16) + 1])
def test_the_last_rows_of_a_large_table_are_reached(size: int) -> None:
    indices = np.array([size - 1, 0, -1, -size])
    sparse = RowSparse.from_indices(indices, np.arange(1.0, 5.0), (size,))
    np.testing.assert_array_equal(sparse.rows, [0, size - 1])
    np.testing.assert_array_equal(sparse.values, [6.0, 4.0])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_columns_do_not_mix_whatever_is_in_them(dtype: str, width: int) -> None:
    values = np.ones((3, width), dtype)
    values[1, 0], values[2, -1] = np.inf, np.nan
    found = RowSparse.from_indices(np.array([1, 1, 1]), values, (2, width)).values
    np.testing.assert_array_equal(found, values.sum(axis=0, keepdims=True))


@given(cases())
def test_rows_are_sorted_and_without_repeats(case: Case) -> None:
    np.testing.assert_array_equal(RowSparse.from_indices(*case).rows, np.unique(case[0] % case[2][0]))


@given(cases(), st.randoms(use_true_random=False), st.sampled_from([-2, 0.5, np.float64(3), np.float32(3)]))
def test_sums_negation_and_scaling_agree_with_the_dense_arrays(case: Case, random: Any, factor: Any) -> None:
    indices, values, shape = case
    a, other = RowSparse.from_indices(*case), indices.copy()
    random.shuffle(other.reshape(-1))
    b = RowSparse.from_indices(other, values, shape)
    both = a + b
    assert isinstance(both, RowSparse)
    np.testing.assert_array_equal(both.dense(), a.dense() + b.dense())
    for dense in (a + b.dense(), b.dense() + a):
        assert isinstance(dense, np.ndarray)
        np.testing.assert_array_equal(dense, both.dense())
    for scaled in (a * factor, factor * a):
        assert isinstance(scaled, RowSparse)
        np.testing.assert_array_equal(scaled.dense(), a.dense() * factor)
    np.testing.assert_array_equal((-a).dense(), -a.dense())


@given(cases(dtype="f4"))
def test_float32_stays_float32(case: Case) -> None:
    a = RowSparse.from_indices(*case)
    results = (a, a + a, a + a.dense(), a.dense() + a, a * 2.0, np.float64(2) * a, -a, a.dense())
    assert {r.dtype for r in results} == {np.dtype("f4")}
    assert a.astype(np.float64).dtype == np.float64


def test_adding_to_an_array_in_place_changes_that_array() -> None:
    sparse = RowSparse.from_indices(np.array([2, 0, 2]), np.ones((3, 2)), (4, 2))
    array = np.ones((4, 2))
    result: Any = operator.iadd(array, sparse)  # type: ignore[no-untyped-call]
    assert result is array
    np.testing.assert_array_equal(array, [[2, 2], [1, 1], [3, 3], [1, 1]])


def test_adding_in_place_to_a_rowsparse_leaves_other_holders_alone() -> None:
    a = kept = RowSparse.from_indices(np.array([1]), np.ones((1, 2)), (4, 2))
    a += a
    assert kept.values.sum() == 2 and a.values.sum() == 4


def test_adding_leaves_the_dense_operand_alone() -> None:
    array = np.zeros((4, 2))
    _ = array + RowSparse.from_indices(np.array([1]), np.ones((1, 2)), (4, 2))
    assert not array.any()


def test_no_lookups_give_no_rows() -> None:
    empty = RowSparse.from_indices(np.zeros((0, 3), int), np.zeros((0, 3, 2)), (4, 2))
    assert len(empty.rows) == 0 and not empty.dense().any() and (empty + empty).values.shape == (0, 2)


def test_the_sum_of_repeated_rows_is_the_same_on_every_run() -> None:
    rng = np.random.default_rng(0)
    indices, values = rng.integers(0, 5, 1000), rng.standard_normal((1000, 3)).astype(np.float32)
    first = RowSparse.from_indices(indices, values, (5, 3)).values
    assert (first == RowSparse.from_indices(indices, values, (5, 3)).values).all()


def test_repr_says_how_many_rows() -> None:
    sparse = RowSparse(np.array([1, 3]), np.zeros((2, 4)), (8, 4))
    assert repr(sparse) == "RowSparse(2 of 8 rows, shape=(8, 4), dtype=float64)"


@pytest.mark.parametrize("rows", [[3, 1], [1, 1], [-1, 1], [1, 8]])
def test_unsorted_repeated_and_outside_rows_are_refused(rows: list[int]) -> None:
    with pytest.raises(ValueError, match=r"sorted, without repeats, and within 0 \.\.\. 7"):
        RowSparse(np.array(rows), np.zeros((2, 4)), (8, 4))


def test_values_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(2, 4\), got \(2, 3\)"):
        RowSparse(np.array([1, 2]), np.zeros((2, 3)), (8, 4))
    with pytest.raises(ValueError, match="vector of integers"):
        RowSparse(np.array([1.0]), np.zeros((1, 4)), (8, 4))


@pytest.mark.parametrize("index", [8, -9])
def test_an_index_outside_the_table_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match="8 rows"):
        RowSparse.from_indices(np.array([index]), np.zeros((1, 4)), (8, 4))


def test_float_indices_are_refused() -> None:
    with pytest.raises(ValueError, match="indices must be integers"):
        RowSparse.from_indices(np.array([1.0]), np.zeros((1, 4)), (8, 4))


def test_a_sum_of_unequal_shapes_is_refused() -> None:
    sparse = RowSparse(np.array([1]), np.zeros((1, 4)), (8, 4))
    for other in (np.zeros(4), RowSparse(np.array([1]), np.zeros((1, 4)), (9, 4))):
        with pytest.raises(ValueError, match="equal shapes"):
            sparse + other


@pytest.mark.parametrize("use", [np.asarray, np.exp, lambda r: r + 1, lambda r: r * np.ones((8, 4))])
def test_other_uses_are_refused_instead_of_giving_an_object_array(use: Any) -> None:
    with pytest.raises(TypeError):
        use(RowSparse(np.array([1]), np.zeros((1, 4)), (8, 4)))
