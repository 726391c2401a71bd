"""The tape: what is recorded, what the walk gives, what is freed, and what must be refused."""

from __future__ import annotations

import threading
import tracemalloc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from garbage import nothing_left_for_the_collector
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import ops
from tinygrad_rnn.optim import clip_by_norm
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.surroundings import is_recording, no_grad
from tinygrad_rnn.tape import FreedTapeError, Given, Leaf, joint, primitive
from tinygrad_rnn.tensor import Parameter, Tensor
from tinygrad_rnn.transforms import grad, hvp, jacobian, jvp, vjp


def leaf(value: Any) -> Tensor:
    return Tensor(np.asarray(value, dtype=np.float64), requires_grad=True)


def network(x: Tensor, w: Tensor) -> Tensor:
    """A bit of everything: products, reductions, indexing, several results, shared values."""
    h = ops.tanh(x @ w + x.mean(axis=0))
    first, *rest = ops.split(h, [1], axis=1)
    h = ops.concatenate([first * 2.0, *rest], axis=1)
    h = ops.stack([*h])[::-1] + ops.take(w, [0, 0, 1, 2])
    return ops.logsumexp(h * h, axis=1).sum() + ops.softmax_cross_entropy(h, [0, 1, 2, 0])


X, W = np.random.default_rng(3).uniform(-1, 1, (4, 3)), np.random.default_rng(4).uniform(-1, 1, (3, 3))


# --- Memory ----------------------------------------------------------------------------------------------------


def test_a_cycle_of_ours_is_found_and_one_of_others_is_not() -> None:
    with nothing_left_for_the_collector():
        others: list[object] = []
        others.append(others)
        del others
    with pytest.raises(AssertionError, match="Tensor"), nothing_left_for_the_collector():
        ring: list[object] = [leaf(X)]
        ring.append(ring)
        del ring


def forward_and_backward() -> None:
    x, w = leaf(X), Parameter(W)
    network(x, w).backward()


def forward_only() -> None:
    network(leaf(X), Parameter(W))


def backward_twice() -> None:
    loss = network(leaf(X), Parameter(W))
    loss.backward(retain=True)
    loss.backward()


def penalty(p: Parameter) -> Tensor:
    return (grad(lambda x: network(x, p))(Tensor(X)) ** 2).sum()


MEMORY: dict[str, Callable[[], Any]] = {
    "forward": forward_only,
    "backward": forward_and_backward,
    "retained": backward_twice,
    "grad": lambda: grad(network, (0, 1))(Tensor(X), Tensor(W)),
    "grad of grad": lambda: grad(lambda x: (grad(network)(x, Tensor(W)) ** 2).sum())(Tensor(X)),
    "vjp": lambda: vjp(network, Tensor(X), Tensor(W))[1](1.0),
    "jvp": lambda: jvp(network, (Tensor(X), Tensor(W)), (X, W)),
    "hvp": lambda: hvp(lambda x: network(x, Tensor(W)), Tensor(X), X),
    "jacobian": lambda: jacobian(lambda x: ops.tanh(x[0]))(Tensor(X)),
    "gradient penalty": lambda: penalty(Parameter(W)).backward(),
}


@pytest.mark.parametrize("use", MEMORY)
def test_no_reference_cycles_are_made(use: str) -> None:
    MEMORY[use]()  # caches fill
    with nothing_left_for_the_collector():
        MEMORY[use]()


class Witness(np.ndarray[Any, Any]):
    """An array whose end can be watched, by a weak reference."""


def test_the_walk_frees_values_as_it_passes_them() -> None:
    x = leaf(np.ones(3))
    early = ops.mul(x, np.full(3, 2.0).view(Witness))
    seen: list[int] = []

    @primitive
    def probe(x: Any) -> Any:
        return x * 1.0

    def rule(g: Any, out: Any, x: Any) -> Any:
        seen.append(sum(r() is not None for r in alive))
        return g

    probe.vjp(rule)
    alive: list[Any] = []
    value = probe(early)
    for _ in range(10):
        factor = np.full(3, 1.1).view(Witness)
        alive.append(weakref.ref(factor))
        value = value * factor
        del factor
    loss = value.sum()
    del value, early
    assert sum(r() is not None for r in alive) == 10  # the tape needs them
    loss.backward()
    assert seen in ([0], [1])  # when the walk came to the node before them, it held the last one at most
    np.testing.assert_allclose(x.grad, 2 * 1.1**10)


