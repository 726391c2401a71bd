"""How long a step of training would take on more ranks than there are here: a model of four parts, fitted to what was
measured.

    step(n) = compute(rows of a rank) + wait(dense sums, less what the backward pass hides) + rows + one small message

- compute(b) = c0 + c1 b: a rank's forward and backward pass over b rows, and the update, as one rank by itself needs.
- A sum of D bytes over n ranks takes 2 log2(n) latencies and moves 2 (n - 1) / n D bytes of each rank (Rabenseifner's
  algorithm: Thakur, Rabenseifner & Gropp 2005, section 4.3).
- It is hidden while the backward pass has still `hidden` of its seconds to go when the sums begin.
- The rows of a table go to all: log2(n) latencies, and (n - 1) R bytes to each rank; or, where they are more than twice
  the table, the table is summed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LATENCY = 20e-6
"""Seconds of a message between machines: of TCP on fast Ethernet 20 to 50 µs; InfiniBand has 1 to 2."""
NETWORKS = {1: 50e-6, 25: 20e-6, 400: 2e-6}
"""Gigabits a second, and the latency that goes with them."""


def allreduce_seconds(ranks: int, size: float, latency: float, bytes_a_second: float) -> float:
    """Of the sum over ranks of an array of so many bytes."""
    if ranks == 1:
        return 0.0
    return 2 * math.log2(ranks) * latency + 2 * (ranks - 1) / ranks * size / bytes_a_second


def allgather_seconds(ranks: int, own: float, latency: float, bytes_a_second: float) -> float:
    """Until each has the bytes of all, `own` from each."""
    return 0.0 if ranks == 1 else math.log2(ranks) * latency + (ranks - 1) * own / bytes_a_second


@dataclass(frozen=True)
class Fitted:
    """What is known of a model that is trained.

    Attributes:
        c0, c1: seconds of a step without ranks, and of each row.
        hidden: the part of the time for rows, c1 b, in which sums go on unseen.
        dense, table: bytes of the dense gradients, and of the table with row-sparse ones.
        rows0, rows1: bytes of rows that a rank has, of `rows0 * b ** rows1`: the more it reads, the fewer are new.
    """

    c0: float
    c1: float
    hidden: float
    dense: float
    table: float
    rows0: float
    rows1: float

    def compute(self, batch: float) -> float:
        """Seconds of a step of one rank with so many rows."""
        return self.c0 + self.c1 * batch

    def seconds(self, ranks: int, batch: float, latency: float, bytes_a_second: float, late: bool = False) -> float:
        """Of a step of so many ranks with a batch of so many rows together; `late`: sums begin after the backward
        pass."""
        own = batch / ranks
        summing = allreduce_seconds(ranks, self.dense, latency, bytes_a_second)
        hides = 0.0 if late else self.hidden * self.c1 * own
        rows = min(self.rows0 * own**self.rows1, self.table)
        if ranks * rows <= 2 * self.table:
            table = allgather_seconds(ranks, rows, latency, bytes_a_second)
        else:
            table = allreduce_seconds(ranks, self.table, latency, bytes_a_second)
        message = 0.0 if ranks == 1 else math.log2(ranks) * latency
        return self.compute(own) + max(0.0, summing - hides) + table + message

    def efficiency(self, ranks: int, rows: float, latency: float, bytes_a_second: float) -> float:
        """Of weak scaling, so many rows to each rank: the part of the time that is a rank's own work."""
        return self.compute(rows) / self.seconds(ranks, rows * ranks, latency, bytes_a_second)


def line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """c0 and c1 of the line with the least squares of relative errors, not below 0 at 0."""
    x, y = np.asarray(xs, float), np.asarray(ys, float)
    c1, c0 = np.polyfit(x, y, 1, w=1 / y)
    return (float(c0), float(c1)) if c0 >= 0 else (0.0, float(np.mean(y / x)))


def power(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """a and p of y = a x^p, by least squares of the logarithms."""
    slope, intercept = np.polyfit(np.log(xs), np.log(np.maximum(ys, 1.0)), 1)
    return float(np.exp(intercept)), float(slope)
