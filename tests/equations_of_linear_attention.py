"""The equations of cells of `models/variants/linear_attention.py`, row by row and head by head. Papers that write
states as (values, keys) are followed in that: their matrices are the transposed ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from equations import F8, MORE_CASES, H, I, Weights, affine, logistic, of, rows

from tinygrad_rnn.models.variants import (
    DeltaNetCell,
    FastWeightsCell,
    GatedDeltaNetCell,
    GatedLinearAttentionCell,
    RWKV4Cell,
    TTTLinearCell,
)

MORE_CASES += [
    (FastWeightsCell, I, {"inner_steps": 3, "decay": 0.5, "eta": 0.2}),
    (RWKV4Cell, H, {}),
    *((kind, I, {"heads": n}) for kind in (DeltaNetCell, GatedDeltaNetCell, TTTLinearCell) for n in (2, 6)),
    *((GatedLinearAttentionCell, I, {"heads": n, "temperature": 3.0}) for n in (2, 6)),
    (TTTLinearCell, I, {"plain": True, "base_rate": 0.3, "heads": 3}),
]


@of(FastWeightsCell)
def ba_2016_fast(
    w: Weights, x: F8, h: F8, A: F8, inner_steps: int = 1, decay: float = 0.95, eta: float = 0.5
) -> tuple[F8, ...]:
    results = []
    for b in range(len(x)):
        fast = decay * A[b] + eta * np.outer(h[b], h[b])  # eq. 1
        boundary = affine(w, "n", x[b], h[b])
        inner = np.maximum(boundary, 0)
        for _ in range(inner_steps):
            z = boundary + fast @ inner  # eq. 2, and the normalisation of section 3.2
            z = w["norm.gain"] * (z - z.mean()) / np.sqrt(z.var() + 1e-5) + w["norm.bias"]
            inner = np.maximum(z, 0)
        results.append((inner, fast))
    return rows(results)


@of(RWKV4Cell)
def peng_2023(w: Weights, x: F8, num: F8, den: F8, most: F8, before: F8) -> tuple[F8, ...]:
    """With sums that are not stabilised. Of the new states only their product with exp(most) has a meaning; that the
    largest exponent is subtracted is compared on top."""
    r, k, v = (affine(w, name, w[f"mu.{name}"] * x + (1 - w[f"mu.{name}"]) * before) for name in "rkv")
    a, b = num * np.exp(most), den * np.exp(most)
    wkv = (a + np.exp(w["u"] + k) * v) / (b + np.exp(w["u"] + k))
    fall = np.exp(w["w_log"])
    a, b = np.exp(-fall) * a + np.exp(k) * v, np.exp(-fall) * b + np.exp(k)
    largest = np.maximum(most - fall, k)
    return a / np.exp(largest), b / np.exp(largest), largest, x, logistic(r) * wkv


def in_heads(values: F8, heads: int) -> list[F8]:
    """The entries of each head."""
    return np.split(values, heads)


def silu(a: F8) -> F8:
    return a * logistic(a)


def of_length_one(a: F8) -> F8:
    direction: F8 = a / np.sqrt(a @ a + 1e-6)
    return direction


@of(GatedLinearAttentionCell)
def yang_2024(w: Weights, x: F8, S: F8, heads: int = 1, temperature: float = 16.0) -> tuple[F8, ...]:
    results = []
    for b in range(len(x)):
        k, v = (in_heads(affine(w, name, x[b]), heads) for name in "kv")
        alpha = in_heads(logistic(affine(w, "a", x[b])) ** (1 / temperature), heads)  # section 4.4
        results.append((np.stack([np.diag(alpha[n]) @ S[b, n] + np.outer(k[n], v[n]) for n in range(heads)]),))  # eq. 3
    return rows(results)


def delta_rule(w: Weights, x: F8, S: F8, n: int, heads: int, alpha: float) -> F8:
    """Yang et al. 2025, eq. 10, of head n in one row; S is (values, keys), as in the paper."""
    k, v = (in_heads(affine(w, name, x), heads)[n] for name in "kv")
    k, beta = of_length_one(silu(k)), logistic(affine(w, "beta", x))[n]
    new: F8 = S @ (alpha * (np.eye(len(k)) - beta * np.outer(k, k))) + beta * np.outer(v, k)
    return new


@of(DeltaNetCell)
def schlag_2021(w: Weights, x: F8, S: F8, heads: int = 1) -> tuple[F8, ...]:
    return rows(
        [(np.stack([delta_rule(w, x[b], S[b, n].T, n, heads, 1.0).T for n in range(heads)]),) for b in range(len(x))]
    )


@of(GatedDeltaNetCell)
def yang_2025(w: Weights, x: F8, S: F8, heads: int = 1) -> tuple[F8, ...]:
    results = []
    for b in range(len(x)):
        alpha = np.exp(-np.exp(w["A_log"]) * np.log1p(np.exp(affine(w, "a", x[b]))))
        results.append((np.stack([delta_rule(w, x[b], S[b, n].T, n, heads, alpha[n]).T for n in range(heads)]),))
    return rows(results)


def ttt_model(w: Weights, k: F8, W: F8, n: int) -> F8:
    """f(k; W) of head n, with W as in the paper: (out, in)."""
    z = W @ k
    if "gain" not in w:
        return z
    f: F8 = k + w["gain"][n] * (z - z.mean()) / np.sqrt(z.var() + 1e-6) + w["shift"][n]
    return f


def ttt_gradient(w: Weights, k: F8, v: F8, W: F8, n: int) -> F8:
    """Of |f(k; W) - v|^2 by W, derived by hand: back through the gain and the normalisation to z = W k."""
    by_f = 2 * (ttt_model(w, k, W, n) - v)
    if "gain" not in w:
        return np.outer(by_f, k)
    z = W @ k
    deviation = np.sqrt(z.var() + 1e-6)
    normal, by_normal = (z - z.mean()) / deviation, by_f * w["gain"][n]
    by_z = (by_normal - by_normal.mean() - normal * (by_normal * normal).mean()) / deviation
    return np.outer(by_z, k)


@of(TTTLinearCell)
def sun_2024(w: Weights, x: F8, W: F8, heads: int = 1, base_rate: float = 1.0, **_: Any) -> tuple[F8, ...]:
    results = []
    for b in range(len(x)):
        k, v = (in_heads(affine(w, name, x[b]), heads) for name in "kv")
        rate = base_rate * logistic(affine(w, "eta", x[b])) / (H // heads)
        learnt = [W[b, n] - rate[n] * ttt_gradient(w, k[n], v[n], W[b, n].T, n).T for n in range(heads)]
        results.append((np.stack(learnt),))
    return rows(results)