def test_a_result_that_is_kept_does_not_keep_the_values_behind_it() -> None:
    value = leaf(np.ones(3))
    kept, factors = [], []
    for _ in range(5):
        factor = np.full(3, 1.1).view(Witness)
        factors.append(weakref.ref(factor))
        value = value * factor
        kept.append(value)
        del factor
    value.sum().backward()
    assert [r() for r in factors] == [None] * 5
    np.testing.assert_allclose(kept[0].numpy(), 1.1)


def test_the_memory_of_a_backward_pass_does_not_grow_with_the_length_of_the_chain() -> None:
    def peak(length: int) -> int:
        x = leaf(np.ones(10_000))
        value = x
        for _ in range(length):
            value = ops.sin(value)
        loss = value.sum()
        del value
        tracemalloc.start()
        loss.backward()
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(2)
    assert peak(200) < peak(20) + 200_000  # bytes; one value is 80,000


def test_a_tape_that_is_dropped_is_freed() -> None:
    factor = np.full(5, 2.0).view(Witness)
    loss = ops.sin(leaf(np.ones(5)) * factor).sum()
    watched = weakref.ref(factor)
    del factor
    assert watched() is not None
    del loss
    assert watched() is None


LENGTH = 100_000


def chain(x: Tensor) -> Tensor:
    for _ in range(LENGTH):
        x = x + 1.0
    return x


def test_a_chain_of_100000_ops_is_differentiated_and_freed() -> None:
    x = leaf(1.0)
    with nothing_left_for_the_collector():
        loss = chain(x)
        loss.backward()
        del loss
    assert x.grad == 1.0


def test_a_chain_of_100000_ops_is_freed_without_a_backward_pass() -> None:
    x = leaf(1.0)
    with nothing_left_for_the_collector():
        loss = chain(x)
        del loss
    assert x.grad is None


@pytest.mark.slow
def test_a_chain_of_100000_ops_has_a_functional_gradient() -> None:
    assert grad(chain)(Tensor(np.array(2.0))).item() == 1.0


def test_doubling_200_times_is_linear_work() -> None:
    x = leaf(1.0)
    value = x
    for _ in range(200):
        value = value + value
    value.backward()
    assert x.grad == 2.0**200

    def power(x: Tensor) -> Tensor:
        for _ in range(200):
            x = x + x
        return x * x

    assert grad(grad(power))(Tensor(np.array(1.0))).item() == 2 * 2.0**400


# --- Freed and retained tapes ----------------------------------------------------------------------------------


def test_a_second_backward_raises_and_names_retain_alone() -> None:
    loss = network(leaf(X), Parameter(W))
    loss.backward()
    with pytest.raises(FreedTapeError, match="retain=True to the earlier call") as caught:
        loss.backward()
    assert "detach" not in str(caught.value)
    part = ops.split(leaf([1.0, 2.0]), 2)[0]
    part.backward(np.ones(1))
    with pytest.raises(FreedTapeError, match="retain=True to the earlier call") as caught:
        part.backward(np.ones(1))
    assert "detach" not in str(caught.value)


def test_a_new_result_that_leads_to_a_freed_part_names_detach_too() -> None:
    w = Parameter(W)
    state = Tensor(X)
    with pytest.raises(FreedTapeError) as caught:
        for _ in range(2):  # the state of the first pass is carried over
            state = ops.tanh(state @ w)
            (state * state).sum().backward()
    said = str(caught.value)
    assert "met at op 'tanh'" in said
    assert "detach() a state that is carried over" in said
    assert "for two losses of one pass, give the earlier call retain=True" in said
    shared = ops.tanh(Tensor(X) @ w)
    losses = shared.sum(), (shared * shared).sum()
    losses[0].backward()
    with pytest.raises(FreedTapeError, match=r"detach\(\).*retain=True"):
        losses[1].backward()
    pieces = ops.split(leaf([1.0, 2.0]), 2)
    pieces[0].sum().backward()
    with pytest.raises(FreedTapeError, match=r"detach\(\).*retain=True"):
        pieces[1].sum().backward()


