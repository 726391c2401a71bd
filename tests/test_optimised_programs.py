"""What splitting, merging, fusing and batching may not mix up: each step here is wrong where one of their conditions
is dropped, and compiled it is the plain loop. And what they make of a step: so many lines, so many products."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import ScanWarning, compiling, splitting
from tinygrad_rnn.loops.compiling import Compiled, compile_program
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.layout import over_time
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.tensor import Parameter, Tensor

Step = Callable[[Any, Any], tuple[Any, Any]]
R = np.random.default_rng(0)


def leaf(*shape: int) -> Tensor:
    return Tensor(R.standard_normal(shape) * 0.5, requires_grad=True)


def flat(tree: Any) -> list[Any]:
    return [t for part in tree for t in flat(part)] if isinstance(tree, tuple) else [tree]


def results(step: Step, state: Any, xs: Any, leaves: list[Any]) -> list[Any]:
    """Last states and outputs, and the gradients of the leaves."""
    for t in leaves:
        t.grad = None
    found = flat(tg.scan(step, state, xs))
    weights = np.random.default_rng(0)
    total: Any = sum((r * weights.standard_normal(r.shape)).sum() for r in found if r.dtype.kind == "f")
    total.backward()
    return [r.numpy() for r in found] + [np.zeros(t.shape) if t.grad is None else t.grad for t in leaves]


def close(a: Any, b: Any, narrow: bool = False) -> None:
    """As near as their dtype allows, or float32 within."""
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    tolerance = 1e-5 if narrow or a.dtype == np.float32 else 1e-9
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def agree(step: Step, state: Any, xs: Any, *others: Any) -> None:
    """Compiled and plain, in values, dtypes and gradients."""
    given = (*flat(state), *flat(xs), *others)
    leaves = [t for t in given if t.requires_grad]
    narrow = any(t.dtype == np.float32 for t in given)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScanWarning)
        fast = results(step, state, xs, leaves)
    with tg.compiled(False):
        plain = results(step, state, xs, leaves)
    for a, b in zip(fast, plain, strict=True):
        close(a, b, narrow)
    with tg.no_grad(), warnings.catch_warnings():  # nothing is kept for a backward pass: buffers are used again sooner
        warnings.simplefilter("error", ScanWarning)
        for a, b in zip(flat(tg.scan(step, state, xs)), plain, strict=False):
            close(a.numpy(), b, narrow)


@pytest.fixture(params=[1, 10**9], ids=["into the loop", "before the loop"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterable[None]:
    """Where entry-wise work on the inputs is done, large and small alike."""
    compiling._cache.clear()
    monkeypatch.setattr(splitting, "SINKS_FROM", request.param)
    yield
    compiling._cache.clear()


# --- One case for each thing that must not be mixed up ---------------------------------------------------------

X, ROWS, COLUMNS, VECTORS, NUMBERS = leaf(4, 2, 3), leaf(4, 1, 3), leaf(4, 2, 1), leaf(4, 3), leaf(4)
CUBES, TWO_CUBES = leaf(4, 2, 3, 3), leaf(4, 5, 2, 3)
S, P, Q, ROW, ROW2 = leaf(2, 3), leaf(2, 3), leaf(2, 3), leaf(1, 3), leaf(1, 3)
W, V, U, A, Z = (leaf(3, 3) for _ in range(5))
WIDE, NARROW, TALL, THIN = leaf(3, 4), leaf(4, 3), leaf(5, 3), leaf(1, 3)
b, c, d, ROW_B, MATRIX_B, NUMBER_B = leaf(3), leaf(3), leaf(3), leaf(1, 3), leaf(2, 3), leaf()
C, C3, E, A4 = leaf(2, 3), leaf(2, 2, 3), leaf(5, 3, 3), leaf(6, 3)
FROZEN, WHOLE, MASK = (
    Tensor(R.standard_normal((3, 3))),
    Tensor(np.array([2, -1, 3])),
    Tensor(np.array([True, False, True])),
)


def spread(x: Any) -> Any:
    return x + x.sum(axis=0, keepdims=True)


spreading: Any = tg.primitive(spread)  # an add in a rule that broadcasts
spreading.vjp(lambda g, out, x: g + g.sum(axis=0))


def shifted(x: Any) -> Any:
    return x + 1.0


shifting: Any = tg.primitive(shifted)  # an add in a rule, of a number
shifting.vjp(lambda g, out, x: g + 0.0)


def gates(h: Any, *weights: Any) -> list[Any]:
    return [ops.sigmoid(h @ w) for w in weights]


def a_neighbour_that_uses_its_neighbour(s: Any, x: Any) -> Any:
    first = ops.sin(s[0])
    u = ops.tanh(first)
    second = u * s[1]
    e = ops.tanh(second)
    return (ops.tanh(first @ W + second @ V + e * 0.3 + x), u * 0.5), e


def a_neighbour_before_it_that_uses_it(s: Any, x: Any) -> Any:
    y, first = x @ W, ops.sin(s[0])
    u = ops.tanh(first)
    second = u * s[1]
    e = ops.tanh(second)
    return (ops.tanh(first @ V + second @ W + e * 0.3 + y), u * 0.5), e


def what_reads_one_before_the_other_is_made(s: Any, x: Any) -> Any:
    first = ops.sin(s[0])
    u = ops.tanh(first)
    between = ops.exp(u * x)
    more = ops.sqrt(between)
    second = ops.cos(s[1])
    v = ops.tanh(second)
    return (ops.tanh(first @ W + second @ V) + more * v, between * v * 0.1), u


def factors_made_one_after_the_other(s: Any, x: Any) -> Any:
    p, q = s[0] @ W, s[0] @ V
    one = ops.tanh(s[1])
    u = p * one
    after = ops.sin(u + x)
    two = ops.cos(s[1] * after)
    v = q * two
    return (ops.tanh(u + v), after * 0.5), u


def a_sum_of_some(s: Any, x: Any) -> Any:
    i, f, o = gates(s[0], W, V, U)
    return (ops.tanh(i @ W + f @ V + x), ops.tanh(f @ V + o @ U)), i * o


def a_sum_of_what_is_apart(s: Any, x: Any) -> Any:
    i, f, o = gates(s[0], W, V, U)
    return (ops.tanh(i @ W + o @ V + x), ops.tanh(f * s[1])), i


def a_sum_in_another_order(s: Any, x: Any) -> Any:
    y = x @ A
    i, f = gates(s[0], W, V)
    return (ops.tanh(i @ Z + f @ A + y), ops.tanh((f * i) @ V + s[1] @ W)), i


def products_of_rows(s: Any, x: Any) -> Any:
    h, r, q = s
    return (ops.tanh(ops.tanh(r) @ W + ops.sin(q) @ V + h + x), ops.tanh(r * q), ops.sin(q + 0.1)), r


def a_row_and_a_matrix(s: Any, x: Any) -> Any:
    h, r = s
    return (ops.tanh(ops.tanh(r) @ W + ops.sin(h) @ V + x), ops.tanh(r) * 0.5), r


def a_row_sum_within_a_sum(s: Any, x: Any) -> Any:
    h, r = s
    return (ops.tanh((r + b) + (ops.sin(h) @ V + ops.tanh(h + x) @ W)), ops.tanh(r) * 0.5), r


def a_sum_read_in_two_sums(s: Any, x: Any) -> Any:
    q = ops.sin(s[0]) @ W + ops.tanh(s[1]) @ V
    return (ops.tanh(q + ops.cos(s[0] * s[1]) @ U), ops.tanh(q + x)), s[0]


def a_sum_twice_in_one(s: Any, x: Any) -> Any:
    q = ops.sin(s[0]) @ W + ops.tanh(s[1]) @ V
    return (ops.tanh(q + q + x), ops.tanh(q)), s[0]


def a_product_twice_in_one_sum(s: Any, x: Any) -> Any:
    q = ops.sin(s[0]) @ W
    return (ops.tanh(q + ops.tanh(s[1]) @ V + q + x), s[0] * 0.5), s[0]


def a_sum_that_is_handed_on_within_a_sum(s: Any, x: Any) -> Any:
    n = ops.sin(s[0]) @ W + ops.tanh(s[1]) @ V
    return (n * 1.0, ops.tanh(n + ops.cos(s[0] * x) @ U)), n


def a_sum_that_is_a_state_within_a_sum(s: Any, x: Any) -> Any:
    n = ops.sin(s[0]) @ W + ops.tanh(s[1]) @ V
    return (n, ops.tanh(n + ops.cos(s[0] * x) @ U)), x * s[0]


def products_that_are_states(s: Any, x: Any) -> Any:
    p, q = s[0] @ W, s[0] @ V
    return (ops.tanh(s[1]) * x, p), ops.tanh(q) * ops.tanh(p)


def two_sums_with_rests(s: Any, x: Any) -> Any:
    i, f = gates(s[0], W, V)
    p = ops.tanh(s[1]) @ W + ops.sin(s[0]) @ V + i
    q = ops.cos(s[1]) @ U + ops.sin(s[1] * s[0]) @ A + f
    return (ops.tanh(p) * i, ops.tanh(q) * f), i * x


def weights_in_another_order(s: Any, x: Any) -> Any:
    k = s[1] @ U.T + s[1] * V[0]
    i, f, o = gates(s[0], W, V, U)
    return (ops.tanh(i * x + f * k), o * ops.tanh(s[1])), o


def gate_of_the_middle(s: Any, x: Any) -> Any:
    i, f, o = gates(s[0], FROZEN, V, FROZEN.T)
    return (ops.tanh(i * x + f * s[1]), o * ops.tanh(s[1])), o


def gates_at_both_ends(s: Any, x: Any) -> Any:
    i, f, o = gates(s[0], W, FROZEN, U)
    return (ops.tanh(i * x + f * s[1]), o * ops.tanh(s[1])), o


def three_of_which_the_second_is_made_last(s: Any, x: Any) -> Any:
    first, third = ops.sin(s[0]), ops.cos(s[1])
    u, w = ops.tanh(first), ops.tanh(third)
    second = w * s[1]
    v = ops.tanh(second)
    return (ops.tanh(first @ W + second @ V + third @ U) + u * v + x, v * 0.5), w


def three_of_which_the_third_uses_the_second(s: Any, x: Any) -> Any:
    first, second = ops.sin(s[0]), ops.cos(s[1])
    u, v = ops.tanh(first), ops.tanh(second)
    third = v * s[1]
    w = ops.tanh(third)
    return (ops.tanh(first @ W + second @ V + third @ U) + u * w + x, v * 0.5), w


def a_factor_made_of_a_sum_of_products(s: Any, x: Any) -> Any:
    p, q = s[0] @ W, s[0] @ V
    first, factor = ops.sin(s[1]), ops.cos(s[1])
    u = p * factor
    second = ops.tanh(u)
    v = q * ops.exp(first @ A + second @ Z)
    return (ops.tanh(v + x), u * 0.5), v


def a_factor_made_of_a_neighbour_in_part_of_a_stack(s: Any, x: Any) -> Any:
    p, q = s[0] @ W, s[0] @ V
    before, factor = ops.sin(s[0]), ops.exp(s[1])
    first = ops.tanh(before)
    u = p * factor
    second = ops.tanh(u * s[1])
    third = ops.relu(s[1])
    v = q * ops.cos(second)
    return (ops.tanh(first @ A + second @ Z + third @ U + x), ops.tanh(u + v)), v


def an_argument_read_again_beside_its_neighbours(s: Any, x: Any) -> Any:
    p, q, r = s @ W, s @ V, s @ U
    i = ops.sigmoid(p)
    return ops.tanh((p * 2.0) * (q * 2.0) + i * r + x), s


def an_argument_read_again_in_part_of_a_stack(s: Any, x: Any) -> Any:
    p, q, r = s @ W, s @ V, s @ U
    i = ops.sigmoid(q)
    return ops.tanh((p + 2.0) * (q + 2.0) + i * ops.tanh(r) + x), s


def products_of_products(*order: int) -> Step:
    def step(s: Any, x: Any) -> Any:
        p = [s[0] @ W, s[0] @ V, s[0] @ U]
        total = p[order[0]] @ A + p[order[1]] @ Z
        return (ops.tanh(total + x), ops.tanh(p[0] * p[1] * p[2])), s[1]

    return step


def gates_of_which_one_is_read_as_it_was(s: Any, x: Any) -> Any:
    p, q = s @ W, s @ V
    return ops.tanh(ops.sigmoid(p) * ops.sigmoid(q) + q * x), x


def a_product_in_a_sum_and_elsewhere(s: Any, x: Any) -> Any:
    p = ops.sin(s[0]) @ W
    return (ops.tanh(p + ops.tanh(s[1]) @ V + x), ops.sin(p)), s[0]


def a_product_in_a_sum_that_is_a_state(s: Any, x: Any) -> Any:
    p = ops.sin(s[0]) @ W
    return (ops.tanh(p + ops.tanh(s[1]) @ V + x), p), s[0]


def a_product_in_a_sum_that_is_put_out(s: Any, x: Any) -> Any:
    p = ops.sin(s[0]) @ W
    return (ops.tanh(p + ops.tanh(s[1]) @ V + x), s[0] * 0.5), p


def biases_in_another_order(s: Any, x: Any) -> Any:
    y = x * d + x * c + x * b
    return (ops.tanh(s[0] @ W + b) * ops.tanh(s[0] @ V + c) * ops.tanh(s[0] @ U + d) + y, s[1] * 0.5), s[1]


def input_weights_in_another_order(s: Any, x: Any) -> Any:
    y = s[1] @ U.T + s[1] @ W.T
    return (ops.tanh(x @ V + s[0]) * ops.tanh(x @ W + s[0]) * ops.tanh(x @ U + s[0]) + y, s[1] * 0.5), s[1]


TWO: tuple[Tensor, Tensor] = (S, P)
MERGED: dict[str, tuple[Any, ...]] = {
    "options by keyword that differ": (
        lambda s, x: (ops.leaky_relu(s @ W, slope=0.1) * ops.leaky_relu(s @ V, slope=0.7) + x, s), S, X, W, V,
    ),
    "options that differ": (lambda s, x: (ops.elu(s @ W, 0.1) * ops.elu(s @ V, 0.7) + x, s), S, X, W, V),
    "numbers that differ": (lambda s, x: (ops.tanh(s @ W * 0.5) * ops.tanh(s @ V * 2.0) + x, s), S, X, W, V),
    "a number on either side": (lambda s, x: (ops.tanh(1 - s @ W) * ops.tanh(s @ V - 1) + x, s), S, X, W, V),
    "a number and a row": (lambda s, x: (ops.tanh(s @ W + 0.5) * ops.tanh(s @ V + b) + x, s), S, X, W, V, b),
    "a row and a number": (lambda s, x: (ops.tanh(s @ W + b) * ops.tanh(s @ V + 0.5) + x, s), S, X, W, V, b),
    "a constant and a state": (lambda s, x: (ops.tanh(s @ W * C) * ops.tanh(s @ V * s) + x, s), S, X, W, V, C),
    "a state and a constant": (lambda s, x: (ops.tanh(s @ W * s) * ops.tanh(s @ V * C) + x, s), S, X, W, V, C),
    "an input and a state": (lambda s, x: (ops.tanh(s @ W * ops.sin(x)) * ops.tanh(s @ V * s), s), S, X, W, V),
    "inputs": (lambda s, x: (ops.tanh(s @ W * ops.sin(x)) * ops.tanh(s @ V * ops.cos(x)), s), S, X, W, V),
    "whole numbers and others": (
        lambda s, x: (ops.tanh(s @ W * WHOLE) * ops.tanh(s @ V * b) + x, s), S, X, W, V, b,
    ),
    "truths and others": (lambda s, x: (ops.tanh(s @ W * MASK) * ops.tanh(s @ V * b) + x, s), S, X, W, V, b),
    "a row and a matrix": (lambda s, x: (ops.tanh(s @ W + b) * ops.tanh(s @ V + C) + x, s), S, X, W, V, b, C),
    "a matrix and a row": (lambda s, x: (ops.tanh(s @ W + C) * ops.tanh(s @ V + ROW_B) + x, s), S, X, W, V, C, ROW_B),
    "rows of one axis and of two": (
        lambda s, x: (ops.tanh(s @ W + b) * ops.tanh(s @ V + ROW_B) + x, s), S, X, W, V, b, ROW_B,
    ),
    "rows of inputs": (
        lambda s, x: (ops.tanh(s + (x @ W + b)) * ops.tanh(s + (x @ V + ROW_B)), s), S, X, W, V, b, ROW_B,
    ),
    "rows made in the loop": (
        lambda s, x: (
            (ops.tanh(s[0] @ W * ops.tanh(s[0]).mean(0)) + ops.tanh(s[0] @ V * ops.exp(s[1]).mean(0)), s[1] * 0.5), x,
        ),
        TWO, X, W, V,
    ),
    "entry-wise rows made in the loop": (
        lambda s, x: (
            (ops.tanh(s[0] @ W * ops.tanh(s[1])) + ops.tanh(s[0] @ V * ops.exp(s[1])) + x, s[1] * 0.5), s[1],
        ),
        (S, leaf(3)), X, W, V,
    ),
    "rows with two axes made in the loop": (
        lambda s, x: (
            (ops.tanh(s[0] @ W * ops.tanh(s[1])) + ops.tanh(s[0] @ V * ops.exp(s[1])) + x, s[1] * 0.5), s[1],
        ),
        (S, ROW), X, W, V,
    ),
    "a row and a matrix made in the loop": (
        lambda s, x: (
            (ops.tanh(s[0] @ W * ops.tanh(s[1])) + ops.tanh(s[0] @ V * ops.exp(s[0])) + x, s[1] * 0.5), s[1],
        ),
        (S, ROW), X, W, V,
    ),
    "columns made in the loop": (
        lambda s, x: (
            (ops.tanh(s[0] @ W * ops.tanh(s[1])) + ops.tanh(s[0] @ V * ops.exp(s[1])) + x, s[1] * 0.5), s[1],
        ),
        (S, leaf(2, 1)), X, W, V,
    ),
    "something of three axes": (
        lambda s, x: (ops.tanh(s @ W + C3).sum(0) * ops.tanh(s @ V + C3).sum(0) + x, s), S, X, W, V, C3,
    ),
    "two things of three axes": (
        lambda s, x: (ops.tanh(s @ W * C3).sum(0) * ops.tanh(s @ V * (2 * C3)).sum(0) + x, s), S, X, W, V, C3,
    ),
    "one factor in two of three": (
        lambda s, x: (
            (
                ops.tanh(s[0] @ W * (f := ops.tanh(s[1])))
                + ops.tanh(s[0] @ V * f) + ops.tanh(s[0] @ U * ops.sin(s[1])) + x, s[1] * 0.5,
            ),
            s[0],
        ),
        TWO, X, W, V, U,
    ),
    "a gate that is the next state": (
        lambda s, x: (((g := gates(s[0], W, V))[0], ops.tanh(g[1] * s[1] + g[0] + x)), g[1]), TWO, X, W, V,
    ),
    "both gates are next states": (lambda s, x: ((*gates(s[0] + x, W, V),), s[1]), TWO, X, W, V),
    "products that are next states": (products_that_are_states, TWO, X, W, V),
    "gates of which one is put out": (
        lambda s, x: ((g := gates(s, W, V, U))[0] * x + g[1] * s + g[2], g[1]), S, X, W, V, U,
    ),
    "gates over the batch": (
        lambda s, x: (ops.softmax(s @ W, axis=0) * ops.softmax(s @ V, axis=0) + x, s), S, X, W, V,
    ),
    "gates summed over the batch": (lambda s, x: ((s @ W).sum(0) * (s @ V).sum(0) * 0.1 + x, s), S, X, W, V),
    "gates transposed": (lambda s, x: ((s @ W).T @ (s @ V) * 0.1 + x, s), leaf(3, 3), leaf(4, 3, 3), W, V),
    "gates converted to two dtypes": (
        lambda s, x: (ops.astype(s @ W * 9, int) * 0.1 + ops.astype(s @ V * 9, float) * 0.1 + x, s), S, X, W, V,
    ),
    "gates compared": (
        lambda s, x: (ops.where(s @ W > 0.0, x, s) + ops.where(s @ V > 0.1, s, x) * 0.5, s), S, X, W, V,
    ),
    "weights of other widths": (
        lambda s, x: (ops.tanh(s @ WIDE) @ NARROW + ops.tanh(s @ W) + x, s), S, X, W, WIDE, NARROW,
    ),
    "a neighbour that uses its neighbour": (a_neighbour_that_uses_its_neighbour, TWO, X, W, V),
    "a neighbour before it that uses it": (a_neighbour_before_it_that_uses_it, TWO, X, W, V),
    "what reads one before the other is made": (what_reads_one_before_the_other_is_made, TWO, X, W, V),
    "factors made one after the other": (factors_made_one_after_the_other, TWO, X, W, V),
    "three neighbours of which the second is made last": (three_of_which_the_second_is_made_last, TWO, X, W, V, U),
    "three neighbours of which the third uses the second": (three_of_which_the_third_uses_the_second, TWO, X, W, V, U),
    "a factor made of a sum of products": (a_factor_made_of_a_sum_of_products, TWO, X, W, V, A, Z),
    "a factor made of a neighbour in part of a stack": (
        a_factor_made_of_a_neighbour_in_part_of_a_stack, TWO, X, W, V, U, A, Z,
    ),
    "an argument read again beside its neighbours": (an_argument_read_again_beside_its_neighbours, S, X, W, V, U),
    "an argument read again in part of a stack": (an_argument_read_again_in_part_of_a_stack, S, X, W, V, U),
    "one function of a gate and another": (lambda s, x: (ops.tanh(s @ W) * ops.sin(s @ V) + x, s), S, X, W, V),
    "two functions of three gates": (
        lambda s, x: (ops.add(s @ W, s) * ops.mul(s @ V, s) * ops.add(s @ U, s) + x, s), S, X, W, V, U,
    ),
    "an option for one gate": (lambda s, x: (ops.elu(s @ W) * ops.elu(s @ V, 0.5) + x, s), S, X, W, V),
    "vectors as right operands": (
        lambda s, x: (ops.tanh(s * (s @ b).reshape((2, 1)) + (s @ c).reshape((2, 1)) + x), s), S, X, b, c,
    ),
    "a state of three axes": (lambda s, x: (ops.tanh(s @ W) * ops.sin(s @ V) + x, s), leaf(2, 2, 3), X, W, V),
    "a state of one axis": (lambda s, x: (ops.tanh(s @ W) * ops.sin(s @ V) + x, s), leaf(3), VECTORS, W, V),
    "products that change with time": (
        lambda s, i: (ops.tanh(s @ i[1]) * ops.tanh(s @ i[2]) + i[0], s), S, (X, leaf(4, 3, 3), leaf(4, 3, 3)),
    ),
    "a product and one of what it makes": (lambda s, x: (ops.tanh((p := s @ W) @ V) * p + x, s), S, X, W, V),
    "products of products": (products_of_products(0, 1), TWO, X, W, V, U, A, Z),
    "products of the last products": (products_of_products(1, 2), TWO, X, W, V, U, A, Z),
    "products of products that lie apart": (products_of_products(0, 2), TWO, X, W, V, U, A, Z),
    "products of products in another order": (products_of_products(1, 0), TWO, X, W, V, U, A, Z),
    "gates of inputs with biases": (
        lambda s, x: (ops.tanh(s + (x @ W + b)) * ops.tanh(s + (x @ V + c)), s), S, X, W, V, b, c,
    ),
    "a product put out and with a bias": (lambda s, x: (ops.tanh(s + ((p := x @ W) + b)), p), S, X, W, b),
    "a product read with a bias and without": (lambda s, x: (ops.tanh(s + ((p := x @ W) + b)) * p, s), S, X, W, b),
    "a bias on the left of a product": (lambda s, x: (ops.tanh(s + (b + x @ W)), s), S, X, W, b),
    "a product and an input": (lambda s, x: (ops.tanh(s + (x @ W + x)) + ops.tanh(x @ V + s), s), S, X, W, V),
    "gates of which one is read as it was before": (gates_of_which_one_is_read_as_it_was, S, X, W, V),
    "a product in a sum and elsewhere": (a_product_in_a_sum_and_elsewhere, TWO, X, W, V),
    "a product in a sum that is a state": (a_product_in_a_sum_that_is_a_state, TWO, X, W, V),
    "a product in a sum that is put out": (a_product_in_a_sum_that_is_put_out, TWO, X, W, V),
    "a sum over some of the gates": (a_sum_of_some, TWO, X, W, V, U),
    "a sum over gates that lie apart": (a_sum_of_what_is_apart, TWO, X, W, V, U),
    "a sum over gates in another order": (a_sum_in_another_order, TWO, X, W, V, A, Z),
    "a sum of products of two inner sizes": (
        lambda s, x: ((ops.tanh(ops.tanh(s[0]) @ W + ops.sin(s[1]) @ TALL + x), s[1] * 0.5), s[1]),
        (S, leaf(2, 5)), X, W, TALL,
    ),
    "a sum of products of inner sizes one and more": (
        lambda s, x: ((ops.tanh(ops.tanh(s[0]) @ W + ops.sin(s[1]) @ THIN + x), s[1] * 0.5), s[1]),
        (S, leaf(2, 1)), X, W, THIN,
    ),
    "a sum of products of rows": (products_of_rows, (S, ROW, ROW2), X, W, V),
    "a sum of a row's product and a matrix's": (a_row_and_a_matrix, (S, ROW), X, W, V),
    "a sum of rows within a sum of products": (a_row_sum_within_a_sum, (S, ROW), X, W, V, b),
    "a sum read in two sums": (a_sum_read_in_two_sums, TWO, X, W, V, U),
    "a sum twice in one sum": (a_sum_twice_in_one, TWO, X, W, V),
    "a product twice in one sum": (a_product_twice_in_one_sum, TWO, X, W, V),
    "a sum put out within a sum": (a_sum_that_is_handed_on_within_a_sum, TWO, X, W, V, U),
    "a sum that is a state within a sum": (a_sum_that_is_a_state_within_a_sum, TWO, X, W, V, U),
    "two sums of products with rests": (two_sums_with_rests, TWO, X, W, V, U, A),
    "a left operand that is the next state": (
        lambda s, x: (((n := ops.tanh(s[0] + x)), ops.tanh(n @ W + ops.sin(s[1]) @ V)), s[1]), TWO, X, W, V,
    ),
    "a left operand twice": (
        lambda s, x: (((ops.tanh((n := ops.tanh(s[0] + x)) @ W + ops.sin(s[1]) @ V + n @ U)), s[0]), n),
        TWO, X, W, V, U,
    ),
    "a sum of products of inputs": (lambda s, x: (ops.tanh(ops.tanh(x) @ W + ops.sin(x) @ V + s), s), S, X, W, V),
    "a sum of products of outputs": (
        lambda s, x: (ops.tanh(s + x), ops.tanh(ops.tanh(s) @ W + ops.sin(s) @ V)), S, X, W, V,
    ),
    "a sum of products with what changes": (
        lambda s, i: (ops.tanh(ops.tanh(s) @ i[1] + ops.sin(s) @ V + i[0]), s), S, (X, leaf(4, 3, 3)), V,
    ),
}  # fmt: skip

BATCHED: dict[str, tuple[Any, ...]] = {
    "an input of one row": (lambda s, x: (ops.tanh(s + x), s * x), S, ROWS),
    "an input of one column": (lambda s, x: (ops.tanh(s + x), s * x), S, COLUMNS),
    "an input of one axis": (lambda s, x: (ops.tanh(s + x), s * x), S, VECTORS),
    "an input of a row, added to something of more axes": (lambda s, x: (ops.tanh(s + x), C3 * x), S, ROWS, C3),
    "an input of a column, with something of more axes": (lambda s, x: (ops.tanh(s + x), C3 * x), S, COLUMNS, C3),
    "an input that is a number": (lambda s, x: (ops.tanh(s + x), C3 * x), S, NUMBERS, C3),
    "a constant beside an input": (
        lambda s, x: (ops.tanh(s + ops.concatenate([x, C], axis=1) @ A4 + ops.concatenate([ROW_B, x])[1:]), s),
        S, X, C, A4, ROW_B,
    ),
    "a constant stacked on an input": (
        lambda s, x: (ops.tanh(s + ops.stack([x, C], axis=-1).sum(-1) + ops.stack([C, x])[1]), s), S, X, C,
    ),
    "an input broadcast": (lambda s, x: (ops.tanh(s + ops.broadcast_to(x, (2, 3))), s), S, VECTORS),
    "a row broadcast": (lambda s, x: (ops.tanh(s + ops.broadcast_to(x, (5, 2, 3)).mean(0)), s), S, ROWS),
    "an input read at places apart": (lambda s, x: (ops.tanh(s + x[([0, 1], slice(None), [1, 2])]), s), S, CUBES),
    "an input read at places": (lambda s, x: (ops.tanh(s + x[[1, 0]]), s), S, X),
    "an input read at a place": (lambda s, x: (ops.tanh(s + x[1, None, 0] + x[..., 1] + x[:, 0]), s), S, CUBES),
    "an input written at places": (
        lambda s, x: (ops.tanh(s + ops.scatter_add(C, (slice(None), 1), x[:, 0]) + x[::-1]), s), S, X, C,
    ),
    "a vector as the right operand": (lambda s, x: (ops.tanh(s + W @ x), s), leaf(3), VECTORS, W),
    "as many vectors as weights": (lambda s, x: (ops.tanh(s + W @ x + x @ b), s), leaf(3), leaf(3, 3), W, b),
    "a vector as the left operand": (lambda s, x: (ops.tanh(s + x @ W + b @ x), s), leaf(3), VECTORS, W, b),
    "a matrix as the right operand": (lambda s, x: (ops.tanh(s + C @ x[0]), s), S, CUBES, C),
    "matrices as the right operand": (lambda s, x: (ops.tanh(s + (C @ x).sum(0)), s), S, CUBES, C),
    "weights of three axes": (lambda s, x: (ops.tanh(s + (x @ E).sum(0)), s), S, X, E),
    "inputs and weights of three axes": (lambda s, x: (ops.tanh(s + (x @ E).sum(0)), s), S, TWO_CUBES, E),
    "inputs of three axes": (lambda s, x: (ops.tanh(s + (x @ W).sum(0)), s), S, TWO_CUBES, W),
    "inputs of two ranks": (lambda s, i: (ops.tanh(s + (i[0] @ i[1]).sum(0)), s), S, (X, CUBES)),
    "axes of reductions": (
        lambda s, x: (
            ops.tanh(
                s + x.sum(0) * x.mean(axis=1, keepdims=True) + x.max(axis=-1, keepdims=True) - x.min()
                + ops.logsumexp(x, axis=0) + ops.norm(x, axis=(0, 1)) + ops.norm(x, axis=0, keepdims=True)
            ),
            s,
        ),
        S, X,
    ),
    "reductions of a number": (lambda s, x: (s + ops.norm(x) + x.sum() - x.mean() * x.max(), s), S, NUMBERS),
    "axes of softmax": (lambda s, x: (s + ops.softmax(x, axis=0) * ops.log_softmax(x, axis=1), s), S, X),
    "axes moved": (
        lambda s, x: (s + ops.swapaxes(x, 0, 1).T + x.transpose((1, 0)).T + ops.transpose(x, (-1, -2)).T, s), S, X,
    ),
    "axes of three moved": (
        lambda s, x: (s + ops.swapaxes(x, 0, -1)[0].T + x.transpose((2, 0, 1))[1] + x.T[0].T, s), S, CUBES,
    ),
    "shapes changed": (
        lambda s, x: (s + x.reshape(-1).reshape((3, 2)).T + ops.squeeze(ops.expand_dims(x, 0), 0), s), S, X,
    ),
    "parts of an input": (
        lambda s, x: (
            s + ops.unstack(x, 1)[2].reshape((2, 1)) * ops.unstack(x, 0)[1] + ops.split(x, [1], axis=1)[0], s,
        ),
        S, X,
    ),
    "entry-wise work in a row": (
        lambda s, x: (ops.tanh(s + (u := ops.tanh(ops.sin(x) * b)) @ W + u), ops.cos(u)), S, X, W, b,
    ),
    "entry-wise work that is put out": (lambda s, x: (ops.tanh(s * (u := ops.exp(x)) + u), u), S, X),
    "entry-wise work that the loop does not read": (lambda s, x: (ops.tanh(s + x), ops.sin(ops.exp(x))), S, X),
    "entry-wise work for a product": (lambda s, x: (ops.tanh(s + ops.sin(ops.exp(x) * b) @ W), s), S, X, W, b),
}  # fmt: skip

SUMMED: dict[str, tuple[Any, ...]] = {
    "weights in another order": (weights_in_another_order, TWO, X, W, V, U),
    "the weight of the gate in the middle": (gate_of_the_middle, TWO, X, V),
    "the weights of the gates at both ends": (gates_at_both_ends, TWO, X, W, U),
    "biases in another order": (biases_in_another_order, TWO, X, W, V, U, b, c, d),
    "weights of inputs in another order": (input_weights_in_another_order, TWO, Tensor(X.data), W, V, U),
    "three axes swapped after a product": (
        lambda s, x: (ops.tanh(s + ops.swapaxes(C3 @ W, -1, -2).sum(0)), x), leaf(3, 2), X, C3, W,
    ),
    "a constant times a weight": (lambda s, x: (ops.tanh(s + C @ W + x), s), S, X, W, C),
    "constants times a weight transposed": (
        lambda s, x: (ops.tanh(s + ops.swapaxes(Z @ W, 0, 1) * 0.5 + x), s), leaf(3, 3), leaf(4, 3, 3), W, Z,
    ),
    "one axis swapped with itself": (
        lambda s, x: (ops.tanh(s + ops.swapaxes(Z @ W, 0, 0) * 0.5 + x), s), leaf(3, 3), leaf(4, 3, 3), W, Z,
    ),
    "an axis swapped with itself, called otherwise": (
        lambda s, x: (ops.tanh(s + ops.swapaxes(Z @ W, -1, 1) * 0.5 + x), s), leaf(3, 3), leaf(4, 3, 3), W, Z,
    ),
    "axes swapped, one of them called otherwise": (
        lambda s, x: (ops.tanh(s + ops.swapaxes(Z @ W, 0, -1) * 0.5 + x), s), leaf(3, 3), leaf(4, 3, 3), W, Z,
    ),
    "three axes": (lambda s, x: (ops.tanh(s + (C3 @ x).sum(0)), s), S, leaf(4, 2, 3, 3), C3),
    "three axes on both sides": (lambda s, x: (ops.tanh(s + (x @ E).sum(0)), s), S, TWO_CUBES, E),
    "a weight of three axes": (lambda s, x: (ops.tanh((s @ E).mean(0) + x), s), S, X, E),
    "axes swapped before a product": (
        lambda s, x: (ops.tanh(s + (ops.swapaxes(C3, 0, 1) @ W).sum(1) + x), s), S, X, C3, W,
    ),
    "a sign": (lambda s, x: (ops.tanh(s + ops.sign(b) * b + x), ops.sign(c) + s), S, X, b, c),
    "the sign of a product": (lambda s, x: (ops.tanh(s + ops.sign(C @ W) + x), s), S, X, C, W),
    "the sign of a product of inputs": (lambda s, x: (ops.tanh(s + ops.sign(x @ W)), s), S, X, W),
    "the power of nought": (lambda s, x: (ops.tanh(s + c**0 + x), s), S, X, c),
    "an add in a rule": (lambda s, x: (ops.tanh(s * spreading(C) + x), s), S, X, C),
    "a number added in a rule": (lambda s, x: (ops.tanh(s * shifting(C) + x), s * shifting(b)), S, X, C, b),
    "biases of every shape": (
        lambda s, x: (
            ops.tanh(s @ W + b + ROW_B + MATRIX_B + NUMBER_B) * ops.tanh(s @ V + b + ROW_B) + x * NUMBER_B + MATRIX_B,
            s,
        ),
        S, X, W, V, b, ROW_B, MATRIX_B, NUMBER_B,
    ),
    "two biases of one sum": (lambda s, x: (ops.tanh(s + b + c + x), s + C + MATRIX_B), S, X, b, c, C, MATRIX_B),
    "a bias of one gate and another": (
        lambda s, x: (ops.tanh(s @ W + b) * ops.tanh(s @ V + b) * ops.tanh(s @ U + d) + x, s), S, X, W, V, U, b, d,
    ),
    "weights transposed": (lambda s, x: (ops.tanh(s @ W.T + x @ V.T) * ops.tanh(s @ W), s), S, X, W, V),
    "a weight for state and input": (lambda s, x: (ops.tanh(s @ W + x @ W), (s * x) @ W), S, X, W),
}  # fmt: skip

CASES = {
    f"{group}: {name}": case
    for group, cases in (("merged", MERGED), ("batched", BATCHED), ("summed", SUMMED))
    for name, case in cases.items()
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", CASES)
def test_optimised_it_is_the_plain_loop(name: str) -> None:
    agree(*CASES[name])


# --- Dtypes beside each other ----------------------------------------------------------------------------------

X32, S32 = (Tensor(t.data.astype(np.float32), requires_grad=True) for t in (X, S))
W32, V32, b32 = (Tensor(t.data.astype(np.float32), requires_grad=True) for t in (W, V, b))
COUNTS, WHOLE_W = Tensor(R.integers(0, 3, (4, 2, 3))), Tensor(R.integers(-2, 3, (3, 3)))

MIXED: dict[str, tuple[Any, ...]] = {
    "a narrow state times a narrow weight and a wide one": (
        lambda s, x: (ops.tanh(s @ W32 + x), s @ V), S32, X32, W32, V,
    ),
    "a wide gate and a narrow one": (
        lambda s, x: ((ops.tanh(s[0] @ W32), ops.tanh(s[1] @ W) * ops.sin(s[1] @ V) * s[0] + x), s),
        (S32, S), X, W32, W, V,
    ),
    "a narrow state in a wide sum": (lambda s, x: (s * 0.5, ops.tanh(s @ W32 + x @ W)), S32, X, W32, W),
    "a bias beside counts": (lambda s, x: (ops.tanh(x @ W + b) + s, s), S, COUNTS, W, b),
    "a wide bias on a narrow product": (lambda s, x: (s, x @ W32 + b), S, X32, W32, b),
    "a wide weight with a bias on a narrow input": (lambda s, x: (s, x @ W + b), S, X32, W, b),
    "a narrow weight beside a wide one": (
        lambda s, x: (ops.tanh(s @ W32) * ops.sigmoid(s @ V) + x, s), S, X, W32, V,
    ),
    "a weight of whole numbers beside another": (
        lambda s, x: (ops.tanh(s @ WHOLE_W) * ops.sigmoid(s @ V) + x, s), S, X, V,
    ),
    "a sum with a narrow weight and a wide one": (
        lambda s, x: (ops.tanh(ops.tanh(s) @ W32 + ops.sin(s) @ V) + x, s), S, X, W32, V,
    ),
    "a sum with a weight of whole numbers and another": (
        lambda s, x: (ops.tanh(ops.tanh(s) @ WHOLE_W + ops.sin(s) @ V) + x, s), S, X, V,
    ),
    "a sum with a narrow left operand and a wide one": (
        lambda s, x: (
            (ops.tanh(s[0]), ops.tanh(ops.tanh(s[0]) @ V + ops.sin(s[1]) @ W) + x), s[1],
        ),
        (S32, S), X, W, V,
    ),
    "a sum with truths for a left operand": (
        lambda s, x: (ops.tanh((s > 0.0) @ V + ops.sin(s) @ W) + x, s), S, X, W, V,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_dtypes_beside_each_other_are_those_of_the_plain_loop(name: str) -> None:
    agree(*MIXED[name])


# --- What becomes of a step ------------------------------------------------------------------------------------


def backward_of(compiled: Compiled) -> Loop:
    assert compiled.backward is not None
    return compiled.backward.loop


def made_of(step: Step, state: Any, xs: Any, graded: bool = True) -> Compiled:
    program, _, _ = record_step(step, state, xs)
    operands = (*program.operands, *flat(state), *flat(xs))
    return compile_program(program, tuple(graded and t.requires_grad for t in operands), "numpy")


def named(equations: list[Equation]) -> list[str]:
    return [e.primitive.name for e in equations]


def test_gates_of_one_left_operand_are_one_product_and_are_worked_on_together() -> None:
    def step(s: Any, x: Any) -> Any:
        i, f, o = gates(s[0] + x, W, V, U)
        return (ops.tanh(i @ A + f @ Z), o * s[1]), i

    loop = made_of(lambda s, x: ((g := gates(s + x, W, V, U))[0] * g[1] * g[2], s), S, X, False).forward.parts.loop
    assert named(loop) == ["add", "matmul", "sigmoid", "mul", "mul"]
    compiled = made_of(step, TWO, X)
    assert named(compiled.forward.parts.loop).count("sum_of_products") == 1
    assert named(compiled.forward.parts.loop).count("matmul") == 1


def test_a_sum_of_products_is_one_whatever_stands_between_them() -> None:
    loop = made_of(products_of_products(0, 1), TWO, X).forward.parts.loop
    assert named(loop).count("matmul") == named(loop).count("sum_of_products") == 1
    for step in (products_of_products(0, 2), products_of_products(1, 0)):  # not neighbours
        loop = made_of(step, TWO, X).forward.parts.loop
        assert "sum_of_products" not in named(loop)
    loop = made_of(a_sum_of_three, TWO, X).forward.parts.loop
    assert named(loop).count("sum_of_products") == 1
    assert "matmul" not in named(loop)


def a_sum_of_three(s: Any, x: Any) -> Any:
    return (ops.tanh(x + (ops.tanh(s[0]) @ W + (ops.sin(s[1]) @ V + x)) + ops.cos(s[0]) @ U), s[0] * 0.5), s[1]


def test_gates_of_which_one_is_kept_are_stored_apart() -> None:
    def step(s: Any, x: Any) -> Any:
        p, q = s @ W, s @ V
        return p * q + x, p

    loop = made_of(step, S, X, False).forward
    assert named(loop.parts.loop).count("matmul") == 2

    def later(s: Any, x: Any) -> Any:
        i, f = gates(s, W, V)
        return i * f + x, i

    loop = made_of(later, S, X, False).forward
    assert named(loop.parts.loop).count("matmul") == 1
    assert named(loop.parts.loop).count("sigmoid") == 2
    assert sum(len(v.shape) == 3 for v in loop.layout.stored) == 0


def test_the_backward_loop_of_three_gates_works_on_all_of_them_at_once() -> None:
    def step(s: Any, x: Any) -> Any:
        i, f, o = gates(s, W, V, U)
        return i * x + f * s + o, s

    loop = backward_of(made_of(step, S, X)).parts.loop
    assert named(loop).count("sum_of_products") == 1
    assert named(loop) == [*["mul"] * 5, "sum_of_products", "add", "add"]


def test_what_nothing_needs_is_not_there_and_what_need_not_wait_is_not_in_the_loop() -> None:
    def step(s: Any, x: Any) -> Any:
        ops.exp(s @ V)
        return ops.tanh(s @ W + x @ V), ops.sin(s @ U)

    parts = made_of(step, S, X, False).forward.parts
    assert named(parts.before) == ["matmul"]
    assert named(parts.loop) == ["matmul", "add", "tanh"]
    assert named(parts.after) == ["matmul", "sin"]


def test_what_reads_along_axes_rounds_or_masks_is_done_for_all_steps_at_once() -> None:
    def step(s: Any, x: Any) -> Any:
        places = ops.argmax(x, axis=1)[:, None]
        chosen = ops.take_along_axis(ops.repeat(x, 2, axis=1), places, axis=1)
        return ops.tanh(s @ W + chosen), (
            ops.max(s, axis=1, initial=0.0, where=s < x),
            ops.mean(s, axis=1, where=x > 0),
            ops.log_sigmoid(s % 0.7 + ops.floor(s) // 2.0),
        )

    compiled = made_of(step, S, X)
    assert named(compiled.forward.parts.loop) == ["matmul", "add", "tanh"]
    loop = named(backward_of(compiled).parts.loop)
    assert not {"add_along_axis", "where", "mod", "floor_divide", "sum"} & {*loop}


def test_weight_gradients_are_no_equations_of_the_backward_step() -> None:
    parts = backward_of(made_of(lambda s, x: (ops.tanh(s @ W + x @ V + b), s), S, Tensor(X.data))).parts
    assert (named(parts.before), named(parts.after)) == (["mul", "sub"], [])  # 1 - tanh²


def test_what_the_backward_step_makes_again_is_not_kept_and_nothing_is_made_twice() -> None:
    def step(s: Any, x: Any) -> Any:
        f = ops.sigmoid(s @ W + x)
        return (1.0 - f) * s + f * ops.tanh(f * s), s

    compiled = made_of(step, S, X)
    kept = compiled.forward.layout.stored
    made = {v: e for e in compiled.forward.parts.loop for v in e.outs}
    assert sorted(made[v].primitive.name for v in kept) == ["sigmoid", "tanh"]
    backward = backward_of(compiled).parts
    inverted = [e for e in (*backward.before, *backward.loop) if e.primitive is ops.sub and e.args[0] == 1]
    assert len(inverted) == 2  # 1 - f and 1 - tanh²


def test_only_states_that_are_read_afterwards_are_kept_for_all_steps() -> None:
    def step(s: Any, x: Any) -> Any:
        return (s[0] * 0.5 + x, ops.tanh(s[1] + s[0])), s[1] * 2.0

    layout = made_of(step, TWO, X, False).forward.layout
    assert (len(layout.paired), len(layout.ringed)) == (1, 1)
    assert layout.stored <= {v for pair in layout.paired for v in pair}


@pytest.mark.parametrize("small, inside", [(6, True), (7, False)])
def test_entry_wise_work_on_large_inputs_is_done_in_the_loop(
    small: int, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "SINKS_FROM", small)
    parts = made_of(lambda s, x: (ops.tanh(s + ops.exp(x) @ W * 0.5), s), S, X, False).forward.parts
    assert ("mul" in named(parts.loop), "mul" in named(parts.before)) == (inside, not inside)
    assert named(parts.before)[:2] == ["exp", "matmul"]


def test_all_steps_of_a_slice_of_a_stack_are_in_one_piece() -> None:
    stack = Var(1, (3, 2, 4), np.dtype(float))
    assert over_time(stack, 5, True).shape == over_time(stack, 5, False).shape == (5, 3, 2, 4)
    assert over_time(stack, 5, True)[:, 1].flags.c_contiguous
    assert over_time(stack, 5, False)[1].flags.c_contiguous


# --- Large random steps ----------------------------------------------------------------------------------------

FUNCTIONS: list[Callable[[Any], Any]] = [
    ops.tanh, ops.sigmoid, ops.sin, ops.relu, ops.hard_sigmoid, lambda v: ops.leaky_relu(v, slope=0.2),
    lambda v: ops.leaky_relu(v, slope=0.4), lambda v: ops.elu(v, 0.3), lambda v: 1.0 - v, lambda v: v * 0.5,
    lambda v: ops.softmax(v, axis=0), lambda v: ops.clip(v, a_min=-0.5, a_max=0.5),
]  # fmt: skip
PAIRS: list[Callable[[Any, Any], Any]] = [
    ops.add, ops.mul, ops.sub, lambda u, v: u * (1.0 - v), lambda u, v: ops.where(u > v, u, 0.5 * v), ops.maximum,
]  # fmt: skip
NUMBER = st.integers(0, 10**6)


@st.composite
def large_steps(draw: st.DrawFn) -> tuple[Any, ...]:
    """Gates with shared left operands, what is done to some of them, and sums of products over any of them."""
    batch, features, hidden = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(NUMBER))

    def parameters(count: int, *shapes: tuple[int, ...]) -> list[Parameter]:
        return [Parameter(0.5 * rng.standard_normal(shape)) for shape in shapes for _ in range(count)]

    square, wide = parameters(8, (hidden, hidden)), parameters(3, (features, hidden))
    biases: list[Any] = [*parameters(2, (hidden,), (1, hidden), (batch, hidden)), *parameters(1, ()), 0.5, -1]
    layers = draw(
        st.lists(st.tuples(st.integers(0, 4), st.lists(NUMBER, min_size=4, max_size=8)), min_size=2, max_size=7)
    )
    ends = draw(st.lists(NUMBER, min_size=4, max_size=5))

    def step(state: Any, x: Any) -> Any:
        pool = [*state]

        def some(n: int) -> Any:
            return pool[-1 - n % len(pool)]

        for kind, numbers in layers:
            first, *rest = numbers
            if kind == 0:  # gates of one left operand
                left, function = some(first), FUNCTIONS[first // 7 % len(FUNCTIONS)]
                made: list[Any] = []
                for n in rest:
                    gate = left @ square[n % 8]
                    gate = gate + biases[n // 8 % len(biases)] if n % 5 else gate + x @ wide[n % 3] + biases[n % 6]
                    if made and n % 7 == 0:  # which uses another's result
                        gate = gate * made[n % len(made)]
                    made.append((FUNCTIONS[n // 11 % len(FUNCTIONS)] if n % 3 == 0 else function)(gate))
                pool += made
            elif kind == 1:  # a sum of products, and something more
                total = some(first) @ square[first % 8]
                for i, n in enumerate(rest[:3]):
                    total = total + some(first + i + (n % 3)) @ square[n % 8]
                pool.append(ops.tanh(total + some(rest[-1]) if first % 2 else total))
            elif kind == 2:  # one thing done to several
                pool += [FUNCTIONS[first % len(FUNCTIONS)](some(n)) for n in rest[:3]]
            elif kind == 3:
                pool += [PAIRS[first % len(PAIRS)](some(n), some(n // 13 + 1)) for n in rest[:3]]
            else:  # of an input
                pool += [FUNCTIONS[n % len(FUNCTIONS)](x @ wide[n % 3] + biases[n % 4]) for n in rest[:2]]
        a, b, *outputs = ends
        return (ops.tanh(some(a)), some(b) * 0.5), tuple(some(n) for n in outputs)

    state = tuple(Tensor(rng.standard_normal((batch, hidden)), requires_grad=True) for _ in range(2))
    xs = Tensor(rng.standard_normal((draw(st.integers(1, 4)), batch, features)), requires_grad=True)
    return step, state, xs, *square, *wide, *(b for b in biases if isinstance(b, Parameter))


@pytest.mark.slow
@given(large_steps(), st.sampled_from([1, 10**9]))
def test_large_random_steps_are_the_plain_loop(case: Any, small: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        compiling._cache.clear()
        patch.setattr(splitting, "SINKS_FROM", small)
        agree(*case)
        compiling._cache.clear()
