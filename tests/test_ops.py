"""Properties of every op in the table, and of random expressions made from them."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from example_counts import part_of_the_examples
from hypothesis import given
from hypothesis import strategies as st
from op_table import DIFFERENTIABLE, TABLE, UNDIFFERENTIABLE, Array, Call

from tinygrad_rnn import ops, tape
from tinygrad_rnn.checks.derivatives import STEP, gradcheck
from tinygrad_rnn.surroundings import Watcher, watching
from tinygrad_rnn.tape import Primitive
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.transforms import vjp

every_op = pytest.mark.parametrize("name", sorted(ops.__all__))
every_differentiable_op = pytest.mark.parametrize("name", DIFFERENTIABLE)


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def joined(call: Call, dtype: Any = np.float64) -> Any:
    """The call as a function with one result, several being flattened and joined; its constants in `dtype`."""
    f = call.function(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array)

    def single(*inputs: Any) -> Any:
        result = f(*inputs)
        return ops.concatenate(list(result), axis=None) if isinstance(result, tuple) else result

    return single


def directions(data: Any, call: Call) -> tuple[Array, list[Array]]:
    """A cotangent for the result and a tangent for every input, of entries between -1 and 1."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = joined(call)(*map(Tensor, call.inputs)).shape
    return np.asarray(rng.uniform(-1, 1, shape)), [np.asarray(rng.uniform(-1, 1, x.shape)) for x in call.inputs]


MODULES = [import_module(found.name) for found in pkgutil.iter_modules(ops.__path__, "tinygrad_rnn.ops.")]
PRIMITIVES = {
    value: name
    for module in [tape, *MODULES]
    for name, value in vars(module).items()
    if isinstance(value, Primitive) and value.__module__ == module.__name__
}


def test_every_public_op_is_in_the_table_and_nothing_else() -> None:
    assert sorted(TABLE) == sorted(ops.__all__)
    assert len(set(ops.__all__)) == len(ops.__all__)
    assert all(hasattr(ops, name) for name in ops.__all__)
    assert {name for name in PRIMITIVES.values() if not name.startswith("_")} - {*ops.__all__} == set()
    assert len(PRIMITIVES) > 70 and {"argmax", "equal", "logical_not"} < UNDIFFERENTIABLE


class Seen(Watcher):
    """Which primitives compute."""

    def __init__(self) -> None:
        self.primitives: set[Any] = set()

    def forward(self, node: Any, primitive: Any, *_: Any) -> None:
        self.primitives.add(primitive)


@pytest.mark.slow
def test_the_calls_of_the_table_reach_every_primitive_that_there_is() -> None:
    seen = Seen()

    @part_of_the_examples(0.4)
    @given(data=st.data())
    def call(name: str, data: Any) -> None:
        drawn = data.draw(TABLE[name])
        with watching(seen):
            drawn.function()(*map(Tensor, drawn.inputs))
            if name in DIFFERENTIABLE:  # rules that are themselves recorded
                out, pullback = vjp(joined(drawn), *(Tensor(x, requires_grad=True) for x in drawn.inputs))
                pullback(Tensor(np.ones(out.shape), requires_grad=True))

    for name in TABLE:
        call(name)
    # Of `grad`; of recordings; of integers; of padding.
    without = {"_alias", "_detached", "_truncated", "_within", "_row_at"}
    assert sorted(name for found, name in PRIMITIVES.items() if found not in seen.primitives) == sorted(without)


@every_op
@given(data=st.data())
def test_values_equal_those_of_numpy(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    assert call.expected is not None
    found, expected = call.function()(*map(Tensor, call.inputs)), call.expected(*call.inputs, *call.constants)
    for a, b in zip(parts(found), map(np.asarray, parts(expected)), strict=True):
        assert isinstance(a, Tensor)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-12, atol=1e-13)


