"""Losses. Each returns nats (or squared units for `mse`), reduced by "mean", "sum" or "none"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import Array, is_array, xp
from tinygrad_rnn.ops.activations import softmax, softplus
from tinygrad_rnn.ops.arithmetic import div, mul, square, sub, where
from tinygrad_rnn.ops.reductions import sum
from tinygrad_rnn.tape import Box, joint, primitive

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor

BLOCK_ENTRIES = 1 << 20
"""Logits that `linear_cross_entropy` holds at a time: 4 MiB of float32, about what a core's caches hold."""


# --- How a loss per item becomes one number --------------------------------------------------------------------


def _raw(x: Any) -> Any:
    return x.data if isinstance(x, Box) else x


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')


def _reduce(losses: Tensor, reduction: str) -> Tensor:
    _check_reduction(reduction)
    if reduction == "none":
        return losses
    total = sum(losses)
    return total if reduction == "sum" else div(total, max(losses.size, 1))


def _check_targets(name: str, targets: Any, shape: tuple[int, ...], classes: int, ignore_index: int | None) -> Array:
    """The targets as an array of class indices, every ignored one replaced by class 0 (its weight is 0)."""
    targets = _raw(targets)
    if not is_array(targets):
        targets = np.asarray(targets)
    if targets.dtype.kind not in "iu":
        raise TypeError(f"{name}: targets must be integers, one class index per row, got dtype {targets.dtype}")
    if targets.shape != shape:
        raise ValueError(f"{name}: targets must have the shape {shape}, one per row, got {targets.shape}")
    if ignore_index is not None:
        targets = xp(targets).where(targets == ignore_index, 0, targets)
    if targets.size and not (0 <= int(targets.min()) and int(targets.max()) < classes):
        wrong = int(targets.min()) if int(targets.min()) < 0 else int(targets.max())
        raise IndexError(f"{name}: targets must lie between 0 and {classes - 1}, got {wrong}")
    return targets


def _row_weights(name: str, like: Array, targets: Any, weights: Any, ignore_index: int | None) -> Array:
    """A weight per row: 1, or the given one, and 0 where the target is ignored. Weights carry no gradient."""
    targets = _raw(targets)
    if isinstance(weights, Box) and weights.node is not None:
        raise TypeError(f"{name}: weights carry no gradient, and were given on the tape; detach() them")
    if weights is None:
        rows = xp(like).ones(np.shape(targets), dtype=like.dtype)
    else:
        rows = xp(like).asarray(_raw(weights)).astype(like.dtype)
        if rows.shape != np.shape(targets):
            raise ValueError(
                f"{name}: weights must have the shape {np.shape(targets)} of the targets, got {rows.shape}"
            )
    return rows if ignore_index is None else xp(rows).where(xp(rows).asarray(targets) == ignore_index, 0, rows)


def _scaled(rows: Array, reduction: str) -> Array:
    """Row weights such that a weighted sum is the wanted mean or sum. With nothing to count the mean is 0."""
    _check_reduction(reduction)
    if reduction != "mean":
        return rows
    total = rows.sum()
    return rows / xp(rows).where(total == 0, 1, total).astype(rows.dtype)


# --- Softmax cross-entropy -------------------------------------------------------------------------------------


@primitive
def _cross_entropy_rows(logits: Array, targets: Array) -> Array:
    """-log softmax(logits)[n, targets[n]] for every row n: (N,V), (N,) -> (N,)."""
    with np.errstate(over="ignore"):  # the distance between the largest and smallest float is inf: exp gives 0
        below = logits - xp(logits).max(logits, axis=-1, keepdims=True)
    rows = xp(logits).arange(len(targets))
    return xp(logits).log(xp(logits).exp(below).sum(axis=-1)) - below[rows, targets]


def _cross_entropy_rule(g: Any, out: Any, logits: Any, targets: Any) -> Any:
    return g.reshape((-1, 1)) * (softmax(logits) - _one_hot(targets, logits.shape[-1], _raw(logits)))


_cross_entropy_rows.vjp(_cross_entropy_rule, None)


def _one_hot(targets: Array, classes: int, like: Array) -> Array:
    return (targets[:, None] == xp(like).arange(classes)).astype(like.dtype)


def softmax_cross_entropy(
    logits: Any, targets: Any, weights: Any = None, ignore_index: int | None = None, reduction: str = "mean"
) -> Tensor:
    """-log softmax(logits)[target], in nats: logits (...,V), targets (...) of class indices -> a scalar, or (...)
    with reduction="none". Stable for logits up to the limits of their dtype.

    `weights` (...) weighs the rows, `ignore_index` leaves out those with that target; the mean is over what
    counts. Raises TypeError, ValueError or IndexError for targets that are no class indices."""
    name = "softmax_cross_entropy"
    shape, classes = tuple(logits.shape[:-1]), logits.shape[-1]
    labels = _check_targets(name, targets, shape, classes, ignore_index)
    rows = _row_weights(name, _raw(logits), targets, weights, ignore_index)
    losses = _cross_entropy_rows(logits.reshape((-1, classes)), labels.reshape(-1)).reshape(shape)
    losses = where(rows == 0, 0.0, losses) * _scaled(rows, reduction)  # what does not count may be inf
    return losses if reduction == "none" else sum(losses)


# --- The same behind a linear layer, without ever holding all logits -------------------------------------------