def test_a_branch_into_a_freed_part_raises_and_names_the_op() -> None:
    x = leaf([1.0, 2.0])
    shared = ops.sin(x)
    shared.sum().backward()
    with pytest.raises(FreedTapeError, match="op 'sin'"):
        (shared * 2.0).sum().backward()
    with pytest.raises(FreedTapeError, match="retain=True"):
        ops.split(shared, 2)[0].sum().backward()


def test_a_result_of_several_that_was_freed_raises() -> None:
    first, second = ops.split(ops.sin(leaf([1.0, 2.0])), 2)
    (first + second).sum().backward()
    with pytest.raises(FreedTapeError):
        second.sum().backward()


def test_retain_keeps_the_tape_and_gradients_add_up() -> None:
    x, w = leaf(X), Parameter(W)
    loss = network(x, w)
    loss.backward(retain=True)
    once = x.grad.copy()
    loss.backward(retain=True)
    np.testing.assert_allclose(x.grad, 2 * once)
    loss.backward()
    np.testing.assert_allclose(x.grad, 3 * once)


def test_gradients_accumulate_over_separate_passes_until_they_are_set_to_none() -> None:
    x = leaf([1.0, 2.0])
    (x * 3.0).sum().backward()
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [5.0, 7.0])
    x.grad = None
    (x * 3.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [3.0, 3.0])


def test_embedding_gradients_stay_sparse_while_they_add_up_and_mix_with_dense_ones() -> None:
    table = Parameter(np.arange(8.0).reshape(4, 2))
    (ops.take(table, [1, 1, 3]) * 2.0).sum().backward()
    assert isinstance(table.grad, RowSparse)
    ops.take(table, [0]).sum().backward()
    assert isinstance(table.grad, RowSparse)
    np.testing.assert_array_equal(table.grad.dense()[:, 0], [1, 4, 0, 2])
    table.sum().backward()
    np.testing.assert_array_equal(np.asarray(table.grad)[:, 0], [2, 5, 1, 3])
    table.grad = None
    (ops.take(table, [1, 2]).sum() + (table * 2.0).sum() + ops.take(table, [2]).sum()).backward()
    np.testing.assert_array_equal(table.grad[:, 0], [2, 3, 4, 2])


# --- Who owns a gradient ---------------------------------------------------------------------------------------


def test_the_gradients_of_a_sum_are_two_arrays() -> None:
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    seed = np.ones(2)
    (x + y).backward(seed, retain=True)
    assert x.grad is not y.grad
    x.grad *= 100.0
    np.testing.assert_array_equal(y.grad, [1.0, 1.0])
    np.testing.assert_array_equal(seed, [1.0, 1.0])


OWNED: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(axis=0),
    "added": lambda x: x + 0.0,
    "used twice": lambda x: x + x,
    "transposed": lambda x: x.T,
    "reshaped": lambda x: x.reshape(-1),
    "multiplied": lambda x: x * W,
    "sliced": lambda x: x[1:],
    "unstacked": lambda x: ops.unstack(x)[0],
    "broadcast": lambda x: ops.broadcast_to(x, (2, 3, 3)),
    "squared": lambda x: x * x,
    "exp": ops.exp,
    "linear cross-entropy": lambda x: ops.linear_cross_entropy(x, W, None, [0, 1, 2]),
    "linear cross-entropy by W": lambda x: ops.linear_cross_entropy(W, x, None, [0, 1, 2]),
    "embedding": lambda x: ops.take(x, [0, 1, 2]),
    "astype": lambda x: x.astype(np.float64),
}


@pytest.mark.parametrize("use", OWNED)
def test_gradient_arrays_belong_to_the_user(use: str) -> None:
    """They can be written to, and writing changes neither the tape nor the next gradient."""
    x = leaf(W.copy())
    out = OWNED[use](x)
    seed = np.ones(out.shape)
    out.backward(seed, retain=True)
    first = x.grad.values if isinstance(x.grad, RowSparse) else x.grad
    expected = first.copy()
    assert first.flags.writeable
    assert not any(np.shares_memory(first, other) for other in (x.data, out.data, seed, W))
    first[...] = np.nan
    x.grad = None
    out.backward(seed, retain=True)
    second = x.grad.values if isinstance(x.grad, RowSparse) else x.grad
    np.testing.assert_array_equal(second, expected)
    np.testing.assert_array_equal(seed, np.ones(out.shape))


