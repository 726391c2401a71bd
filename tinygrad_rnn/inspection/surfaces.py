"""A loss over a plane in the space of weights, and the way that an optimiser took on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, HostArray, to_host, xp
from tinygrad_rnn.inspection.plots import surface_map
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tensor import Parameter

Snapshot = Sequence[Array]
"""An array for each Parameter, of its shape."""


@dataclass(frozen=True, eq=False)
class LossSurface:
    """values (M,N): values[j,i] is the loss where the weights, all in one vector (P,), are `center + across[i] *
    directions[0] + up[j] * directions[1]`, for across (N,), up (M,), directions (2,P)."""

    across: HostArray
    up: HostArray
    values: HostArray
    center: HostArray
    directions: HostArray

    def place(self, weights: Snapshot) -> tuple[float, float]:
        """How far across and up the point of the plane lies that is nearest to these weights."""
        found, *_ = np.linalg.lstsq(self.directions.T, _flat(weights) - self.center, rcond=None)
        return float(found[0]), float(found[1])

    def plot(
        self, paths: Mapping[str, Sequence[Snapshot]] | None = None, titles: tuple[str, str] = ("first", "second")
    ) -> Any:
        """A matplotlib Figure: the loss as colours, and by its name each path, where it is nearest to the plane: copies
        of the weights after one step and another. A dot is where it begins, a cross where it ends. `titles` are those
        of the directions. Raises ModuleNotFoundError without matplotlib."""
        places = {name: np.array([self.place(weights) for weights in path]) for name, path in (paths or {}).items()}
        return surface_map(self.across, self.up, self.values, places, titles)


def loss_surface(
    loss: Callable[[], Any],
    parameters: Sequence[Parameter],
    directions: tuple[Snapshot, Snapshot],
    across: HostArray,
    up: HostArray,
    center: Snapshot | None = None,
) -> LossSurface:
    """Calls `loss()`, which gives a number or a Tensor of one entry, with weights on a plane: those of `center` (what
    they are now, unless told) plus `across` (N,) times the first of two `directions` and `up` (M,) times the second.
    Afterwards the weights are what they were. Raises ValueError for arrays that do not fit the Parameters."""
    held = [parameter.data for parameter in parameters]
    first, second = (_checked(each, parameters) for each in directions)
    middle = _checked(held if center is None else center, parameters)
    values = np.empty((len(up), len(across)))
    try:
        with no_grad(), np.errstate(all="ignore"):
            for (j, i), _ in np.ndenumerate(values):
                _put(parameters, middle + across[i] * first + up[j] * second)
                values[j, i] = float(loss())
    finally:
        for parameter, data in zip(parameters, held, strict=True):
            parameter.data = data
    return LossSurface(across, up, values, middle, np.stack([first, second]))


def principal_directions(path: Sequence[Snapshot]) -> tuple[list[HostArray], list[HostArray]]:
    """The two directions, of length 1, in which the weights of a path lie farthest from its last ones (Li et al. 2018,
    section 7.1). Raises ValueError for a path of fewer than three."""
    if len(path) < 3:
        raise ValueError(f"a path must have three points for two directions, got {len(path)}")
    ways = np.stack([_flat(weights) for weights in path[:-1]]) - _flat(path[-1])
    _, _, rows = np.linalg.svd(ways, full_matrices=False)
    first, second = (_apart(row, path[-1]) for row in rows[:2])
    return first, second


def random_directions(
    parameters: Sequence[Parameter], rng: np.random.Generator
) -> tuple[list[HostArray], list[HostArray]]:
    """Two random directions, the part of each Parameter as long as the Parameter itself, so that one that is zero is
    not moved: what Li et al. 2018, section 4, do by filter."""

    def drawn() -> list[HostArray]:
        found = []
        for parameter in parameters:
            part = rng.standard_normal(parameter.shape)
            found.append(part * (np.linalg.norm(parameter.numpy()) / np.linalg.norm(part)))
        return found

    return drawn(), drawn()


def _flat(weights: Snapshot) -> HostArray:
    return np.concatenate([np.asarray(to_host(each), np.float64).reshape(-1) for each in weights])


def _apart(vector: HostArray, like: Snapshot) -> list[HostArray]:
    ends = np.cumsum([np.size(each) for each in like])[:-1]
    return [part.reshape(np.shape(each)) for part, each in zip(np.split(vector, ends), like, strict=True)]


def _put(parameters: Sequence[Parameter], vector: HostArray) -> None:
    for parameter, part in zip(parameters, _apart(vector, [p.data for p in parameters]), strict=True):
        parameter.data = xp(parameter.data).asarray(part, dtype=parameter.dtype)


def _checked(weights: Snapshot, parameters: Sequence[Parameter]) -> HostArray:
    shapes, wanted = [np.shape(each) for each in weights], [parameter.shape for parameter in parameters]
    if shapes != wanted:
        raise ValueError(f"weights of the shapes {wanted} of the Parameters were expected, got {shapes}")
    return _flat(weights)
