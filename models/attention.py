"""Attention: what a step reads of a memory (B,S,M), weighed by how well each of its S entries fits a query (B,Q).

Within a cell, or the step of a `scan`, what does not depend on the state (the keys: the memory times a matrix) is
calculated once, before the loop. Write it where it is needed; where the loop is Python's own, as in decoding, `keys`
gives them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.tensor import Parameter, Tensor


class Attention(Module):
    """What a step reads of a memory (B,S,M), weighed by how well each entry fits a query (B,Q). A subclass says how
    well: `scores`."""

    def keys(self, memory: Tensor) -> Tensor:
        """What scores read of a memory: (B,S,M) -> (B,S,A), the memory itself unless a subclass says otherwise."""
        return memory

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B,Q), (B,S,A) -> (B,S)."""
        raise NotImplementedError

    def __call__(
        self, query: Tensor, memory: Tensor, mask: Any = None, keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attends.

        Args:
            query, memory: (B,Q) and (B,S,M).
            mask: booleans (B,S), the entries that count.
            keys: those of the memory, where they have been calculated.

        Returns:
            The mean (B,M) of the memory, and its weights (B,S), which are 0 where the mask does not hold and sum to 1;
            to 0 where it holds nowhere.

        Raises:
            ValueError: shapes do not fit.
        """
        name = type(self).__name__
        if query.ndim != 2 or memory.ndim != 3 or query.shape[0] != memory.shape[0]:
            shapes = f"{tuple(query.shape)} and {tuple(memory.shape)}"
            raise ValueError(f"{name}: query (B,Q) and memory (B,S,M) must share B, got {shapes}")
        if mask is not None and tuple(mask.shape) != tuple(memory.shape[:2]):
            raise ValueError(f"{name}: mask must have the shape {tuple(memory.shape[:2])}, got {tuple(mask.shape)}")
        scores = self.scores(query, self.keys(memory) if keys is None else keys)
        if mask is None:
            weights = ops.softmax(scores, axis=-1)
        else:  # half of the lowest number: its distance to any score is finite
            lowest = float(np.finfo(scores.dtype).min) / 2
            weights = ops.where(mask, ops.softmax(ops.where(mask, scores, lowest), axis=-1), 0.0)
        return ops.einsum("bs,bsm->bm", weights, memory), weights


class AdditiveAttention(Attention):
    """A mean of a memory, weighed by v · tanh(q W + m U): Bahdanau et al. 2015, appendix A.1.2.

    Called with query (B,Q), memory (B,S,M) and, where not all entries count, a mask (B,S), it returns the mean (B,M)
    and the weights (B,S).

    Args:
        query_size, memory_size, size: Q, M and A, of W (Q,A), U (M,A) and v (A,).
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).

    Example:
        >>> attention = models.AdditiveAttention(2, 3, 4)
        >>> query, memory = Tensor(np.ones((1, 2))), Tensor(np.ones((1, 5, 3)))
        >>> found, weights = attention(query, memory, mask=np.arange(5)[None] < 2)
        >>> weights.numpy()
        array([[0.5, 0.5, 0. , 0. , 0. ]])
    """

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        size: int,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng, size = init.generator(rng), init.size("size", size)
        self.W = Parameter(init.glorot(rng, (init.size("query_size", query_size), size)), dtype=dtype)
        self.U = Parameter(init.glorot(rng, (init.size("memory_size", memory_size), size)), dtype=dtype)
        self.v = Parameter(init.glorot(rng, (size, 1))[:, 0], dtype=dtype)

    def keys(self, memory: Tensor) -> Tensor:
        """(B,S,M) -> (B,S,A)."""
        return memory @ self.U

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B,Q), (B,S,A) -> (B,S)."""
        return ops.tanh(ops.expand_dims(query @ self.W, 1) + keys) @ self.v


class DotAttention(Attention):
    """A mean of a memory, weighed by q · m, for a query and a memory of one size: Luong et al. 2015, eq. 8, dot. Called
    as `AdditiveAttention` is.

    Example:
        >>> query, memory = Tensor([[0.0, 9.0]]), Tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> found, weights = models.DotAttention()(query, memory)
        >>> weights
        Tensor([[1.2339e-04, 9.9988e-01]], shape=(1, 2), dtype=float32)
    """

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B,M), (B,S,M) -> (B,S). Raises ValueError for a query of another size than the memory's."""
        if query.shape[1] != keys.shape[2]:
            raise ValueError(
                f"DotAttention: query and memory must have one size, got {query.shape[1]} and {keys.shape[2]}; "
                "GeneralAttention has a matrix between them"
            )
        return ops.einsum("bm,bsm->bs", query, keys)


class GeneralAttention(Attention):
    """A mean of a memory, weighed by q W · m: Luong et al. 2015, eq. 8, general. Called as `AdditiveAttention` is.

    Args:
        query_size, memory_size: Q and M, of W (Q,M).
        dtype, rng: of W, and the generator that draws it (seed 0 unless told).

    Example:
        >>> attention = models.GeneralAttention(2, 3)
        >>> found, weights = attention(Tensor(np.ones((1, 2))), Tensor(np.ones((1, 5, 3))))
        >>> found.shape, weights.shape
        ((1, 3), (1, 5))
    """

    def __init__(
        self, query_size: int, memory_size: int, *, dtype: Any = np.float32, rng: np.random.Generator | None = None
    ) -> None:
        shape = (init.size("query_size", query_size), init.size("memory_size", memory_size))
        self.W = Parameter(init.glorot(init.generator(rng), shape), dtype=dtype)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B,Q), (B,S,M) -> (B,S)."""
        return ops.einsum("bm,bsm->bs", query @ self.W, keys)