@pytest.mark.parametrize("retain", [False, True])
def test_a_leaf_keeps_what_a_joint_rule_gives_away_unless_the_tape_is_retained(retain: bool) -> None:
    made = [np.ones(3), np.ones(3)]

    @joint
    def forward(needs: Any, x: Any, y: Any) -> Any:
        return (x + y).sum(), made

    forward.vjp(lambda g, saved, x, y: Given(saved))
    forward.composite(lambda x, y: (x + y).sum())
    x, y = leaf(np.zeros(3)), leaf(np.zeros(3))
    forward(x, y).backward(retain=retain)
    assert (x.grad is made[0]) is (y.grad is made[1]) is not retain
    z = leaf(np.zeros(3))
    forward(z, z).backward(retain=retain)  # both go to one leaf
    np.testing.assert_array_equal(z.grad, [2, 2, 2])
    assert (z.grad is made[0]) is not retain


@given(st.lists(st.sampled_from(["x", "y", "sum", "x"]), min_size=1, max_size=6))
def test_shares_that_are_summed_in_place_never_reach_another_gradient(terms: list[str]) -> None:
    x, y = leaf(np.ones(3)), leaf(np.ones(3))
    both = x + y
    total = both
    for term in terms:
        total = total + {"x": x, "y": y, "sum": both}[term]
    total.sum().backward()
    counts = [1 + terms.count(name) + terms.count("sum") for name in ("x", "y")]
    np.testing.assert_array_equal(x.grad, np.full(3, float(counts[0])))
    np.testing.assert_array_equal(y.grad, np.full(3, float(counts[1])))


def test_rebinding_or_replacing_data_after_the_forward_pass_changes_no_gradient() -> None:
    x, w = leaf(X), Parameter(W.copy())
    network(x, w).backward()
    expected, expected_w = x.grad.copy(), w.grad.copy()
    x.grad = w.grad = None
    loss = network(x, w)
    w.data = w.data * 100.0
    x.data = np.zeros_like(X)
    loss.backward()
    np.testing.assert_array_equal(x.grad, expected)
    np.testing.assert_array_equal(w.grad, expected_w)


# --- Recording -------------------------------------------------------------------------------------------------


def test_no_grad_leaves_nothing_on_the_tape_and_ends_with_its_block() -> None:
    x = leaf([1.0])
    with no_grad():
        assert not is_recording()
        off = x * 2.0
    assert is_recording()
    assert not off.requires_grad and (x * 2.0).requires_grad
    with pytest.raises(RuntimeError, match="not on the tape"):
        off.backward()
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_recording()


def test_no_grad_can_be_nested_and_grad_records_within_it() -> None:
    with no_grad():
        with no_grad():
            pass
        assert not is_recording()
        g = grad(lambda x: x * x * x)(Tensor(np.array(2.0)))
        assert g.item() == 12.0 and not g.requires_grad


def test_no_grad_in_one_thread_leaves_another_alone() -> None:
    inside, done = threading.Event(), threading.Event()
    x = leaf([2.0])
    elsewhere: list[Any] = []

    def quiet() -> None:
        with no_grad():
            inside.set()
            done.wait(10)
            elsewhere.append((x * x).requires_grad)

    thread = threading.Thread(target=quiet)
    thread.start()
    assert inside.wait(10)
    y = x * x
    done.set()
    thread.join(10)
    assert y.requires_grad and elsewhere == [False]


def test_threads_that_differentiate_at_once_get_their_own_gradients() -> None:
    found: dict[int, float] = {}

    def work(k: int) -> None:
        for _ in range(50):
            x = leaf(float(k))
            (x * x * x).backward()
            found[k] = float(x.grad)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: 3.0 * k * k for k in range(8)}


def test_detach_shares_the_array_and_stops_the_gradient() -> None:
    x = leaf([2.0])
    d = (x * 3.0).detach()
    assert not d.requires_grad
    (x * d).sum().backward()
    np.testing.assert_array_equal(x.grad, [6.0])
    assert x.detach().data is x.data


def test_plus_equals_rebinds_and_item_assignment_raises_with_advice() -> None:
    x = leaf([1.0, 2.0])
    y = x
    y += 1.0
    assert y is not x
    np.testing.assert_array_equal(x.numpy(), [1.0, 2.0])
    with pytest.raises(TypeError, match=r"where.*scatter_add"):
        x[0] = 3.0
    with pytest.raises(TypeError, match=r"where.*scatter_add"):
        x[0] += 3.0


