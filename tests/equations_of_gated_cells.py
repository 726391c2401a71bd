"""The equations of later relatives of the LSTM and the GRU in plain NumPy."""

from __future__ import annotations

import numpy as np
from equations import F8, MORE_CASES, H, I, Weights, affine, logistic, of

from tinygrad_rnn.models.variants import (
    FastGRNNCell,
    HyperLSTMCell,
    MogrifierLSTMCell,
    MultiplicativeIntegrationLSTMCell,
    NASCell,
)

MORE_CASES += [
    *((MogrifierLSTMCell, I, {"rounds": rounds}) for rounds in (0, 1, 2, 6)),
    *((HyperLSTMCell, I, {"size": size, "embedding": embedding}) for size, embedding in [(1, 3), (5, 1)]),
]


@of(MogrifierLSTMCell)
def melis_2020(w: Weights, x: F8, h: F8, c: F8, rounds: int = 5) -> tuple[F8, ...]:
    for r in range(1, rounds + 1):
        if r % 2:
            x = 2 * logistic(h @ w[f"rounds.{r - 1}.W"]) * x  # eq. 1
        else:
            h = 2 * logistic(x @ w[f"rounds.{r - 1}.U"]) * h  # eq. 2
    i, f, o = (logistic(affine(w, name, x, h)) for name in "ifo")
    c_t = f * c + i * np.tanh(affine(w, "g", x, h))
    return o * np.tanh(c_t), c_t


@of(MultiplicativeIntegrationLSTMCell)
def wu_2016(w: Weights, x: F8, h: F8, c: F8) -> tuple[F8, ...]:
    def integrated(name: str) -> F8:
        Wx, Uz = x @ w[f"{name}.U"], h @ w[f"{name}.W"]
        alpha, beta_1, beta_2 = (w[f"{part}.{name}"] for part in ("alpha", "beta_h", "beta_x"))
        return alpha * Wx * Uz + beta_1 * Uz + beta_2 * Wx + w[f"{name}.b"]  # eq. 4

    f, i, o = (logistic(integrated(name)) for name in "fio")
    c_t = f * c + i * np.tanh(integrated("g"))
    return o * np.tanh(c_t), c_t


@of(HyperLSTMCell)
def ha_2017(
    w: Weights, x: F8, h: F8, c: F8, h_hat: F8, c_hat: F8, size: int = 16, embedding: int = 4
) -> tuple[F8, ...]:
    x_hat = np.hstack([h, x])
    i, f, o, g = (affine(w, f"small.{name}", x_hat, h_hat) for name in "ifog")
    c_hat = logistic(f) * c_hat + logistic(i) * np.tanh(g)
    h_hat = logistic(o) * np.tanh(c_hat)
    y: dict[str, F8] = {}
    for name in "ifog":
        z = {part: h_hat @ w[f"z.{name}_{part}.W"] + w[f"z.{name}_{part}.b"] for part in "hxb"}
        assert z["h"].shape == (len(x), embedding) and h_hat.shape == (len(x), size)
        d_h, d_x, b = (z[part] @ w[f"D.{name}_{part}"] for part in "hxb")
        y[name] = d_h * (h @ w[f"{name}.W"]) + d_x * (x @ w[f"{name}.U"]) + b + w[f"{name}.b"]
    c_t = logistic(y["f"]) * c + logistic(y["i"]) * np.tanh(y["g"])
    return logistic(y["o"]) * np.tanh(c_t), c_t, h_hat, c_hat


@of(NASCell)
def tensorflows_nas_cell(w: Weights, inputs: F8, m_prev: F8, c_prev: F8) -> tuple[F8, ...]:
    W_m, W_inputs = (np.hstack([w[f"a{k}.{part}"] for k in range(8)]) for part in "WU")
    bias = np.hstack([w[f"a{k}.b"] for k in range(8)])
    m_matrix, inputs_matrix = m_prev @ W_m + bias, inputs @ W_inputs
    m, i = np.split(m_matrix, 8, axis=1), np.split(inputs_matrix, 8, axis=1)
    assert m[0].shape == c_prev.shape

    def relu(a: F8) -> F8:
        return a * (a > 0)

    layer1 = [
        logistic(i[0] + m[0]),
        relu(i[1] + m[1]),
        logistic(i[2] + m[2]),
        relu(i[3] * m[3]),
        np.tanh(i[4] + m[4]),
        logistic(i[5] + m[5]),
        np.tanh(i[6] + m[6]),
        logistic(i[7] + m[7]),
    ]
    l2_0, l2_1 = np.tanh(layer1[0] * layer1[1]), np.tanh(layer1[2] + layer1[3])
    l2_2, l2_3 = np.tanh(layer1[4] * layer1[5]), logistic(layer1[6] + layer1[7])
    l2_0 = np.tanh(l2_0 + c_prev)  # "inject the cell"
    new_c = l2_0 * l2_1
    l3_1 = np.tanh(l2_2 + l2_3)
    return np.tanh(new_c * l3_1), new_c


@of(FastGRNNCell)
def kusupati_2018(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    W, U = w["n.U"], w["n.W"]
    z = logistic(x @ W + h @ U + w["z_b"])
    h_tilde = np.tanh(x @ W + h @ U + w["n.b"])
    zeta, nu = logistic(w["zeta"]), logistic(w["nu"])
    assert z.shape == (len(x), H)
    return ((zeta * (1 - z) + nu) * h_tilde + z * h,)
