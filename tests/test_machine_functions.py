"""exp, tanh and sigmoid in machine code: how many units in the last place they are off, what they make of what is no
ordinary number, and that they have the same bits whatever the width of registers."""

from __future__ import annotations

import ctypes
import sys
from decimal import Decimal, localcontext
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from llvmlite import ir

from tinygrad_rnn.machine.blocks import function, loop
from tinygrad_rnn.machine.functions import exp_lanes, sigmoid_lanes, tanh_lanes
from tinygrad_rnn.machine.lanes import entry_address, load_lanes, store_lanes
from tinygrad_rnn.machine.target import Linked, object_code

FUNCTIONS: dict[str, Any] = {"exp": exp_lanes, "tanh": tanh_lanes, "sigmoid": sigmoid_lanes}
ALLOWED = {"exp": 1.1, "tanh": 2.5, "sigmoid": 2.5}
EXACT: dict[str, Any] = {"exp": np.exp, "tanh": np.tanh, "sigmoid": lambda x: np.exp(-np.logaddexp(0, -x))}


@cache
def _linked(name: str, char: str, width: int) -> tuple[Any, Any]:
    dtype, module = np.dtype(char), ir.Module(name)
    b = function(module, "all_of_them", 3, [1, 2])
    count, xs, out = b.function.args
    with loop(b, 0, count, width) as here:
        x = load_lanes(b, entry_address(b, xs, here.i, dtype.itemsize), dtype, width, None)
        store_lanes(b, FUNCTIONS[name](b, x), entry_address(b, out, here.i, dtype.itemsize), dtype, None)
    b.ret_void()
    linked = Linked(object_code(module))
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    return kind(linked.address("all_of_them")), linked


def machine(name: str, x: Any, width: int | None = None) -> Any:
    """The function of all entries, so many lanes at a time."""
    width = width or 64 // x.itemsize
    padded = np.zeros(-(-x.size // width) * width, x.dtype)
    padded[: x.size] = x
    out = np.empty_like(padded)
    _linked(name, x.dtype.char, width)[0](padded.size, padded.ctypes.data, out.ctypes.data)
    return out[: x.size]


def test_code_that_is_dropped_when_llvm_is_gone_is_dropped_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the interpreter's end, where modules have lost their names."""
    _, linked = _linked.__wrapped__("exp", "f", 4)
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    engine = linked._engine
    linked._engine = SimpleNamespace(close=None)
    del linked
    assert not told
    engine.close()


def floats_of_all_exponents(mantissas: int) -> Any:
    """float32 of both signs and all 256 exponents: those of zero and denormals, and of infinity and NaN, among them."""
    rng = np.random.default_rng(0)
    exponents = np.repeat(np.arange(256, dtype=np.uint32), mantissas)
    bits = exponents << 23 | rng.integers(0, 1 << 23, exponents.size, dtype=np.uint32)
    return np.concatenate([bits, bits | np.uint32(1 << 31)]).view(np.float32)


def units_off(found: Any, exact: Any) -> Any:
    """In units of the last place of what is exact, rounded to float32; of denormals, of the smallest one."""
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    place = np.spacing(np.maximum(np.abs(nearest), np.finfo(np.float32).smallest_normal)).astype(np.float64)
    finite = np.isfinite(nearest) & np.isfinite(found)
    return np.where(finite, np.abs(np.where(finite, found, 0) - np.where(finite, exact, 0)) / place, 0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_float32_of_all_exponents_it_is_right_to_the_last_places(name: str) -> None:
    x = floats_of_all_exponents(2000)
    found = machine(name, x)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64))
        nearest = exact.astype(np.float32)
    off = units_off(found, exact)
    assert off.max() <= ALLOWED[name], f"{off.max()} at {x[off.argmax()]!r}"
    assert np.array_equal(np.isnan(found), np.isnan(x))
    # What overflows is infinite in both, but for one between the largest number and half a unit above it.
    assert np.array_equal(np.isinf(found), np.isinf(nearest))
    assert np.array_equal(np.signbit(found)[~np.isnan(x)], np.signbit(nearest)[~np.isnan(x)])


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_many_more_float32_where_the_function_bends(name: str) -> None:
    bits = np.arange(np.float32(2**-13).view(np.uint32), np.float32(128).view(np.uint32), 31, dtype=np.uint32)
    for sign in (0, 1 << 31):
        x = (bits | np.uint32(sign)).view(np.float32)
        with np.errstate(all="ignore"):
            exact = EXACT[name](x.astype(np.float64))
        assert units_off(machine(name, x), exact).max() <= ALLOWED[name]


def _by_decimal(name: str, x: float) -> Decimal:
    e = Decimal(x).exp()
    if name == "exp":
        return e
    if name == "sigmoid":
        return e / (1 + e)
    return (e * e - 1) / (e * e + 1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_float64_it_is_right_to_the_last_places(name: str) -> None:
    rng = np.random.default_rng(0)
    sizes = np.exp2(rng.uniform(-60, 9.4, 600))
    x = np.concatenate(
        [sizes, -sizes, rng.uniform(-2, 2, 300), [709.78, -708.3, -744.4, 700.0, -745.0, 36.7, 19.06, 22]]
    )
    found = machine(name, x)
    with localcontext() as context:
        context.prec = 60
        for at, value in zip(x, found, strict=True):
            exact = _by_decimal(name, float(at))
            place = np.spacing(max(abs(float(exact)), np.finfo(np.float64).smallest_normal))
            off = abs(Decimal(float(value)) - exact) / Decimal(float(place))
            assert off <= ALLOWED[name], f"{off} at {at!r}"


@pytest.mark.parametrize("char", "fd")
def test_what_is_no_ordinary_number(char: str) -> None:
    tiny = np.finfo(char).smallest_subnormal
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny, 1e30, -1e30], char)
    same = np.testing.assert_array_equal
    same(machine("exp", x), np.array([np.nan, np.inf, 0, 1, 1, 1, 1, np.inf, 0], char))
    same(machine("sigmoid", x), np.array([np.nan, 1, 0, 0.5, 0.5, 0.5, 0.5, 1, 0], char))
    bent = machine("tanh", x)
    same(bent, np.array([np.nan, 1, -1, 0, -0.0, tiny, -tiny, 1, -1], char))
    same(np.signbit(bent)[1:], np.signbit(x)[1:])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("char", "fd")
def test_it_has_the_same_bits_in_registers_of_any_width(name: str, char: str) -> None:
    size = np.dtype(char).itemsize
    with np.errstate(invalid="ignore"):  # not every NaN is a quiet one
        x = np.concatenate([floats_of_all_exponents(30).astype(char), np.linspace(-750, 750, 999).astype(char)])
    found = [machine(name, x, register // size).view(f"u{size}") for register in (16, 32, 64)]
    defined = ~np.isnan(x)
    assert all(np.array_equal(other[defined], found[0][defined]) for other in found[1:])
