"""Initial weights, drawn from an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.surroundings import PerThread

Weights = HostArray

_of_the_whole: PerThread[np.random.Generator | None] = PerThread("tinygrad_rnn.of_the_whole", None)


@contextmanager
def drawing_from(rng: np.random.Generator | None) -> Iterator[None]:
    """Within it what is made without a generator of its own draws from this one: the parts of a cell from the cell's,
    so that no two layers begin alike."""
    token = _of_the_whole.set(rng)
    try:
        yield
    finally:
        _of_the_whole.reset(token)


def generator(rng: np.random.Generator | None) -> np.random.Generator:
    """The generator to draw from; without one, that of the whole of which something is made (`drawing_from`), or else a
    new one with seed 0: the same weights every time. Raises TypeError for anything else, a bare seed among them."""
    if rng is None:
        whole = _of_the_whole.get()
        return np.random.default_rng(0) if whole is None else whole
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng must be a numpy.random.Generator, such as numpy.random.default_rng(0), got {type(rng).__name__}"
        )
    return rng


def size(name: str, value: Any) -> int:
    """`value` as a size. Raises ValueError naming the argument unless it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)


def rate(name: str, value: float) -> float:
    """`value` as a probability below 1. Raises ValueError naming the argument otherwise."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
    return float(value)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], limit: float) -> Weights:
    """Uniform between -limit and limit."""
    return rng.uniform(-limit, limit, shape)


def glorot(rng: np.random.Generator, shape: tuple[int, int]) -> Weights:
    """Uniform with the variance 2 / (fan in + fan out) (Glorot & Bengio 2010, eq. 16)."""
    return uniform(rng, shape, math.sqrt(6 / (shape[0] + shape[1])))


def orthogonal(rng: np.random.Generator, shape: tuple[int, int]) -> Weights:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al. 2014): the recurrent product neither shrinks
    nor stretches at the start."""
    tall = rng.standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))  # which makes the distribution uniform over orthogonal matrices (Mezzadri 2007)
    return q if shape[0] >= shape[1] else q.T


def wildml(rng: np.random.Generator, shape: tuple[int, int]) -> Weights:
    """Uniform within 1/sqrt(fan in), as in the WildML tutorial (2015)."""
    return uniform(rng, shape, math.sqrt(1 / shape[0]))
