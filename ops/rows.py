"""The rows of a classification loss: their targets, how much each weighs, and which of them count at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from tinygrad_rnn.backend import Array, is_array, xp
from tinygrad_rnn.ops.arithmetic import where
from tinygrad_rnn.ops.comparisons import logical_and, not_equal
from tinygrad_rnn.ops.indexing import _within, scatter
from tinygrad_rnn.ops.reductions import sum
from tinygrad_rnn.sums import accumulated, accumulator
from tinygrad_rnn.surroundings import current_surroundings
from tinygrad_rnn.tape import Box, astype

Reduction = Literal["mean", "sum", "none"]
"""What becomes of the losses of the rows: their mean over what counts, their sum, or nothing."""


def check_reduction(reduction: Reduction) -> None:
    """Raises ValueError for any other."""
    if reduction not in get_args(Reduction):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')


@dataclass(frozen=True)
class Rows:
    """The N rows of a loss, in one axis whatever the shape of the targets. Nothing that stands in a row that does not
    count, be it infinite or no number, reaches a loss or a gradient: such rows are left out of what follows. While a
    step is recorded, where the number of rows must be known beforehand, they stay, and read as zeros; so they do where
    logits on a device have targets on the host, which then waits for nothing."""

    labels: Any
    """(n,) The class of each row."""
    scale: Any
    """(n,) What each loss is multiplied by, so that the sum of all is the wanted sum or mean."""
    shape: tuple[int, ...]
    """That of the targets."""
    kept: Array | None
    """(N,) Which rows are here; None: all."""
    blank: Any
    """(N,) Which rows read as zeros; None: none."""

    def of(self, x: Any) -> Any:
        """(..., K) -> (n, K)."""
        flat = x.reshape((-1, x.shape[-1]))
        if self.kept is not None:
            return flat[self.kept]
        return flat if self.blank is None else where(self.blank[:, None], 0, flat)

    def losses(self, losses: Any) -> Any:
        """(n,) -> the shape of the targets, with 0 for rows that do not count."""
        if self.kept is not None:
            losses = scatter(losses, self.kept, self.kept.shape)
        return losses.reshape(self.shape)


def rows_of(
    name: str, logits: Any, classes: int, targets: Any, weights: Any, ignore_index: int | None, reduction: Reduction
) -> Rows:
    """The rows of the loss `name` of `logits` (..., K): `targets` (...) among so many classes, `weights` (...) or None,
    both where the logits are or on the host. With nothing to count, a mean is 0. Raises TypeError, ValueError or
    IndexError for what does not fit."""
    check_reduction(reduction)
    shape, lib = tuple(logits.shape[:-1]), logits.xp if isinstance(logits, Box) else xp(logits)
    targets, weights = _in_one_place(lib, _plain(targets), plain_weights(name, weights))
    if targets.dtype.kind not in "iu":
        raise TypeError(f"{name}: targets must be integers, one class index per row, got dtype {targets.dtype}")
    for what, x, of in (("targets", targets, ", one per row"), ("weights", weights, " of the targets")):
        if x is not None and tuple(x.shape) != shape:
            raise ValueError(f"{name}: {what} must have the shape {shape}{of}, got {tuple(x.shape)}")
    counting = None if ignore_index is None else not_equal(targets, ignore_index)
    labels = targets if counting is None else where(counting, targets, 0)
    labels = _within(labels, classes, f"{name}: targets").reshape((-1,))
    if weights is not None:
        weights = astype(weights, logits.dtype)
        heavy = not_equal(weights, 0)
        counting = heavy if counting is None else logical_and(counting, heavy)
    waiting = isinstance(labels, np.ndarray) and lib is not np  # for a device, without which all of it is known
    placed = lib.asarray if waiting else lambda x: x
    if counting is None:
        return Rows(placed(labels), _alike(lib, logits.dtype, math.prod(shape), reduction), shape, None, None)
    if weights is None:
        weights = (np if waiting else lib).ones(shape, dtype=logits.dtype)
    scale = loss_scale(where(counting, weights, 0), reduction).reshape((-1,))
    counting = counting.reshape((-1,))
    if isinstance(counting, Box):
        return Rows(labels, scale, shape, None, ~counting)
    if counting.all():
        return Rows(placed(labels), placed(scale), shape, None, None)
    if waiting:  # to choose rows by a mask a device would have to tell how many they are
        return Rows(placed(labels), placed(scale), shape, None, placed(~counting))
    return Rows(labels[counting], scale[counting], shape, counting, None)


def _in_one_place(lib: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Targets and weights for logits of a library: both on the host, if that is where they are, or both there."""
    if lib is np or all(x is None or isinstance(x, np.ndarray) for x in (targets, weights)):
        return targets, weights
    first, second = (lib.asarray(x) if isinstance(x, np.ndarray) else x for x in (targets, weights))
    return first, second


def _alike(lib: Any, dtype: Any, count: int, reduction: Reduction) -> Array:
    """The scale of so many rows of logits of a dtype that all weigh 1."""
    dtype = accumulator(dtype, 1)
    return lib.full(count, dtype.type(1) / dtype.type(max(count, 1) if reduction == "mean" else 1), dtype=dtype)


def plain_weights(name: str, weights: Any) -> Any:
    """Weights off the tape; None is none. Raises TypeError for weights that a gradient is asked for, and for what is no
    array of numbers."""
    if isinstance(weights, str):
        raise TypeError(f"{name}: weights must be an array of numbers, got {weights!r}; name it: reduction={weights!r}")
    if isinstance(weights, Box) and not _is_recording() and weights.node is not None:
        raise TypeError(f"{name}: weights carry no gradient, and were given on the tape; detach() them")
    return _plain(weights)


def _is_recording() -> bool:
    return current_surroundings.get().recorder is not None


def _plain(x: Any) -> Any:
    """An array for a list or for a Tensor with numbers, of which no gradient is asked for; None is none."""
    if isinstance(x, Box):
        return x.detach() if _is_recording() else x.data  # type: ignore[attr-defined]  # every Box is a Tensor
    return x if x is None or is_array(x) else np.asarray(x)


def loss_scale(weights: Any, reduction: Reduction) -> Any:
    """Weights such that a weighted sum is the wanted mean or sum, in the dtype in which that is added up."""
    weights = astype(weights, accumulator(weights.dtype, 1))
    if reduction != "mean":
        return weights
    total = sum(weights) if isinstance(weights, Box) else accumulated(weights).astype(weights.dtype)
    return weights / where(total == 0, 1, total)
