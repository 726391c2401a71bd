"""Connectionist temporal classification (Graves et al. 2006): the loss of a sequence of labels of which nobody says
when each occurs, such as the letters of an utterance.

In each frame the model says a label or the blank. What is said counts as the target if it is that once repetitions are
merged and blanks dropped, and the loss is of all these alignments together. They are paths through states: the target
with a blank before, between and after its labels, S = 2L + 1 of them. The recursion goes through them from the last
frame to the first (the paper's eq. 9 to 11, of the backward variables), so that the frames that pad a row come before
its own, and stay where it ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray, is_array, to_host
from tinygrad_rnn.loops import scan
from tinygrad_rnn.models.padding import checked_lengths, whole_lengths
from tinygrad_rnn.ops.rows import Reduction, check_reduction
from tinygrad_rnn.sums import accumulator
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tape import astype
from tinygrad_rnn.tensor import Tensor, as_tensor


def ctc_loss(
    logits: Any,
    targets: Any,
    lengths: Any = None,
    target_lengths: Any = None,
    *,
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_impossible: bool = False,
) -> Tensor:
    """-log of the probability of the targets, in nats, by all alignments of labels and blanks (Graves et al. 2006).
    What stands past the lengths reaches neither a loss nor a gradient. Any labels may repeat, and a target may be
    empty.

    A target that is impossible, because it has too many labels for its frames (between equal ones there must be a
    blank) or logits of -inf rule it out, costs inf, or 0 with `zero_impossible`, and its gradient is 0. So it is where
    a probability is below exp(-8e37), for float32. PyTorch's function takes log-probabilities, `log_softmax` of these
    logits; given those, this one returns the same.

    Args:
        logits: (T,B,K), of which the softmax says how likely each of K labels is in a frame.
        targets: (L,B) of labels, none of them the blank.
        lengths: (B,), numbers of frames; None: all T.
        target_lengths: (B,), numbers of labels; None: all L.
        blank: the label that says nothing.
        reduction: "mean" is that of PyTorch's `ctc_loss`: each loss is divided by the length of its target (1 for an
            empty one), and their sum by B. "sum" divides by nothing; "none".
        zero_impossible: PyTorch's `zero_infinity`.

    Returns:
        A scalar, or (B,) with reduction="none".

    Raises:
        TypeError, ValueError, IndexError: an argument does not fit; it is named.

    Example:
        >>> loss = models.ctc_loss(np.zeros((3, 1, 2)), [[1]])  # 6 of 8 alignments
        >>> round(loss.item(), 4)
        0.2877
    """
    check_reduction(reduction)
    logits = as_tensor(logits)
    if logits.ndim != 3 or logits.dtype.kind != "f":
        raise ValueError(f"ctc_loss: logits must be (T,B,K) floats, got {logits.dtype} of shape {tuple(logits.shape)}")
    dtype = logits.dtype
    logits = astype(logits, accumulator(dtype, 1))  # the logarithm of a path's probability grows with T
    frames = checked_lengths(logits, whole_lengths(logits) if lengths is None else lengths)
    labels, counts = _checked_targets(targets, target_lengths, logits.shape, blank)
    total = _log_probability(logits, frames, _States(labels, counts, blank, logits.dtype))
    possible = total.xp.logical_not(total.data <= _floor(logits.dtype) / 2)  # so that NaN stays
    losses = ops.where(possible, -total, 0.0 if zero_impossible else np.inf)
    if reduction == "mean":
        shares = 1 / (np.maximum(counts, 1) * max(len(counts), 1))
        losses = losses * logits.xp.asarray(shares.astype(logits.dtype))
    with np.errstate(over="ignore"):  # inf is what float16 has for it
        return astype(losses if reduction == "none" else losses.sum(), dtype)


def _floor(dtype: Any) -> float:
    """The logarithm that stands for probability 0: four of them can be added up, and there is no -inf - -inf."""
    return float(np.finfo(dtype).min) / 4


def _checked_targets(targets: Any, lengths: Any, shape: tuple[int, ...], blank: Any) -> tuple[HostArray, HostArray]:
    """Targets (L,B), with the blank past their ends, and their lengths (B,)."""
    _, rows, classes = shape
    check_blank("ctc_loss", blank, classes)
    targets = targets.data if isinstance(targets, Tensor) else targets
    labels = to_host(targets) if is_array(targets) else np.asarray(targets)
    if labels.ndim != 2 or labels.shape[1] != rows:
        raise ValueError(f"ctc_loss: targets must have the shape (L,{rows}), got {tuple(labels.shape)}")
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"ctc_loss: targets must be whole numbers, got dtype {labels.dtype}")
    counts = checked_lengths(labels, whole_lengths(labels) if lengths is None else lengths, "target_lengths")
    counting = np.arange(len(labels))[:, None] < counts
    wrong = counting & ((labels < 0) | (labels >= classes))
    if wrong.any():
        raise IndexError(f"ctc_loss: targets must lie between 0 and {classes - 1}, got {labels[wrong][0]}")
    if (counting & (labels == blank)).any():
        raise ValueError(f"ctc_loss: targets must not hold the blank, which is {blank}; blank= names another")
    return np.where(counting, labels, blank).astype(np.int64), counts


def check_blank(name: str, blank: Any, classes: int) -> None:
    """Raises TypeError, ValueError where the blank is no label."""
    if isinstance(blank, bool) or not isinstance(blank, int | np.integer):
        raise TypeError(f"{name}: blank must be a whole number, got {blank!r}")
    if not 0 <= blank < classes:
        raise ValueError(f"{name}: blank must lie between 0 and {classes - 1}, got {blank}")


class _States:
    """The states of each row (B,S), in the order of the target."""

    def __init__(self, labels: HostArray, counts: HostArray, blank: int, dtype: Any) -> None:
        rows, size = len(counts), 2 * len(labels) + 1
        self.said = np.full((rows, size), blank)
        self.said[:, 1::2] = labels.T
        over_a_blank = np.zeros((rows, size), dtype=bool)  # to the next label at once, if it is another
        over_a_blank[:, :-2] = (self.said[:, 2:] != blank) & (self.said[:, 2:] != self.said[:, :-2])
        floor = _floor(dtype)
        self.skip = np.where(over_a_blank, 0, floor).astype(dtype)
        self.behind = np.full((rows, 2), floor, dtype)
        self.end = np.where(np.arange(size) == 2 * counts[:, None], 0, floor).astype(dtype)
        """The logarithm of how likely a row that has no frame left to say is to be said: all is, in the last state."""


def _log_probability(logits: Tensor, frames: HostArray, states: _States) -> Tensor:
    """(B,) The logarithm of the probability of all paths through the states, or about the floor."""
    lib, floor = logits.xp, _floor(logits.dtype)
    behind, skip, end = (Tensor(lib.asarray(x)) for x in (states.behind, states.skip, states.end))
    nothing = float(np.finfo(logits.dtype).eps) / 4  # added to 1 or more; a sum of 0 has a logarithm all the same

    def step(state: Tensor, said: Tensor) -> tuple[Tensor, tuple[()]]:
        """The states of a frame, from those of the one after it."""
        wide = ops.concatenate([state, behind], axis=1)
        following, skipping = wide[:, 1:-1], wide[:, 2:] + skip
        with no_grad():  # whatever it is, the sum is the same, and so are its derivatives
            top = ops.maximum(ops.maximum(ops.maximum(state, following), skipping), floor)
        total = ops.exp(state - top) + ops.exp(following - top) + ops.exp(skipping - top)
        return ops.log(total + nothing) + top + said, ()

    if len(logits):
        end, _ = scan(step, end, _said(logits, frames, states), reverse=True)
    return ops.logsumexp(end[:, :2], axis=1)  # the first frame says the first label, or the blank before it


def _said(logits: Tensor, frames: HostArray, states: _States) -> Tensor:
    """(T,B,S) The log-probability of what each state says in each frame; past the end of a row, of staying there."""
    lib, floor = logits.xp, _floor(logits.dtype)
    live = lib.asarray(np.arange(len(logits))[:, None] < frames)
    counting = live & (logits.data.max(axis=-1) != -np.inf)
    found = _each(ops.log_softmax(ops.where(counting[..., None], logits, 0.0)), states.said)
    with np.errstate(invalid="ignore"):
        counting = counting[..., None] & ~(found.data <= floor)
    return ops.where(counting, found, lib.where(live[..., None], floor, lib.asarray(states.end)).astype(found.dtype))


def _each(x: Tensor, labels: HostArray) -> Tensor:
    """(T,B,K) read at each row's labels (B,S) -> (T,B,S), as rows of a table, whose gradient is added up fast."""
    steps, rows, classes = x.shape
    table = x.transpose(1, 2, 0).reshape(rows * classes, steps)
    places = (np.arange(rows)[:, None] * classes + labels).reshape(-1)
    return ops.take(table, places).reshape(*labels.shape, steps).transpose(2, 0, 1)
