"""A layer of several cells: of different classes, sharing their weights, with norms between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.models import (
    Cell,
    GRUCell,
    LanguageModel,
    LayerNorm,
    LSTMCell,
    Recurrent,
    RMSNorm,
    RNNCell,
)
from tinygrad_rnn.models.variants import MemoryCell

CLASSES: list[type[Cell]] = [RNNCell, GRUCell, LSTMCell, MemoryCell]
T, B = 5, 3


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def layer_of(cell: Any, hidden: Any = 4, inputs: int = 2, **options: Any) -> Recurrent:
    return Recurrent(cell, inputs, hidden, dtype=np.float64, rng=np.random.default_rng(1), **options)


# --- A cell per layer ------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3),
    st.booleans(),
    st.one_of(st.none(), st.lists(st.integers(0, T), min_size=B, max_size=B)),
    st.data(),
)
def test_a_layer_of_different_cells_is_layers_one_on_another(
    kinds: list[type[Cell]], bidirectional: bool, lengths: list[int] | None, data: st.DataObject
) -> None:
    hidden = data.draw(st.one_of(st.just(4), st.lists(st.integers(2, 4), min_size=len(kinds), max_size=len(kinds))))
    layer = layer_of(kinds, hidden, bidirectional=bidirectional)
    rows = None if lengths is None else np.array(lengths)
    outputs, state = layer(draw(T, B, 2), lengths=rows)
    xs: Any = draw(T, B, 2)
    last: dict[str, list[Any]] = {}
    for number, kind in enumerate(kinds):
        size = hidden if isinstance(hidden, int) else hidden[number]
        single = layer_of(kind, size, xs.shape[2], bidirectional=bidirectional)
        single.cells = layer.cells[number * layer.directions : (number + 1) * layer.directions]
        xs, after = single(xs, lengths=rows)
        for name, part in zip(single.states, after, strict=True):
            last.setdefault(name, []).extend(ops.unstack(part))
    np.testing.assert_allclose(outputs.numpy(), xs.numpy(), rtol=1e-12, atol=1e-14)
    assert layer.states == [*last]
    for found, expected in zip(state, last.values(), strict=True):
        for a, b in zip(found if isinstance(found, tuple) else ops.unstack(found), expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)


def test_the_state_has_an_entry_per_name_stacked_over_the_layers_that_have_it() -> None:
    layer = layer_of([GRUCell, LSTMCell, GRUCell], bidirectional=True)
    _, state = layer(draw(T, B, 2))
    assert layer.states == ["h", "c"] and [s.shape for s in state] == [(6, B, 4), (2, B, 4)]
    assert layer.batch_axes == (1, 1)
    _, state = layer_of([GRUCell, LSTMCell], [3, 4])(draw(T, B, 2))
    assert isinstance(state[0], tuple) and state[1].shape == (1, B, 4)


@pytest.mark.parametrize("hidden", [4, [3, 4, 3]])
def test_a_carried_state_goes_on_where_the_cells_differ(hidden: Any) -> None:
    layer, xs = layer_of([LSTMCell, GRUCell, LSTMCell], hidden), draw(T, B, 2)
    whole, last = layer(xs)
    first, between = layer(xs[:2])
    second, end = layer(xs[2:], between)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()]), whole.numpy(), rtol=1e-12)
    for a, b in zip(last, end, strict=True):
        for one, other in zip(a if isinstance(a, tuple) else [a], b if isinstance(b, tuple) else [b], strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12)


def test_options_go_to_the_cells_that_take_them() -> None:
    layer = layer_of([GRUCell, LSTMCell], reset="before", forget_bias=3.0)
    assert layer.cells[0].reset == "before" and (layer.cells[1].f.b.numpy() == 3).all()
    with pytest.raises(TypeError, match="none of GRUCell, LSTMCell has an option 'depth'"):
        layer_of([GRUCell, LSTMCell], depth=2)


@pytest.mark.parametrize(
    ("cell", "hidden", "options", "error", "said"),
    [
        ([], 4, {}, TypeError, "cell must be a class made with Cell, or a list of such, got []"),
        ([GRUCell, int], 4, {}, TypeError, "or a list of such"),
        ([GRUCell, LSTMCell], 4, {"num_layers": 3}, ValueError, "num_layers must be 2, the number of cells, got 3"),
        ([GRUCell, LSTMCell], [4], {}, ValueError, "hidden_size must have one size for each of the 2 cells, got 1"),
    ],
)
def test_lists_that_do_not_fit_are_refused(
    cell: Any, hidden: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        layer_of(cell, hidden, **options)
    assert said in str(raised.value)


def test_a_state_of_another_shape_is_told_by_its_name() -> None:
    layer = layer_of([GRUCell, LSTMCell])
    _, (h, c) = layer(draw(T, B, 2))
    with pytest.raises(ValueError, match=r"state 'c' must have the shape \(1, 3, 4\), got \(2, 3, 4\)"):
        layer(draw(T, B, 2), (h, h))
    with pytest.raises(ValueError, match=r"state must be a tuple of 2 \(h, c\), got 1"):
        layer(draw(T, B, 2), (c,))


def test_a_language_model_may_have_a_cell_per_layer_and_generates_with_it() -> None:
    model = LanguageModel(11, 4, 4, cell=["gru", LSTMCell], rng=np.random.default_rng(0))
    model.loss(np.ones((T, B), int), np.ones((T, B), int))[0].backward()
    assert all(p.grad is not None for p in model.parameters())


# --- Layers that share weights ---------------------------------------------------------------------------------


def test_layers_that_share_their_weights_are_one_cell_and_load_into_a_fresh_model() -> None:
    options: dict[str, Any] = {"num_layers": 3, "share_layers": True}
    layer = layer_of(GRUCell, 4, 4, **options)
    assert layer.cells[0] is layer.cells[1] is layer.cells[2]
    assert layer.size == layer_of(GRUCell, 4, 4).size
    other = Recurrent(GRUCell, 4, 4, dtype=np.float64, rng=np.random.default_rng(9), **options)
    other.load_state_dict(layer.state_dict())
    xs = draw(T, B, 4)
    np.testing.assert_array_equal(layer(xs)[0].numpy(), other(xs)[0].numpy())


def test_their_gradient_is_the_sum_of_those_of_layers_apart() -> None:
    shared, apart = layer_of(GRUCell, 4, 4, num_layers=3, share_layers=True), layer_of(GRUCell, 4, 4, num_layers=3)
    apart.load_state_dict(
        {name: shared.state_dict()[f"cells.0.{name.split('.', 2)[2]}"] for name in apart.state_dict()}
    )
    xs = draw(T, B, 4)
    for layer in (shared, apart):
        ops.square(layer(xs)[0]).sum().backward()
    grads = {name: p.grad for name, p in apart.named_parameters()}
    for name, p in shared.named_parameters():
        total = sum(grads[f"cells.{k}.{name.split('.', 2)[2]}"] for k in range(3))
        np.testing.assert_allclose(p.grad, total, rtol=1e-10)


def test_a_first_layer_of_another_size_and_each_direction_have_weights_of_their_own() -> None:
    layer = layer_of(GRUCell, 4, 3, num_layers=3, share_layers=True)
    assert layer.cells[0] is not layer.cells[1] is layer.cells[2]
    both = layer_of(GRUCell, 4, 8, num_layers=2, bidirectional=True, share_layers=True)
    assert both.cells[0] is both.cells[2] and both.cells[1] is both.cells[3] and both.cells[0] is not both.cells[1]


# --- Norms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "kind"), [("rms", RMSNorm), ("layer", LayerNorm)])
@pytest.mark.parametrize("residual", [False, True])
def test_a_norm_stands_before_each_layer_and_after_a_residual_stack(norm: str, kind: Any, residual: bool) -> None:
    layer = layer_of(GRUCell, 4, 4, num_layers=2, residual=residual, norm=norm)
    for k, each in enumerate(layer.norms):
        each.gain.data = draw(4, seed=k + 5)
    assert len(layer.norms) == 2 + residual and all(type(each) is kind for each in layer.norms)
    stream = Tensor(draw(T, B, 4))
    expected = stream
    for k in range(2):
        single = layer_of(GRUCell, 4, 4)
        single.cells = [layer.cells[k]]
        ys, _ = single(layer.norms[k](expected))
        expected = ys + expected if residual else ys
    expected = layer.norms[2](expected) if residual else expected
    np.testing.assert_allclose(layer(stream)[0].numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("filler", [0.0, 1e30, np.inf, np.nan])
@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_padding_changes_nothing_with_a_residual_and_a_norm(norm: str, filler: float) -> None:
    layer = layer_of(GRUCell, 4, 4, num_layers=2, residual=True, norm=norm)
    xs, lengths = draw(T, B, 4), np.array([5, 2, 0])
    gradients = []
    for fill in (0.5, filler):
        layer.zero_grad()
        padded = np.where(np.arange(T)[:, None, None] < lengths[:, None], xs, fill)
        outputs, _ = layer(padded, lengths=lengths)
        ops.square(outputs).sum().backward()
        gradients.append([p.grad for p in layer.parameters()])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for b, length in enumerate(lengths):
        assert not outputs.numpy()[length:, b].any()
        if length:
            np.testing.assert_allclose(
                outputs.numpy()[:length, b], layer(xs[:length, b : b + 1])[0].numpy()[:, 0], rtol=1e-12
            )


def test_the_rms_norm_is_its_formula_with_right_derivatives() -> None:
    norm, x = RMSNorm(4, dtype=np.float64), draw(3, 4)
    norm.gain.data = draw(4, seed=3)
    expected = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * norm.gain.numpy()
    np.testing.assert_allclose(norm(Tensor(x)).numpy(), expected, rtol=1e-12)
    assert tg.gradcheck(lambda x, gain: norm.with_values({"gain": gain})(x), x, norm.gain.numpy(), order=2)
    with pytest.raises(ValueError, match="RMSNorm: x must have 4 features in its last axis"):
        norm(Tensor(draw(3, 5)))


def test_another_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="norm must be rms, layer or None, got 'batch'"):
        layer_of(GRUCell, norm="batch")
