"""Noise that a step reads: drawn outside of it while the layer trains, and None otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, check_cell, ops
from tinygrad_rnn.models import Cell, Recurrent

XS = np.random.default_rng(0).standard_normal((5, 3, 2))


class Noisy(Cell):
    gates = "n"

    def setup(self, strength: float = 0.3) -> None:
        self.strength = strength

    def step(self, x: Tensor, h: Tensor, noise: Tensor | None = None) -> Tensor:
        h = ops.tanh(self.n(x, h))
        return h if noise is None else h + self.strength * noise


class Dropping(Cell):
    """Two Tensors of noise: a uniform number for each unit, and one for each row."""

    gates = "n"

    @property
    def noise_shapes(self) -> Any:
        return [(self.hidden_size,), (1,)]

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        return rng.random(shape)

    def step(self, x: Tensor, h: Tensor, noise: Any) -> Any:
        h = ops.tanh(self.n(x, h))
        if noise is None:
            return h
        units, row = noise
        return ops.where(units < 0.5, 0.0, h) + row


def layer_of(cell: type[Cell], **options: Any) -> Recurrent:
    return Recurrent(cell, 2, 4, dtype=np.float64, rng=np.random.default_rng(1), **options)


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_noise_is_standard_normal_of_the_layers_generator_and_none_without_one() -> None:
    layer = layer_of(Noisy)
    outputs, _ = layer(XS, rng=generator())
    drawn = generator().standard_normal((5, 3, 4))
    state = Tensor(np.zeros((3, 4)))
    cell: Any = layer.cells[0]
    for t in range(5):
        state = ops.tanh(cell.n(Tensor(XS[t]), state)) + 0.3 * drawn[t]
        np.testing.assert_allclose(outputs.numpy()[t], state.numpy(), rtol=1e-12)
    quiet = layer_of(Noisy, strength=0.0)
    quiet.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(layer(XS)[0].numpy(), quiet(XS, rng=generator())[0].numpy())


@pytest.mark.parametrize("cell", [Noisy, Dropping])
def test_one_seed_gives_one_result_in_layers_and_directions_compiled_or_not(cell: type[Cell]) -> None:
    layer = layer_of(cell, num_layers=2, bidirectional=True)
    lengths = np.array([5, 3, 0])
    for given in (None, lengths):
        first = layer(XS, lengths=given, rng=generator())[0].numpy()
        np.testing.assert_array_equal(first, layer(XS, lengths=given, rng=generator())[0].numpy())
        assert not np.allclose(first, layer(XS, lengths=given, rng=generator(8))[0].numpy())
        with tg.compiled(False):
            np.testing.assert_allclose(layer(XS, lengths=given, rng=generator())[0].numpy(), first, rtol=1e-12)


def test_noise_may_be_of_several_shapes_and_any_distribution() -> None:
    outputs = layer_of(Dropping)(np.zeros((400, 3, 2)), rng=generator())[0].numpy()
    row = generator()
    units, rows = row.random((400, 3, 4)), row.random((400, 3, 1))
    dropped = units < 0.5
    np.testing.assert_allclose(np.broadcast_to(rows, outputs.shape)[dropped], outputs[dropped], rtol=1e-12)
    assert 0.4 < dropped.mean() < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("cell", [Noisy, Dropping])
def test_a_step_with_noise_passes_the_battery_with_the_noise(cell: type[Cell]) -> None:
    assert check_cell(cell, show=False).passed


class WrongWithNoise(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor, noise: Tensor | None = None) -> Tensor:
        h = ops.tanh(self.n(x, h))
        return h if noise is None else h + _wrong(h) * noise


@tg.primitive
def _wrong(x: Any) -> Any:
    return x * x


_wrong.vjp(lambda g, out, x: g * x)  # it is 2 x


@pytest.mark.slow
def test_derivatives_are_checked_on_the_way_that_only_noise_takes() -> None:
    with pytest.raises(tg.CellError, match="first derivatives"):
        check_cell(WrongWithNoise, show=False)


class OfAnotherShape(Noisy):
    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        return rng.standard_normal(shape[1:])


class ShapesAreNone(Noisy):
    @property
    def noise_shapes(self) -> Any:
        return (4,)


def test_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"draw_noise must return numbers of the shape \(5, 3, 4\), got float64 of \(3, 4\)"
    ):
        layer_of(OfAnotherShape)(XS, rng=generator())
    with pytest.raises(TypeError, match=r"noise_shapes must have a tuple of numbers for each Tensor, got \(4,\)"):
        layer_of(ShapesAreNone)(XS, rng=generator())


def test_a_step_by_hand_may_be_given_noise() -> None:
    cell = Noisy(2, 4, dtype=np.float64)
    x, noise = Tensor(XS[0]), Tensor(np.ones((3, 4)))
    np.testing.assert_allclose((cell(x, noise=noise) - cell(x)).numpy(), 0.3, rtol=1e-12)
