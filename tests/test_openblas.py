"""Products that NumPy's BLAS adds to what is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_rnn import blas, openblas
from tinygrad_rnn.openblas import adds_product
from tinygrad_rnn.threads import numpys_blas

needs_openblas = pytest.mark.skipif(numpys_blas() is None, reason="NumPy has another BLAS")

WAYS = {
    "rows": lambda rng, m, n: rng.standard_normal((m, n)),
    "columns": lambda rng, m, n: rng.standard_normal((n, m)).T,
    "some columns of rows": lambda rng, m, n: rng.standard_normal((m, n + 3))[:, 1 : n + 1],
    "every other row": lambda rng, m, n: rng.standard_normal((2 * m, n))[::2],
    "some rows of columns": lambda rng, m, n: rng.standard_normal((n, m + 2)).T[2:],
}
"""How a matrix may lie."""

size, way = st.integers(1, 9), st.sampled_from([*WAYS])


@needs_openblas
@given(size, size, size, way, way, way, st.sampled_from(["f", "d"]))
@example(1, 1, 1, "columns", "every other row", "some rows of columns", "f")
@example(1, 5, 4, "every other row", "rows", "every other row", "d")
def test_a_product_is_added_however_the_matrices_lie(
    m: int, k: int, n: int, left: str, right: str, into: str, char: str
) -> None:
    rng = np.random.default_rng(m + 10 * k + 100 * n)
    shapes = zip((left, right, into), ((m, k), (k, n), (m, n)), strict=True)
    wholes = [WAYS[lie](rng, *shape).astype(char, order="K") for lie, shape in shapes]
    a, b, out = wholes
    beside = out.base if out.base is not None else out
    before, expected = beside.copy(), out + a @ b
    assert adds_product(a, b, out)
    np.testing.assert_allclose(out, expected, rtol=1e-5 if char == "f" else 1e-12, atol=1e-5 if char == "f" else 1e-12)
    out -= a @ b
    np.testing.assert_allclose(beside, before, atol=1e-5)  # nothing was written beside it


def no_order() -> np.ndarray:
    return np.ones((4, 8))[:, ::2]


@pytest.mark.parametrize(
    "operands",
    [
        (no_order(), np.ones((4, 4)), np.ones((4, 4))),
        (np.ones((4, 4)), no_order(), np.ones((4, 4))),
        (np.ones((4, 4)), np.ones((4, 4)), no_order()),
        (np.ones((4, 4))[::-1], np.ones((4, 4)), np.ones((4, 4))),
        (np.broadcast_to(np.ones(4), (4, 4)), np.ones((4, 4)), np.ones((4, 4))),
        (np.ones((4, 4), "f"), np.ones((4, 4)), np.ones((4, 4))),
        (np.ones((4, 4), "e"), np.ones((4, 4), "e"), np.ones((4, 4), "e")),
        (np.ones((4, 4), ">d"), np.ones((4, 4), ">d"), np.ones((4, 4), ">d")),
        (np.ones((4, 0)), np.ones((0, 4)), np.ones((4, 4))),
        (np.ones((0, 4)), np.ones((4, 4)), np.ones((0, 4))),
    ],
)
def test_where_it_cannot_nothing_is_done_and_numpy_does_it(operands: tuple[np.ndarray, ...]) -> None:
    a, b, out = operands
    before = out.copy()
    assert not adds_product(a, b, out)
    np.testing.assert_array_equal(out, before)
    assert blas.add_product(a, b, out) is out
    np.testing.assert_allclose(out, before + a @ b)


def test_with_another_blas_products_are_made_apart_and_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openblas, "_product_function", lambda char: None)
    a, b, out = np.ones((3, 4)), np.ones((4, 5)), np.ones((3, 5))
    blas.add_product(a, b, out)
    blas.add_product(a, b, out, np.empty((3, 5)))
    np.testing.assert_array_equal(out, np.full((3, 5), 9.0))


@needs_openblas
def test_the_library_of_numpys_wheels_is_found() -> None:
    assert all(openblas._product_function(char) is not None for char in "fd")
