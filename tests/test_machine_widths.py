"""What machine code calculates does not depend on how wide registers are, on how many threads there are, or on which
rows are calculated together: not in the last bit."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from example_counts import part_of_the_examples
from machine_code import close, in_parts, made_by, same_bits, whole_in_the_loop
from test_compiled_scan import random_steps

from tinygrad_rnn import ops
from tinygrad_rnn.loops import compiling
from tinygrad_rnn.loops.machine import running
from tinygrad_rnn.machine import multiplying, product, target
from tinygrad_rnn.machine.product import PACK, PACKED, packed_size, product_code
from tinygrad_rnn.tensor import Tensor

WIDTHS = (16, 32, 64)
R = np.random.default_rng(0)


def leaf(*shape: int) -> Tensor:
    return Tensor((R.standard_normal(shape) * 0.5).astype(np.float32), requires_grad=True)


@contextmanager
def registers_of(size: int, count: int) -> Iterator[None]:
    """Code is made for a processor with so many registers of so many bytes; nothing is kept of it."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (product, running, target):
            patch.setattr(module, "register_bytes", lambda: size, raising=False)
            patch.setattr(module, "registers", lambda: count, raising=False)
        for module in (running, multiplying):
            patch.setattr(module, "object_code_of", lambda program, made: target.object_code(made()))
        multiplying.product_functions.cache_clear()
        compiling._cache.clear()
        try:
            yield
        finally:
            multiplying.product_functions.cache_clear()
            compiling._cache.clear()


W, V = leaf(37, 37), leaf(37, 37)


def gated(s: Any, x: Any) -> Any:
    """Products, a reduction over a row and one over the batch, transposed and strided reads."""
    z, c = ops.sigmoid(s @ W + x), ops.tanh((s * x) @ V)
    c = c - c.mean(axis=-1, keepdims=True) + z[:, ::-1] * ops.exp(-ops.square(s))
    return z * s + (1 - z) * c, ops.softmax(c, axis=-1)


def across(s: Any, x: Any) -> Any:
    """What mixes rows, and is shared out among no threads."""
    return ops.tanh(s - s.mean(axis=0) + x * ops.swapaxes(s.reshape((-1, 37, 1)), 1, 2)[:, 0]), s.sum(axis=0)


@pytest.mark.parametrize("step", [gated, pytest.param(across, marks=pytest.mark.slow)])
def test_a_loop_has_the_same_bits_whatever_the_registers_and_threads(step: Any) -> None:
    state, xs = leaf(13, 37), leaf(3, 13, 37)
    found = []
    with whole_in_the_loop():
        for size, count in zip(WIDTHS, (16, 16, 32), strict=True):
            with registers_of(size, count):
                for threads in (1, 2, 3):
                    with in_parts(threads):
                        found.append(made_by("machine", step, state, xs, [state, xs, W, V]))
        close(found[0], made_by(False, step, state, xs, [state, xs, W, V]))
    for other in found[1:]:
        same_bits(other, found[0])


@pytest.mark.slow
@given(random_steps())
def test_random_loops_have_the_same_bits_whatever_the_registers_and_threads(case: Any) -> None:
    step, state, xs, weights = case
    states = tuple(Tensor(np.tile(s, (5, 1)), requires_grad=True) for s in state)
    inputs = tuple(Tensor(np.tile(x, (1, 5, 1)), requires_grad=True) for x in xs)
    leaves, found = [*states, *inputs, *weights], []
    with whole_in_the_loop():
        for size, threads in zip(WIDTHS, (1, 2, 3), strict=True):
            with registers_of(size, 16), in_parts(threads):
                found.append(made_by("machine", step, states, inputs, leaves))
    for other in found[1:]:
        same_bits(other, found[0])


# --- The product -----------------------------------------------------------------------------------------------


def _packing(linked: Any, W: Any, packed: Any) -> None:
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 6)
    kind(linked.address(PACK.format(W.dtype.char)))(*W.shape, W.ctypes.data, *W.strides, packed.ctypes.data)


