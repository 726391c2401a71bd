"""The equations of the xLSTM (Beck et al. 2024) in plain NumPy: a step as it is made stable, and whole sequences as the
paper has them before that, and in the parallel form of its supplement."""

from __future__ import annotations

import numpy as np
from equations import F8, MORE_CASES, H, I, Weights, affine, logistic, of, rows

from tinygrad_rnn.models.variants import MLSTMCell, SLSTMCell

MORE_CASES += [
    *((SLSTMCell, I, {"forget": forget, "heads": heads}) for forget, heads in [("exp", 1), ("sigmoid", 3), ("exp", 2)]),
    *((MLSTMCell, I, {"forget": forget, "heads": heads}) for forget, heads in [("exp", 1), ("sigmoid", 3), ("exp", 2)]),
]


def log_f(total: F8, forget: str) -> F8:
    """Eq. 13 and 26."""
    logarithm: F8 = np.log(logistic(total)) if forget == "sigmoid" else total
    return logarithm


def sums_of_slstm(w: Weights, x: F8, h: F8, heads: int) -> dict[str, F8]:
    """The sums within eq. 11 to 14, head by head."""
    sums = {}
    for name in "zifo":
        parts = []
        for k in range(heads):
            own = slice(k * H // heads, (k + 1) * H // heads)
            R = w[f"{name}.W"][own, own]
            parts.append(x @ w[f"{name}.U"][:, own] + h[:, own] @ R + w[f"{name}.b"][own])
        sums[name] = np.concatenate(parts, axis=1)
    return sums


@of(SLSTMCell)
def beck_2024_slstm(
    w: Weights, x: F8, h: F8, c: F8, n: F8, m: F8, forget: str = "sigmoid", heads: int = 1
) -> tuple[F8, ...]:
    tilde = sums_of_slstm(w, x, h, heads)
    m_t = np.maximum(log_f(tilde["f"], forget) + m, tilde["i"])  # eq. 15
    i = np.exp(tilde["i"] - m_t)  # eq. 16
    f = np.exp(log_f(tilde["f"], forget) + m - m_t)  # eq. 17
    c_t = f * c + i * np.tanh(tilde["z"])  # eq. 8
    n_t = f * n + i  # eq. 9
    return logistic(tilde["o"]) * (c_t / n_t), c_t, n_t, m_t  # eq. 10


def unstable_slstm(w: Weights, xs: F8, forget: str, heads: int) -> F8:
    """All h, by eq. 8 to 14."""
    h = c = n = np.zeros((xs.shape[1], H))
    found = []
    for x in xs:
        tilde = sums_of_slstm(w, x, h, heads)
        i, f = np.exp(tilde["i"]), np.exp(log_f(tilde["f"], forget))
        c, n = f * c + i * np.tanh(tilde["z"]), f * n + i
        h = logistic(tilde["o"]) * (c / n)
        found.append(h)
    return np.stack(found)


@of(MLSTMCell)
def beck_2024_mlstm(w: Weights, x: F8, C: F8, n: F8, m: F8, forget: str = "sigmoid", heads: int = 1) -> tuple[F8, ...]:
    results = []
    D = H // heads
    for b in range(len(x)):
        of_head: list[tuple[F8, ...]] = []
        for k in range(heads):
            own = slice(k * D, (k + 1) * D)
            key, value = affine(w, "k", x[b])[own] / np.sqrt(D), affine(w, "v", x[b])[own]  # eq. 23 and 24
            log_i, log_forget = affine(w, "i", x[b])[k], log_f(affine(w, "f", x[b])[k], forget)
            m_t = np.maximum(log_forget + m[b, k], log_i)  # eq. 15
            i, f = np.exp(log_i - m_t), np.exp(log_forget + m[b, k] - m_t)
            C_t = f * C[b, k] + i * np.outer(value, key)  # eq. 19
            of_head.append((C_t, f * n[b, k] + i * key, m_t))  # eq. 20
        results.append(rows(of_head))
    return rows(results)


def unstable_mlstm(w: Weights, xs: F8, forget: str, heads: int) -> F8:
    """All h, by eq. 19 to 27."""
    T, B, D = *xs.shape[:2], H // heads
    found = np.zeros((T, B, H))
    for b in range(B):
        for k in range(heads):
            own = slice(k * D, (k + 1) * D)
            C, n = np.zeros((D, D)), np.zeros(D)
            for t, x in enumerate(xs[:, b]):
                q, key, value, o = (affine(w, name, x)[own] for name in "qkvo")
                key = key / np.sqrt(D)
                i, f = np.exp(affine(w, "i", x)[k]), np.exp(log_f(affine(w, "f", x)[k], forget))
                C, n = f * C + i * np.outer(value, key), f * n + i * key
                found[t, b, own] = logistic(o) * (C @ q / max(abs(n @ q), 1))  # eq. 21
    return found


def parallel_mlstm(w: Weights, xs: F8, forget: str, heads: int) -> F8:
    """All h at once: what step t reads of step s is q_t k_s, times all forget gates between them and the input gate of
    s (supplement, "parallel mLSTM forward pass")."""
    T, B, D = *xs.shape[:2], H // heads
    found = np.zeros((T, B, H))
    for b in range(B):
        Q, K, V, O = (affine(w, name, xs[:, b]) for name in "qkvo")  # noqa: E741  (the paper's letters)
        for k in range(heads):
            own = slice(k * D, (k + 1) * D)
            logs = np.cumsum(log_f(affine(w, "f", xs[:, b])[:, k], forget))
            gates = np.exp(logs[:, None] - logs + affine(w, "i", xs[:, b])[:, k]) * np.tri(T)
            weights = (Q[:, own] @ K[:, own].T / np.sqrt(D)) * gates
            divisor = np.maximum(abs(weights.sum(axis=1)), 1)
            found[:, b, own] = logistic(O[:, own]) * (weights @ V[:, own] / divisor[:, None])
    return found
