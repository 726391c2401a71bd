"""An optimiser's step between the forward and the backward pass: the right gradient, or an error, and nothing else."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import ChangedInPlaceError, Parameter, Tensor, compiled, grad, ops, vjp
from tinygrad_rnn.changes import Changes, changes
from tinygrad_rnn.models import GRU
from tinygrad_rnn.optim import SGD, AdaDelta, AdaGrad, Adam, Optimizer, RMSprop
from tinygrad_rnn.rowsparse import RowSparse

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda ps: SGD(ps, lr=0.1),
    "momentum": lambda ps: SGD(ps, lr=0.1, momentum=0.9),
    "adagrad": lambda ps: AdaGrad(ps, lr=0.1),
    "adadelta": lambda ps: AdaDelta(ps, lr=0.7),
    "rmsprop": lambda ps: RMSprop(ps, lr=0.05),
    "adam": lambda ps: Adam(ps, lr=0.05),
    "adamw": lambda ps: Adam(ps, lr=0.05, weight_decay=0.3),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def number(value: float, name: str = "") -> Parameter:
    return Parameter(np.array(value), name=name)


def stepped(*parameters: Any) -> None:
    """An optimiser's step of each."""
    for p in parameters:
        p.grad = np.ones(p.shape)
    SGD(parameters, lr=0.1).step()
    for p in parameters:
        p.grad = None


# --- What does not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float64"), np.dtype([("x", "f8", 3)])["x"]])
def test_a_step_of_something_else_before_the_backward_pass_of_a_cast_does_no_harm(dtype: Any) -> None:
    """An op may have been given a dtype, which is its own base."""
    w, other = number(2.0), number(1.0)
    loss = (w * w).astype(np.dtype(dtype).base).sum()
    stepped(other)
    loss.backward()
    assert w.grad == 4.0


# --- What raises -----------------------------------------------------------------------------------------------


def test_two_losses_of_one_pass_with_a_step_between_them_raise_and_say_what_to_do() -> None:
    w, v = number(2.0, "w"), Tensor(np.array(3.0))
    once, twice = (w * v).sum(), (w * w * v).sum()
    once.backward()
    SGD([w], lr=0.1).step()
    with pytest.raises(ChangedInPlaceError) as caught:
        twice.backward()
    said = str(caught.value)
    assert said.startswith("op 'mul', number ")
    assert "parameter w, which an optimiser's step has changed in place since" in said
    assert said.endswith("call every backward() before step(), or compute the loss anew")
    (w * w * v).sum().backward()  # anew, at w = 2 - 0.1 * 3
    assert float(w.grad) == pytest.approx(3.0 + 2 * 1.7 * 3)


def test_the_parameter_is_called_as_the_optimiser_calls_it_where_it_has_no_name() -> None:
    w = number(2.0)
    w.grad = np.ones(())
    loss = w * w
    SGD({"encoder.W": w}, lr=0.1).step()
    with pytest.raises(ChangedInPlaceError, match=r"parameter encoder\.W"):
        loss.backward()


@every_optimizer
@pytest.mark.parametrize("rows", [False, True], ids=["dense", "rows"])
def test_a_step_of_every_optimiser_is_noticed(make: Callable[[Any], Optimizer], rows: bool) -> None:
    table = Parameter(np.arange(6.0).reshape(3, 2))
    optimizer = make([table])
    for _ in range(2):  # the first step, and one with accumulators
        loss = (ops.take(table, [0, 2]) * table[:2]).sum()
        table.grad = RowSparse(np.array([1]), np.ones((1, 2)), (3, 2)) if rows else np.ones((3, 2))
        optimizer.step()
        with pytest.raises(ChangedInPlaceError):
            loss.backward()


X, W = np.random.default_rng(3).uniform(-1, 1, (4, 3)), np.random.default_rng(4).uniform(-1, 1, (3, 3))

SEEN: dict[str, Callable[[Any, Any], Tensor]] = {
    "itself": lambda x, w: x @ w,
    "transposed": lambda x, w: x @ w.T,
    "a view of a view": lambda x, w: x[:, :1] * w.T[0].reshape(3, 1)[:1],
    "a row": lambda x, w: x @ w[1],
    "unstacked": lambda x, w: x @ ops.unstack(w)[2],
    "detached": lambda x, w: x @ w.detach(),
    "its array": lambda x, w: x @ w.data,
    "a view of its array": lambda x, w: x @ w.data.T,
    "an operand of several": lambda x, w: ops.einsum("ij,jk->ik", x, w),
    "a joint rule": lambda x, w: ops.linear_cross_entropy(x, w, None, [0, 1, 2, 0], reduction="none"),
}


@pytest.mark.parametrize("use", SEEN)
def test_a_changed_array_is_found_in_whatever_guise_where_only_another_gradient_is_asked_for(use: str) -> None:
    w = Parameter(W, name="w")
    out, pullback = vjp(lambda x: SEEN[use](x, w), Tensor(X))
    pullback(np.ones(out.shape))
    stepped(w)
    with pytest.raises(ChangedInPlaceError, match="parameter w"):
        pullback(np.ones(out.shape))


@pytest.mark.parametrize("use", SEEN)
def test_so_it_is_by_backward(use: str) -> None:
    w, x = Parameter(W, name="w"), Tensor(X, requires_grad=True)
    loss = SEEN[use](x, w).sum()
    stepped(w)
    with pytest.raises(ChangedInPlaceError, match="parameter w"):
        loss.backward()


