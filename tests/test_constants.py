"""Tensors of a model that are not trained: cast and moved with its Parameters, saved where that is asked for."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import CellError, Parameter, Tensor, check_cell, ops
from tinygrad_rnn.models import Buffer, Cell, Linear, Module, Recurrent

VALUES = np.array([0.5, 1.0, 2.0])


class Scaled(Cell):
    """h' = tanh(n(x, h)) k, for a constant k that is written in one of many ways."""

    gates = "n"

    def setup(self, spelling: str = "tensor") -> None:
        spellings: dict[str, Any] = {
            "tensor": Tensor(VALUES),
            "array": VALUES.copy(),
            "list": Tensor(VALUES.tolist()),
            "in a list": [Tensor(VALUES)],
            "array in a list": [VALUES.copy()],
            "in a dictionary": {"k": VALUES.copy()},
            "in a tuple": (3, (Tensor(VALUES),)),
            "buffer": Buffer(VALUES),
            "of a module": Holder(),
        }
        self.k = spellings[spelling]

    def constant(self) -> Tensor:
        k = self.k
        while not isinstance(k, Tensor):
            k = k.k if isinstance(k, Holder) else k["k"] if isinstance(k, dict) else k[-1]
        return k

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h)) * self.constant()[: self.hidden_size].sum()


class Holder(Module):
    def __init__(self) -> None:
        self.k = Tensor(VALUES)


SPELLINGS = "tensor array list|in a list|array in a list|in a dictionary|in a tuple|buffer|of a module".replace(
    " ", "|", 2
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spelling", SPELLINGS.split("|"))
def test_a_constant_has_the_dtype_of_its_cell_however_it_is_written(spelling: str, dtype: Any) -> None:
    layer = Recurrent(Scaled, 2, 3, dtype=dtype, spelling=spelling)
    cell: Any = layer.cells[0]
    assert cell.constant().dtype == dtype
    outputs, _ = layer(np.ones((4, 2, 2), dtype))
    assert outputs.dtype == dtype
    layer.astype(np.float64)
    assert cell.constant().dtype == np.float64
    np.testing.assert_array_equal(cell.constant().numpy(), VALUES)
    assert layer(np.ones((4, 2, 2)))[0].dtype == np.float64


def test_a_constant_is_neither_trained_nor_saved_and_a_buffer_is_saved() -> None:
    for spelling, saved in (("tensor", False), ("array", False), ("buffer", True)):
        layer = Recurrent(Scaled, 2, 3, spelling=spelling)
        assert not any("k" in name for name, _ in layer.named_parameters())
        assert ("cells.0.k" in layer.state_dict()) is saved


def test_what_two_models_share_is_cast_in_one_of_them_alone() -> None:
    shared = Tensor(VALUES)

    class Sharing(Module):
        def __init__(self) -> None:
            self.k, self.in_a_tuple = shared, (shared, 1)

    one, other = Sharing(), Sharing()
    one.astype(np.float32)
    assert one.k.dtype == one.in_a_tuple[0].dtype == np.float32 and one.k is one.in_a_tuple[0]
    assert other.k is shared and shared.dtype == np.float64


def test_whole_numbers_and_booleans_stay_what_they_are() -> None:
    class Indexed(Module):
        def __init__(self) -> None:
            self.order, self.mask = Tensor(np.array([2, 0, 1])), Tensor(np.array([True, False]))

    model = Indexed().astype(np.float32)
    assert model.order.dtype == np.int64 and model.mask.dtype == np.bool_


class RandomFeatures(Cell):
    """A fixed random matrix, drawn when the cell is made."""

    gates = "n:h"

    def setup(self, saved: bool = True) -> None:
        rng = np.random.default_rng() if self.rng is None else self.rng
        drawn = rng.standard_normal((self.input_size, self.hidden_size))
        self.R = Buffer(drawn) if saved else Tensor(drawn)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(h) + x @ self.R)


@pytest.mark.slow
def test_a_drawn_constant_that_is_not_saved_fails_the_battery_and_a_buffer_passes() -> None:
    assert check_cell(RandomFeatures, show=False).passed
    with pytest.raises(CellError, match="the cell holds numbers that are not in its Parameters or Buffers"):
        check_cell(RandomFeatures, show=False, saved=False)


def test_a_buffer_is_loaded_in_the_dtype_of_the_model_and_missing_ones_are_told() -> None:
    first = Recurrent(RandomFeatures, 2, 3, rng=np.random.default_rng(1))
    second = Recurrent(RandomFeatures, 2, 3, rng=np.random.default_rng(2), dtype=np.float64)
    second.load_state_dict(first.state_dict())
    R: Any = second.cells[0].R
    assert R.dtype == np.float64 and isinstance(R, Buffer)
    np.testing.assert_array_equal(R.numpy(), first.cells[0].R.numpy())
    state = first.state_dict()
    del state["cells.0.R"]
    with pytest.raises(ValueError, match=r"load_state_dict: missing \['cells.0.R'\]"):
        first.load_state_dict(state)


def test_results_of_a_buffer_are_tensors_and_copies_are_buffers() -> None:
    buffer = Buffer(VALUES)
    assert type(buffer * 2.0) is Tensor and not buffer.requires_grad
    assert type(copy.deepcopy(buffer)) is Buffer


def test_weights_and_gradients_are_not_touched_by_constants() -> None:
    class Both(Module):
        def __init__(self) -> None:
            self.linear, self.k = Linear(2, 2), Tensor(VALUES)
            self.p = Parameter(VALUES)

    model = Both().astype(np.float32)
    assert [name for name, _ in model.named_parameters()] == ["linear.weight", "linear.bias", "p"]
    assert all(isinstance(p, Parameter) for p in model.parameters())
