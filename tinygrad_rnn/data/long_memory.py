"""Examples of the problems of long memory: what stood many steps back decides, and between there is nothing of use."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.backend import HostArray

DISTRACTING = "abcd"
"""What stands where nothing is told, in examples of temporal order."""
TELLING = "XY"
"""What is told."""
RECALLED = "abcdefgh"
"""What is to be copied."""


def adding(rng: np.random.Generator, count: int, length: int) -> list[tuple[HostArray, float]]:
    """Adding (Hochreiter & Schmidhuber 1997, experiment 4, as in Le et al. 2015): rows of numbers from 0 to 1, each
    beside a mark, (T,2) float32, of `length` steps. The mark is 1 at one step of either half and otherwise 0; the
    output is the sum of the two numbers that are marked. Always to say 1 has the squared error 1/6."""
    half = length // 2
    found = np.zeros((count, length, 2), dtype=np.float32)
    found[..., 0] = rng.random((count, length), dtype=np.float32)
    for low, high in ((0, half), (half, length)):
        found[np.arange(count), rng.integers(low, high, count), 1] = 1
    return [(each, float(each[:, 0] @ each[:, 1])) for each in found]


def temporal_order(rng: np.random.Generator, count: int, length: int) -> list[tuple[str, str]]:
    """Temporal order (Hochreiter & Schmidhuber 1997, experiment 6a, as in Pascanu et al. 2013): `length` symbols, of
    which one in the second tenth and one in the sixth is X or Y, and all others say nothing; the output is these two,
    in their order."""
    symbols = np.array(list(DISTRACTING))[rng.integers(0, len(DISTRACTING), (count, length))]
    told = np.array(list(TELLING))[rng.integers(0, 2, (count, 2))]
    tenth = length // 10
    for number, low in enumerate((tenth, 5 * tenth)):
        symbols[np.arange(count), rng.integers(low, low + tenth, count)] = told[:, number]
    return [("".join(row), "".join(two)) for row, two in zip(symbols, told, strict=True)]


def to_copy(rng: np.random.Generator, count: int, symbols: int = 10) -> list[tuple[str, str]]:
    """What is to be said again after a delay (Hochreiter & Schmidhuber 1997, experiment 2; Arjovsky et al. 2016): so
    many symbols of eight, as the input and as the output."""
    drawn = np.array(list(RECALLED))[rng.integers(0, len(RECALLED), (count, symbols))]
    return [(text, text) for text in map("".join, drawn)]


def counting(rng: np.random.Generator, count: int, longest: int) -> list[tuple[str, str]]:
    """a^n b^n (Gers & Schmidhuber 2001), n from 1 to `longest`. The output is what must follow each symbol: "?" after
    an a, where either may, and "." after the last."""
    return [("a" * n + "b" * n, "?" * n + "b" * (n - 1) + ".") for n in rng.integers(1, longest + 1, count).tolist()]
