"""Loops in CUDA C: their numbers, by this machine's compiler of C++, and their machine code for GPUs, by CUDA's."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import nvrtc
import pytest
from example_counts import part_of_the_examples
from host_cuda import COMPILER, HEADER, HostDevice, library, on_host
from hypothesis import given
from hypothesis import strategies as st
from machine_code import close, made_by, whole_in_the_loop
from test_compiled_scan import random_steps

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops.cuda import cuda_loop
from tinygrad_rnn.loops.cuda.entries_in_c import C_NAMES, DEVICE_FUNCTIONS, expression, made_in, number_in_c
from tinygrad_rnn.loops.cuda.kernel_source import THREADS
from tinygrad_rnn.loops.cuda.one_kernel_source import PARTS_TO, WARP
from tinygrad_rnn.loops.cuda.parts import Lying
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.machine.lines import ENTRYWISE, FLOATING, LOGIC
from tinygrad_rnn.machine.refusal import NotInMachineCode
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.sums import SUMMED_AT_ONCE
from tinygrad_rnn.tensor import Tensor

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no g++")
needs_nvrtc = pytest.mark.skipif(not nvrtc.is_installed(), reason="nvidia-cuda-nvrtc-cu12 is not installed")


class Unused(HostDevice):
    """A device that keeps the sources and calculates nothing."""

    def __init__(self) -> None:
        self.sources: list[str] = []

    def compiled(self, source: str, count: int) -> list[Any]:
        self.sources.append(source)
        return [None] * count

    def start(self, *_: Any) -> None:
        pass

    def run(self, work: Any, before: Any) -> None:
        pass


# --- Numbers ---------------------------------------------------------------------------------------------------


def leaves_of(name: str, T: int = 4, B: int = 5, I: int = 3, H: int = 6) -> tuple[Recurrent, Tensor]:  # noqa: E741
    rng = np.random.default_rng(0)
    layer = Recurrent(CELLS[name], I, H, dtype=np.float64, rng=rng)
    for p in layer.parameters():
        p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    return layer, Tensor(rng.standard_normal((T, B, I)), requires_grad=True)


@needs_compiler
@pytest.mark.parametrize(
    "name", [name if name in ("gru", "layernorm-gru") else pytest.param(name, marks=pytest.mark.slow) for name in CELLS]
)
def test_every_cell_has_the_numbers_of_the_numpy_emitter(name: str) -> None:
    layer, xs = leaves_of(name)

    def numbers(way: Any) -> list[Any]:
        for p in (xs, *layer.parameters()):
            p.grad = None
        with on_host() if way == "cuda" else tg.compiled(way):
            outputs, state = layer(xs)
            total = (outputs * np.cos(np.arange(outputs.size)).reshape(outputs.shape)).sum()
            sum((s.sum() for s in state), total).backward()
        return [outputs.numpy(), *(s.numpy() for s in state), *(p.grad for p in (xs, *layer.parameters()))]

    close(numbers("cuda"), numbers("numpy"), 1e-10)


@needs_compiler
@pytest.mark.parametrize("back", [False, True])
def test_rows_of_any_lengths_are_kernels_and_machine_code_whichever_is_the_longest(
    back: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    layer = Recurrent(CELLS["lstm"], 3, 6, bidirectional=back, dtype=np.float64, rng=rng)
    xs = Tensor(rng.standard_normal((5, 4, 3)), requires_grad=True)
    for lengths in ([1, 5, 0, 3], [2, 2, 4, 5], [5, 5, 5, 5], [3, 0, 1, 0]):
        found = []
        for way in ("cuda", "machine", "numpy"):
            with on_host() if way == "cuda" else tg.compiled(way):
                outputs, state = layer(xs, lengths=lengths)
                xs.grad = None
                total = (outputs * np.cos(np.arange(outputs.size)).reshape(outputs.shape)).sum()
                sum((s.sum() for s in state), total).backward()
                found.append([outputs.numpy(), *(s.numpy() for s in state), xs.grad])
        for each in found[:2]:
            close(each, found[2], 1e-10)
    tg.explain(lambda xs: layer(xs, lengths=[1, 5, 0, 3]), xs)
    text = capsys.readouterr().out
    assert text.count("as machine code: ") == 2 * (1 + back) and "NumPy calls" not in text


@needs_compiler
def test_a_loop_that_is_no_kernels_is_a_plain_one_and_says_so_once() -> None:
    xs = Tensor(np.arange(24.0).reshape(4, 2, 3), requires_grad=True)
    start = Tensor(np.zeros((2, 3)))

    def step(h: Tensor, x: Tensor) -> Any:
        new = h[:, [2, 0, 1]] * 0.5 + x
        return new, new

    with on_host(), pytest.warns(tg.ScanWarning, match="plain loop, because reading at an array") as caught:
        for _ in range(2):
            _, ys = tg.scan(step, start, xs)
    assert len(caught) == 1
    np.testing.assert_allclose(ys.numpy(), tg.scan(step, start, xs)[1].numpy(), rtol=1e-12)
    with on_host():  # of nothing there is nothing to say
        assert tg.scan(step, Tensor(np.zeros((0, 3))), Tensor(np.zeros((4, 0, 3))))[1].shape == (4, 0, 3)


@needs_compiler
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:tinygrad_rnn.ScanWarning")
@part_of_the_examples(0.1)
@given(random_steps(), st.booleans())
def test_random_steps_have_the_numbers_of_the_plain_loop(case: Any, back: bool) -> None:
    step, state, xs, weights = case
    states = tuple(Tensor(s, requires_grad=True) for s in state)
    inputs = tuple(Tensor(x, requires_grad=True) for x in xs)
    leaves = [*states, *inputs, *weights]
    with whole_in_the_loop():
        found = made_by("cuda", step, states, inputs, leaves, back)
    close(found, made_by(False, step, states, inputs, leaves, back))


@needs_compiler
def test_states_change_places_and_lie_in_one_array_and_loops_go_backwards() -> None:
    W = Tensor(np.random.default_rng(1).standard_normal((3, 3)) / 2, requires_grad=True)

    def step(state: Any, x: Any) -> Any:
        h, kept = state
        new = ops.tanh(h @ W + x)
        return (new, kept * 0.5 + new.sum(axis=1, keepdims=True)), new * kept

    rng = np.random.default_rng(2)
    state = (Tensor(rng.standard_normal((2, 3))), Tensor(rng.standard_normal((2, 1)), requires_grad=True))
    for steps in (1, 2, 5):
        xs = Tensor(rng.standard_normal((steps, 2, 3)), requires_grad=True)
        for back in (False, True):
            leaves = [state[1], xs, W]
            close(made_by("cuda", step, state, xs, leaves, back), made_by(False, step, state, xs, leaves, back))
            close(made_by("cuda", step, state, xs, [], back), made_by(False, step, state, xs, [], back))


@needs_compiler
def test_a_part_of_a_state_is_multiplied_and_extremes_and_sums_are_over_any_axis() -> None:
    rng = np.random.default_rng(3)
    W = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    state = Tensor(rng.standard_normal((5, 7)), requires_grad=True)
    xs = Tensor(rng.standard_normal((3, 5, 4)) - 4, requires_grad=True)

    def step(h: Tensor, x: Tensor) -> Any:
        a = ops.softmax(h[:, 2:5] @ W + x, axis=1)
        least, most = ops.min(x - a, axis=0), ops.max(a * x, axis=1, keepdims=True)
        return ops.concatenate([a, h[:, 4:]], axis=1) * 0.5 + most, a + least

    leaves = [state, xs, W]
    with whole_in_the_loop():
        close(made_by("cuda", step, state, xs, leaves), made_by(False, step, state, xs, leaves))
        with tg.no_grad():  # where the part is no copy, which nobody asks for later
            close(made_by("cuda", step, state, xs), made_by(False, step, state, xs))


@pytest.mark.parametrize(("count", "kind"), [(SUMMED_AT_ONCE, "float"), (SUMMED_AT_ONCE + 1, "double")])
def test_many_float32_are_added_up_in_float64(count: int, kind: str) -> None:
    unused = Unused()
    with on_host(unused):
        xs = Tensor(np.ones((2, 1), np.float32))
        tg.scan(lambda h, x: (h * 0.5 + h.mean(axis=1, keepdims=True) + x,) * 2, Tensor(np.ones((1, count), "f")), xs)
    assert f"{kind} total0 = " in unused.sources[0]


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((4, 3), (3, 1), Lying(3)), ((4, 3), (7, 1), Lying(7)), ((4, 3), (1, 4), Lying(4, turned=True)),
        ((1, 3), (0, 1), Lying(3)), ((4, 1), (1, 5), Lying(1)), ((4, 1), (9, 5), Lying(9)),
    ],
)  # fmt: skip
def test_a_matrix_lies_by_rows_or_by_columns(shape: Any, strides: Any, expected: Lying) -> None:
    assert cuda_loop._lying(shape, strides) == expected


@pytest.mark.parametrize(("shape", "strides"), [((4, 3), (6, 2)), ((4, 3), (0, 1)), ((2, 3), (1, 1))])
def test_one_that_lies_otherwise_is_refused(shape: Any, strides: Any) -> None:
    with pytest.raises(NotInMachineCode, match="neither of whose axes"):
        cuda_loop._lying(shape, strides)


# --- Each op ---------------------------------------------------------------------------------------------------

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 7.25, 1e-30, -1e30, 100.0, -100.0, math.inf, -math.inf, math.nan]


def operands(dtype: np.dtype[Any]) -> Any:
    """Pairs of numbers, (2,N)."""
    numbers = np.array(EDGES if dtype.kind == "f" else [0, 1, 2, 5, 100] + [-1, -7] * (dtype.kind == "i"), dtype)
    return np.stack([np.repeat(numbers, len(numbers)), np.tile(numbers, len(numbers))])


def named(primitives: Any) -> list[Any]:
    return sorted(primitives, key=lambda primitive: primitive.name)


OPS = {
    "d": named(ENTRYWISE - LOGIC - {ops.where}),
    "f": named(ENTRYWISE - LOGIC - {ops.where}),
    "i": named(ENTRYWISE - LOGIC - FLOATING - {ops.where}),
    "H": named(ENTRYWISE - LOGIC - FLOATING - {ops.where, ops.neg, ops.sign}),
    "?": named(LOGIC | {copy}),
}


@needs_compiler
def test_every_op_is_what_it_is_for_numpy_of_all_edges_too() -> None:
    source = [HEADER, DEVICE_FUNCTIONS]
    cases: list[Any] = []
    for char, primitives in OPS.items():
        dtype, kind = np.dtype(char), C_NAMES[char]
        for primitive in primitives:
            count = 1 if primitive in (ops.zeros_like, copy) else primitive.forward.__code__.co_argcount
            out = made_in(primitive, dtype)
            args = ["x[i]", "y[i]"][:count]
            name = f"f{len(cases)}"
            source.append(
                f'extern "C" void {name}(const {kind} *x, const {kind} *y, {C_NAMES[out.char]} *out, long long n) {{'
                f" for (long long i = 0; i < n; i++) out[i] = {expression(primitive, args, dtype)}; }}"
            )
            cases.append((name, primitive, dtype, out, count))
    module = library("\n".join(source))
    for name, primitive, dtype, out, count in cases:
        x, y = operands(dtype) if dtype.char != "?" else (np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
        found = np.empty(x.shape, out)
        pointers = [ctypes.c_void_p(each.ctypes.data) for each in (x, y, found)]
        getattr(module, name)(*pointers, ctypes.c_longlong(len(x)))
        with np.errstate(all="ignore"):
            expected = np.asarray(primitive.forward(*(x, y)[:count])).astype(out)
        near = {"f": 5e-6, "d": 1e-13}.get(dtype.char, 0)
        np.testing.assert_allclose(found, expected, rtol=near, atol=0, err_msg=f"{primitive.name} of {dtype}")
        if dtype.kind == "f" and out == dtype:
            zeros = (found == 0) & (expected == 0)
            same = np.signbit(found[zeros]) == np.signbit(expected[zeros])
            assert same.all() or primitive in (ops.maximum, ops.minimum), f"the sign of 0: {primitive.name}"


@needs_compiler
def test_numbers_are_constants_of_their_type() -> None:
    wanted = [(dtype, value) for dtype in "fd" for value in EDGES] + [("i", -7), ("B", 200), ("?", True), ("l", 2**40)]
    lines = [HEADER]
    for n, (char, value) in enumerate(wanted):
        kind = C_NAMES[char]
        lines.append(f'extern "C" void n{n}({kind} *out) {{ *out = {number_in_c(value, np.dtype(char))}; }}')
    module = library("\n".join(lines))
    for n, (char, value) in enumerate(wanted):
        found = np.empty((), char)
        getattr(module, f"n{n}")(ctypes.c_void_p(found.ctypes.data))
        np.testing.assert_array_equal(found, np.array(value, char))


def test_an_op_that_has_no_expression_is_refused() -> None:
    with pytest.raises(NotInMachineCode, match="exp of int64 is not written in CUDA C"):
        expression(ops.exp, ["x"], np.dtype(np.int64))


# --- For GPUs --------------------------------------------------------------------------------------------------


REGISTERS = 1 << 16
"""Of a block, on every GPU since 2012."""


def sources(name: str, dtype: Any) -> list[str]:
    """Of both loops of a cell."""
    layer = Recurrent(CELLS[name], 3, 6, dtype=dtype)
    unused = Unused()
    with on_host(unused), np.errstate(all="ignore"):  # in memory that nobody fills there is any number
        layer(Tensor(np.ones((2, 5, 3), dtype), requires_grad=True))[0].sum().backward()
    return unused.sources


@needs_nvrtc
@pytest.mark.parametrize(
    "name",
    [name if name in ("gru", "lru") else pytest.param(name, marks=pytest.mark.slow) for name in CELLS],
)
def test_the_kernels_of_every_cell_are_compiled_for_gpus(name: str) -> None:
    for dtype in (np.float32, np.float64):
        for source in (found := sources(name, dtype)):
            for architecture in ("sm_80", "sm_90"):
                assert nvrtc.machine_code(source, architecture)[:4] == b"\x7fELF"
                most = WARP * PARTS_TO if "parts > 1" in source else THREADS  # of a block, which shares REGISTERS
                found_registers = nvrtc.registers(source, architecture)
                assert found_registers and max(found_registers) * most <= REGISTERS
        assert len(found) >= 2


@needs_nvrtc
def test_what_is_wrong_in_a_kernel_is_told() -> None:
    with pytest.raises(ValueError, match='identifier "y" is undefined'):
        nvrtc.machine_code('extern "C" __global__ void pass0(float *x) { *x = y; }', "sm_90")
