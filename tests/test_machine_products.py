"""Products of matrices and the softmax's pass, as machine code, and which of two functions makes a product."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import tinygrad_rnn as tg
from tinygrad_rnn import blas, engines, ops, threads
from tinygrad_rnn.machine import choosing, sharing, softmax
from tinygrad_rnn.machine.multiplying import multiply
from tinygrad_rnn.machine.product import DEEP, ROWS_AT_ONCE, TALL, panel_columns
from tinygrad_rnn.tensor import Parameter

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
BOUND = {"f": 3e-6, "d": 1e-14}


def matrices(M: int, K: int, N: int, dtype: np.dtype[Any], turned: tuple[bool, bool], seed: int = 0) -> Any:
    """A (M,K) and B (K,N), each lying as it does or the other way round."""
    rng = np.random.default_rng(seed)
    shapes = ((K, M) if turned[0] else (M, K)), ((N, K) if turned[1] else (K, N))
    found = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    return [x.T if turn else x for x, turn in zip(found, turned, strict=True)]


def close(found: Any, a: Any, b: Any) -> None:
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    assert (np.abs(found - exact) <= BOUND[found.dtype.char] * size + 1e-300).all()


EDGES = st.sampled_from([1, 2, 3, TALL, TALL + 1, 7, 23, 24, 25, 31, 33, 64])


@given(EDGES, EDGES, EDGES, st.sampled_from(FLOATS), st.tuples(st.booleans(), st.booleans()))
def test_a_product_is_numpys_of_any_size_and_lie(
    M: int, K: int, N: int, dtype: np.dtype[Any], turned: tuple[bool, bool]
) -> None:
    a, b = matrices(M, K, N, dtype, turned)
    room = np.full((M + 2, N + 3), np.nan, dtype)
    out = room[1:-1, 1:-2]
    multiply(a, b, out)
    close(out, a, b)
    before = out.copy()
    multiply(a, b, out, adds=True)
    np.testing.assert_array_equal(out, before + before)
    out[...] = np.nan
    assert np.isnan(room).all(), "it wrote beside the result"


@pytest.mark.parametrize("turned", [(False, False), (True, True)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_product_of_several_blocks_is_numpys(dtype: np.dtype[Any], turned: tuple[bool, bool]) -> None:
    a, b = matrices(2 * ROWS_AT_ONCE + 5, 2 * DEEP + 7, panel_columns(dtype) + 1, dtype, turned)
    out = np.empty((len(a), b.shape[1]), dtype)
    multiply(a, b, out)
    close(out, a, b)


def test_every_third_row_and_backwards_is_a_way_to_lie_too() -> None:
    a, b = matrices(60, 40, 50, FLOATS[0], (False, False))
    for left, right in ((a[::3, ::-1], b[::-1, ::2]), (a[::-1, ::2], b[::2, 10:40])):
        out = np.empty((len(left), right.shape[1]), np.float32)
        multiply(left, right, out)
        close(out, left, right)


def test_what_is_no_number_reaches_its_row_and_column_alone() -> None:
    a, b = matrices(9, 30, 31, FLOATS[0], (False, False))
    a[4, 3], b[7, 30] = np.nan, np.inf
    out = np.empty((9, 31), np.float32)
    multiply(a, b, out)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(a @ b))
    np.testing.assert_array_equal(np.isinf(out), np.isinf(a @ b))


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("size", [(70, 20, 90), (90, 20, 7), (3, 20, 90)])
def test_a_product_that_threads_share_is_that_of_one(
    ours: bool, size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "ours_is_chosen", lambda K, dtype: ours)
    a, b = matrices(*size, FLOATS[0], (False, False))
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(sharing, "shares", lambda work, count=count: count)
        out = np.empty((size[0], size[2]), np.float32)
        sharing.shared_products([(a, b, out)])
        close(out, a, b)
        sharing.shared_products([(a, b, out)], adds=True)
        found.append(out)
    if ours:
        assert (found[0] == found[1]).all() and (found[0] == found[2]).all()


@given(st.integers(0, 200), st.integers(1, 7), st.integers(1, 9))
def test_cuts_lie_at_whole_steps_and_leave_nothing_out(n: int, parts: int, step: int) -> None:
    cuts = sharing.cut(n, parts, step)
    assert len(cuts) == parts + 1 and cuts[0] == 0 and cuts[-1] == n
    assert all(a <= b for a, b in pairwise(cuts)) and all(at % step == 0 or at == n for at in cuts)
    sizes = [-(-(b - a) // step) for a, b in pairwise(cuts)]
    assert max(sizes) - min(sizes) <= 1, "in steps, parts are alike"


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("ours", [True, False])
def test_several_products_and_their_sum_are_shared_too(ours: bool, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "ours_is_chosen", lambda K, dtype: ours)
    monkeypatch.setattr(sharing, "shares", lambda work: 3)
    pairs = [matrices(30, 20, 50, FLOATS[1], (False, False), seed) for seed in range(count)]
    each, total = np.empty((count, 30, 50)), np.empty((30, 50))
    sharing.shared_products([(a, b, out) for (a, b), out in zip(pairs, each, strict=True)])
    sharing.summed_products([(a, b) for a, b in pairs], total)
    for (a, b), out in zip(pairs, each, strict=True):
        close(out, a, b)
    np.testing.assert_allclose(total, each.sum(axis=0), rtol=1e-11, atol=1e-12)


# --- From arrays -----------------------------------------------------------------------------------------------


@pytest.fixture
def machine() -> Iterator[None]:
    with tg.compiled("machine"):
        yield


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("lie", ["rows", "columns", "neither"])
def test_a_result_may_lie_in_any_way(lie: str) -> None:
    a, b = matrices(64, 64, 64, FLOATS[1], (False, False))
    out = {"rows": np.empty((64, 64)), "columns": np.empty((64, 64)).T, "neither": np.empty((64, 128))[:, ::2]}[lie]
    assert blas.product(a, b, out) is out
    close(out, a, b)
    before = out.copy()
    assert blas.add_product(a, b, out) is out
    np.testing.assert_allclose(out, 2 * before, rtol=1e-12)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("left", "right"), [((3, 64, 64), (64, 64)), ((64, 64), (3, 64, 64)), ((2, 1, 64, 64), (3, 64, 64))]
)
def test_stacks_of_matrices_broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(left), rng.standard_normal(right)
    out = np.empty((a @ b).shape)
    np.testing.assert_allclose(blas.product(a, b, out), a @ b, rtol=1e-10, atol=1e-10)


# --- Which function --------------------------------------------------------------------------------------------


def test_which_function_is_faster_is_found_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    times = {"quick": (1.0, 2.0), "slow": (2.0, 1.0), "equal": (1.0, 1.0)}

    def answer(kind: str) -> dict[str, bool]:
        def seconds(size: Any, dtype: Any) -> tuple[float, float]:
            asked.append(size)
            return times[kind]

        monkeypatch.setattr(choosing, "_seconds", seconds)
        choosing.products_found.cache_clear()
        return choosing.products_found(FLOATS[0])

    monkeypatch.setattr(choosing, "private_folder", lambda: tmp_path)
    try:
        assert answer("quick") == {"shallow": True, "deep": True}
        count = len(asked)
        assert answer("slow") == {"shallow": True, "deep": True} and len(asked) == count
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes().replace(b"true", b"wrong"))
        assert answer("slow") == {"shallow": False, "deep": False} and len(asked) == 2 * count
        monkeypatch.setattr(choosing, "version", lambda: "another")
        assert answer("quick") == {"shallow": True, "deep": True} and len(asked) == 3 * count
        assert answer("equal") == {"shallow": True, "deep": True}, "it was found before"
        file.unlink()
        assert answer("equal") == {"shallow": False, "deep": False}
        for nowhere in (lambda: None, lambda: tmp_path / "file" / "below"):
            (tmp_path / "file").touch()
            monkeypatch.setattr(choosing, "private_folder", nowhere)
            assert answer("quick") == {"shallow": False, "deep": False}, "it cannot be kept"
    finally:
        choosing.products_found.cache_clear()


@pytest.mark.slow
def test_a_choice_in_force_holds_by_kind_for_this_thread_and_the_products_that_it_shares_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shallow, deep = choosing.SHALLOW, choosing.SHALLOW + 1
    monkeypatch.setattr(choosing, "products_found", lambda dtype: {"shallow": False, "deep": False})
    monkeypatch.setattr(sharing, "shares", lambda work: 3)
    seen: list[int] = []

    def watched(a: Any, b: Any, out: Any, adds: bool = False) -> None:
        seen.append(a.shape[1])
        multiply(a, b, out, adds)

    monkeypatch.setattr(sharing, "multiply", watched)
    before = engines.products_choice.set({"shallow": True, "deep": False})
    try:
        assert (choosing.ours_is_chosen(shallow, FLOATS[0]), choosing.ours_is_chosen(deep, FLOATS[0])) == (True, False)
        for K in (shallow, deep):
            a, b = matrices(30, K, 20, FLOATS[0], (False, False))
            sharing.shared_products([(a, b, out := np.empty((30, 20), np.float32))])
            close(out, a, b)
        assert set(seen) == {shallow}
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(choosing.ours_is_chosen, shallow, FLOATS[0]).result() is False
    finally:
        engines.products_choice.reset(before)
    assert choosing.ours_is_chosen(shallow, FLOATS[0]) is False


def test_both_functions_are_timed_on_the_same_work() -> None:
    ours, theirs = choosing._seconds((64, 16, 64), FLOATS[0])
    assert 0 < ours < 1 and 0 < theirs < 1


# --- The softmax -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    st.integers(1, 5), st.sampled_from([1, 2, 15, 16, 17, 40, 2 * softmax.STRETCH + 19]), st.sampled_from(FLOATS),
    st.sampled_from([1.0, 30.0, 1e4]), st.integers(1, 3),
)  # fmt: skip
def test_the_odds_are_what_they_are_by_numpy(N: int, V: int, dtype: np.dtype[Any], scale: float, parts: int) -> None:
    rng = np.random.default_rng(0)
    block, bias = (scale * rng.standard_normal(shape).astype(dtype) for shape in ((N, V), V))
    block, bias, labels = block.astype(dtype), bias.astype(dtype), rng.integers(0, V, N)
    below = block + bias
    below -= below.max(axis=1, keepdims=True)
    chosen = below[np.arange(N), labels]
    with np.errstate(under="ignore"):
        expected = np.exp(below.astype(np.float64))
    expected[np.arange(N), labels] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "shares", lambda work: parts)
        found = softmax.odds_in_place(block, bias, labels)
    tolerance = 1e-6 if dtype.char == "f" else 1e-14
    np.testing.assert_allclose(block, expected, rtol=tolerance, atol=np.finfo(dtype).tiny)
    np.testing.assert_array_equal(found[0], chosen)
    np.testing.assert_allclose(found[1], expected.sum(axis=1), rtol=tolerance, atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_loss_is_no_number_where_it_is_none_without_machine_code(wrong: float) -> None:
    found = []
    for engine in ("machine", "numpy"):
        h, W = (Parameter(np.random.default_rng(0).standard_normal(s).astype(np.float32)) for s in ((4, 3), (3, 20)))
        W.data[1, 5] = wrong
        with tg.compiled(engine), np.errstate(all="ignore"):
            losses = ops.linear_cross_entropy(h, W, None, np.array([1, 5, 7, 19]), reduction="none")
            losses.sum().backward()
        found.append([losses.numpy(), h.grad, W.grad])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(np.isinf(a), np.isinf(b))


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_losses_and_gradients_are_those_of_numpy_calls(dtype: np.dtype[Any], reduction: Any) -> None:
    found = []
    for engine in ("machine", "numpy"):
        rng = np.random.default_rng(0)
        h, W, b = (Parameter(rng.standard_normal(s).astype(dtype)) for s in ((50, 40), (40, 300), (300,)))
        with tg.compiled(engine):
            losses = ops.linear_cross_entropy(h, W, b, rng.integers(0, 300, 50), reduction=reduction)
            losses.sum().backward()
        found.append([losses.numpy(), h.grad, W.grad, b.grad])
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(
            x, y, rtol=1e-5 if dtype.char == "f" else 1e-12, atol=1e-6 if dtype.char == "f" else 1e-13
        )


@pytest.mark.parametrize("dtypes", ["ffd", "ddf", ">f>f>f", ">d>dd"])
def test_a_bias_or_all_may_have_another_dtype_or_order_of_bytes(dtypes: str) -> None:
    kinds = [np.dtype(kind) for kind in dtypes.replace(">", " >").replace("f", "f ").replace("d", "d ").split()]
    rng, found = np.random.default_rng(0), []
    given = [rng.standard_normal(shape) for shape in ((60, 40), (40, 100), (100,))]
    labels = rng.integers(0, 100, 60)
    for engine in ("machine", "numpy"):
        h, W, b = (Parameter(x.astype(kind)) for x, kind in zip(given, kinds, strict=True))
        with tg.compiled(engine):
            losses = ops.linear_cross_entropy(h, W, b, labels)
            losses.backward()
        found.append([losses.numpy(), h.grad, W.grad, b.grad])
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_work_is_shared_among_as_many_threads_as_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "threads", lambda: 64)
    assert threads.shares(threads.WORTH_SHARING - 1) == 1
    assert threads.shares(threads.WORTH_SHARING) == threads.WORTH_SHARING // threads.LEAST_SHARE == 4
    assert threads.shares(1 << 40) == 64


def test_there_are_as_many_threads_as_blas_has() -> None:
    library = threads.numpys_blas()
    if library is None:
        pytest.skip("NumPy has another BLAS here")
    assert threads.threads() == library.num_threads
