"""The equations of cells of `models/variants/state_spaces.py`, in which complex numbers are complex."""

from __future__ import annotations

import numpy as np
from equations import F8, MORE_CASES, H, I, Weights, affine, logistic, of, rows
from numpy.typing import NDArray

from tinygrad_rnn.models.variants import LRUCell, RGLRUCell, S4DCell, SelectiveSSMCell

C16 = NDArray[np.complex128]

MORE_CASES += [
    *((LRUCell, I, {"state_size": size}) for size in (1, 9)),
    *((S4DCell, I, {"state_size": size, "discretisation": how}) for size, how in [(1, "zoh"), (5, "bilinear")]),
    *((SelectiveSSMCell, I, {"state_size": size, "discretisation": how}) for size, how in [(1, "euler"), (5, "zoh")]),
    (RGLRUCell, H, {"c": 2.0}),
]


def parts(z: C16) -> tuple[F8, F8]:
    return z.real, z.imag


def lru_eigenvalues(w: Weights) -> C16:
    eigenvalues: C16 = np.exp(-np.exp(w["nu_log"]) + 1j * np.exp(w["theta_log"]))
    return eigenvalues


@of(LRUCell)
def orvieto_2023(w: Weights, u: F8, re: F8, im: F8, state_size: int = H) -> tuple[F8, ...]:
    B = w["B_re"] + 1j * w["B_im"]
    x = lru_eigenvalues(w) * (re + 1j * im) + np.exp(w["gamma_log"]) * (u @ B)  # eq. 7
    assert x.shape == (len(u), state_size)
    return parts(x)


def s4d_discrete(w: Weights, discretisation: str) -> tuple[C16, C16]:
    """A and B of the discrete system, channel by channel."""
    A, B = -np.exp(w["decay_log"]) + 1j * w["frequency"], 1.0
    delta = np.exp(w["delta_log"])
    if discretisation == "bilinear":
        inverse = 1 / (1 - delta / 2 * A)
        return inverse * (1 + delta / 2 * A), inverse * delta * B
    return np.exp(delta * A), (np.exp(delta * A) - 1) / A * B


@of(S4DCell)
def gu_2022(w: Weights, x: F8, re: F8, im: F8, state_size: int = 16, discretisation: str = "zoh") -> tuple[F8, ...]:
    A, B = s4d_discrete(w, discretisation)
    state = np.empty((len(x), H, state_size), complex)
    for channel, u in enumerate(affine(w, "u", x).T):
        state[:, channel] = A[channel] * (re + 1j * im)[:, channel] + B[channel] * u[:, None]
    return parts(state)


@of(SelectiveSSMCell)
def gu_2023(w: Weights, x: F8, h: F8, state_size: int = 16, discretisation: str = "euler") -> tuple[F8, ...]:
    A = -np.exp(w["A_log"])
    results = []
    for x_row, h_row in zip(x, h, strict=True):
        B, u, delta = affine(w, "B", x_row), affine(w, "u", x_row), np.log1p(np.exp(affine(w, "delta", x_row)))
        new = np.empty((H, state_size))
        for d in range(H):
            A_bar = np.exp(delta[d] * A[d])
            B_bar = delta[d] * B if discretisation == "euler" else (A_bar - 1) / (delta[d] * A[d]) * delta[d] * B
            new[d] = A_bar * h_row[d] + B_bar * u[d]  # eq. 2a
        results.append((new,))
    return rows(results)


@of(RGLRUCell)
def de_2024(w: Weights, x: F8, h: F8, c: float = 8.0) -> tuple[F8, ...]:
    r, i = logistic(affine(w, "r", x)), logistic(affine(w, "i", x))  # eq. 1 and 2
    a = logistic(w["a_logit"]) ** (c * r)  # eq. 3
    wide = affine(w, "k", x) if x.shape[1] != h.shape[1] else x
    return (a * h + np.sqrt(1 - a**2) * (i * wide),)  # eq. 4