def test_a_gradient_is_only_settable_on_leaves() -> None:
    with pytest.raises(AttributeError, match="leaf"):
        (leaf([1.0]) * 2.0).grad = None
    assert isinstance(Parameter([1.0]).node, Leaf)


def test_the_gradient_of_a_result_is_none_with_a_warning_at_the_line_that_asked() -> None:
    results = [leaf([1.0]) * 2.0, ops.split(leaf([1.0, 2.0]), 2)[0], ops.exp(leaf([1.0]))]
    results[2].sum().backward()
    for result in results:
        with pytest.warns(UserWarning, match=r"leaves alone .* tinygrad_rnn\.grad or vjp") as caught:
            assert result.grad is None
        assert [one.filename for one in caught] == [__file__]
    with pytest.warns(UserWarning) as caught, pytest.raises(ValueError, match="got a single one"):
        clip_by_norm(results[0], 1.0)
    assert [one.filename for one in caught] == [__file__]  # and none of ours, through which it was asked


def test_it_is_said_once_for_a_line() -> None:
    result = leaf([1.0]) * 2.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            result.grad  # noqa: B018  (the access is what is tested)
    assert len(caught) == 1


def test_a_leaf_and_a_tensor_off_the_tape_say_nothing_of_their_gradient() -> None:
    for t in (leaf([1.0]), Parameter([1.0]), Tensor([1.0]), (leaf([1.0]) * 2.0).detach()):
        assert t.grad is None


def test_backward_asks_for_a_scalar_or_a_gradient_of_the_right_shape() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"scalar was expected, got shape \(2,\)"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        (x * 2.0).backward(np.ones(3))
    (x * 2.0).backward([1.0, 10.0])
    np.testing.assert_array_equal(x.grad, [2.0, 20.0])
    (x * 2.0)[:1].backward()
    np.testing.assert_array_equal(x.grad, [4.0, 20.0])


def test_a_result_that_only_some_inputs_reach_leaves_the_others_without_gradient() -> None:
    x, y = leaf([1.0]), leaf([1.0])
    ops.where(np.array([True]), x, y).sum().backward()
    np.testing.assert_array_equal(y.grad, [0.0])
    z = leaf([1.0])
    (x * 1.0).sum().backward()
    assert z.grad is None


# --- Dtypes ----------------------------------------------------------------------------------------------------


def test_numbers_and_lists_become_float32_and_arrays_keep_their_dtype() -> None:
    assert Tensor(3).dtype == Tensor([1, 2]).dtype == Tensor([[1.0]]).dtype == np.float32
    assert Tensor([True, False]).dtype == np.bool_
    for dtype in (np.float16, np.float32, np.float64, np.int32, np.uint8, np.bool_):
        array = np.zeros(2, dtype)
        assert Tensor(array).data is array
    assert Tensor(np.zeros(2), dtype=np.float32).dtype == np.float32


def test_numbers_that_are_given_a_dtype_are_not_rounded_on_the_way_to_it() -> None:
    assert Tensor(0.1, dtype=np.float64).item() == Parameter([0.1], dtype=np.float64).item() == 0.1
    assert Tensor(2**24 + 1, dtype=np.int64).item() == 2**24 + 1


@pytest.mark.parametrize("scalar", [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2), np.int8(2)], ids=repr)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scalars_take_the_dtype_of_the_other_operand(scalar: Any, dtype: Any) -> None:
    t = Tensor(np.ones(3, dtype), requires_grad=True)
    results = [t * scalar, scalar * t, t + scalar, scalar - t, t / scalar, scalar / t, t**scalar, scalar**t]
    results += [ops.maximum(t, scalar), ops.where(t > scalar, t, scalar), ops.where(t > scalar, scalar, t)]
    results += [ops.clip(t, scalar, None), ops.leaky_relu(t, slope=scalar), ops.elu(t, alpha=scalar)]
    assert {r.dtype for r in results} == {np.dtype(dtype)}
    ops.stack([r.sum() for r in results]).sum().backward()
    assert t.grad.dtype == dtype


