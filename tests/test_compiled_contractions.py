"""Sums over time of products that are larger than their factors: the gradients are the plain loop's, and no product is
made at any step."""

from __future__ import annotations

import math
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import ScanWarning
from tinygrad_rnn.loops.compiling import compile_program
from tinygrad_rnn.loops.contractions import Contraction
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.tensor import Parameter, Tensor

Read = Callable[[Any, Any], Any]

SCORES: dict[str, Read] = {  # enc (S,B,H), h (B,H) -> (S,B)
    "einsum": lambda enc, h: ops.einsum("sbh,bh->sb", enc, h),
    "einsum, the other way round": lambda enc, h: ops.einsum("bh,sbh->sb", h, enc),
    "einsum, transposed": lambda enc, h: ops.einsum("bh,sbh->bs", h, enc).T,
    "product and sum": lambda enc, h: (enc * h).sum(-1),
    "scaled and negated": lambda enc, h: -(3.0 * ((h * 0.5 * enc) * 2.0)).sum(axis=2),
    "product and sum, batch first": lambda enc, h: (ops.transpose(enc, (1, 0, 2)) * h[:, None]).sum(2).T,
    "stacks of matrices": lambda enc, h: (ops.swapaxes(enc, 0, 1) @ h[:, :, None])[:, :, 0].T,
    "stacks of rows": lambda enc, h: ops.squeeze(h[:, None, :] @ ops.transpose(enc, (1, 2, 0)), axis=1).T,
    "both ways": lambda enc, h: (enc * h).sum(-1) + ops.einsum("sbh,bh->sb", enc, ops.tanh(h)),
}
CONTEXTS: dict[str, Read] = {  # enc (S,B,H), w (S,B) -> (B,H)
    "einsum": lambda enc, w: ops.einsum("tb,tbh->bh", w, enc),
    "einsum, transposed": lambda enc, w: ops.einsum("tbh,tb->hb", enc, w).T,
    "product and sum": lambda enc, w: (w[:, :, None] * enc).sum(0),
    "product and mean": lambda enc, w: ops.mean(ops.expand_dims(w, 2) * enc, axis=0, keepdims=True)[0],
    "stacks of matrices": lambda enc, w: (w.T[:, None, :] @ ops.swapaxes(enc, 0, 1))[:, 0],
    "stacks of columns": lambda enc, w: (ops.transpose(enc, (1, 2, 0)) @ w.T.reshape((*w.T.shape, 1)))[..., 0],
    "a mean without weights": lambda enc, w: enc.mean(0) + w.sum(0).reshape((-1, 1)),
    "some of them": lambda enc, w: (w[1:, :, None] * enc[1:]).sum(0) if len(w.shape) and w.shape[0] > 1 else enc[0],
}


def attending(enc: Any, keys: Any, W: Any, scores: Read, context: Read, into_the_state: bool) -> Any:
    def step(h: Any, x: Any) -> Any:
        new = ops.tanh(h @ W + x)
        w = ops.softmax(scores(keys, new), axis=0)
        found = context(enc, w)
        return (ops.tanh(new + found) if into_the_state else new), found

    return step


def gradients(step: Any, h: Any, x: Any, leaves: list[Any], on: bool) -> list[Any]:
    for leaf in (h, x, *leaves):
        leaf.grad = None
    with tg.compiled(on), warnings.catch_warnings():
        warnings.simplefilter("error", ScanWarning)
        last, ys = tg.scan(step, h, x)
        (last * np.cos(np.arange(last.size)).reshape(last.shape)).sum().backward(retain=True)
        (ys * ys).sum().backward()
    return [last.numpy(), ys.numpy(), *(leaf.grad for leaf in (h, x, *leaves))]