@pytest.mark.parametrize("on", [True, False], ids=["compiled", "plain loop"])
def test_a_layer_whose_weights_were_changed_raises(on: bool) -> None:
    layer = GRU(2, 3, rng=np.random.default_rng(0))
    with compiled(on):
        loss = layer(np.ones((4, 1, 2), np.float32))[0].sum()
        stepped(layer.cells[0].z.W)
        with pytest.raises(ChangedInPlaceError, match=r"parameter z\.W"):
            loss.backward()


def test_a_derivative_that_is_to_be_differentiated_again_raises_too() -> None:
    w = number(2.0, "w")
    slope = grad(lambda x: w * x * x)(Tensor(np.array(3.0)))
    stepped(w)
    with pytest.raises(ChangedInPlaceError):
        slope.backward()


def test_a_tape_that_was_retained_raises() -> None:
    w = number(2.0, "w")
    loss = w * w
    loss.backward(retain=True)
    SGD([w], lr=0.1).step()
    with pytest.raises(ChangedInPlaceError):
        loss.backward()


# --- What does not ---------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), min_size=1, max_size=4),
    st.lists(st.sampled_from(["step a", "step b", "rebind a", "rebind b"]), max_size=3),
)
def test_each_gradient_is_that_of_the_values_of_its_forward_pass_or_an_error(
    products: list[tuple[str, str]], events: list[str]
) -> None:
    parameters = {"a": number(1.5, "a"), "b": number(-0.75, "b")}
    before = {name: float(p.data) for name, p in parameters.items()}
    losses = [parameters[first] * parameters[second] for first, second in products]
    written: set[str] = set()  # whose array of the forward pass was written into
    rebound: set[str] = set()
    for event in events:
        what, name = event.split()
        p = parameters[name]
        if what == "step":
            stepped(p)
            if name not in rebound:
                written.add(name)
        else:
            p.data = p.data * 3.0
            rebound.add(name)
    for (first, second), loss in zip(products, losses, strict=True):
        for p in parameters.values():
            p.grad = None
        if {first, second} & written:
            with pytest.raises(ChangedInPlaceError):
                loss.backward()
            continue
        loss.backward()
        expected = dict.fromkeys("ab", 0.0)
        expected[first] += before[second]
        expected[second] += before[first]
        for name, p in parameters.items():
            assert (0.0 if p.grad is None else float(p.grad)) == expected[name]


def test_a_step_of_other_parameters_is_none_of_its_business() -> None:
    w, other = number(2.0), number(5.0)
    loss = w * w
    stepped(other)
    loss.backward()
    assert w.grad == 4.0


def test_a_step_that_was_skipped_changes_nothing() -> None:
    w = number(2.0)
    loss = w * w
    w.grad = np.array(np.nan)
    assert not SGD([w], lr=0.1).step()
    w.grad = None
    loss.backward()
    assert w.grad == 4.0


def test_a_number_in_the_place_of_the_array_is_trained_too() -> None:
    w = number(2.0)
    w.data = w.data * 3.0  # which NumPy makes a number
    assert isinstance(w.data, np.float64)
    stepped(w)
    assert w.data == pytest.approx(5.9)


def test_an_array_that_cannot_be_written_to_is_replaced_and_the_tape_keeps_the_old_one() -> None:
    w = number(2.0)
    w.data.flags.writeable = False
    loss = w * w
    stepped(w)
    assert w.data == pytest.approx(1.9)
    loss.backward()
    assert w.grad == 4.0


def test_a_loop_of_forward_backward_and_step_runs_on() -> None:
    w = number(2.0)
    optimizer = SGD([w], lr=0.25)
    for _ in range(3):  # of w**2: each step halves w
        w.grad = None
        (w * w).backward()
        optimizer.step()
    assert w.data == 0.25


# --- The list of changes ---------------------------------------------------------------------------------------


def test_what_was_noted_of_an_array_is_forgotten_with_it() -> None:
    noted, array = Changes(), np.ones((2, 3))
    change = noted.to(array.T[1:], "w")
    change.number = noted.number()
    assert noted.of(array[0]) is change and change.name == "w" and change.number == noted.newest
    assert noted.of(array.copy()) is None and noted.of(2.5) is None
    assert noted.to(array, "v") is change and change.name == "v"
    del array
    assert noted._known == {}


@pytest.mark.slow
def test_training_does_not_lengthen_the_list() -> None:
    gc.collect()
    before = len(changes._known)
    for _ in range(5):
        stepped(number(1.0))
    assert len(changes._known) == before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_a_copy_of_an_optimiser_with_its_parameters_goes_on_by_itself(copied: Callable[[Any], Any]) -> None:
    w = number(2.0, "w")
    optimizer = Adam([w], lr=0.1)
    w.grad = np.array(1.0)
    optimizer.step()
    v, other = copied((w, optimizer))
    loss, theirs = w * w, v * v
    v.grad = np.array(1.0)
    other.step()
    assert v.data < w.data
    loss.backward()
    with pytest.raises(ChangedInPlaceError, match="parameter w"):
        theirs.backward()
    w.grad = np.array(1.0)
    optimizer.step()
    assert v.data == w.data
