"""Losses. Each returns nats (or squared units for `mse`), reduced by "mean", "sum" or "none"."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.blas import add_product, blas_held, machine_code, product
from tinygrad_rnn.buffers import empty_buffer
from tinygrad_rnn.ops.activations import log_softmax, sigmoid, softmax
from tinygrad_rnn.ops.arithmetic import mul, square, sub, where
from tinygrad_rnn.ops.comparisons import not_equal
from tinygrad_rnn.ops.elementary import floating
from tinygrad_rnn.ops.reductions import _stretched, mean, sum
from tinygrad_rnn.ops.rows import Reduction, check_reduction, loss_scale, plain_weights, rows_of
from tinygrad_rnn.sums import accumulated, weighted_sum
from tinygrad_rnn.tape import Box, Given, astype, joint, primitive

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor

BLOCK_ENTRIES = 1 << 21
"""Logits that `linear_cross_entropy` holds at a time: 8 MiB of float32, which a shared cache (L3) holds."""

DEEP_ENOUGH = 128
"""Rows of a block where V is so large that fewer would fill it, as far as the logits held are not more than W: with few
rows the time goes into fetching the gradient of W, to add each block's share."""


# --- How a loss per item becomes one number --------------------------------------------------------------------


def _check_shapes(name: str, x: Any, target: Any) -> None:
    """Raises ValueError, in a sentence that begins with `name`, where the shapes differ."""
    shapes = tuple(x.shape), tuple(target.shape) if hasattr(target, "shape") else np.shape(target)
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name} must have one shape, got {shapes[0]} and {shapes[1]}")


def _reduced(
    name: str, loss: Callable[[Any, Any], Tensor], x: Any, target: Any, weights: Any, reduction: Reduction
) -> Tensor:
    """The losses of all entries of `x` and `target`, weighted, as one number. What stands where the weight is 0 is
    replaced beforehand, and reaches neither a loss nor a gradient."""
    check_reduction(reduction)
    if weights is None:
        losses = loss(x, target)
        if reduction == "none":
            return losses
        return mean(losses) if reduction == "mean" and losses.size else sum(losses)
    weights = _stretched(astype(plain_weights(name, weights), x.dtype), tuple(x.shape), f"{name}: weights")
    counting = not_equal(weights, 0)
    losses = mul(loss(where(counting, x, 0), where(counting, target, 0)), loss_scale(weights, reduction))
    return astype(losses if reduction == "none" else sum(losses), x.dtype)


# --- Softmax cross-entropy -------------------------------------------------------------------------------------


@primitive
def _cross_entropy_rows(logits: Array, targets: Array) -> Array:
    """-log softmax(logits)[n, targets[n]] for every row n: (N,V), (N,) -> (N,)."""
    lib, (_, chosen, others) = xp(logits), _odds(logits, targets)
    return _minus_log(lib, chosen, others, others + lib.exp(chosen))


def _odds(logits: Array, targets: Array) -> tuple[Array, Array, Array]:
    """exp(logits - the largest of the row) (N,V), with 0 at the target; the target's logarithm of it (N,); and the sum
    over the other classes (N,). Where the target is nearly certain, all there is to know is in that sum: in one over
    all classes it would be lost beside the target's 1."""
    np_ = xp(logits)
    with np.errstate(over="ignore"):  # the distance between the largest and smallest float is inf: exp gives 0
        odds = logits - np_.max(logits, axis=-1, keepdims=True)
    rows = np_.arange(len(targets))
    chosen = odds[rows, targets]
    np_.exp(odds, out=odds)
    odds[rows, targets] = 0
    return odds, chosen, accumulated(odds, -1)


def _minus_log(np_: Any, chosen: Array, others: Array, total: Array) -> Array:
    """Minus the logarithm of a target's share, from its odds' logarithm and the sums of the others' odds and of all."""
    losses = np_.where(chosen == 0, np_.log1p(others), np_.log(total) - chosen)
    return losses.astype(chosen.dtype, copy=False)


@primitive
def _softmax_off_target(logits: Array, targets: Array) -> Array:
    """softmax(logits), less 1 at the target: minus the sum of the others."""
    odds, chosen, others = _odds(logits, targets)
    odds[xp(logits).arange(len(targets)), targets] = -others
    odds /= (others + xp(logits).exp(chosen))[:, None]
    return odds


def _off_target_rule(g: Any, out: Any, logits: Any, targets: Any) -> Any:
    shares = softmax(logits)
    return shares * (g - (g * shares).sum(axis=-1, keepdims=True))


