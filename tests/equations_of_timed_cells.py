"""The equations of cells with a time of their own in plain NumPy: differential equations, clocks, windows."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
from equations import F8, MORE_CASES, H, I, Weights, affine, logistic, of

from tinygrad_rnn.models.variants import (
    AntisymmetricRNNCell,
    ClockworkCell,
    CoRNNCell,
    LEMCell,
    LipschitzRNNCell,
    LMUCell,
)

MORE_CASES += [
    (CoRNNCell, I, {"dt": 0.3, "gamma": 1.3, "epsilon": 0.6}),
    (LEMCell, I, {"dt": 0.4}),
    (AntisymmetricRNNCell, I, {"epsilon": 0.5, "gamma": 0.3}),
    (AntisymmetricRNNCell, I, {"gated": False}),
    *((LipschitzRNNCell, I, {"beta": beta, "gamma": 0.2, "epsilon": 0.4}) for beta in (0.5, 0.8, 1)),
    *((ClockworkCell, I, {"periods": periods}) for periods in [(1,), (1, 3), (2, 4, 4), (6, 1)]),
    *((LMUCell, I, {"order": order, "window": window}) for order, window in [(1, 3.0), (4, 10.0), (9, 7.5)]),
]


@of(CoRNNCell)
def rusch_2021(
    w: Weights, u: F8, y: F8, z: F8, dt: float = 0.042, gamma: float = 2.7, epsilon: float = 4.7
) -> tuple[F8, ...]:
    force = np.tanh(y @ w["n.W"] + z @ w["of_z.W"] + u @ w["n.U"] + w["n.b"])
    z_n = (z + dt * force - dt * gamma * y) / (1 + dt * epsilon)  # eq. 3 at n-bar = n, solved for z_n
    np.testing.assert_allclose(z_n, z + dt * (force - gamma * y - epsilon * z_n), atol=1e-12)
    return y + dt * z_n, z_n


@of(LEMCell)
def rusch_2022(w: Weights, u: F8, y: F8, z: F8, dt: float = 1.0) -> tuple[F8, ...]:
    dt_n, dt_bar = dt * logistic(affine(w, "dz", u, y)), dt * logistic(affine(w, "dy", u, y))
    z_n = (1 - dt_n) * z + dt_n * np.tanh(affine(w, "nz", u, y))
    y_n = (1 - dt_bar) * y + dt_bar * np.tanh(affine(w, "ny", u, z_n))
    return y_n, z_n


@of(AntisymmetricRNNCell)
def chang_2019(
    w: Weights, x: F8, h: F8, epsilon: float = 0.1, gamma: float = 0.01, gated: bool = True
) -> tuple[F8, ...]:
    A = np.array([[w["n.W"][i, j] - w["n.W"][j, i] - gamma * (i == j) for j in range(H)] for i in range(H)])
    z = logistic(h @ A + affine(w, "z", x)) if gated else 1.0  # eq. 11
    return (h + epsilon * z * np.tanh(h @ A + x @ w["n.U"] + w["n.b"]),)  # eq. 12, 10


@of(LipschitzRNNCell)
def erichson_2021(
    w: Weights, x: F8, h: F8, epsilon: float = 0.03, beta: float = 0.75, gamma: float = 0.001
) -> tuple[F8, ...]:
    def symmetric_skew(M: F8) -> F8:
        bent: F8 = M + (1 - 2 * beta) * M.T - gamma * np.identity(H)
        return bent

    A, W = symmetric_skew(w["a.W"]), symmetric_skew(w["n.W"])
    return (h + epsilon * (h @ A) + epsilon * np.tanh(h @ W + x @ w["n.U"] + w["n.b"]),)


UNITS: dict[tuple[int, ...], list[list[int]]] = {
    (1, 2, 4, 8): [[0, 1], [2], [3, 4], [5]],
    (1,): [[0, 1, 2, 3, 4, 5]],
    (1, 3): [[0, 1, 2], [3, 4, 5]],
    (2, 4, 4): [[0, 1], [2, 3], [4, 5]],
    (1, 6): [[0, 1, 2], [3, 4, 5]],
}
"""Which of six units have the first period, the second..."""


@of(ClockworkCell)
def koutnik_2014(w: Weights, x: F8, h: F8, time: F8, periods: tuple[int, ...] = (1, 2, 4, 8)) -> tuple[F8, ...]:
    groups = list(zip(sorted(periods), UNITS[tuple(sorted(periods))], strict=True))
    new = h.copy()
    for b, t in enumerate(time[:, 0].astype(int)):
        for T_i, module in groups:
            if t % T_i == 0:
                total = x[b] @ w["n.U"][:, module] + w["n.b"][module]
                for T_j, other in groups:
                    if T_j >= T_i:
                        total = total + h[b, other] @ w["n.W"][np.ix_(other, module)]
                new[b, module] = np.tanh(total)
    return new, np.mod(time + 1, math.lcm(*periods))


@cache
def held_still(order: int, window: float) -> tuple[F8, F8]:
    """A and B of a step of eq. 1 over which u does not change: the sums of A^k / k! and of A^k B / (k + 1)!, in whole
    numbers, each of them 10^80 for one, so that what cancels leaves enough."""
    one, theta = 10**80, Fraction(window)
    A, B = np.zeros((order, order), object), np.zeros(order, object)
    for i in range(order):
        B[i] = int((2 * i + 1) * (-1) ** i * one / theta)  # eq. 2
        for j in range(order):
            A[i, j] = int((2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1)) * one / theta)
    power = A_bar = np.diag([one] * order).astype(object)
    B_bar = B
    for k in range(1, 150):
        power = power @ A // (one * k)
        A_bar, B_bar = A_bar + power, B_bar + power @ B // (one * (k + 1))
    return np.array(A_bar / one, np.float64), np.array(B_bar / one, np.float64)


@of(LMUCell)
def voelker_2019(w: Weights, x: F8, h: F8, m: F8, order: int = 16, window: float = 100.0) -> tuple[F8, ...]:
    A_bar, B_bar = held_still(order, window)
    u = x @ w["u.U"] + h @ w["u.W"] + m @ w["e_m"] + w["u.b"]  # eq. 7
    m_t = np.stack([A_bar @ row + B_bar * of_row for row, of_row in zip(m, u[:, 0], strict=True)])  # eq. 4
    return np.tanh(x @ w["n.U"] + h @ w["n.W"] + m_t @ w["M"] + w["n.b"]), m_t  # eq. 6
