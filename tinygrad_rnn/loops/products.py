"""What the merging of a program makes and no step writes: a stack of weights, and a sum of products."""

from __future__ import annotations

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.tape import primitive


@primitive
def stacked(*xs: Array, shape: tuple[int, ...]) -> Array:
    """Arrays of one shape on a new leading axis, the result reshaped to `shape`, in C order: products with transposed
    weights take half as long again."""
    stack = xp(xs[0]).empty((len(xs), *xs[0].shape), dtype=xs[0].dtype)
    for i, x in enumerate(xs):
        stack[i] = x
    return stack.reshape(shape)


@primitive
def sum_of_products(a: Array, b: Array) -> Array:
    """Σ_g a[g] @ b[g]: (G,M,K), (G,K,N) -> (M,N)."""
    return xp(a).matmul(a, b).sum(axis=0)
