"""What is started at each step of a loop, and what a device must do."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_rnn.backend import Array


class Lying(NamedTuple):
    """How a matrix lies: its leading dimension in entries, and whether its columns are what is in one piece."""

    leading: int
    turned: bool = False


class PassStart(NamedTuple):
    """A pass: the number of its kernel, and how many entries it keeps, each a sum where it `adds_up`."""

    kernel: int
    entries: int
    adds_up: bool


class MatrixProduct(NamedTuple):
    """out (M,N) = left (M,K) @ right (K,N), or with `adds` out += that. `left` and `out` are numbers of pieces in the
    table, `right` is that of a matrix; the others say in bytes how far into the piece they begin, and how they lie."""

    sizes: tuple[int, int, int]
    """M, K and N."""
    left: int
    left_offset: int
    left_lies: Lying
    right: int
    right_lies: Lying
    out: int
    out_offset: int
    out_lies: Lying
    adds: bool
    type_code: str
    """ "f" or "d", as NumPy has it."""


Start = PassStart | MatrixProduct


@dataclass(frozen=True, eq=False)
class Work:
    """A loop of so many steps, on certain arrays."""

    kernels: list[Any]
    steps: int
    parts: tuple[Start, ...]
    table: np.ndarray
    """(P,2) int64: of each piece in memory its address at the first step and how many bytes further it is at the next
    one, or, of those that are `ringed`, at every other one. Of what is `scratch` it is the place in such memory."""
    ringed: np.ndarray
    scratch: np.ndarray
    made: np.ndarray
    """(P,) booleans; `made` is what the loop writes."""
    scratch_bytes: int
    arrays: dict[int, tuple[Array, ...]]
    """Of the pieces of products, but for scratch, by number, the arrays in which they lie."""
    matrices: tuple[Array, ...]
    """By which products multiply."""

    @property
    def form(self) -> Hashable:
        """What all runs have in common that differ in numbers and addresses alone."""
        return self.steps, self.parts


class Device(Protocol):
    """What runs kernels and multiplies."""

    def compiled(self, source: str, count: int) -> list[Any]:
        """The kernels `pass0`, `pass1`, ... of a module."""

    def address(self, x: Array) -> int:
        """Where an array begins."""

    def start(self, kernel: Any, blocks: int, threads: int, table: np.ndarray, number: int) -> None:
        """Starts a kernel, which is given the table and a number, with so many blocks (or fewer, where they go round)
        of so many threads each."""

    def run(self, work: Work, before: dict[Hashable, Any]) -> None:
        """Starts the parts of each step, one after the other. `before` is the loop's own, where the device may keep
        what it has prepared, by form."""