def _in_blocks(
    h: Array, W: Array, b: Array, targets: Array, scale: Array | None, needs: tuple[bool, ...]
) -> tuple[Array, list[Array | None]]:
    """Losses per row (N,), and with `scale` (N,) the gradients of sum(scale * losses) by h, W and b, from one
    buffer of logits that is turned into probabilities and then into their gradient in place."""
    np_ = xp(h)
    rows, classes = len(h), W.shape[1]
    step = max(16, BLOCK_ENTRIES // max(classes, 1))
    losses = np_.empty(rows, dtype=h.dtype)
    dh, dW, db = (
        np_.zeros_like(x) if scale is not None and need else None for x, need in zip((h, W, b), needs, strict=False)
    )
    buffer = np_.empty((min(step, rows), classes), dtype=h.dtype)
    for start in range(0, rows, step):
        here = slice(start, min(start + step, rows))
        block, label = buffer[: here.stop - start], targets[here]
        each = np_.arange(len(block))
        np_.matmul(h[here], W, out=block)
        block += b
        with np.errstate(over="ignore"):  # as in _cross_entropy_rows
            block -= block.max(axis=1, keepdims=True)
        chosen = block[each, label]
        np_.exp(block, out=block)
        total = block.sum(axis=1)
        losses[here] = np_.log(total) - chosen
        if scale is None:
            continue
        block *= (scale[here] / total)[:, None]
        block[each, label] -= scale[here]
        if dh is not None:
            np_.matmul(block, W.T, out=dh[here])
        if dW is not None:
            dW += h[here].T @ block
        if db is not None:
            db += block.sum(axis=0)
    return losses, [dh, dW, db]


@joint
def _linear_cross_entropy_sum(
    needs: tuple[bool, ...], h: Array, W: Array, b: Array, targets: Array, scale: Array
) -> tuple[Array, Any]:
    """sum(scale * losses), and its gradients, which are ready when the forward pass is."""
    losses, saved = _in_blocks(h, W, b, targets, scale if any(needs) else None, needs)
    return (xp(h).where(scale == 0, 0, losses) * scale).sum(), saved


_linear_cross_entropy_sum.vjp(
    lambda g, saved, *args: [None if x is None else x if g == 1 else x * g for x in saved] + [None, None]
)
_linear_cross_entropy_sum.composite(
    lambda h, W, b, targets, scale: sum(where(scale == 0, 0.0, _cross_entropy_rows(h @ W + b, targets)) * scale)
)


@joint
def _linear_cross_entropy_rows(
    needs: tuple[bool, ...], h: Array, W: Array, b: Array, targets: Array
) -> tuple[Array, Any]:
    """The losses per row; the gradients are computed block by block once `g` is known."""
    return _in_blocks(h, W, b, targets, None, needs)[0], needs


_linear_cross_entropy_rows.vjp(lambda g, needs, h, W, b, targets: _in_blocks(h, W, b, targets, g, needs)[1] + [None])
_linear_cross_entropy_rows.composite(lambda h, W, b, targets: _cross_entropy_rows(h @ W + b, targets))


def linear_cross_entropy(
    h: Any,
    W: Any,
    b: Any,
    targets: Any,
    weights: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """softmax_cross_entropy(h @ W + b, targets, ...) in nats, in row blocks that fit in cache: h (...,H), W (H,V),
    b (V,) or None, targets (...). The (...,V) logits never exist, and for a scalar result the gradients are
    computed in the forward pass, in the buffer that held the logits. Raises as `softmax_cross_entropy` does."""
    name = "linear_cross_entropy"
    if h.shape[-1] != W.shape[0]:
        raise ValueError(f"{name}: h (...,H) and W (H,V) must share H, got {tuple(h.shape)} and {tuple(W.shape)}")
    if W.dtype != h.dtype:
        raise TypeError(f"{name}: h and W must have one dtype, got {h.dtype} and {W.dtype}; cast one with astype")
    if b is None:
        b = xp(_raw(W)).zeros(W.shape[1], dtype=W.dtype)
    shape, classes = tuple(h.shape[:-1]), W.shape[1]
    if tuple(b.shape) != (classes,):
        raise ValueError(f"{name}: b must have the shape ({classes},) that W (H,V) asks for, got {tuple(b.shape)}")
    labels = _check_targets(name, targets, shape, classes, ignore_index).reshape(-1)
    rows = _row_weights(name, _raw(h), targets, weights, ignore_index)
    scale = _scaled(rows, reduction)
    flat = h.reshape((-1, h.shape[-1]))
    if reduction == "none":
        return mul(where(scale == 0, 0.0, _linear_cross_entropy_rows(flat, W, b, labels).reshape(shape)), scale)
    return _linear_cross_entropy_sum(flat, W, b, labels, scale.reshape(-1))


# --- Others ----------------------------------------------------------------------------------------------------


def mse(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error (prediction - target)**2. Raises ValueError where the shapes differ."""
    if tuple(prediction.shape) != tuple(np.shape(_raw(target))):
        raise ValueError(
            f"mse: prediction and target must have one shape, got {tuple(prediction.shape)} "
            f"and {tuple(np.shape(_raw(target)))}"
        )
    return _reduce(square(sub(prediction, target)), reduction)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Tensor:
    """-(t log s + (1-t) log(1-s)) with s = sigmoid(logits), in nats, as softplus(x) - t x, stable for any logit.
    `targets` are probabilities of the logits' shape. Raises ValueError where the shapes differ."""
    if tuple(logits.shape) != tuple(np.shape(_raw(targets))):
        raise ValueError(
            f"binary_cross_entropy_with_logits: logits and targets must have one shape, got {tuple(logits.shape)} "
            f"and {tuple(np.shape(_raw(targets)))}"
        )
    return _reduce(sub(softplus(logits), mul(logits, targets)), reduction)
