"""A sum of matrix products as one operation, which the merging of a program makes and no step writes."""

from __future__ import annotations

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.tape import primitive


@primitive
def sum_of_products(a: Array, b: Array) -> Array:
    """Σ_g a[g] @ b[g]: (G,M,K), (G,K,N) -> (M,N)."""
    return xp(a).matmul(a, b).sum(axis=0)
