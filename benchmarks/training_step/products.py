"""Matrix products as fast as NumPy has them, for the hand-written peers.

OpenBLAS takes products of at most 10**6 multiplications (m*n*k) without first repacking their operands, which on one
thread makes one large product in pieces of that size up to 1.5 times as fast as whole. One call of `np.matmul` over
stacked pieces does it. Where BLAS has more threads a large product is left whole: only that is divided among them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

SMALL = 10**6
WORTH_DIVIDING = 4 * SMALL  # below, waiting for the other threads costs what they save


def blas_threads() -> int:
    """How many threads NumPy's BLAS takes."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
    return max((int(pool["num_threads"]) for pool in pools), default=1)


class Product:
    """a (R,K) @ w (K,C) -> (R,C) for one `w` after another of that size: `load(w)`, then `into(a, out)`.

    `stack` > 1 stands for so many products of the same `a`: w (stack,K,C) -> (stack,R,C)."""

    def __init__(self, rows: int, inner: int, columns: int, stack: int = 1, whole: bool | None = None) -> None:
        if whole is None:
            whole = blas_threads() > 1 and stack * rows * inner * columns > WORTH_DIVIDING
        self.rows, self.columns = (rows, columns) if whole else _pieces(rows, inner, columns)
        self.shape = (stack, rows // self.rows, self.rows, columns // self.columns, self.columns)
        self.inner = inner
        self.w = np.empty((stack, 1, columns // self.columns, inner, self.columns), np.float32)

    def load(self, w: Any, scale: Any = 1) -> None:
        """Copies w (stack,K,C), or (K,C), times `scale`, which broadcasts over (stack,1,K,1,1), into pieces."""
        pieces = w.reshape(len(self.w), self.inner, self.w.shape[2], self.columns).transpose(0, 2, 1, 3)
        np.multiply(pieces[:, None], scale, out=self.w)

    def left(self, a: Any) -> Any:
        """a (R,K), as `into` wants it. A view: made once for a buffer that stays."""
        return a.reshape(1, self.shape[1], 1, self.rows, self.inner)

    def right(self, out: Any) -> Any:
        """out (stack,R,C) or (R,C), likewise."""
        return out.reshape(self.shape).transpose(0, 1, 3, 2, 4)

    def into(self, left: Any, right: Any) -> None:
        """The product, of views that `left` and `right` made."""
        np.matmul(left, self.w, out=right)


def _pieces(rows: int, inner: int, columns: int) -> tuple[int, int]:
    """The largest piece of the result below `SMALL`, of whole registers where there is a choice."""
    sizes = [
        (r, c) for r in _divisors(rows) for c in _divisors(columns) if r * c * inner <= SMALL and c >= min(columns, 16)
    ]
    return max(sizes, key=lambda size: (size[0] * size[1], min(size))) if sizes else (rows, columns)


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0 and (d % 16 == 0 or d == n)]
