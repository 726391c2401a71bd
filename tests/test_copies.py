"""copy.copy, copy.deepcopy and pickle: leaves and what is off the tape are copied; no gradient is lost in silence."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn
from tinygrad_rnn import Parameter, RowSparse, Tensor, compiled, grad, ops
from tinygrad_rnn.models import GRU, LSTM, Linear, Module
from tinygrad_rnn.tape import Leaf, Primitive

Copy = Callable[[Any], Any]


def by_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


every_copy = pytest.mark.parametrize("copied", [copy.deepcopy, by_pickle], ids=["deepcopy", "pickle"])


def leaf(value: Any) -> Tensor:
    return Tensor(np.asarray(value, dtype=np.float64), requires_grad=True)


# --- What is copied --------------------------------------------------------------------------------------------


@every_copy
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8, np.bool_])
def test_a_tensor_off_the_tape_is_copied_with_its_array(copied: Copy, dtype: Any) -> None:
    t = Tensor(np.array([[0, 1, 1]], dtype))
    other = copied(t)
    assert type(other) is Tensor and other.node is None and other.dtype == dtype
    np.testing.assert_array_equal(other.data, t.data)
    assert not np.shares_memory(other.data, t.data)


@every_copy
@pytest.mark.parametrize("make", [leaf, lambda value: Parameter(np.array(value), name="w")], ids=["leaf", "Parameter"])
def test_a_leaf_becomes_a_leaf_of_its_own_with_its_gradient(copied: Copy, make: Callable[[Any], Tensor]) -> None:
    x = make([2.0, 3.0])
    (x * x).sum().backward()
    other = copied(x)
    assert type(other) is type(x) and isinstance(other.node, Leaf) and other.node is not x.node
    assert getattr(other, "name", "") == getattr(x, "name", "")
    np.testing.assert_array_equal(other.data, [2.0, 3.0])
    np.testing.assert_array_equal(other.grad, [4.0, 6.0])
    (other * x).sum().backward()
    np.testing.assert_array_equal(other.grad, [6.0, 9.0])
    np.testing.assert_array_equal(x.grad, [6.0, 9.0])
    assert not np.shares_memory(other.data, x.data) and not np.shares_memory(other.grad, x.grad)


@every_copy
def test_a_row_sparse_gradient_is_copied_as_one(copied: Copy) -> None:
    table = Parameter(np.arange(6.0).reshape(3, 2))
    ops.take(table, [2, 0, 2]).sum().backward()
    other = copied(table)
    assert isinstance(other.grad, RowSparse)
    np.testing.assert_array_equal(other.grad.dense(), [[1, 1], [0, 0], [2, 2]])
    assert not np.shares_memory(other.grad.values, table.grad.values)


@every_copy
def test_what_is_one_stays_one(copied: Copy) -> None:
    x = leaf([1.0])
    first, second, shallow = copied((x, x, copy.copy(x)))
    assert first is second and shallow is not first and shallow.node is first.node


@every_copy
def test_attributes_of_a_subclass_come_along(copied: Copy) -> None:
    t = Labelled(np.ones(2), requires_grad=True)
    t.label = ["a", "b"]
    other = copied(t)
    assert type(other) is Labelled and other.label == ["a", "b"] and other.label is not t.label
    assert other.requires_grad and copy.copy(t).label is t.label


class Labelled(Tensor):
    label: list[str]


@every_copy
def test_a_layer_is_copied_with_all_that_it_computes_and_trains_by_itself(copied: Copy) -> None:
    layer = LSTM(2, 3, num_layers=2, dtype=np.float64, rng=np.random.default_rng(0))
    xs = np.random.default_rng(1).standard_normal((4, 2, 2))
    layer(xs)[0].sum().backward()
    other = copied(layer)
    for (name, p), (same, q) in zip(layer.named_parameters(), other.named_parameters(), strict=True):
        assert name == same and p.name == q.name and not np.shares_memory(p.data, q.data)
        np.testing.assert_array_equal(p.grad, q.grad)
    other.zero_grad()
    other(xs)[0].sum().backward()
    for p, q in zip(layer.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)
        q.data -= 0.1 * q.grad
    assert not np.array_equal(layer(xs)[0].numpy(), other(xs)[0].numpy())


@every_copy
def test_a_state_that_was_detached_is_copied(copied: Copy) -> None:
    _, state = LSTM(2, 3)(np.ones((4, 1, 2), np.float32))
    for s, other in zip(state, copied(tuple(s.detach() for s in state)), strict=True):
        np.testing.assert_array_equal(s.numpy(), other.numpy())


def test_a_shallow_copy_shares_the_array_and_the_place_on_the_tape() -> None:
    x = leaf([2.0, 3.0])
    for t in (x, x * x, Tensor([1.0]), Parameter([1.0])):
        other = copy.copy(t)
        assert type(other) is type(t) and other is not t
        assert other.data is t.data and other.node is t.node
    copy.copy(x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [4.0, 6.0])


# --- What is refused -------------------------------------------------------------------------------------------


def scanned(x: Tensor) -> Any:
    return GRU(1, 2)(x.reshape((2, 1, 1)).astype(np.float32))[1][0]


def freed(x: Tensor) -> Tensor:
    out = ops.exp(x)
    out.sum().backward()
    return out


ON_TAPE: dict[str, Callable[[Tensor], Any]] = {
    "a result": lambda x: x * 2.0,
    "one result of several": lambda x: ops.split(x, 2)[0],
    "a state of a compiled scan": scanned,
    "a freed result": freed,
    "one among others": lambda x: {"kept": [Tensor([1.0]), (x * 2.0,)]},
}


@every_copy
@pytest.mark.parametrize("use", ON_TAPE)
def test_a_result_on_the_tape_is_refused_in_one_sentence_that_names_detach(copied: Copy, use: str) -> None:
    with pytest.raises(TypeError, match=r"a Tensor on the tape \(.*\) cannot be copied or pickled.*detach\(\)"):
        copied(ON_TAPE[use](leaf([2.0, 3.0])))


@every_copy
def test_so_is_the_argument_of_a_function_that_is_being_differentiated(copied: Copy) -> None:
    with pytest.raises(TypeError, match=r"detach\(\)"):
        grad(lambda x: (copied(x) * x).sum())(Tensor([2.0]))


@every_copy
@pytest.mark.parametrize("on", [True, False], ids=["compiled", "plain loop"])
def test_a_module_that_holds_one_says_the_same(copied: Copy, on: bool) -> None:
    layer: Any = GRU(2, 3)
    with compiled(on):
        layer.last = layer(np.ones((4, 1, 2), np.float32))[1]
    with pytest.raises(TypeError, match=r"a Tensor on the tape .*detach\(\)"):
        copied(layer)
    layer.last = tuple(s.detach() for s in layer.last)
    np.testing.assert_array_equal(copied(layer).last[0].numpy(), layer.last[0].numpy())


# --- Primitives ------------------------------------------------------------------------------------------------


def primitives() -> Iterator[tuple[str, Primitive[Any]]]:
    """Every primitive of the package, under the name of the module where it is made."""
    for found in pkgutil.walk_packages(tinygrad_rnn.__path__, "tinygrad_rnn."):
        if not found.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, Primitive) and value.__module__ == found.name:
                    yield f"{found.name}.{name}", value


def test_primitives_are_copied_and_pickled_by_their_names() -> None:
    found = dict(primitives())
    assert len(found) > 60
    for name, value in found.items():
        assert by_pickle(value) is copy.deepcopy(value) is copy.copy(value) is value, name


@every_copy
def test_a_module_may_hold_one(copied: Copy) -> None:
    model = Activated()
    other = copied(model)
    assert other.activation is ops.tanh
    np.testing.assert_array_equal(other(Tensor([[1.0, 2.0]])).numpy(), model(Tensor([[1.0, 2.0]])).numpy())


class Activated(Module):
    def __init__(self) -> None:
        self.linear, self.activation = Linear(2, 3), ops.tanh

    def __call__(self, x: Tensor) -> Any:
        return self.activation(self.linear(x))
