"""Parameters on a device, updated as if they were one: there it is the number of kernels that costs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate, pairwise
from typing import Protocol

from tinygrad_rnn.backend import Array, xp


class Accumulators(Protocol):
    """What is remembered of a parameter."""

    arrays: list[Array]
    """Each of the parameter's shape."""


Update = Callable[[Array, Array, list[Array]], None]
"""Of a parameter, its gradient and its accumulators, in place."""


class AsOne:
    """Keeps the accumulators of parameters that are updated together one after the other in memory, so that nothing is
    gathered but parameters and gradients."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[list[list[Array]], list[Array]]] = {}
        """By the key of each step: the views that the parameters have, and the arrays in which they lie."""

    def step(
        self,
        key: Hashable,
        parameters: Sequence[Array],
        gradients: Sequence[Array],
        remembered: Sequence[Accumulators],
        usable: Array,
        update: Update,
    ) -> None:
        """Updates parameters of one dtype, and what is remembered of them; all stays as it was where the gradients turn
        out not to be `usable`, for which nobody waits. `key` is the same for the same parameters, one of few."""
        lib, places = xp(usable), list(pairwise(accumulate((x.size for x in parameters), initial=0)))
        states = self._together(key, remembered, places)
        p, g = (lib.concatenate([x.reshape(-1) for x in arrays]) for arrays in (parameters, gradients))
        before = [a.copy() for a in (p, *states)]
        update(p, g, states)
        for a, old in zip((p, *states), before, strict=True):
            a[...] = lib.where(usable, a, old)
        for data, (begin, end) in zip(parameters, places, strict=True):
            data[...] = p[begin:end].reshape(data.shape)

    def _together(
        self, key: Hashable, remembered: Sequence[Accumulators], places: Sequence[tuple[int, int]]
    ) -> list[Array]:
        """The accumulators of all, each kind in one array, in which each parameter's have a place."""
        views, found = self._kept.get(key, ([], []))
        if len(views) != len(remembered) or any(
            one.arrays is not known for one, known in zip(remembered, views, strict=True)
        ):
            found = [
                xp(kind[0]).concatenate([a.reshape(-1) for a in kind])
                for kind in zip(*(one.arrays for one in remembered), strict=True)
            ]
            for one, (begin, end) in zip(remembered, places, strict=True):
                one.arrays = [flat[begin:end].reshape(a.shape) for flat, a in zip(found, one.arrays, strict=True)]
            self._kept[key] = [one.arrays for one in remembered], found
        return found
