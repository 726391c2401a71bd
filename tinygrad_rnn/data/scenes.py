"""Scenes of one or two things as vectors, and what is to be seen in them, from left to right."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.backend import HostArray

SHAPES = "circle square triangle star".split()
COLOURS = "red blue green yellow".split()
SIZES = "small large".split()
_KINDS = (SHAPES, COLOURS, SIZES)
FEATURES = 2 * (sum(map(len, _KINDS)) + 3)
"""Of a vector: for each of two things its shape, colour and size, that it is there, and how far right and up."""
APART = 0.2
"""How far two things are apart at the least, across and up, in a picture of width and height 1."""


def scene(rng: np.random.Generator, noise: float = 0.05) -> tuple[HostArray, str]:
    """A vector (F,) float32 of a scene with noise on every number, and its one true caption. Which thing comes first in
    the vector says nothing: the caption begins with the one on the left, and what comes first in it is decided by
    comparing two numbers, which no linear method can."""
    count = int(rng.integers(1, 3))
    things = [tuple(int(rng.integers(len(kind))) for kind in _KINDS) for _ in range(count)]
    places = rng.random((count, 2))
    while count == 2 and (np.abs(places[0] - places[1]) < APART).any():
        places = rng.random((count, 2))
    slots = np.zeros((2, FEATURES // 2))
    offsets = np.cumsum([0, *map(len, _KINDS)])
    for slot, thing, place in zip(slots, things, places, strict=False):
        slot[[*(offsets[:-1] + thing), offsets[-1]]] = 1
        slot[offsets[-1] + 1 :] = place
    vector: HostArray = (slots.ravel() + noise * rng.standard_normal(FEATURES)).astype(np.float32)
    return vector, _caption(things, places)


def _caption(things: list[tuple[int, ...]], places: HostArray) -> str:
    order = np.argsort(places[:, 0])
    said = [f"a {SIZES[size]} {COLOURS[colour]} {SHAPES[shape]}" for shape, colour, size in (things[i] for i in order)]
    heights = places[order, 1]
    return f" {'above' if heights[0] > heights[-1] else 'below'} ".join(said)