_softmax_off_target.vjp(_off_target_rule, None)
_cross_entropy_rows.vjp(lambda g, out, logits, targets: g.reshape((-1, 1)) * _softmax_off_target(logits, targets), None)


def _smoothed_rows(logits: Any, targets: Any, smoothing: float) -> Any:
    """The losses of rows (N,V) of which the targets (N,) have this share less, which all classes share alike."""
    losses = _cross_entropy_rows(logits, targets)
    if not smoothing:
        return losses
    with np.errstate(over="ignore"):  # a sum of the smallest floats is -inf, as their mean nearly is
        return (1 - smoothing) * losses - smoothing * mean(log_softmax(logits, -1), -1)


def _smoothing(name: str, value: Any) -> float:
    """A share. Raises ValueError for any other."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise ValueError(f"{name}: label_smoothing must be a number between 0 and 1, got {value!r}")
    return float(value)


def softmax_cross_entropy(
    logits: Any,
    targets: Any,
    weights: Any = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(logits)[target], in nats. Stable for logits up to the limits of their dtype.

    Args:
        logits: (...,V).
        targets: (...) of class indices.
        weights: (...), how much each row weighs.
        ignore_index: rows with this target are left out.
        reduction: "mean" over what counts, "sum", or "none".
        label_smoothing: e (Szegedy et al. 2016, sect. 7): the loss is 1 - e of that plus e of the mean over all V
            classes, the target too: of a distribution with 1 - e + e/V at the target and e/V elsewhere.

    Returns:
        A scalar, or (...) with reduction="none"; 0 for a mean of nothing.

    Raises:
        TypeError, ValueError, IndexError: targets are no class indices, or shapes do not fit.
        ValueError: e is outside 0 ... 1.

    Example:
        >>> logits = Tensor([[0.0, 0.0], [9.0, 0.0], [5.0, 5.0]])
        >>> ops.softmax_cross_entropy(logits, [1, 0, -1], ignore_index=-1, reduction="none")
        Tensor([6.9315e-01, 1.2340e-04, 0.0000e+00], shape=(3,), dtype=float32)
    """
    name, logits = "softmax_cross_entropy", floating(logits)
    smoothing = _smoothing(name, label_smoothing)
    rows = rows_of(name, logits, logits.shape[-1], targets, weights, ignore_index, reduction)
    losses = _smoothed_rows(rows.of(logits), rows.labels, smoothing) * rows.scale
    losses = sum(losses) if reduction != "none" else rows.losses(losses)
    return losses if losses.dtype == logits.dtype else astype(losses, logits.dtype)


# --- The same behind a linear layer, without ever holding all logits -------------------------------------------


def _in_blocks(
    h: Array, W: Array, b: Array, targets: Array, scale: Array | None, needs: tuple[bool, ...], smoothing: float
) -> tuple[Array, list[Array | None]]:
    """Losses per row (N,), and with `scale` (N,) the gradients of sum(scale * losses) by h, W and b."""
    with blas_held():
        return _by_blocks(h, W, b, targets, scale, needs, smoothing)


