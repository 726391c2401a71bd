"""What a step may hold and is machine code as a whole, and what it may hold that is not: then NumPy runs it, and it is
said why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from machine_code import close, compiled_step, in_parts, made_by, same_bits, whole_in_the_loop, why_not

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import compiling
from tinygrad_rnn.loops.machine import lowering
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.variants import IndRNNCell, LayerNormLSTMCell, PhasedLSTMCell
from tinygrad_rnn.ops.indexing import _row_at
from tinygrad_rnn.tensor import Parameter, Tensor

R = np.random.default_rng(0)


def leaf(*shape: int) -> Tensor:
    return Tensor(R.standard_normal(shape) * 0.5, requires_grad=True)


B, H, T = 13, 6, 3
S, X, W, V = leaf(B, H), leaf(T, B, H), leaf(H, H), leaf(H, H)
ROW = Tensor(np.array([7]))
CUBE, IDS, MASK = leaf(B, 4, H), Tensor(R.integers(0, 5, (B, H))), Tensor(R.random((B, H)) > 0.5)
BIASES, SCALE, CUBES = leaf(H), leaf(H), leaf(5, 4, H)
SWAPPED = Tensor(R.standard_normal((1, H)).astype(np.dtype(float).newbyteorder()))


def layer_norm(v: Any) -> Any:
    centred = v - v.mean(axis=-1, keepdims=True)
    return centred / ops.sqrt(ops.square(centred).mean(axis=-1, keepdims=True) + 1e-5) * SCALE + BIASES


def rms_norm(v: Any) -> Any:
    return v / ops.sqrt(ops.square(v).mean(axis=-1, keepdims=True) + 1e-5)


def of_a_row(v: Any) -> Any:
    row = _row_at(v, ROW)
    return (
        v - ops.tanh(row) * _row_at(0.5 * v, ROW)[:, ::-1] + row[0, 2] + row @ W + _row_at(_row_at(v, ROW).T, ROW - 4)
    )


WHOLE: dict[str, Any] = {
    "layer norm": layer_norm,
    "root mean square": rms_norm,
    "variance": lambda v: (v - v.mean(-1, keepdims=True)) / ops.sqrt(ops.var(v, axis=-1, keepdims=True) + 1e-5),
    "softmax": lambda v: ops.softmax(v, axis=-1) * ops.log_softmax(v, axis=-1),
    "softmax over the batch": lambda v: ops.softmax(v, axis=0),
    "logsumexp": lambda v: v - ops.logsumexp(v, axis=-1, keepdims=True),
    "norm": lambda v: v / (1.0 + ops.norm(v, axis=-1, keepdims=True)),
    "reshape": lambda v: (v.reshape((B, 2, 3)) * v.reshape((B, 2, 3)).sum(axis=1, keepdims=True)).reshape((B, H)),
    "transposes": lambda v: (ops.swapaxes(v.reshape((B, 2, 3)), 1, 2) * 0.5).reshape((B, H)) + ops.tanh(v.T).T,
    "slices with steps": lambda v: ops.concatenate([v[:, ::2], v[:, 1::2]], axis=1) - v[::-1, ::-1],
    "parts": lambda v: ops.concatenate([ops.tanh(p) * n for n, p in enumerate(ops.split(v, 3, axis=1))], axis=1),
    "stack": lambda v: ops.stack(ops.unstack(v, 1)[::-1], axis=1) + ops.stack([v, v * v], axis=0).sum(axis=0),
    "where": lambda v: ops.where(ops.logical_and(v > 0.0, MASK), v, -0.3 * v),
    "booleans": lambda v: v * (ops.logical_or(v > 0.1, ops.logical_not(MASK))),
    "whole numbers": lambda v: v * 0.5 + (IDS + 1) * 0.1 + ops.astype(v * 3.0, np.int32) * 0.01,
    "an outer product": lambda v: (v[:, :, None] * v[:, None, :]).sum(axis=2) * 0.1,
    "einsum": lambda v: ops.einsum("bh,hk->bk", v, W) + ops.einsum("bh,bh->b", v, v)[:, None] * 0.1,
    "einsum of three": lambda v: ops.einsum("bi,bki,bk->bk", v, CUBE, CUBE[:, :, 0]).sum(axis=1, keepdims=True) * v,
    "products of batches": lambda v: (CUBE @ v.reshape((B, H, 1))).sum(axis=1) * v,
    "products of states": lambda v: (ops.swapaxes(CUBE, 1, 2) @ (CUBE @ v[:, :, None]))[:, :, 0] * 0.1,
    "largest and smallest": lambda v: v - ops.max(v, axis=1, keepdims=True) * ops.min(v, axis=1, keepdims=True),
    "clip": lambda v: ops.clip(v, -0.3, 0.4) + ops.maximum(v, 0.1) * ops.minimum(v, 0.2),
    "activations": lambda v: ops.softplus(v) + ops.elu(v) + ops.leaky_relu(v) + ops.relu(v) * ops.gelu(v, "tanh"),
    "logarithms and powers": lambda v: ops.log(1.5 + v * v) + ops.abs(v + 0.1) ** 1.5 + ops.sin(v) * ops.expm1(v),
    "quotients": lambda v: ops.reciprocal(2.0 + v * v) + v % 0.7 + ops.floor(v * 3.0) * 0.1,
    "a sum of everything": lambda v: v - ops.sum(v) * 0.01,
    "a sum over two axes": lambda v: v + (ops.tanh(CUBES * v[None, :4, :]) * CUBES).sum(axis=(0, 1)),
    "running sums": lambda v: ops.cumsum(v, axis=1) * 0.3 - ops.cumsum(v, -2) * 0.1 + ops.cumsum(v)[:H] * 0.05,
    "a sum over no axis": lambda v: v - ops.sum(v * 0.5, axis=()),
    "written at places": lambda v: v + ops.scatter(v[:, 0], (slice(None), 2), (B, H)),
    "detached": lambda v: v * v.detach(),
    "a row that a number names": lambda v: of_a_row(v.detach()) * v,
}  # fmt: skip


QUICK = {
    "layer norm", "softmax over the batch", "transposes", "slices with steps", "stack", "where",
    "whole numbers", "einsum", "a sum over no axis", "a sum over two axes", "running sums", "a row that a number names",
}  # fmt: skip


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in WHOLE])
def test_it_is_machine_code_as_a_whole(name: str) -> None:
    change = WHOLE[name]

    def step(s: Any, x: Any) -> Any:
        made = change(ops.tanh(s @ W) + x)
        return ops.tanh(made + s @ V), made

    leaves = [S, X, W, V, CUBE, BIASES, SCALE]
    with whole_in_the_loop():
        assert why_not(step, S, X) == ["", ""]
        found = made_by("machine", step, S, X, leaves)
        close(found, made_by(False, step, S, X, leaves))
        with in_parts(3):
            same_bits(made_by("machine", step, S, X, leaves), found)


def test_code_for_the_first_row_is_not_taken_for_that_of_a_row_that_a_number_names() -> None:
    for change in (lambda v, row: (v - v[:1]) * (v + row), lambda v, row: (v - row) * (v + v[:1])):

        def step(s: Any, x: Any, change: Any = change) -> Any:
            return change(s, _row_at(s.detach(), ROW)) * 0.5, x

        close(made_by("machine", step, S, X), made_by(False, step, S, X))


NOT: dict[str, tuple[Any, str]] = {
    "take": (lambda v: v[:, [2, 0, 0, 1, 5, 4]], "reading at an array of indices is not done in machine code"),
    "argmax": (lambda v: v + ops.argmax(v, axis=1)[:, None] * 0.1, "argmax is not done in machine code"),
    "float16": (
        lambda v: ops.astype(ops.astype(v, "float16"), "float64"), "astype of float16 is not done in machine code",
    ),
    "a diagonal": (
        lambda v: v[:6] + ops.einsum("ii->i", v[:6]), "an einsum of a diagonal is not done in machine code",
    ),
    "the largest of booleans": (
        lambda v: ops.where(ops.max(v > 0.3, axis=1, keepdims=True), v, 0.5 * v),
        "maximum over an axis of booleans is not done in machine code",
    ),
    "an integer and a number that is none of its dtype": (
        lambda v: ops.where(ops.astype(v * 9.0, np.int8) < 300, v, -v),
        "less of int8 and a larger number is not done in machine code",
    ),
    "a product over nothing": (lambda v: v + v[:, :0] @ W[:0], "it has no entries"),
    "the largest of nothing": (lambda v: v + ops.norm(v[:, :0]), "norm is not done in machine code"),
    "quotients of whole numbers": (
        lambda v: v + ops.astype(v * 9.0, np.int8) // 3 * 0.1, "floor_divide of int8 is not done in machine code",
    ),
    "a byte order that is not this machine's": (
        lambda v: v + SWAPPED, f"add of {np.dtype(float).newbyteorder()} is not done in machine code",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT)
def test_what_is_not_is_run_by_numpy_and_it_is_said_why(name: str) -> None:
    change, reason = NOT[name]

    def step(s: Any, x: Any) -> Any:
        made = change(ops.tanh(s @ W) + x)
        return ops.tanh(s @ V + made.sum(axis=0)), made

    with whole_in_the_loop():
        assert why_not(step, S, X)[0] == reason
        leaves = [S, X, W, V]
        close(made_by("machine", step, S, X, leaves), made_by(False, step, S, X, leaves))


# --- Rows that are not independent, whatever they look like -------------------------------------------------------

SQUARE, SQUARES, M, N = leaf(13, 13), leaf(3, 13, 13), leaf(13, 13), leaf(13, 13)


def twice(s: Any) -> Any:
    """Two rows for each of the batch, one after the other."""
    return ops.concatenate([s, ops.sin(s)], axis=0)


ACROSS: dict[str, Any] = {
    "rows further on": lambda s, x: ops.tanh(twice(s)[1:14] + x),
    "products of rows further on": lambda s, x: ops.tanh(twice(s)[1:14] @ M + x),
    "rows in reverse": lambda s, x: ops.tanh(ops.sin(s)[::-1] @ M + x),
    "as many columns as rows": lambda s, x: ops.tanh(ops.sin(s).T @ M + x),
    "sums over columns and rows": lambda s, x: ops.tanh(s - s.sum(axis=0) * 0.1 + s.sum(axis=1) + x),
    "a row of another": lambda s, x: ops.tanh(s * 0.5 + ops.sin(s)[3] + x @ N),
    "pairs of rows": lambda s, x: ops.tanh((s[:, None, :] * s[None, :, :]).sum(axis=2) * 0.1 + x),
    "products of two rows for each": lambda s, x: ops.tanh(
        (ops.tanh(ops.stack([s, x], axis=1)).reshape((26, 13)) @ M).reshape((13, 26))[:, :13] + s
    ),
}


SMALL: dict[str, Any] = {
    "many rows of few": (
        Tensor(R.standard_normal((16, 5)).astype(np.float32)), Tensor(R.standard_normal((3, 16, 5)).astype(np.float32)),
        lambda s, x: (ops.tanh(s * x), ops.sin(s) * 2.0),
    ),
}  # fmt: skip
SMALL["two for each row, one after the other"] = (
    leaf(13, 5), leaf(3, 13, 5), lambda s, x: (ops.tanh(s * x), ops.tanh(ops.stack([ops.sin(s), x]))),
)  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("order", [1, -1])
def test_some_rows_know_nothing_of_what_is_made_for_others(name: str, order: int) -> None:
    state, xs, step = SMALL[name]
    with whole_in_the_loop(), tg.no_grad():
        found = made_by("machine", step, state, xs)
        close(found, made_by(False, step, state, xs))
        with in_parts(3, order):
            same_bits(made_by("machine", step, state, xs), found)


NOTICED = {"rows further on", "products of rows further on", "as many columns as rows"}


@pytest.mark.parametrize("name", [n if n in NOTICED else pytest.param(n, marks=pytest.mark.slow) for n in ACROSS])
def test_what_goes_from_row_to_row_is_right_in_any_number_of_threads(name: str) -> None:
    def step(s: Any, x: Any) -> Any:
        made = ACROSS[name](s, x)
        return made, made

    leaves = [SQUARE, SQUARES, M, N]
    with whole_in_the_loop():
        found = made_by("machine", step, SQUARE, SQUARES, leaves)
        close(found, made_by(False, step, SQUARE, SQUARES, leaves))
        for order in (1, -1):
            with in_parts(3, order):
                same_bits(made_by("machine", step, SQUARE, SQUARES, leaves), found)
        with tg.no_grad():  # what no backward pass needs is read where it was made
            found = made_by("machine", step, SQUARE, SQUARES)
            close(found, made_by(False, step, SQUARE, SQUARES))
            for order in (1, -1):
                with in_parts(3, order):
                    same_bits(made_by("machine", step, SQUARE, SQUARES), found)


def test_a_loop_that_keeps_nothing_for_a_backward_pass_has_the_same_numbers() -> None:
    def step(s: Any, x: Any) -> Any:
        made = ops.tanh(ops.sin(s * x) @ M) * ops.sigmoid(ops.cos(s) @ N + ops.exp(s).mean(axis=1, keepdims=True))
        return made, made.sum(axis=0)

    with whole_in_the_loop(), tg.no_grad():
        found = made_by("machine", step, SQUARE, SQUARES)
        close(found, made_by("numpy", step, SQUARE, SQUARES))
        with in_parts(3):
            same_bits(made_by("machine", step, SQUARE, SQUARES), found)


def test_long_sums_of_float32_are_as_exact_as_numpys() -> None:
    long = Tensor((R.random((3, 50_000)) + 0.5).astype(np.float32))

    def step(s: Any, x: Any) -> Any:
        made = s * x
        return s, (made.sum(axis=1), made.sum())

    with whole_in_the_loop(), tg.no_grad():
        rows, total = made_by("machine", step, long, Tensor(np.ones(2, np.float32)))[1:]
    exact = long.data.astype(float)
    np.testing.assert_allclose(rows[0], exact.sum(axis=1), rtol=1e-7)
    np.testing.assert_allclose(total[0], exact.sum(), rtol=1e-7)


# --- Cells whose state is a matrix -----------------------------------------------------------------------------


class MatrixLSTMCell(Cell):
    """mLSTM: Beck et al. 2024, eq. 19 to 27, with the state m of eq. 15 that keeps exponentials in range."""

    gates = "q k v o"
    state = "h C n m"

    def setup(self) -> None:
        rng = np.random.default_rng(3)
        self.w_i, self.w_f = (Parameter(0.3 * rng.standard_normal((self.input_size, 1))) for _ in range(2))

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        n = self.hidden_size
        return [(n,), (n, n), (n,), (1,)]

    def step(self, x: Tensor, h: Tensor, C: Tensor, n: Tensor, m: Tensor) -> Any:
        q, k, v = self.q(x, h), self.k(x, h) / np.sqrt(self.hidden_size), self.v(x, h)
        i, f = x @ self.w_i, ops.log_sigmoid(x @ self.w_f)
        top = ops.maximum(f + m, i)
        i, f = ops.exp(i - top), ops.exp(f + m - top)
        C = f[:, :, None] * C + i[:, :, None] * (v[:, :, None] @ k[:, None, :])
        n = f * n + i * k
        read = (C @ q[:, :, None])[:, :, 0] / ops.maximum(ops.abs((n * q).sum(axis=1, keepdims=True)), ops.exp(-top))
        return ops.sigmoid(self.o(x, h)) * read, C, n, top


class DeltaNetCell(Cell):
    """Yang et al. 2024, eq. 2 to 4: S' = S + beta (v - S k) k^T, and S' q is read; keys have length 1."""

    gates = "q k v beta"
    state = "h S"

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.hidden_size, self.hidden_size)]

    def step(self, x: Tensor, h: Tensor, S: Tensor) -> Any:
        q, k, v, beta = self.q(x, h), self.k(x, h), self.v(x, h), ops.sigmoid(self.beta(x, h))
        k = k * ops.sigmoid(k)
        k = k / ops.sqrt(ops.square(k).sum(axis=-1, keepdims=True) + 1e-6)
        S = S + (beta * (v - ops.einsum("bij,bj->bi", S, k)))[:, :, None] * k[:, None, :]
        return ops.einsum("bij,bj->bi", S, q), S


SLOWLY = [pytest.param(kind, marks=pytest.mark.slow) for kind in (DeltaNetCell, LayerNormLSTMCell, PhasedLSTMCell)]


@pytest.mark.parametrize("kind", [MatrixLSTMCell, IndRNNCell, *SLOWLY])
def test_cells_of_such_steps_are_machine_code_as_a_whole(kind: type[Cell]) -> None:
    layer = Recurrent(kind, 4, 5, dtype=np.float64, rng=np.random.default_rng(0))
    cell = layer.cells[0]
    xs = Tensor(R.standard_normal((T, 9, 4)), requires_grad=True)
    state = tuple(Tensor(s.numpy() + 0.1, requires_grad=True) for s in cell.initial_state(9))

    def step(state: Any, x: Any) -> Any:
        made = cell(x, *state)
        made = made if isinstance(made, tuple) else (made,)
        return made, made[0]

    leaves = [*state, xs, *layer.parameters()]
    assert why_not(step, state, xs) == ["", ""]
    found = made_by("machine", step, state, xs, leaves)
    close(found, made_by("numpy", step, state, xs, leaves))
    close(found, made_by(False, step, state, xs, leaves))
    with in_parts(2):
        same_bits(made_by("machine", step, state, xs, leaves), found)


# --- Numbers that are not ordinary -----------------------------------------------------------------------------

ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-310, -5e-324, 1e308, -1e308, 1.0, -1.0, 0.3]

ON_ODD: dict[str, Any] = {
    "sums and products": lambda v, x: (v + x, v - x, v * x, v / x, ops.square(v), ops.reciprocal(v), -v),
    "functions": lambda v, x: (ops.exp(v), ops.tanh(v), ops.sigmoid(v), ops.sqrt(v), ops.log(v), ops.erf(v)),
    "more of them": lambda v, x: (ops.sin(v), ops.log1p(v), ops.expm1(v), ops.cos(v), ops.abs(v) ** 0.5),
    "rounding": lambda v, x: (ops.floor(v), ops.sign(v), v % x, v // x),
    "orders": lambda v, x: (ops.maximum(v, x + 0.5), ops.minimum(v, x - 0.5), ops.where(v > x, v, x), v == x, v <= x),
    "activations": lambda v, x: (
        ops.relu(v), ops.elu(v), ops.leaky_relu(v), ops.softplus(v), ops.log_sigmoid(v), ops.hard_sigmoid(v),
    ),
    "rows": lambda v, x: (ops.softmax(v), ops.log_softmax(v), ops.logsumexp(v, axis=-1), ops.norm(v, axis=-1)),
    "reductions": lambda v, x: (v.sum(axis=-1), v.max(axis=-1), v.min(axis=0), v.mean(axis=0), ops.var(v, axis=1)),
    "casts": lambda v, x: (ops.astype(v, bool), ops.astype(v, np.float32), ops.logical_not(v)),
}  # fmt: skip


FEW = {"functions", "orders", "rows"}


@pytest.mark.parametrize("name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in ON_ODD])
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_nan_infinities_denormals_and_zeros_with_a_sign_are_where_numpy_has_them(name: str, dtype: Any) -> None:
    change = ON_ODD[name]
    with np.errstate(all="ignore"):
        grid = np.array(np.meshgrid(ODD, ODD)).astype(dtype)

    def step(s: Any, x: Any) -> Any:
        v, other = s[0] * x, s[1] * x
        return s, change(v, other)

    state = (Tensor(grid[0]), Tensor(grid[1]))
    xs = Tensor(np.ones(2, dtype))
    with whole_in_the_loop():
        assert why_not(step, state, xs)[0] == ""
        found, expected = (made_by(way, step, state, xs) for way in ("machine", "numpy"))
    close(found, expected, 3e-6 if dtype == np.float32 else 1e-13)
    tiny = np.finfo(dtype).smallest_normal
    for a, b in zip(found, expected, strict=True):
        if a.dtype.kind == "f":
            # NumPy's maximum of zeros has the sign of either, depending on where in an array they are.
            told = ~np.isnan(b) & ((b != 0) | (name != "activations"))
            assert np.array_equal(np.signbit(a)[told], np.signbit(b)[told])
            small = np.abs(b) < tiny
            np.testing.assert_allclose(a[small], b[small], rtol=0, atol=2 * np.finfo(dtype).smallest_subnormal)


def test_floats_that_no_integer_of_the_dtype_is_wrap_round_as_in_numpy() -> None:
    values = np.array([[0.0, 1.9, -1.9, 127.5, 128.0, 200.0, 255.9, 256.0, -129.0, 1e5, -70000.0, 3e9, -1.0]])

    def step(s: Any, x: Any) -> Any:
        return s, tuple(
            ops.astype(s * x, kind) for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int64, np.uint32)
        )

    state, xs = Tensor(values), Tensor(np.ones(2))
    with whole_in_the_loop():
        same_bits(made_by("machine", step, state, xs), made_by("numpy", step, state, xs))


def test_arrays_may_lie_in_any_way() -> None:
    raw = np.zeros(T * B * H * 8 + 1, np.uint8)
    unaligned = raw[1:].view(float).reshape(T, B, H)
    unaligned[...] = X.data
    apart = np.repeat(X.data, 2, axis=2)[:, :, ::2]
    swapped = np.ascontiguousarray(X.data.transpose(2, 1, 0)).transpose(2, 1, 0)
    large = X.data.astype(X.dtype.newbyteorder())
    spread = np.broadcast_to(X.data[:1], X.shape)

    def step(s: Any, x: Any) -> Any:
        return ops.tanh(s @ W + x * s), s * x

    for array in (unaligned, apart, swapped, X.data[::-1, :, ::-1], large, spread):
        with whole_in_the_loop():
            close(made_by("machine", step, S, Tensor(array), [S, W]), made_by(False, step, S, Tensor(array), [S, W]))


BYTES = 8 * H * H


@pytest.mark.parametrize(("rows", "largest", "looped"), [(8, BYTES, True), (7, BYTES, False), (8, BYTES - 1, False)])
def test_a_batch_is_multiplied_by_a_small_matrix_at_each_step_and_otherwise_at_once(
    rows: int, largest: int, looped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, xs = leaf(rows, H), leaf(T, rows, H)

    def step(s: Any, x: Any) -> Any:
        s = ops.tanh(s @ W + (x @ V + BIASES))
        return s, s @ V

    monkeypatch.setattr(lowering, "LARGEST_MATRIX", largest)
    made = compiled_step(step, state, xs)
    assert made.backward
    outside = [e for loop in (made.forward, made.backward.loop) for e in (*loop.parts.before, *loop.parts.after)]
    assert len([e for e in outside if e.primitive is ops.matmul]) == (0 if looped else 4)
    compiling._cache.clear()
    leaves = [state, xs, W, V, BIASES]
    close(made_by("machine", step, state, xs, leaves), made_by(False, step, state, xs, leaves))


def test_a_product_by_what_differs_from_step_to_step_is_made_at_once() -> None:
    x = leaf(T, B, H)

    def step(s: Any, given: Any) -> Any:
        rows, matrix = given
        return ops.tanh(s * 0.5 + rows @ matrix), s

    xs = (x, leaf(T, H, H))
    assert why_not(step, S, xs) == ["", ""]
    close(made_by("machine", step, S, xs, [S, *xs]), made_by(False, step, S, xs, [S, *xs]))
