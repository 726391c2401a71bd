"""Gradients of several ranks, added up: what all of them together are, whatever each has."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in import DeviceArray
from thread_ranks import on_ranks

from tinygrad_rnn import Parameter, RowSparse, Tensor, ops
from tinygrad_rnn.backend import to_host
from tinygrad_rnn.models import GRU
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks, dealt
from tinygrad_rnn.ranks.rows import sum_of_rows
from tinygrad_rnn.ranks.summing import GradientSum
from tinygrad_rnn.ranks.telling_walk import backward_telling
from tinygrad_rnn.tape import Leaf

SIZES = st.integers(2, 4)

# --- When a gradient is final ----------------------------------------------------------------------------------


class Net:
    """A table, a layer and an output, two of whose parameters are read twice."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.layer = GRU(3, 4, dtype=np.float64, rng=rng)
        self.named: dict[str, Parameter] = {
            "table": Parameter(rng.standard_normal((7, 3)), name="table"),
            **dict(self.layer.named_parameters()),
            "w": Parameter(rng.standard_normal((4, 2)), name="w"),
            "b": Parameter(rng.standard_normal(2), name="b"),
            "unused": Parameter(rng.standard_normal(3), name="unused"),
        }

    def loss(self, ids: Any) -> Tensor:
        p = self.named
        outputs, _ = self.layer(ops.take(p["table"], ids))
        found = ops.tanh(outputs @ p["w"] + p["b"])
        return ops.sum(found * found) + ops.sum(p["w"] * p["w"]) + ops.sum(p["b"])

    def gradients(self) -> dict[str, Any]:
        return {name: p.grad for name, p in self.named.items()}


def dense(gradient: Any) -> Any:
    return gradient.dense() if isinstance(gradient, RowSparse) else gradient


def test_each_gradient_is_final_when_it_is_told_and_is_told_once() -> None:
    net, other = Net(), Net()
    ids = np.array([[1, 2], [2, 0], [6, 1]])
    other.loss(ids).backward()
    names = {p.node: name for name, p in net.named.items()}
    told: list[str] = []

    def final(leaf: Leaf) -> None:
        name = names[leaf]
        told.append(name)
        np.testing.assert_array_equal(dense(leaf.grad), dense(other.named[name].grad))
        assert type(leaf.grad) is type(other.named[name].grad)

    backward_telling(net.loss(ids), final)
    assert sorted(told) == sorted(name for name in net.named if name != "unused")
    assert told.index("b") < told.index("cells.0.n.W") < told.index("table"), "the last of the forward pass comes first"
    assert net.named["unused"].grad is None


def test_a_parameter_of_a_branch_that_gives_no_gradient_is_told_at_the_end() -> None:
    w, v = Parameter([2.0], name="w"), Parameter([3.0], name="v")
    told = list[Any]()
    condition = (w > 1.0) * 1.0  # it was made from w, and has no gradient to give
    loss = ops.sum(w * v) + ops.sum(condition)
    backward_telling(loss, told.append)
    assert sorted(told, key=lambda leaf: leaf.name) == [v.node, w.node]
    assert w.grad == 3.0


def test_what_is_off_the_tape_raises_as_backward_does() -> None:
    with pytest.raises(RuntimeError, match="not on the tape"):
        backward_telling(Tensor(1.0), print)
    with pytest.raises(ValueError, match="a scalar was expected"):
        backward_telling(Parameter([1.0, 2.0]) * 2.0, print)


# --- Sums ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    SIZES,
    st.integers(0, 9),
    st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), min_size=1, max_size=5),
    st.sampled_from([1, 100, 300, 1 << 20]),
)
def test_the_sum_over_ranks_is_the_gradient_of_all_rows_whatever_the_chunks(
    size: int, seed: int, rows: list[list[int]], chunk: int
) -> None:
    longest = max(map(len, rows))
    ids = np.array([row + [0] * (longest - len(row)) for row in rows]).T
    whole = Net(seed)
    for _ in range(2):
        for p in whole.named.values():
            p.grad = None
        whole.loss(ids).backward()

    def work(ranks: Ranks) -> dict[str, Any]:
        net = Net(seed)
        summed = GradientSum(ranks, net.named, chunk)
        own = ids[:, ranks.rank :: ranks.size]
        for _ in range(2):  # the first step finds the order
            for p in net.named.values():
                p.grad = None
            # What the parameters add to the loss themselves is there once a row.
            loss = net.loss(own) if own.shape[1] else None
            summed.backward(loss)
            facts = summed.exchange([own.shape[1], 1.0])
            assert facts.shape == (ranks.size, 2) and facts[:, 0].sum() == ids.shape[1]
            summed.finish(0.5)
        return net.gradients()

    found = on_ranks(size, work)
    busy = min(size, ids.shape[1])
    extra = {"w": 2 * whole.named["w"].data, "b": np.ones(2)}  # in the loss of each rank that has a row
    for name, p in whole.named.items():
        for gradients in found:
            if p.grad is None:
                assert gradients[name] is None
                continue
            expected = 0.5 * (dense(p.grad) + (busy - 1) * extra.get(name, 0.0))
            np.testing.assert_allclose(dense(gradients[name]), expected, rtol=1e-12, atol=1e-12, err_msg=name)
            np.testing.assert_array_equal(dense(gradients[name]), dense(found[0][name]))
            assert gradients[name].dtype == p.data.dtype


