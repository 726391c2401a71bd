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

    monkeypatch.setattr(blas, "_numpys_openblas", OneThread)


@given(
    st.integers(1, 70),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from(["one", "same left", "both stacked"]),
    st.booleans(),
)
@settings(deadline=None)
def test_a_product_in_pieces_is_the_product(m: int, k: int, n: int, g: int, kind: str, transposed: bool) -> None:
    rng = np.random.default_rng(m * 100 + k * 10 + n)
    a = rng.standard_normal((m, k) if kind != "both stacked" else (g, m, k))
    b = rng.standard_normal((k, n) if kind == "one" else (g, k, n))
    if transposed:
        b = b.swapaxes(-1, -2).copy().swapaxes(-1, -2)
    small, rows = blas.SMALL, blas.rows_at_a_time
    blas.SMALL = 8 * k * n
    rows.cache_clear()
    try:
        out = np.full(np.matmul(a, b).shape, np.nan)
        assert blas.product(a, b, out) is out
        np.testing.assert_allclose(out, a @ b, rtol=1e-12, atol=1e-12)
        if m > 8:
            assert rows(m, k, n) in (0, *(r for r in range(4, 9) if m % r == 0))
    finally:
        blas.SMALL = small
        rows.cache_clear()


def test_pieces_are_the_largest_that_are_small() -> None:
    assert blas.rows_at_a_time(64, 256, 256) == 8
    assert blas.rows_at_a_time(4096, 64, 256) == 32
    assert blas.rows_at_a_time(16, 128, 128) == 0  # small as it is
    assert blas.rows_at_a_time(64, 1024, 1024) == 0  # no piece is small
    assert blas.rows_at_a_time(67, 256, 256) == 0  # a prime
    assert blas.rows_at_a_time(0, 256, 256) == 0


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
    monkeypatch.setattr(blas, "_numpys_openblas", lambda: None)
    for a, b in zip(divided, gradients(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_more_threads_take_a_product_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class TwoThreads:
        num_threads = 2

    monkeypatch.setattr(blas, "_numpys_openblas", TwoThreads)
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
    library = blas._numpys_openblas()
    if library is None:
        pytest.skip("NumPy's BLAS has no kernels for small products here")
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            assert library.num_threads == threads