def test_lists_are_float32_operands() -> None:
    t = Tensor([1.0, 2.0], requires_grad=True)
    halves: Any = [0.5, 0.5]
    assert (t * halves).dtype == (halves * t).dtype == np.float32
    np.testing.assert_array_equal((halves - t).numpy(), [-0.5, -1.5])


def test_each_gradient_has_the_dtype_of_its_own_argument() -> None:
    narrow = Tensor(np.ones(3, np.float32), requires_grad=True)
    wide = Tensor(np.ones(3, np.float64), requires_grad=True)
    product = narrow * wide
    assert product.dtype == np.float64
    (product.sum() + (narrow @ wide) + ops.stack([narrow, wide]).sum()).backward()
    assert narrow.grad.dtype == np.float32 and wide.grad.dtype == np.float64
    np.testing.assert_array_equal(narrow.grad, [3.0] * 3)


def test_gradients_that_are_numbers_keep_their_dtype() -> None:
    """NumPy turns arrays without axes into scalars, which must not be taken for Python's."""
    for dtype in (np.float32, np.float64):
        x = Tensor(np.array([1.0, 2.0], dtype), requires_grad=True)
        (x[0] * 2.0 * x[1] + ops.exp(x[1] * x[0]) ** 2 + ops.transpose(x[0] * x[0])).backward()
        assert x.grad.dtype == dtype
        np.testing.assert_allclose(x.grad, [4 + 4 * np.exp(4) + 2, 2 + 2 * np.exp(4)], rtol=1e-6)


def test_integers_and_booleans_carry_no_gradient() -> None:
    x = leaf([1.7, 2.2])
    whole = x.astype(np.int64)
    assert not whole.requires_grad and not (x > 2.0).requires_grad
    (x * whole).sum().backward()
    np.testing.assert_array_equal(x.grad, [1.0, 2.0])
    for dtype in (np.int64, np.bool_):
        with pytest.raises(TypeError, match="floating-point"):
            Tensor(np.zeros(2, dtype), requires_grad=True)
    with pytest.raises(TypeError, match="real numbers or booleans"):
        Tensor(np.zeros(2, complex))
    with pytest.raises(TypeError, match="real numbers or booleans"):
        Tensor(["a"])
    with pytest.raises(ValueError, match="ragged"):
        Tensor([[1.0], [1.0, 2.0]])


# --- Primitives of one's own -----------------------------------------------------------------------------------


def test_several_results_that_a_rule_uses_are_differentiated_again() -> None:
    """Both the caller and the rule hold on to the results: their gradients add up."""

    @primitive
    def both(x: Any) -> Any:
        return np.exp(x), np.exp(2 * x)

    def rule(g: Any, out: Any, x: Any) -> Any:
        terms = [k * share * value for k, share, value in zip((1, 2), g, out, strict=True) if share is not None]
        return sum(terms[1:], terms[0])

    both.vjp(rule)

    def total(x: Any) -> Any:
        once, twice = both(x)
        return (once * twice + once).sum()  # exp(3x) + exp(x)

    def derivative(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: grad(f)(x).sum()

    x = np.array([0.3, -0.2])
    f: Callable[..., Any] = total
    for order in (1, 2, 3):
        found = grad(f)(Tensor(x)).numpy()
        np.testing.assert_allclose(found, 3.0**order * np.exp(3 * x) + np.exp(x), rtol=1e-12)
        f = derivative(f)


def test_an_argument_without_a_rule_is_named() -> None:
    slope: Any = leaf(0.1)
    with pytest.raises(TypeError, match=r"leaky_relu is not differentiable .* 'slope'"):
        ops.leaky_relu(leaf([-1.0]), slope).sum().backward()


def test_tensors_by_keyword_are_arguments_like_others() -> None:
    x = leaf([1.0, 2.0])
    ops.sum(x=ops.mul(x=x, y=x), axis=0).backward()
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])


def test_ops_of_arrays_give_arrays() -> None:
    for op in (ops.tanh, ops.softmax, ops.sum, ops.var, ops.gelu):
        assert isinstance(op(W), np.ndarray | np.generic)
    assert isinstance(ops.matmul(W, W), np.ndarray)


def test_a_parameter_has_an_array_of_its_own() -> None:
    array = np.ones(3)
    p, q = Parameter(array), Parameter(array)
    p.data -= 1.0
    np.testing.assert_array_equal(array, np.ones(3))
    np.testing.assert_array_equal(q.data, np.ones(3))