def test_sums_begin_in_the_order_of_the_backward_pass_while_it_goes_on() -> None:
    ids = np.array([[1, 2], [2, 0]])

    def work(ranks: Ranks) -> tuple[list[str], list[list[str]]]:
        net = Net()
        summed = GradientSum(ranks, net.named, chunk=1)
        summed.backward(net.loss(ids))
        summed.exchange([])
        summed.finish(1.0)
        for p in net.named.values():
            p.grad = None
        begun: list[list[str]] = []

        def watching(numbers: Any) -> Any:
            begun.append([name for name, p in net.named.items() if p.grad is not None])
            return type(ranks).begin_allreduce(ranks, numbers)

        ranks.begin_allreduce = watching  # type: ignore[method-assign]  # to see when it is called
        summed.backward(net.loss(ids))
        names = [name for each in summed._known_plan().chunks for name in each.names]
        summed.exchange([])
        summed.finish(1.0)
        return names, begun

    names, begun = on_ranks(2, work)[0]
    assert names.index("b") < names.index("cells.0.n.W") and "table" not in names
    assert len(begun) == len(names) == 12, "a chunk each"
    assert begun[:-1] == [[]] * 11, "each begins as soon as it can, before the table's gradient is there"
    assert names[-1] == "unused" and begun[-1] == ["table"], "that of a parameter without one, when the pass has ended"


def test_sums_begin_in_the_same_order_on_ranks_whose_backward_passes_have_another() -> None:
    def work(ranks: Ranks) -> Any:
        named = {"a": Parameter(np.ones(2), name="a"), "b": Parameter(np.ones(3), name="b")}
        summed = GradientSum(ranks, named, chunk=1)
        for _ in range(3):
            for p in named.values():
                p.grad = None
            first, second = ("a", "b") if ranks.rank else ("b", "a")
            early = ops.sum(named[first] * 2.0)
            summed.backward(early * ops.sum(named[second] * 3.0))
            summed.exchange([])
            summed.finish(1.0)
        return [p.grad for p in named.values()]

    for a, b in on_ranks(2, work):  # which asserts that all call the same
        np.testing.assert_array_equal(a, [18.0 + 18.0] * 2)
        np.testing.assert_array_equal(b, [12.0 + 12.0] * 3)


def test_a_gradient_that_is_row_sparse_in_the_first_step_and_dense_in_a_later_one_is_added_up_all_the_same() -> None:
    def work(ranks: Ranks) -> list[Any]:
        table = Parameter(np.arange(8.0).reshape(4, 2), name="table")
        summed, found = GradientSum(ranks, {"table": table}), list[Any]()
        for read in (True, False, True):
            table.grad = None
            loss = ops.sum(ops.take(table, [ranks.rank, 3])) if read else ops.sum(table * table)
            summed.backward(loss)
            summed.exchange([])
            summed.finish(1.0)
            found.append(dense(table.grad))
        return found

    rows, whole, again = on_ranks(2, work)[1]
    np.testing.assert_array_equal(rows, [[1, 1], [1, 1], [0, 0], [2, 2]])
    np.testing.assert_array_equal(whole, 4 * np.arange(8.0).reshape(4, 2))
    np.testing.assert_array_equal(again, rows)


