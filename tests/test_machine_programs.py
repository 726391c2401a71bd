"""Machine code is the NumPy emitter and the plain loop, in values and gradients, for any step and any batch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from example_counts import part_of_the_examples
from machine_code import close, in_parts, made_by, same_bits, whole_in_the_loop, why_not
from op_table import TABLE
from test_compiled_scan import random_steps

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import ScanWarning
from tinygrad_rnn.models import GRUCell, LSTMCell, Recurrent, RNNCell
from tinygrad_rnn.models.variants import VARIANTS
from tinygrad_rnn.tensor import Tensor

R = np.random.default_rng(0)


def leaf(*shape: int, dtype: Any = np.float64) -> Tensor:
    return Tensor((R.standard_normal(shape) * 0.5).astype(dtype), requires_grad=True)


# --- Random steps ----------------------------------------------------------------------------------------------


@part_of_the_examples(0.3)
@given(random_steps(), st.booleans(), st.booleans())
def test_random_steps_are_those_of_the_numpy_emitter_and_of_the_plain_loop(
    case: Any, all_of_it: bool, back: bool
) -> None:
    step, state, xs, weights = case
    states = tuple(Tensor(s, requires_grad=True) for s in state)
    inputs = tuple(Tensor(x, requires_grad=True) for x in xs)
    leaves = [*states, *inputs, *weights]
    if all_of_it:
        with whole_in_the_loop():
            found = made_by("machine", step, states, inputs, leaves, back)
    else:
        found = made_by("machine", step, states, inputs, leaves, back)
    close(found, made_by(False, step, states, inputs, leaves, back))
    if not all_of_it:
        close(found, made_by("numpy", step, states, inputs, leaves, back))


FALLS_BACK = {
    "argmax", "binary_cross_entropy_with_logits", "linear_cross_entropy", "pad",
    "softmax_cross_entropy", "take", "take_along_axis",
}  # fmt: skip
"""Ops that no step has as machine code."""

SOMETIMES = FALLS_BACK | {"astype", "einsum", "gelu", "getitem", "repeat", "scatter", "split", "var"}
"""Ops of which some calls are not: at arrays of indices, of a diagonal, to float128, of the exact normal distribution,
over nothing."""

QUICK = {"sum", "reshape", "where", "norm"}


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in sorted(TABLE)])
def test_any_op_in_a_loop_is_that_of_the_plain_loop(name: str) -> None:
    if name in ("dropout", "scatter_add"):
        pytest.skip("it draws numbers, or writes a number at places: no step does that is compiled")

    @part_of_the_examples(0.12 if name in QUICK else 0.5)
    @given(TABLE[name])
    def property_of(call: Any) -> None:
        function = call.function()

        def step(state: Any, x: Any) -> Any:
            state = tuple(s * x if s.dtype.kind == "f" else ops.where(x > 0, s, s) for s in state)
            return state, function(*state)

        state = tuple(Tensor(np.array(x), requires_grad=x.dtype.kind == "f") for x in map(np.asarray, call.inputs))
        xs = Tensor(np.array([1.0, 0.5]))
        leaves = [s for s in state if s.requires_grad]
        with whole_in_the_loop():
            reasons = why_not(step, state, xs)
            found = made_by("machine", step, state, xs, leaves)
        close(found, made_by(False, step, state, xs, leaves))
        empty = any(s.size == 0 for s in state) or any(r.size == 0 for r in found)
        assert name in SOMETIMES or empty or not any(reasons), reasons

    property_of()


# --- Cells -----------------------------------------------------------------------------------------------------

KINDS: dict[str, Any] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell, **VARIANTS}
BATCHES = (0, 1, 3, 8, 13)


def results_of(way: Any, layer: Recurrent, xs: Tensor) -> list[Any]:
    """Outputs and last states, and all gradients of a weighted sum of them."""
    leaves = [xs, *layer.parameters()]
    for t in leaves:
        t.grad = None
    with tg.compiled(way), warnings.catch_warnings():
        warnings.simplefilter("error", ScanWarning)
        ys, last = layer(xs)
    weights = np.random.default_rng(0)
    results = [ys, *last]
    total: Any = sum((r * weights.standard_normal(r.shape).astype(r.dtype)).sum() for r in results)
    total.backward()
    return [r.numpy() for r in results] + [np.zeros(t.shape, t.dtype) if t.grad is None else t.grad for t in leaves]


def cell_is_the_same_in_all_ways(name: str, dtype: Any, batch: int, hidden: int) -> None:
    rng = np.random.default_rng(1)
    layer = Recurrent(KINDS[name], 5, hidden, dtype=dtype, rng=rng)
    xs = Tensor((rng.standard_normal((4, batch, 5)) * 0.5).astype(dtype), requires_grad=True)
    found = results_of("machine", layer, xs)
    for count in (2, 3):
        with in_parts(count):
            same_bits(results_of("machine", layer, xs), found)
    others = [results_of(way, layer, xs) for way in ("numpy", False)]
    exact = results_of(False, layer.astype(float), Tensor(xs.data.astype(float), requires_grad=True))
    for other in others:
        if dtype == np.float64:
            close(found, other, 1e-9)
        else:
            as_near_as(found, other, exact)


def as_near_as(found: list[Any], other: list[Any], exact: list[Any]) -> None:
    """To float64's results, within 1e-4 or twice the distance of another way's: some gradients magnify a rounding."""
    for a, b, c in zip(found, other, exact, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-4 + 2 * np.max(np.abs(b - c), initial=0))


@pytest.mark.parametrize("name", ["gru", "memory"])
def test_a_cell_is_the_same_in_all_ways(name: str) -> None:
    cell_is_the_same_in_all_ways(name, np.float32, 13, 8 if name == "memory" else 37)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [1, 8, 37])
def test_every_cell_is_the_same_in_all_ways_whatever_its_sizes(name: str, dtype: Any, hidden: int) -> None:
    for batch in BATCHES:
        cell_is_the_same_in_all_ways(name, dtype, batch, hidden)
