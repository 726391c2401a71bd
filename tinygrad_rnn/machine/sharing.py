"""Large products, shared out among threads."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.machine.choosing import ours_is_faster
from tinygrad_rnn.machine.multiplying import multiply
from tinygrad_rnn.machine.product import TALL, panel_columns
from tinygrad_rnn.threads import in_threads, threads

PRODUCT_SHARED_FROM = 1 << 23
"""Multiplications from which a product is worth more than one thread."""


def shared_product(a: Array, b: Array, out: Array, adds: bool = False) -> None:
    """out = a @ b, or with `adds` out += a @ b, of matrices of one dtype (float32 or float64); `out` has its columns
    side by side."""
    (M, K), N = a.shape, b.shape[1]
    ours = adds or ours_is_faster(K, a.dtype)  # BLAS, by way of NumPy, does not add
    parts = threads() if M * N * K >= PRODUCT_SHARED_FROM else 1

    def part(rows: slice, columns: slice) -> None:
        if ours:
            multiply(a[rows], b[:, columns], out[rows, columns], adds)
        else:
            np.matmul(a[rows], b[:, columns], out=out[rows, columns])

    if parts == 1:
        part(slice(None), slice(None))
    elif N > M:
        cuts = cut(N, parts, panel_columns(a.dtype))
        in_threads(parts, lambda i: part(slice(None), slice(cuts[i], cuts[i + 1])))
    else:
        cuts = cut(M, parts, TALL)
        in_threads(parts, lambda i: part(slice(cuts[i], cuts[i + 1]), slice(None)))


def cut(n: int, parts: int, step: int) -> list[int]:
    """Where to cut n in so many parts, each but the last a multiple of `step`."""
    return [min(n, -(-n * i // parts // step) * step) for i in range(parts)] + [n]
