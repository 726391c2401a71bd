"""A loss over a plane of weights is the loss there, and leaves the weights as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import Parameter, Tensor
from tinygrad_rnn.inspection.surfaces import LossSurface, loss_surface, principal_directions, random_directions

seeds = st.integers(0, 2**32 - 1)
ACROSS, UP = np.linspace(-1, 2, 4), np.linspace(0, 1, 3)


def drawn(seed: int, count: int = 1) -> list[list[np.ndarray[Any, Any]]]:
    """Arrays of the shapes of `weights`."""
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal((2, 3)), rng.standard_normal(4)] for _ in range(count)]


def weights(seed: int = 0) -> tuple[Parameter, Parameter]:
    first, second = (Parameter(each) for each in drawn(seed)[0])
    return first, second


def surface(seed: int, center: Any = None) -> tuple[LossSurface, tuple[Parameter, Parameter], list[Any]]:
    u, v = weights(seed)
    first, second = drawn(seed + 1, 2)
    found = loss_surface(lambda: (u**2).sum() + v.sum(), [u, v], (first, second), ACROSS, UP, center)
    return found, (u, v), [first, second]


@given(seeds)
def test_each_value_is_the_loss_of_the_weights_there(seed: int) -> None:
    found, (u, v), ((u1, v1), (u2, v2)) = surface(seed)
    assert found.values.shape == (3, 4)
    for (j, i), value in np.ndenumerate(found.values):
        there = u.numpy() + ACROSS[i] * u1 + UP[j] * u2
        assert value == pytest.approx((there**2).sum() + (v.numpy() + ACROSS[i] * v1 + UP[j] * v2).sum(), rel=1e-9)


def test_a_center_may_be_elsewhere() -> None:
    elsewhere = drawn(9)[0]
    found, _, ((u1, v1), (u2, v2)) = surface(0, elsewhere)
    there = elsewhere[0] + ACROSS[1] * u1 + UP[2] * u2
    assert found.values[2, 1] == pytest.approx((there**2).sum() + (elsewhere[1] + ACROSS[1] * v1 + UP[2] * v2).sum())


def test_the_weights_are_what_they_were_even_after_an_error() -> None:
    u, v = weights()
    held, copies = (u.data, v.data), (u.numpy().copy(), v.numpy().copy())
    first, second = drawn(1, 2)
    loss_surface(u.sum, [u, v], (first, second), ACROSS, UP)

    def fails() -> Tensor:
        raise ArithmeticError("no loss here")

    with pytest.raises(ArithmeticError):
        loss_surface(fails, [u, v], (first, second), ACROSS, UP)
    assert (u.data is held[0], v.data is held[1]) == (True, True)
    np.testing.assert_array_equal(u.numpy(), copies[0])
    np.testing.assert_array_equal(v.numpy(), copies[1])


def test_nothing_is_recorded_and_the_dtype_stays() -> None:
    u = Parameter(np.ones(2, np.float32))
    seen: list[Tensor] = []

    def loss() -> Tensor:
        seen.append((u * u).sum())
        return seen[-1]

    loss_surface(loss, [u], ([np.ones(2)], [np.ones(2)]), ACROSS, UP)
    assert {(each.node, str(each.dtype)) for each in seen} == {(None, "float32")}


def test_a_number_does_and_what_is_no_number_is_kept() -> None:
    u = Parameter(np.array(0.0))
    found = loss_surface(lambda: np.log(u.numpy()), [u], ([1.0], [0.0]), ACROSS, UP)
    assert np.isnan(found.values[0, 0]) and found.values[0, 1] == -np.inf
    assert np.isfinite(found.values[0, 2])


def test_directions_of_other_shapes_are_refused() -> None:
    u, v = weights()
    (first, second), other = drawn(1, 2), [np.ones(6), np.ones(4)]
    for wrong in ((first, other), (other, second), (first, second[:1])):
        with pytest.raises(ValueError, match="of the Parameters were expected"):
            loss_surface(lambda: 0.0, [u, v], wrong, ACROSS, UP)
    with pytest.raises(ValueError, match=r"shapes \[\(2, 3\), \(4,\)\] of the Parameters were expected, got"):
        loss_surface(lambda: 0.0, [u, v], (first, second), ACROSS, UP, center=other)


@given(seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_weights_of_the_plane_have_their_place_on_it(seed: int, a: float, b: float) -> None:
    found, (u, v), ((u1, v1), (u2, v2)) = surface(seed)
    there = [u.numpy() + a * u1 + b * u2, v.numpy() + a * v1 + b * v2]
    assert found.place(there) == pytest.approx((a, b), abs=1e-9)


def test_weights_beside_the_plane_have_the_nearest_place() -> None:
    u = Parameter(np.zeros(3))
    found = loss_surface(lambda: 0.0, [u], ([np.array([1.0, 0, 0])], [np.array([0, 2.0, 0])]), ACROSS, UP)
    assert found.place([np.array([3.0, 4.0, 5.0])]) == pytest.approx((3, 2))


@given(seeds)
def test_the_principal_directions_of_a_path_in_a_plane_are_those_of_the_plane(seed: int) -> None:
    (last, first, second), rng = drawn(seed, 3), np.random.default_rng(seed)
    path = [
        [c + a * d + b * e for c, d, e in zip(last, first, second, strict=True)] for a, b in rng.standard_normal((6, 2))
    ]
    found = principal_directions([*path, last])
    assert [[part.shape for part in direction] for direction in found] == [[(2, 3), (4,)]] * 2
    flat = np.stack([np.concatenate([part.reshape(-1) for part in direction]) for direction in found])
    np.testing.assert_allclose(flat @ flat.T, np.eye(2), atol=1e-10)
    moves = np.stack([np.concatenate([(a - b).reshape(-1) for a, b in zip(w, last, strict=True)]) for w in path])
    np.testing.assert_allclose(moves @ flat.T @ flat, moves, atol=1e-8)
    assert np.linalg.norm(moves @ flat[0]) >= np.linalg.norm(moves @ flat[1])


def test_a_path_without_two_directions_is_refused() -> None:
    with pytest.raises(ValueError, match="three points for two directions, got 2"):
        principal_directions(drawn(0, 2))


def test_a_random_direction_is_as_long_as_each_parameter() -> None:
    u, v = weights()
    zero = Parameter(np.zeros(3))
    first, second = random_directions([u, v, zero], np.random.default_rng(0))
    for direction in (first, second):
        for part, parameter in zip(direction, (u, v, zero), strict=True):
            assert part.shape == parameter.shape
            assert np.linalg.norm(part) == pytest.approx(np.linalg.norm(parameter.numpy()))
    assert not np.allclose(first[0], second[0])


def test_the_picture_has_the_loss_and_the_paths_where_they_are() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    found, (u, v), ((u1, v1), (u2, v2)) = surface(0)
    path = [[u.numpy() + a * u1 + b * u2, v.numpy() + a * v1 + b * v2] for a, b in ((0, 0), (0.5, 0.25), (1, 1))]
    figure = found.plot({"down": path}, ("one", "other"))
    axes: Any = figure.axes[0]
    line, begin, end = axes.lines
    np.testing.assert_allclose(line.get_xydata(), np.array([[0, 0], [0.5, 0.25], [1, 1]]), atol=1e-9)
    assert (begin.get_marker(), end.get_marker()) == ("o", "X")
    np.testing.assert_allclose(end.get_xydata(), [[1, 1]], atol=1e-9)
    np.testing.assert_array_equal(axes.collections[0].get_array(), found.values)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xlim()) == ("one", "other", (-1, 2))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["down"]
    assert found.plot().legends == []
    matplotlib.pyplot.close("all")