def test_a_parameter_that_the_first_step_does_not_read_is_added_up_in_a_later_one() -> None:
    def work(ranks: Ranks) -> tuple[Any, Any]:
        w, v = Parameter([1.0], name="w"), Parameter([2.0], name="v")
        summed = GradientSum(ranks, {"w": w, "v": v})
        for factor in (w, v):
            w.grad = v.grad = None
            summed.backward(ops.sum(w * factor))
            summed.exchange([])
            summed.finish(1.0)
        return w.grad, v.grad

    assert on_ranks(3, work)[2] == (6.0, 3.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_keep_the_dtype_of_their_parameter(dtype: Any) -> None:
    def work(ranks: Ranks) -> tuple[Any, Any]:
        w, table = Parameter(np.ones(3), dtype=dtype), Parameter(np.ones((30, 2)), dtype=dtype)
        summed = GradientSum(ranks, {"w": w, "table": table})
        summed.backward(ops.sum(w * dtype(ranks.rank)) + ops.sum(ops.take(table, [1, 2])))
        summed.exchange([])
        summed.finish(1.0)
        return w.grad, table.grad

    w, table = on_ranks(2, work)[0]
    assert w.dtype == table.dtype == dtype
    np.testing.assert_array_equal(w, np.ones(3))
    np.testing.assert_array_equal(table.dense()[:3], [[0, 0], [2, 2], [2, 2]])


def test_the_steps_of_a_sum_come_in_their_order() -> None:
    summed = GradientSum(ONE_PROCESS, {})
    with pytest.raises(RuntimeError, match="backward"):
        summed.finish(1.0)
    summed.backward(None)
    with pytest.raises(RuntimeError, match=r"exchange\(\) comes before"):
        summed.finish(1.0)


# --- Rows ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(SIZES, st.integers(1, 12), st.integers(0, 3), st.booleans(), st.data())
def test_rows_of_all_ranks_are_merged_or_added_up_whole_whichever_is_less(
    size: int, rows: int, width: int, gpus: bool, data: st.DataObject
) -> None:
    """On the host, and where each has a GPU without it."""
    picked = st.one_of(st.none(), st.lists(st.integers(0, rows - 1), unique=True).map(sorted))
    of_ranks = [data.draw(picked) for _ in range(size)]
    rng = np.random.default_rng(0)
    gpus = gpus and size > 1
    place: Any = DeviceArray if gpus else np.asarray

    def part_of(each: list[int] | None) -> RowSparse | None:
        values = rng.standard_normal((len(each or ()), width))
        return None if each is None else RowSparse(place(np.array(each, int)), place(values), (rows, width))

    parts = list(map(part_of, of_ranks))
    counts = [0 if part is None else len(part.rows) for part in parts]
    table = np.zeros((rows, width))

    def work(ranks: Ranks) -> tuple[Any, int]:
        return sum_of_rows(ranks, parts[ranks.rank], counts, place(table), ranks.between_gpus())

    found = on_ranks(size, work, gpus)
    expected = sum((to_host(part.dense()) for part in parts if part is not None), table.copy())
    as_rows = sum(counts) * (8 + 8 * width) <= 2 * rows * 8 * width
    for rank, (gradient, travelled) in enumerate(found):
        assert isinstance(gradient, RowSparse) == as_rows
        whole = dense(gradient)
        assert isinstance(whole, DeviceArray) == gpus
        np.testing.assert_allclose(to_host(whole), expected, rtol=1e-15, atol=1e-15)
        assert travelled == (counts[rank] * (8 + 8 * width) if as_rows else table.nbytes)


@given(st.lists(st.integers(), max_size=9), SIZES)
def test_rows_are_dealt_out_like_cards(rows: list[int], size: int) -> None:
    made: list[Ranks] = [Ranks() for _ in range(size)]
    for rank, each in enumerate(made):
        each.rank, each.size = rank, size
    hands = [dealt(rows, each) for each in made]
    assert sorted(row for hand in hands for row in hand) == sorted(rows)
    assert max(map(len, hands)) - min(map(len, hands)) <= 1
    assert [hand[0] for hand in hands if hand] == rows[:size]


def test_threads_that_call_other_operations_are_found_out() -> None:
    """Of the ranks that the tests have: MPI would wait for ever."""

    def work(ranks: Ranks) -> Any:
        return ranks.allgather(1) if ranks.rank else ranks.broadcast(1)

    with pytest.raises((AssertionError, threading.BrokenBarrierError), match="different operations"):
        on_ranks(2, work)


def test_a_process_by_itself_has_the_sums_that_it_has() -> None:
    numbers = np.array([1.0, 2.0])
    pending = ONE_PROCESS.begin_allreduce(numbers)
    pending.wait()
    assert pending.test() and numbers.tolist() == [1.0, 2.0]
    assert ONE_PROCESS.allgather("x") == ["x"] and ONE_PROCESS.broadcast("x") == "x"
    assert ONE_PROCESS.allgather_numbers([1, 2]).tolist() == [[1.0, 2.0]]
    assert ONE_PROCESS.allgather_rows(numbers, [2]) is numbers and ONE_PROCESS.all_failed(0.0)
    assert dealt([1, 2, 3], ONE_PROCESS) == [1, 2, 3]
    known: Mapping[str, Any] = vars(ONE_PROCESS)
    assert not known, "nothing was written into it"