@every_differentiable_op
@part_of_the_examples(0.6)  # each is hundreds of calls
@given(data=st.data())
def test_first_and_second_derivatives_agree_with_finite_differences(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    assert gradcheck(call.function(), *call.inputs, order=2)


@every_differentiable_op
@part_of_the_examples(0.4)
@given(data=st.data())
def test_the_backward_pass_is_the_adjoint_of_the_forward_pass(name: str, data: Any) -> None:
    """<Jv, u> = <v, uJ>, with Jv from differences of forward values: a wrong rule cannot agree with itself. The
    arrays have their drawn layout here, where `gradcheck` takes copies."""
    call = data.draw(TABLE[name])
    f = joined(call)
    u, vs = directions(data, call)

    def central(h: float) -> Array:
        up, down = (f(*(Tensor(x + s * h * v) for x, v in zip(call.inputs, vs, strict=True))).numpy() for s in (1, -1))
        return np.asarray((up - down) / (2 * h))

    jv = (4 * central(STEP) - central(2 * STEP)) / 3
    gradients = [g.numpy() for g in vjp(f, *call.inputs)[1](u)]
    assert [g.shape for g in gradients] == [x.shape for x in call.inputs]
    left, right = np.sum(jv * u), sum(np.sum(v * g) for v, g in zip(vs, gradients, strict=True))
    scale = np.sum(np.abs(jv * u)) + sum(np.sum(np.abs(v * g)) for v, g in zip(vs, gradients, strict=True))
    assert abs(left - right) <= 1e-8 * scale + 1e-12


@every_differentiable_op
@part_of_the_examples(0.2)  # a rule that is not linear shows it nearly everywhere
@given(data=st.data())
def test_the_backward_pass_is_linear_in_the_cotangent(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    pullback = vjp(joined(call), *call.inputs)[1]
    u, w = directions(data, call)[0], directions(data, call)[0]
    together, one, other = pullback(3 * u - 0.5 * w), pullback(u), pullback(w)
    for t, a, b in zip(together, one, other, strict=True):
        np.testing.assert_allclose(t.numpy(), 3 * a.numpy() - 0.5 * b.numpy(), rtol=1e-9, atol=1e-11)


@every_differentiable_op
@part_of_the_examples(0.4)
@given(data=st.data())
def test_narrow_dtypes_stay_narrow_in_values_and_gradients(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    dtype, tolerance = data.draw(st.sampled_from([(np.float32, 1e-4), (np.float16, 0.1)]))
    f, (u, _) = joined(call), directions(data, call)
    leaves = [Tensor(x.astype(dtype), requires_grad=True) for x in call.inputs]
    out = joined(call, dtype)(*leaves)
    assert out.dtype == dtype
    exact, pullback = vjp(f, *call.inputs)
    if dtype == np.float32:
        np.testing.assert_allclose(out.numpy(), exact.numpy(), rtol=tolerance, atol=tolerance)
    if out.requires_grad:
        out.backward(u.astype(dtype))
    for leaf, g in zip(leaves, pullback(u), strict=True):
        if leaf.grad is None:
            assert not g.numpy().any()
            continue
        assert leaf.grad.dtype == dtype
        if dtype == np.float32:
            dense = leaf.grad.dense() if hasattr(leaf.grad, "dense") else leaf.grad
            np.testing.assert_allclose(dense, g.numpy(), rtol=tolerance, atol=tolerance)


@every_differentiable_op
@part_of_the_examples(0.2)  # which engine walks the tape does not depend on shapes and layouts
@given(data=st.data())
def test_backward_gives_what_the_functional_gradient_gives(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    f, (u, _) = joined(call), directions(data, call)
    leaves = [Tensor(x, requires_grad=True) for x in call.inputs]
    out = f(*leaves)
    if out.requires_grad:
        out.backward(u)
    for leaf, g in zip(leaves, vjp(f, *call.inputs)[1](u), strict=True):
        found = leaf.grad.dense() if hasattr(leaf.grad, "dense") else leaf.grad
        np.testing.assert_array_equal(np.zeros(leaf.shape) if found is None else found, g.numpy())


@pytest.mark.parametrize("name", sorted(UNDIFFERENTIABLE))
@given(data=st.data())
def test_comparisons_give_booleans_or_integers_off_the_tape(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    on_tape = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in call.inputs]
    out = call.function()(*on_tape)
    assert isinstance(out, Tensor)
    assert out.dtype.kind == ("i" if name == "argmax" else "b")
    assert not out.requires_grad


# --- Random expressions ----------------------------------------------------------------------------------------

UNARY: dict[str, Callable[[Any], Any]] = {
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "sin": ops.sin,
    "softplus": ops.softplus,
    "softmax": ops.softmax,
    "exp(tanh)": lambda x: ops.exp(ops.tanh(x)),
    "halved square": lambda x: 0.5 * x * x / (1 + 0.1 * x * x),
    "reversed": lambda x: x[::-1],
    "rotated": lambda x: x[[1, 2, 0]],
    "mean taken off": lambda x: x - x.mean(axis=0),
    "times its sum": lambda x: x * ops.tanh(x.sum(axis=1, keepdims=True)),
    "transposed twice": lambda x: ops.sin(x.T).T,
    "rejoined": lambda x: ops.concatenate(ops.split(x, [1], axis=1)[::-1], axis=1),
    "restacked": lambda x: ops.stack(ops.unstack(x, 1)[::-1], 1),
    "normed": lambda x: x / (1 + ops.norm(x + 3.0)),
    "running": lambda x: 0.3 * ops.cumsum(x, axis=0),
    "cleared": lambda x: ops.where(np.eye(3, dtype=bool), x, 0.5),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / (2.0 + ops.tanh(y)),
    "matmul": lambda x, y: 0.3 * (x @ y),
    "pow": lambda x, y: (1.5 + ops.sin(x)) ** ops.tanh(y),
    "einsum": lambda x, y: 0.3 * ops.einsum("ij,kj->ki", x, y),
    "gated": lambda x, y: ops.sigmoid(x) * y + (1 - ops.sigmoid(x)) * x,
}


@st.composite
def programs(draw: Any) -> list[tuple[str, int, int]]:
    """Lines of `op, operand, operand`, whose operands are any of two inputs and the lines before."""
    lines: list[tuple[str, int, int]] = []
    for _ in range(draw(st.integers(1, 8))):
        earlier = st.integers(0, len(lines) + 1)
        lines.append((draw(st.sampled_from([*UNARY, *BINARY])), draw(earlier), draw(earlier)))
    return lines


def run(program: list[tuple[str, int, int]], *inputs: Any) -> Any:
    values = list(inputs)
    for name, i, j in program:
        values.append(UNARY[name](values[i]) if name in UNARY else BINARY[name](values[i], values[j]))
        values[-1] = 2 * ops.tanh(0.5 * values[-1])  # so that no chain of products leaves the range of numbers
    return values[-1] + 0.1 * values[len(values) // 2]


@given(program=programs(), seed=st.integers(0, 2**32 - 1))
def test_random_expressions_with_shared_parts_have_right_derivatives_to_second_order(
    program: list[tuple[str, int, int]], seed: int
) -> None:
    x, y = np.random.default_rng(seed).uniform(-1, 1, (2, 3, 3))
    assert gradcheck(lambda x, y: run(program, x, y) + 0.1 * x * y, x, y, order=2)
