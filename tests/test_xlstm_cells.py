"""The cells of the xLSTM over whole sequences: against the paper's equations before they are made stable, against the
parallel form, and where only what is stable is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from equations import F8, B, H, I, close, drawn, given, logistic, sequence, stepped
from equations_of_xlstm import parallel_mlstm, unstable_mlstm, unstable_slstm

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.models.variants import MLSTMCell, SLSTMCell

BOTH: list[type[Cell]] = [SLSTMCell, MLSTMCell]

every_option = pytest.mark.parametrize("heads", [1, 2, 3])
every_forget = pytest.mark.parametrize("forget", ["sigmoid", "exp"])


def layer_of(kind: type[Cell], seed: int = 0, **options: Any) -> tuple[Recurrent, dict[str, F8]]:
    """A layer of a cell whose weights are drawn, and these by name."""
    layer = Recurrent(kind, I, H, dtype=np.float64, **options)
    layer.cells[0] = drawn(kind, seed=seed, **options)
    return layer, {name: p.data for name, p in layer.cells[0].named_parameters()}


def inputs(steps: int, seed: int = 0) -> F8:
    return np.random.default_rng([seed, 2]).standard_normal((steps, B, I))


@every_forget
@every_option
def test_the_slstms_outputs_are_those_of_the_equations_without_a_stabiliser(forget: str, heads: int) -> None:
    layer, w = layer_of(SLSTMCell, forget=forget, heads=heads)
    xs = inputs(12)
    close([layer(Tensor(xs))[0].numpy()], [unstable_slstm(w, xs, forget, heads)], 1e-10)


@every_forget
@every_option
def test_the_mlstms_outputs_are_those_of_the_equations_without_a_stabiliser_and_of_the_parallel_form(
    forget: str, heads: int
) -> None:
    layer, w = layer_of(MLSTMCell, forget=forget, heads=heads)
    xs = inputs(12)
    found = layer(Tensor(xs))[0].numpy()
    close([found], [unstable_mlstm(w, xs, forget, heads)], 1e-10)
    close([found], [parallel_mlstm(w, xs, forget, heads)], 1e-8)


def test_what_an_mlstm_divides_by_is_one_in_some_steps_and_its_normaliser_in_others() -> None:
    layer, w = layer_of(MLSTMCell)
    xs = inputs(12)
    m = np.stack([found[2] for found in sequence(layer.cells[0], xs)])
    n = np.stack([found[1] for found in sequence(layer.cells[0], xs)])
    q = xs @ w["q.U"] + w["q.b"]
    above = abs((n[:, :, 0] * q).sum(axis=-1)) > np.exp(-m[:, :, 0])
    assert above.any() and not above.all()


@every_option
def test_an_slstms_heads_do_not_see_one_another(heads: int) -> None:
    cell = drawn(SLSTMCell, heads=heads)
    x, states = given(cell)
    before = stepped(cell, x, states)
    first = slice(0, H // heads)
    changed = [states[0].copy(), *states[1:]]
    changed[0][:, first] += 1
    after = stepped(cell, x, changed)
    for a, b in zip(before, after, strict=True):
        seen = (a != b).any(axis=0)
        assert seen[first].any() and not seen[H // heads :].any()


def test_an_mlstms_heads_are_as_many_mlstms_side_by_side_but_for_the_root_of_their_width() -> None:
    layer, w = layer_of(MLSTMCell, heads=2)
    xs = inputs(8)
    found = layer(Tensor(xs))[0].numpy()
    for k, own in enumerate((slice(0, 3), slice(3, 6))):
        alone = Recurrent(MLSTMCell, I, 3, dtype=np.float64)
        cell: Any = alone.cells[0]
        for name in "qkvo":
            getattr(cell, name).U.data, getattr(cell, name).b.data = w[f"{name}.U"][:, own], w[f"{name}.b"][own]
        for name in "if":
            getattr(cell, name).U.data = w[f"{name}.U"][:, k : k + 1]
            getattr(cell, name).b.data = w[f"{name}.b"][k : k + 1]
        close([alone(Tensor(xs))[0].numpy()], [found[:, :, own]])


def test_an_mlstm_whose_keys_are_orthogonal_gives_back_the_value_that_was_written_under_a_key() -> None:
    """One-hot inputs, of which each is its own key and query, with all gates open and none to forget by."""
    layer = Recurrent(MLSTMCell, 4, 4, dtype=np.float64)
    cell: Any = layer.cells[0]
    for gate in (cell.q, cell.k, cell.v, cell.o, cell.i, cell.f):
        gate.U.data, gate.b.data = np.zeros_like(gate.U.data), np.zeros_like(gate.b.data)
    cell.q.U.data, cell.k.U.data = np.eye(4), 2 * np.eye(4)  # 2 / sqrt(4) is 1
    cell.v.U.data = values = np.arange(16.0).reshape(4, 4)
    cell.o.b.data, cell.f.b.data = np.full(4, 1000.0), np.full(1, 1000.0)
    outputs, _ = layer(Tensor(np.eye(4)[:, None]))  # each is read at once
    close([outputs.numpy()[:, 0]], [values])
    _, state = layer(Tensor(np.eye(4)[:, None]))
    for k in range(4):
        read = cell.output(Tensor(np.eye(4)[k : k + 1]), *(s[0] for s in state)).numpy()[0]
        close([read], [values[k]])


# --- Where exponentials would be too large, or too small ------------------------------------------------------


@every_forget
@pytest.mark.parametrize("shift", [-5000.0, -300.0, 300.0, 5000.0])
def test_the_scale_of_an_slstms_input_gates_changes_nothing_however_large_or_small(forget: str, shift: float) -> None:
    layer, w = layer_of(SLSTMCell, forget=forget)
    xs = inputs(12)
    usual = layer(Tensor(xs))[0].numpy()
    layer.cells[0].i.b.data = w["i.b"] + shift
    close([layer(Tensor(xs))[0].numpy()], [usual], 1e-8)


@every_forget
def test_an_mlstm_whose_input_gates_are_large_divides_by_its_normaliser_however_large_they_are(forget: str) -> None:
    layer, w = layer_of(MLSTMCell, forget=forget)
    xs, found = inputs(12), []
    for shift in (60.0, 5000.0):
        layer.cells[0].i.b.data = w["i.b"] + shift
        found.append(layer(Tensor(xs))[0].numpy())
    close([found[0]], [found[1]], 1e-8)
    assert abs(found[0]).max() > 0.1


@pytest.mark.parametrize(
    ("dtype", "shift", "largest"),
    [
        (np.float32, -60.0, 1e-22),
        (np.float64, -60.0, 1e-22),
        (np.float32, -5000.0, 1e-33),
        (np.float64, -5000.0, 1e-260),
    ],
)
def test_an_mlstm_whose_input_gates_are_shut_puts_out_next_to_nothing_with_a_gradient_that_is_finite(
    dtype: Any, shift: float, largest: float
) -> None:
    layer = Recurrent(MLSTMCell, I, H, dtype=dtype)
    layer.cells[0].i.b.data = np.full(1, shift, dtype)
    outputs, _ = layer(Tensor(inputs(12).astype(dtype)))
    assert abs(outputs.numpy()).max() <= largest
    outputs.sum().backward()
    assert all(np.isfinite(p.grad).all() for p in layer.parameters())


@every_forget
@pytest.mark.parametrize("kind", BOTH)
def test_they_are_finite_where_the_equations_without_a_stabiliser_are_not(kind: type[Cell], forget: str) -> None:
    layer, w = layer_of(kind, forget=forget)
    xs = 300 * inputs(12)
    with np.errstate(all="ignore"):
        without = (unstable_slstm if kind is SLSTMCell else unstable_mlstm)(w, xs, forget, 1)
    assert not np.isfinite(without).all()
    leaf = Tensor(xs, requires_grad=True)
    outputs, state = layer(leaf)
    sum((s.sum() for s in state), outputs.sum()).backward()
    for array in (outputs.numpy(), *(s.numpy() for s in state), *(t.grad for t in (leaf, *layer.parameters()))):
        assert np.isfinite(array).all()


def test_an_slstm_is_within_the_largest_and_smallest_that_it_has_written() -> None:
    """c / n is a mean of tanh z."""
    layer, w = layer_of(SLSTMCell, forget="exp")
    layer.cells[0].z.U.data, layer.cells[0].z.W.data = np.zeros((I, H)), np.zeros((H, H))
    xs = 100 * inputs(20)
    for _, c, n, _ in sequence(layer.cells[0], xs):
        close([c / n], [np.broadcast_to(np.tanh(w["z.b"]), (B, H))])


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_stabiliser_begins_below_all_that_a_gate_can_be_and_is_a_number(kind: type[Cell], dtype: Any) -> None:
    cell = kind(I, H, dtype=dtype)
    *zeros, m = cell.initial_state(2)
    assert m.dtype == dtype and np.isfinite(m.numpy()).all() and m.numpy().max() < -3e4
    assert not any(s.numpy().any() for s in zeros)


def test_a_forget_gate_that_is_shut_leaves_an_slstm_with_what_it_writes() -> None:
    cell = drawn(SLSTMCell)
    cell.f.b.data = np.full(H, -1000.0)
    x, states = given(cell)
    h, c, n, _ = stepped(cell, x, states)
    z, o = (x @ g.U.data + states[0] @ g.W.data + g.b.data for g in (cell.z, cell.o))
    close([h, c / n], [logistic(o) * np.tanh(z), np.tanh(z)])


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"forget": "tanh"}, "forget must be sigmoid or exp, got 'tanh'"),
        ({"heads": 4}, "heads must divide hidden_size 6, got 4"),
        ({"heads": 0}, "heads must be a whole number of at least 1, got 0"),
    ],
)
def test_options_without_sense_are_refused_by_name(kind: type[Cell], options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(I, H, **options)
