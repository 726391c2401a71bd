"""Cells with times of their own: units that tick slowly, and a memory of a window of time."""

from __future__ import annotations

import math

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell, TwoStates
from tinygrad_rnn.ops import tanh
from tinygrad_rnn.tensor import Parameter, Tensor


class ClockworkCell(Cell):
    """Koutnik et al. 2014, eq. 1 with section 3: a tanh RNN whose units stand in groups of like sizes, one for
    each of `periods`, and read those of the same or longer periods alone; a unit is computed in each step whose number
    its period divides, and stays as it is in all others. The states: h (B,H), and time (B,1), the number of the next
    step from 0 on, which begins anew where all periods do, and which zoneout leaves alone. (W is H by H all the same,
    and what would read faster units is not used. Left out is the output layer, eq. 2; the paper has no biases.)"""

    gates = "n"
    state = "h time"
    kept = "time"

    def setup(self, periods: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        self.periods = sorted(init.size("each of periods", period) for period in periods)
        if not self.periods:
            raise ValueError("periods must be whole numbers of at least 1, one or more of them, got none")
        units = [self.periods[k * len(self.periods) // self.hidden_size] for k in range(self.hidden_size)]
        self.period = np.array(units, float)
        self.slower = (self.period[:, None] >= self.period).astype(float)  # rows are read, columns read
        self.around = math.lcm(*self.periods)

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (1,)]

    def step(self, x: Tensor, h: Tensor, time: Tensor) -> TwoStates:
        n = self.n.with_recurrent(self.n.W * self.slower)
        due = ops.mod(time + 0.5, self.period) < 1  # by halves, so that nothing hangs on a time that is nearly whole
        return ops.where(due, tanh(n(x, h)), h), ops.mod(time + 1.5, self.around) - 0.5


class LMUCell(Cell):
    """Voelker et al. 2019, eq. 1 to 7: Legendre memory unit. m holds the last `window` steps of u, a number that is
    read off the input and both states, as the coefficients of `order` Legendre polynomials, by no weight that is
    trained: A and B are constants (eq. 2 and 4, by zero-order hold). The states: h (B,H), and m (B,order), which
    zoneout leaves alone. As in the paper, e_x and e_h begin LeCun uniform and e_m as 0. (The paper has no biases, and
    its W begin Glorot normal. Left out is the layer that reads h.)"""

    gates = "n"
    state = "h m"
    kept = "m"

    def setup(self, order: int = 16, window: float = 100.0) -> None:
        if not window > 0:
            raise ValueError(f"window must be above 0, got {window!r}")
        self.order = init.size("order", order)
        self.A, self.B = _legendre(self.order, window)
        rng = init.generator(self.rng)
        self.u = self.new_gate("u", size=1)
        for weight in (self.u.U, self.u.W):
            weight.data = init.uniform(rng, weight.shape, math.sqrt(3 / weight.shape[0]))
        self.e_m = Parameter(np.zeros((self.order, 1)), name="e_m")
        self.M = Parameter(init.glorot(rng, (self.order, self.hidden_size)), name="M")

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.order,)]

    def step(self, x: Tensor, h: Tensor, m: Tensor) -> TwoStates:
        u = self.u(x, h) + m @ self.e_m
        m = m @ self.A + u * self.B
        return tanh(self.n(x, h) + m @ self.M), m


def _legendre(order: int, window: float) -> tuple[HostArray, HostArray]:
    """A (order,order), transposed, since it is rows that are multiplied, and B (order,): a step of the memory in
    continuous time (eq. 2), held still within each step."""
    i = np.arange(order)
    factors = (2 * i[:, None] + 1) / window
    flow = np.zeros((order + 1, order + 1))  # with u as one more entry, which does not change
    flow[:order, :order] = factors * np.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1))
    flow[:order, order:] = factors * (-1.0) ** i[:, None]
    halvings = max(0, math.ceil(math.log2(np.abs(flow).sum(axis=0).max()))) + 1
    flow /= 2**halvings
    step = term = np.eye(order + 1)
    for k in range(1, 20):
        term = term @ flow / k
        step = step + term
    step = np.linalg.matrix_power(step, 2**halvings)
    return step[:order, :order].T, step[:order, order]
