"""An optimiser that is split over ranks: the steps, and the saved state, of one that is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_changes import OPTIMIZERS
from thread_ranks import on_ranks

from tinygrad_rnn import ChangedInPlaceError, Parameter, RowSparse
from tinygrad_rnn.optim import Adam, Optimizer
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.ranks.split_optimizer import SplitOptimizer

every_kind = pytest.mark.parametrize("kind", OPTIMIZERS)
SHAPES = {"w": (5, 2), "b": (3,), "one": (1, 4), "number": (), "none": (0, 2), "table": (9, 2), "still": (2, 2)}


def parameters(dtype: Any = np.float64) -> dict[str, Parameter]:
    rng = np.random.default_rng(0)
    return {name: Parameter(rng.standard_normal(s).astype(dtype), name=f"my {name}") for name, s in SHAPES.items()}


def give_gradients(named: dict[str, Parameter], step: int, rows: list[int]) -> None:
    """The same ones each time; "still" has none, and the table those of some rows."""
    rng = np.random.default_rng(step)
    for name, p in named.items():
        values = rng.standard_normal(p.shape).astype(p.data.dtype)
        if name == "table":
            p.grad = RowSparse(np.array(rows, int), np.asarray(values)[rows], p.shape)
        elif name != "still":
            p.grad = np.asarray(values)


def made(kind: str, named: Any, ranks: Ranks) -> Optimizer:
    return OPTIMIZERS[kind](named) if ranks.size == 1 else SplitOptimizer(named, ranks, OPTIMIZERS[kind])


ROWS = st.lists(st.lists(st.integers(0, 8), unique=True, max_size=6).map(sorted), min_size=1, max_size=4)


@every_kind
@settings(deadline=None)
@given(size=st.integers(2, 4), rows=ROWS)
def test_it_makes_the_steps_of_one_that_is_not_split(kind: str, size: int, rows: list[list[int]]) -> None:
    def work(ranks: Ranks) -> tuple[Any, Any]:
        named = parameters()
        optimizer = made(kind, named, ranks)
        for step, of_step in enumerate(rows):
            give_gradients(named, step, of_step)
            assert optimizer.step()
            if step == 1:
                optimizer.lr *= 0.5
            optimizer.zero_grad()
        return {name: p.data.copy() for name, p in named.items()}, optimizer.state_dict()

    ((expected, state),) = on_ranks(1, work)
    for weights, saved in on_ranks(size, work):
        for name, array in expected.items():
            np.testing.assert_array_equal(weights[name], array, err_msg=name)
        assert saved.keys() == state.keys()
        for key, value in state.items():
            np.testing.assert_array_equal(saved[key], value, err_msg=key)
            assert getattr(saved[key], "shape", ()) == getattr(value, "shape", ())


@every_kind
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 4)])
def test_what_it_saves_goes_on_split_otherwise(kind: str, before: int, after: int) -> None:
    rows = [[0, 3], [8], [1, 3, 4]]

    def whole(ranks: Ranks) -> Any:
        named = parameters()
        optimizer = made(kind, named, ranks)
        for step, of_step in enumerate(rows):
            give_gradients(named, step, of_step)
            optimizer.step()
        return {name: p.data for name, p in named.items()}

    def first(ranks: Ranks) -> Any:
        named = parameters()
        optimizer = made(kind, named, ranks)
        for step in (0, 1):
            give_gradients(named, step, rows[step])
            optimizer.step()
        return {name: p.data for name, p in named.items()}, optimizer.state_dict()

    weights, saved = on_ranks(before, first)[0]

    def second(ranks: Ranks) -> Any:
        named = {name: Parameter(array.copy()) for name, array in weights.items()}
        optimizer = made(kind, named, ranks)
        optimizer.load_state_dict(saved)
        give_gradients(named, 2, rows[2])
        optimizer.step()
        return {name: p.data for name, p in named.items()}

    (expected,) = on_ranks(1, whole)
    for found in on_ranks(after, second):
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_each_rank_keeps_its_part_of_the_accumulators() -> None:
    def work(ranks: Ranks) -> int:
        named = {"w": Parameter(np.ones((12, 5)))}
        optimizer = SplitOptimizer(named, ranks, OPTIMIZERS["adam"])
        named["w"].grad = np.ones((12, 5))
        optimizer.step()
        held = optimizer._inner._state["w"].arrays
        return sum(array.size for array in held)

    assert on_ranks(4, work) == [2 * 15] * 4


def test_a_gradient_that_is_of_no_use_to_one_rank_is_to_none() -> None:
    def work(ranks: Ranks) -> tuple[Any, ...]:
        named = parameters()
        optimizer = SplitOptimizer(named, ranks, OPTIMIZERS["rmsprop"])
        give_gradients(named, 0, [1])
        named["w"].grad[4, 0] = np.nan  # in the last rank's rows
        named["table"].grad.values[0] = np.inf
        before = {name: p.data.copy() for name, p in named.items()}
        applied = optimizer.step()
        same = all(np.array_equal(before[name], p.data) for name, p in named.items())
        return applied, optimizer.skipped, optimizer.last_skip, same

    assert on_ranks(3, work) == [(False, 1, "my w", True)] * 3


def test_what_was_computed_before_a_step_cannot_be_differentiated_after_it() -> None:
    def work(ranks: Ranks) -> str:
        w = Parameter(np.ones((4, 2)), name="w")
        optimizer = SplitOptimizer({"w": w}, ranks, OPTIMIZERS["sgd"])
        loss = (w * w).sum()
        w.grad = np.ones((4, 2))
        optimizer.step()
        try:
            loss.backward()
        except ChangedInPlaceError as error:
            return str(error)
        return ""

    for said in on_ranks(2, work):
        assert "parameter w" in said


def test_arrays_that_are_no_rows_of_memory_are_made_such() -> None:
    def work(ranks: Ranks) -> Any:
        w = Parameter(np.ones((2, 4)))
        w.data = np.arange(8.0).reshape(4, 2).T
        frozen = Parameter(np.ones(3))
        frozen.data.flags.writeable = False
        optimizer = SplitOptimizer({"w": w, "frozen": frozen}, ranks, OPTIMIZERS["sgd"])
        w.grad, frozen.grad = np.ones((2, 4)), np.ones(3)
        optimizer.step()
        return w.data, frozen.data

    for w, frozen in on_ranks(2, work):
        np.testing.assert_allclose(w, np.arange(8.0).reshape(4, 2).T - 0.1)
        np.testing.assert_allclose(frozen, 0.9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_dtypes_travel_apart(dtype: Any) -> None:
    def work(ranks: Ranks) -> Any:
        named = {"a": Parameter(np.ones((4, 2)), dtype=dtype), "b": Parameter(np.ones((4, 2)), dtype=np.float32)}
        optimizer = SplitOptimizer(named, ranks, OPTIMIZERS["sgd"])
        for p in named.values():
            p.grad = np.ones(p.shape, p.dtype)
        optimizer.step()
        return [p.data for p in named.values()]

    for a, b in on_ranks(2, work):
        assert (a.dtype, b.dtype) == (dtype, np.float32)
        np.testing.assert_allclose([a, b], 0.9, rtol=1e-6)


def test_of_one_process_it_is_the_optimiser_that_it_was_made_of() -> None:
    named = parameters()
    optimizer = SplitOptimizer(named, ONE_PROCESS, OPTIMIZERS["adam"])
    give_gradients(named, 0, [1])
    assert optimizer.step() and optimizer.lr == 0.05
    other = parameters()
    give_gradients(other, 0, [1])
    Adam(other, lr=0.05).step()
    for name, p in other.items():
        np.testing.assert_array_equal(named[name].data, p.data)


def test_parameters_known_by_their_position_are_saved_as_they_are_unsplit() -> None:
    def work(ranks: Ranks) -> Any:
        listed = [Parameter(np.ones((4, 2)), name="first"), Parameter(np.ones(3))]
        optimizer = OPTIMIZERS["adam"](listed) if ranks.size == 1 else SplitOptimizer(listed, ranks, OPTIMIZERS["adam"])
        for p in listed:
            p.grad = np.ones(p.shape)
        optimizer.step()
        return optimizer.state_dict()

    (expected,) = on_ranks(1, work)
    for saved in on_ranks(2, work):
        assert saved.keys() == expected.keys() and saved["name.0"] == "first"
