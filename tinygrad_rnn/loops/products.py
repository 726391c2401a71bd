"""What the optimising of a program makes and no step writes: a stack of weights, and products with something added."""

from __future__ import annotations

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.blas import product
from tinygrad_rnn.buffers import empty_buffer
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


@primitive
def affine(x: Array, W: Array, b: Array) -> Array:
    """x @ W + b: (N,I), (...,I,H) and (...,1,H) or (H,) -> (...,N,H), as one product [x 1] @ [W; b]."""
    wide = empty_buffer((*x.shape[:-1], x.shape[-1] + 1), x.dtype, xp(x))
    wide[..., :-1], wide[..., -1] = x, 1
    high = empty_buffer((*W.shape[:-2], W.shape[-2] + 1, W.shape[-1]), W.dtype, xp(x))
    high[..., :-1, :], high[..., -1:, :] = W, b
    return product(wide, high, empty_buffer((*W.shape[:-2], len(x), W.shape[-1]), x.dtype, xp(x)))
