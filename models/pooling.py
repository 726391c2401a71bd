"""One vector for a sequence: of outputs (T,B,H) of rows of different lengths (B,)."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray, xp
from tinygrad_rnn.models import init
from tinygrad_rnn.models.attention import DotAttention
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.padding import checked_lengths, within_lengths
from tinygrad_rnn.tensor import Parameter, Tensor, as_tensor


def masked_mean(outputs: Tensor, lengths: Any) -> Tensor:
    """The mean over each row's own steps; zeros for a row without steps.

    Args:
        outputs: (T,B,H).
        lengths: (B,), whole numbers of steps.

    Returns:
        (B,H).

    Raises:
        ValueError: lengths do not fit.

    Example:
        >>> models.masked_mean(Tensor([[[1.0]], [[3.0]], [[99.0]]]), [2])
        Tensor([[2.]], shape=(1, 1), dtype=float32)
    """
    counts = checked_lengths(outputs, lengths)
    total = ops.sum(outputs, axis=0, where=_counting(outputs, counts))
    return total / as_tensor(xp(outputs.data).asarray(np.maximum(counts, 1).astype(outputs.dtype)[:, None]))


def masked_max(outputs: Tensor, lengths: Any) -> Tensor:
    """The largest entries over each row's own steps; zeros for a row without steps.

    Args:
        outputs: (T,B,H).
        lengths: (B,), whole numbers of steps.

    Returns:
        (B,H).

    Raises:
        ValueError: lengths do not fit.

    Example:
        >>> models.masked_max(Tensor([[[1.0]], [[3.0]], [[99.0]]]), [2])
        Tensor([[3.]], shape=(1, 1), dtype=float32)
    """
    counts = checked_lengths(outputs, lengths)
    largest = ops.max(outputs, axis=0, initial=-np.inf, where=_counting(outputs, counts))
    return ops.where(xp(outputs.data).asarray(counts > 0)[:, None], largest, 0.0)


def _counting(outputs: Tensor, counts: HostArray) -> Any:
    """Which steps count; None: all, where no row ends before the others, and no pass over all of them is needed."""
    return within_lengths(outputs, counts) if counts.min(initial=len(outputs)) < len(outputs) else None


def last(outputs: Tensor, lengths: Any, directions: int = 1) -> Tensor:
    """What each direction has read last, forward at the row's own last step; zeros for a row without steps.

    Args:
        outputs: (T,B,D*H).
        lengths: (B,), whole numbers of steps.
        directions: D; with 2 the second half is of the backward direction, which reads the first step last.

    Returns:
        (B,D*H).

    Raises:
        ValueError: lengths or directions do not fit.

    Example:
        >>> models.last(Tensor([[[1.0]], [[3.0]], [[99.0]]]), [2])
        Tensor([[3.]], shape=(1, 1), dtype=float32)
    """
    if directions not in (1, 2) or outputs.shape[2] % directions:
        raise ValueError(f"last: directions must be 1 or 2, dividing {outputs.shape[2]} features, got {directions}")
    counts, size = checked_lengths(outputs, lengths), outputs.shape[2] // directions
    if not len(outputs):
        return outputs.sum(axis=0)
    asarray = xp(outputs.data).asarray
    ends = asarray(np.maximum(counts - 1, 0)), asarray(np.arange(len(counts)))
    found = outputs[(*ends, slice(size))]
    if directions == 2:
        found = ops.concatenate([found, outputs[0, :, size:]], axis=-1)
    return ops.where(asarray(counts > 0)[:, None], found, 0.0)


class AttentionPooling(Module):
    """The mean over each row's own steps, weighed by how well each fits a `query` (H,) that is learnt, one for all rows
    (Yang et al. 2016, eqs. 6 and 7). The query is zeros at first, and all steps weigh the same.

    Args:
        size: H.
        dtype: of the query.

    Example:
        >>> outputs = Tensor([[[1.0]], [[3.0]], [[99.0]]])  # (T,B,H)
        >>> mean, weights = models.AttentionPooling(1)(outputs, [2])
        >>> mean.numpy(), weights.numpy()
        (array([[2.]], dtype=float32), array([[0.5, 0.5, 0. ]], dtype=float32))
    """

    def __init__(self, size: int, *, dtype: Any = np.float32) -> None:
        self.attention = DotAttention()
        self.query = Parameter(np.zeros(init.size("size", size)), dtype=dtype)

    def __call__(self, outputs: Tensor, lengths: Any) -> tuple[Tensor, Tensor]:
        """outputs (T,B,H) -> their means (B,H), zeros for a row without steps, and the weights (B,T), which are 0 after
        the end of a row. Raises ValueError for lengths that do not fit."""
        live, query = within_lengths(outputs, lengths), ops.broadcast_to(self.query, outputs.shape[1:])
        if not len(outputs):
            return outputs.sum(axis=0), outputs.sum(axis=-1).T
        # What stands after the end of a row may be no number, and 0 times that is none.
        return self.attention(query, ops.where(live, outputs, 0.0).transpose((1, 0, 2)), live[..., 0].T)
