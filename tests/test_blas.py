"""Products in pieces are products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from tinygrad_rnn import blas
from tinygrad_rnn.models import LSTM


@pytest.fixture(autouse=True)
def _always_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneThread:
        num_threads = 1

    monkeypatch.setattr(blas, "_with_small_kernels", OneThread)


@given(
    st.integers(1, 70),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 3),
    st.sampled_from(["one", "same left", "both stacked"]),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None)
def test_a_product_in_pieces_is_the_product(
    m: int, k: int, n: int, g: int, kind: str, transposed: bool, of_rows: bool
) -> None:
    rng = np.random.default_rng(m * 100 + k * 10 + n)
    a = rng.standard_normal((m, k) if kind != "both stacked" else (g, m, k))
    b = rng.standard_normal((k, n) if kind == "one" else (g, k, n))
    if transposed:
        b = b.swapaxes(-1, -2).copy().swapaxes(-1, -2)
    small, rows, narrowest, columns = blas.SMALL, blas.rows_at_a_time, blas.NARROWEST, blas.columns_at_a_time
    blas.SMALL, blas.NARROWEST = (8 * k * n, 64) if of_rows else (4 * m * k, 2)
    rows.cache_clear()
    columns.cache_clear()
    try:
        out = np.full(np.matmul(a, b).shape, np.nan)
        assert blas.product(a, b, out) is out
        np.testing.assert_allclose(out, a @ b, rtol=1e-12, atol=1e-12)
        if m > 8 and of_rows:
            assert rows(m, k, n) in (0, *(r for r in range(4, 9) if m % r == 0))
        if n > 4 and not of_rows:
            assert columns(m, k, n) in (0, *(c for c in range(2, 5) if n % c == 0))
    finally:
        blas.SMALL, blas.NARROWEST = small, narrowest
        rows.cache_clear()
        columns.cache_clear()


def test_pieces_are_the_largest_that_are_small() -> None:
    assert blas.rows_at_a_time(64, 256, 256) == 8
    assert blas.rows_at_a_time(4096, 64, 256) == 32
    assert blas.rows_at_a_time(16, 128, 128) == 0  # small as it is
    assert blas.rows_at_a_time(64, 1024, 1024) == 0  # no piece is small
    assert blas.rows_at_a_time(67, 256, 256) == 0  # a prime
    assert blas.rows_at_a_time(0, 256, 256) == 0
    assert blas.columns_at_a_time(45, 100, 8000) == 200
    assert blas.columns_at_a_time(256, 128, 8000) == 0  # too narrow
    assert blas.columns_at_a_time(45, 100, 200) == 0  # small as it is


def test_a_layer_whose_products_are_in_pieces_has_the_gradients_of_one_whose_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    xs = np.random.default_rng(0).standard_normal((3, 32, 40))

    def gradients() -> list[np.ndarray]:
        layer = LSTM(40, 192, rng=np.random.default_rng(1), dtype=np.float64)
        ys, _ = layer(xs)
        (ys * ys).sum().backward()
        return [p.grad for p in layer.parameters()]

    seen: list[int] = []
    rows = blas.rows_at_a_time

    def counted(*size: int) -> int:
        seen.append(rows(*size))
        return seen[-1]

    monkeypatch.setattr(blas, "rows_at_a_time", counted)
    divided = gradients()
    assert any(seen)
    monkeypatch.setattr(blas, "_with_small_kernels", lambda: None)
    for a, b in zip(divided, gradients(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_more_threads_take_a_product_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class TwoThreads:
        num_threads = 2

    monkeypatch.setattr(blas, "_with_small_kernels", TwoThreads)
    calls: list[tuple[int, ...]] = []
    matmul = np.matmul

    class Library:
        @staticmethod
        def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
            calls.append(a.shape)
            return matmul(a, b, out=out)

    monkeypatch.setattr(blas, "xp", lambda _: Library)
    a, b = np.ones((64, 256), np.float32), np.ones((256, 256), np.float32)
    blas.product(a, b, np.empty((64, 256), np.float32))
    assert calls == [(64, 256)]


def test_the_library_is_asked_how_many_threads_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    library = blas._with_small_kernels()
    if library is None:
        pytest.skip("NumPy's BLAS has no kernels for small products here")
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            assert library.num_threads == threads