def _by_blocks(
    h: Array, W: Array, b: Array, targets: Array, scale: Array | None, needs: tuple[bool, ...], smoothing: float
) -> tuple[Array, list[Array | None]]:
    """The same, from one buffer of logits that is turned into probabilities and then into their gradient in place."""
    np_ = xp(h)
    rows, (hidden, classes) = len(h), W.shape
    step = _block_rows(rows, hidden, classes)
    losses = np_.empty(rows, dtype=h.dtype)
    code = machine_code(h.dtype) if np_ is np and not smoothing else None
    ones = None if code else np_.ones(classes, dtype=h.dtype)
    for_h, for_W, for_b = (scale is not None and need for need in needs[:3])
    dh = np_.empty_like(h) if for_h else None
    dW = np_.empty_like(W) if for_W else None
    db = np_.zeros(b.shape, np.float64) if for_b else None  # to which many blocks add
    held = min(step, rows) * classes
    spare = 0 if dW is None or step >= rows else min(W.size, max(BLOCK_ENTRIES // 2, hidden))
    memory = empty_buffer((held + spare,), h.dtype, np_)
    for start in range(0, max(rows, 1), step):
        here = slice(start, min(start + step, rows))
        label, each = targets[here], np_.arange(here.stop - start)
        block = memory[: len(each) * classes].reshape(len(each), classes)
        product(h[here], W, block)
        if code:
            chosen, others = code.odds_in_place(block, b, label)
        else:
            block += b
            with np.errstate(over="ignore"):  # as in _odds
                block -= block.max(axis=1, keepdims=True)
                middle = accumulated(block, -1) / classes if smoothing else 0
            chosen = block[each, label]
            np_.exp(block, out=block)
            block[each, label] = 0
            others = block @ ones  # BLAS adds up three times as fast as sum()
        total = others + np_.exp(chosen)
        losses[here] = _minus_log(np_, chosen, others, total)
        if smoothing:
            losses[here] = (1 - smoothing) * losses[here] + smoothing * (np_.log(total) - middle)
        if scale is None:
            continue
        # By the logits: (exp - total at the target) * scale / total. The factor goes to the small operands.
        block[each, label] = -others
        if smoothing:
            block -= (smoothing / classes) * total[:, None]
            block[each, label] += smoothing * total
        share = scale[here] / total
        if db is not None:  # before the products, while the end of the block is in a near cache
            db += weighted_sum(share, block)
        if dh is not None:
            product(block, W.T, dh[here])
            dh[here] *= share[:, None]
        if dW is not None:
            shared = (h[here] * share[:, None]).T
            if start == 0:
                product(shared, block, dW)
            else:
                _add_product(shared, block, dW, memory[held:])
    return losses, [dh, dW, None if db is None else db.astype(b.dtype)]


def _block_rows(rows: int, hidden: int, classes: int) -> int:
    """Rows in a block: blocks of about one size, a multiple of what BLAS calculates at a time."""
    most = max(BLOCK_ENTRIES // max(classes, 1), min(hidden, DEEP_ENOUGH), 1)
    blocks = max(-(-rows // most), 1)
    return max(-(-rows // (16 * blocks)), 1) * 16


def _add_product(a: Array, b: Array, out: Array, spare: Array) -> None:
    """out += a @ b, as many columns at a time as `spare` (at least a column) has room for. In the memory order of
    `out`, which for tied weights is that of the embedding's transpose."""
    rows, columns = out.shape
    order, width = "C" if out.flags.c_contiguous else "F", max(spare.size // max(rows, 1), 1)
    for start in range(0, columns, width):
        some = slice(start, start + width)
        part = out[:, some]
        add_product(a, b[:, some], part, spare[: part.size].reshape(part.shape, order=order))


@joint
def _linear_cross_entropy_sum(
    needs: tuple[bool, ...], h: Array, W: Array, b: Array, targets: Array, scale: Array, *, smoothing: float
) -> tuple[Array, Any]:
    """sum(scale * losses), and its gradients, which are ready when the forward pass is."""
    losses, saved = _in_blocks(h, W, b, targets, scale if any(needs) else None, needs, smoothing)
    return accumulated(losses * scale).astype(h.dtype), saved


def _is_one(g: Array) -> bool:
    """Whether a number is 1; of one on a device, for which the host would wait, it is not asked."""
    return isinstance(g, np.ndarray | np.generic) and bool(g == 1)


_linear_cross_entropy_sum.vjp(
    lambda g, saved, *args, smoothing: Given(
        [*(None if x is None else x if _is_one(g) else x * g for x in saved), None, None]
    )
)
_linear_cross_entropy_sum.composite(
    lambda h, W, b, targets, scale, smoothing: astype(
        sum(_smoothed_rows(h @ W + b, targets, smoothing) * scale), h.dtype
    )
)


@joint
def _linear_cross_entropy_rows(
    needs: tuple[bool, ...], h: Array, W: Array, b: Array, targets: Array, *, smoothing: float
) -> tuple[Array, Any]:
    """The losses per row; the gradients are computed block by block once `g` is known."""
    return _in_blocks(h, W, b, targets, None, needs, smoothing)[0], needs


_linear_cross_entropy_rows.vjp(
    lambda g, needs, h, W, b, targets, smoothing: Given([*_in_blocks(h, W, b, targets, g, needs, smoothing)[1], None])
)
_linear_cross_entropy_rows.composite(lambda h, W, b, targets, smoothing: _smoothed_rows(h @ W + b, targets, smoothing))


def linear_cross_entropy(
    h: Any,
    W: Any,
    b: Any,
    targets: Any,
    weights: Any = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """softmax_cross_entropy(h @ W + b, targets, ...) in nats, in row blocks that fit in cache. The (...,V) logits never
    exist, and for a scalar result the gradients are computed in the forward pass, in the buffer that held the logits.

    Args:
        h: (...,H).
        W: (H,V).
        b: (V,), or None.
        targets, weights, ignore_index, reduction, label_smoothing: as in `softmax_cross_entropy`, and so are the result
            and what is raised.

    Example:
        >>> h, W = Tensor(np.ones((5, 3))), Parameter(np.zeros((3, 4)))
        >>> loss = ops.linear_cross_entropy(h, W, None, np.zeros(5, int))
        >>> round(loss.item(), 4)  # log 4
        1.3863
    """
    name = "linear_cross_entropy"
    smoothing = _smoothing(name, label_smoothing)
    if h.shape[-1] != W.shape[0]:
        raise ValueError(f"{name}: h (...,H) and W (H,V) must share H, got {tuple(h.shape)} and {tuple(W.shape)}")
    if W.dtype != h.dtype:
        raise TypeError(f"{name}: h and W must have one dtype, got {h.dtype} and {W.dtype}; cast one with astype")
    h, W = floating(h), floating(W)
    if b is None:
        b = (W.xp if isinstance(W, Box) else xp(W)).zeros(W.shape[1], dtype=W.dtype)
    classes = W.shape[1]
    if tuple(b.shape) != (classes,):
        raise ValueError(f"{name}: b must have the shape ({classes},) that W (H,V) asks for, got {tuple(b.shape)}")
    rows = rows_of(name, h, classes, targets, weights, ignore_index, reduction)
    if reduction == "none":
        losses = _linear_cross_entropy_rows(rows.of(h), W, b, rows.labels, smoothing=smoothing)
        losses = mul(losses, astype(rows.scale, h.dtype))
        return rows.losses(losses)  # type: ignore[no-any-return]  # a Tensor's method
    return _linear_cross_entropy_sum(rows.of(h), W, b, rows.labels, rows.scale, smoothing=smoothing)


# --- Others ----------------------------------------------------------------------------------------------------


def mse(prediction: Any, target: Any, weights: Any = None, reduction: Reduction = "mean") -> Tensor:
    """The squared error (prediction - target)**2.

    Args:
        prediction, target: of one shape.
        weights: how much each entry weighs; they broadcast to that shape.
        reduction: "mean" over what counts, "sum", or "none".

    Returns:
        A scalar, or that shape with reduction="none"; 0 for a mean of nothing.

    Raises:
        ValueError: shapes do not fit.
        TypeError: weights are on the tape.

    Example:
        >>> ops.mse(Tensor([1.0, 2.0, 9.0]), [1.0, 4.0, 0.0], weights=[1.0, 1.0, 0.0]).item()
        2.0
    """
    _check_shapes("mse: prediction and target", prediction, target)
    return _reduced("mse", lambda x, t: square(sub(x, t)), floating(prediction), target, weights, reduction)


@primitive
def _binary_cross_entropy(x: Array, t: Array) -> Array:
    """(1-t) softplus(x) + t softplus(-x), where softplus(x) = max(x, 0) + log1p(exp(-|x|)): no term cancels another,
    and 0 times infinity is 0."""
    np_ = xp(x)
    size, wrong = np_.abs(x), np_.where(x > 0, 1 - t, t)
    return np_.log1p(np_.exp(-size)) + wrong * np_.where(wrong == 0, 0, size)


_binary_cross_entropy.vjp(
    lambda g, out, x, t: g * (sigmoid(x) * (1 - t) - sigmoid(-x) * t),  # sigmoid(x) - t, which may cancel
    lambda g, out, x, t: g * -x,
)


def binary_cross_entropy_with_logits(
    logits: Any, targets: Any, weights: Any = None, reduction: Reduction = "mean"
) -> Tensor:
    """-(t log s + (1-t) log(1-s)) with s = sigmoid(logits), in nats, for any logit: that of a sure and right answer is
    small, not 0, and 0 only where it is infinitely sure.

    Args:
        logits: of any shape.
        targets: t, probabilities, of the same shape.
        weights, reduction: as in `mse`, and so is what is raised.

    Example:
        >>> ops.binary_cross_entropy_with_logits(Tensor([0.0, 100.0]), [0.5, 1.0], reduction="none")
        Tensor([6.9315e-01, 3.7835e-44], shape=(2,), dtype=float32)
    """
    name = "binary_cross_entropy_with_logits"
    _check_shapes(f"{name}: logits and targets", logits, targets)
    logits = floating(logits)
    if getattr(targets, "dtype", logits.dtype).kind != "f":
        targets = astype(targets, logits.dtype)
    return _reduced(name, _binary_cross_entropy, logits, targets, weights, reduction)