def multiplied(linked: Any, a: Any, b: Any, onto: Any, adds: bool, rows: slice) -> Any:
    """`onto` with the product, or that added, in some rows."""
    char, (M, K), N = a.dtype.char, a[rows].shape, b.shape[1]
    packed = np.empty(packed_size(K, N, a.dtype), a.dtype)
    _packing(linked, b, packed)
    out = onto.copy()
    numbers, pointer = [ctypes.c_int64] * 3, ctypes.c_void_p
    kind = ctypes.CFUNCTYPE(None, *numbers, pointer, *numbers[:2], pointer, pointer, *numbers[:2])
    where, part = a[rows], out[rows]
    kind(linked.address(PACKED.format(char)))(
        M, N, K, where.ctypes.data, *where.strides, packed.ctypes.data, part.ctypes.data, part.strides[0], int(adds)
    )
    return out


@part_of_the_examples(0.3)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 70), st.sampled_from("fd"), st.booleans(), st.data())
def test_a_product_has_the_same_bits_whatever_the_registers_and_rows(
    M: int, K: int, N: int, char: str, adds: bool, data: Any
) -> None:
    rng = np.random.default_rng(M * 1000 + K * 100 + N)
    a = rng.standard_normal((M, 2 * K)).astype(char)[:, ::2]
    b, onto = rng.standard_normal((N, K)).astype(char).T, rng.standard_normal((M, N)).astype(char)
    cut = data.draw(st.integers(0, M))
    found = []
    for size, count in zip(WIDTHS, (16, 16, 32), strict=True):
        with registers_of(size, count):
            linked = _product(size, count, char)
            whole = multiplied(linked, a, b, onto, adds, slice(None))
            parts = multiplied(linked, a, b, onto, adds, slice(0, cut))
            found += [whole, multiplied(linked, a, b, parts, adds, slice(cut, None))]
    exact = a.astype(float) @ b.astype(float) + (onto if adds else 0)
    np.testing.assert_allclose(
        found[0], exact, rtol=1e-5 if char == "f" else 1e-12, atol=1e-5 if char == "f" else 1e-12
    )
    same_bits(found[1:], [found[0]] * 5)


_products: dict[Any, Any] = {}


def _product(size: int, count: int, char: str) -> Any:
    key = size, count, char
    if key not in _products:
        _products[key] = target.Linked(target.object_code(product_code(np.dtype(char))))
    return _products[key]


@pytest.mark.slow
@pytest.mark.parametrize("lie", ["rows", "columns", "apart"])
@pytest.mark.parametrize("char", "fd")
@part_of_the_examples(0.3)
@given(K=st.integers(1, 9), N=st.integers(1, 70))
def test_a_packed_matrix_has_its_columns_in_panels_and_zeros_after_them(char: str, lie: str, K: int, N: int) -> None:
    W = np.arange(1, K * N + 1, dtype=char).reshape(K, N)
    if lie == "columns":
        W = np.asfortranarray(W)
    elif lie == "apart":
        W = np.repeat(np.repeat(W, 2, axis=0), 3, axis=1)[::2, ::3]
    for size, count in ((16, 16), (16, 32), (32, 16), (64, 32)):
        with registers_of(size, count):
            columns, entries = product.panel_columns(W.dtype), packed_size(K, N, W.dtype)
            packed = np.full(entries + 16, np.nan, char)
            _packing(_product(size, count, char), W, packed)
        panels = packed[:entries].reshape(-1, K, columns)
        joined = np.concatenate(panels, axis=1)
        assert np.array_equal(joined[:, :N], W) and not joined[:, N:].any()
        assert np.isnan(packed[entries:]).all(), "it wrote beyond"


def test_a_matrix_is_packed_by_the_code_of_its_dtype() -> None:
    for char in "fd":
        W = np.arange(1, 36, dtype=char).reshape(5, 7)
        found, expected = (np.full(packed_size(5, 7, W.dtype), np.nan, char) for _ in range(2))
        multiplying.pack(W, found.ctypes.data)
        _packing(multiplying.product_functions(W.dtype).linked, W, expected)
        same_bits([found], [expected])