def same(fast: list[Any], plain: list[Any]) -> None:
    for a, b in zip(fast, plain, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype and a.flags.writeable
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@given(
    st.tuples(*(st.integers(1, 4) for _ in range(4))),
    st.sampled_from([*SCORES]),
    st.sampled_from([*CONTEXTS]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_attention_however_it_is_written_has_the_gradients_of_the_plain_loop(
    sizes: tuple[int, ...], scores: str, context: str, one: bool, shared: bool, into_the_state: bool
) -> None:
    steps, source, batch, hidden = sizes
    rng = np.random.default_rng(0)

    def leaf(*shape: int) -> Parameter:
        return Parameter(rng.standard_normal(shape))

    enc = leaf(source, 1 if shared else batch, hidden)
    keys = enc if one else leaf(source, batch, hidden)
    spread = (lambda v: ops.broadcast_to(v, (source, batch, hidden))) if shared else (lambda v: v)
    W, h, x = leaf(hidden, hidden), leaf(batch, hidden), leaf(steps, batch, hidden)
    step = attending(
        enc, keys, W,
        lambda v, q: SCORES[scores](spread(v) if v is enc else v, q),
        lambda v, w: CONTEXTS[context](spread(v), w),
        into_the_state,
    )  # fmt: skip
    leaves = [*{id(v): v for v in (enc, keys, W)}.values()]
    same(gradients(step, h, x, leaves, True), gradients(step, h, x, leaves, False))


# --- What is seen ----------------------------------------------------------------------------------------------

S, B, H = 5, 2, 3


def compiled_of(step: Any, h: Any, x: Any) -> Any:
    program, _, _ = record_step(step, h, x)
    count = len(program.captured) + len(program.states) + len(program.xs)
    return compile_program(program, (True,) * count, "numpy")


def backward_of(step: Any, h: Any, x: Any) -> Any:
    return compiled_of(step, h, x).backward


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("context", [name for name in CONTEXTS if name != "some of them"])
@pytest.mark.parametrize("into_the_state", [True, False])
def test_no_product_is_made_at_any_step(scores: str, context: str, into_the_state: bool) -> None:
    enc, W = Parameter(np.ones((S, B, H))), Parameter(np.ones((H, H)))
    step = attending(enc, enc, W, SCORES[scores], CONTEXTS[context], into_the_state)
    compiled = compiled_of(step, Tensor(np.ones((B, H))), Tensor(np.ones((4, B, H))))
    backward = compiled.backward
    (group,) = (
        group for v, group in zip(backward.program.captured, backward.sums, strict=True) if v.shape == (S, B, H)
    )
    assert len(group) == (3 if scores == "both ways" else 2)
    assert all(isinstance(term, Contraction) for term in group)
    for loop in (compiled.forward, backward.loop):
        at_once = [out for e in (*loop.parts.before, *loop.parts.after) for out in e.outs]
        assert not any(math.prod(v.shape) >= S * B * H for v in (*at_once, *loop.layout.stored))


STILL_TERMS: dict[str, Any] = {
    "a weight": (lambda w: lambda h, x: ((n := ops.tanh(h @ w + x)), n), (H, H)),
    "a row": (lambda w: lambda h, x: ((n := ops.tanh(h * w + x)), n), (H,)),
    "a matrix of the state's size": (lambda w: lambda h, x: ((n := ops.tanh(h * w + x)), n), (B, H)),
}


@pytest.mark.parametrize("name", STILL_TERMS)
def test_products_no_larger_than_their_factors_are_summed_as_before(name: str) -> None:
    make, shape = STILL_TERMS[name]
    backward = backward_of(make(Parameter(np.ones(shape))), Tensor(np.ones((B, H))), Tensor(np.ones((4, B, H))))
    ((term,),) = backward.sums
    assert not isinstance(term, Contraction)


ENC, ROWS, STATE = (
    Parameter(np.arange(30.0).reshape(5, 2, 3)),
    Parameter(np.arange(6.0).reshape(2, 3)),
    np.ones((5, 2, 3)),
)
AT_ONCE: dict[str, Any] = {
    "a product that is a state as well": lambda s, x: ((p := x * ENC), p.sum(0)),
    "a product that is put out as well": lambda s, x: (s + x, ((p := x * ENC), p.sum(2))),
    "a product that is read again": lambda s, x: (s * 0.5, (p := x * ENC).sum(0) + ops.max(p, axis=0)),
    "a factor that is read again": lambda s, x: (s * 0.5, (x[None] * 2.0 * ENC).sum(0) + ops.tanh(x)),
    "a sum over all axes": lambda s, x: (s * 0.5, (ENC * x).sum()),
    "a mean that is a state": lambda s, x: (s * 0.0 + (-(x * ENC)).mean(0, keepdims=True), x),
    "a sum to fewer axes": lambda s, x: (s * 0.5, ops.sum_to(ENC * x, (5, 1, 3))),
    "of both that are large": lambda s, x: (s + (ENC * ENC * x).sum(0), x),
    "products of rows": lambda s, x: (s * 0.5, (x[:, None] * ROWS).sum(-1)),
    "with numbers of another kind": lambda s, x: (s * 0.5, ((x > 3.0)[None] * ENC).sum(0)),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_sums_of_products_for_all_steps_at_once_are_those_of_each(name: str) -> None:
    x = Parameter(np.arange(24.0).reshape(4, 2, 3) * 0.1)
    found = []
    for on in (True, False):
        ENC.grad = ROWS.grad = x.grad = None
        with tg.compiled(on):
            last, ys = tg.scan(AT_ONCE[name], Tensor(STATE), x)
        results = [last, *(ys if isinstance(ys, tuple) else (ys,))]
        sum((r * np.sin(np.arange(r.size)).reshape(r.shape)).sum() for r in results).backward()
        found.append([*(r.numpy() for r in results), ENC.grad, ROWS.grad, x.grad])
    same(*found)


# --- Right, by hand --------------------------------------------------------------------------------------------


def test_the_gradient_of_what_is_attended_to_is_the_sum_of_its_outer_products() -> None:
    enc = Parameter(np.zeros((3, 2)))
    weights, queries = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([[7.0, 8.0], [9.0, 10.0]])

    def step(h: Any, given: Any) -> Any:
        w, q = given
        return h + (w[:, None] * enc).sum(0) @ q, h

    last, _ = tg.scan(step, Tensor(np.array(0.0)), (Tensor(weights), Tensor(queries)))
    last.backward()
    np.testing.assert_array_equal(enc.grad, [[1 * 7 + 4 * 9, 1 * 8 + 4 * 10], [2 * 7 + 5 * 9, 2 * 8 + 5 * 10],
                                             [3 * 7 + 6 * 9, 3 * 8 + 6 * 10]])  # fmt: skip


def test_a_factor_that_never_changes_counts_once_a_step() -> None:
    enc, w = Parameter(np.zeros((3, 2))), np.array([1.0, 2.0, 3.0])
    last, _ = tg.scan(lambda h, x: (h + (Tensor(w)[:, None] * enc).sum(0), x), Tensor(np.zeros(2)), Tensor(np.ones(5)))
    last.sum().backward()
    np.testing.assert_array_equal(enc.grad, 5 * w[:, None] * np.ones(2))


# --- What it is for --------------------------------------------------------------------------------------------

LARGE: dict[str, tuple[Read, Read]] = {
    "einsum": (SCORES["einsum"], CONTEXTS["einsum"]),
    "product and sum": (SCORES["product and sum"], CONTEXTS["product and sum"]),
    "stacks of matrices": (SCORES["stacks of matrices"], CONTEXTS["stacks of matrices"]),
}


@pytest.mark.parametrize("into_the_state", [True, False])
@pytest.mark.parametrize("name", LARGE)
def test_attention_in_a_step_takes_no_memory_of_all_products(name: str, into_the_state: bool) -> None:
    source, batch, hidden, steps = 40, 8, 32, 40
    rng = np.random.default_rng(0)
    enc, W = (Parameter(0.1 * rng.standard_normal(s)) for s in [(source, batch, hidden), (hidden, hidden)])
    h, x = (Tensor(rng.standard_normal(s)) for s in [(batch, hidden), (steps, batch, hidden)])
    step = attending(enc, enc, W, *LARGE[name], into_the_state)
    tg.scan(step, h, x)[1].sum().backward()  # compiled
    enc.grad = W.grad = None
    tracemalloc.start()
    try:
        tg.scan(step, h, x)[1].sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * steps * source * batch * hidden * 8
