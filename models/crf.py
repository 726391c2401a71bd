"""A linear-chain conditional random field (Lafferty, McCallum & Pereira 2001): what follows what, on top of a tagger.

The score of the tags of a row is the sum of the emissions of all its steps and of the transitions between them, of what
it begins with and of what it ends with; the probability is the softmax of the scores over all sequences of tags. A
score of -inf rules out what has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray, is_array, to_host
from tinygrad_rnn.loops import scan
from tinygrad_rnn.models import init
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.padding import checked_lengths, whole_lengths
from tinygrad_rnn.ops.rows import Reduction, check_reduction
from tinygrad_rnn.sums import accumulator
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tape import astype
from tinygrad_rnn.tensor import Parameter, Tensor, as_tensor


def crf_loss(
    emissions: Any,
    tags: Any,
    transitions: Any,
    start: Any = None,
    end: Any = None,
    lengths: Any = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """-log of the probability of whole rows of tags, in nats. What stands past the lengths reaches neither a loss nor a
    gradient, and a row without steps costs 0.

    Tags that a score of -inf rules out cost inf, with gradient 0. The gradient by the emissions is the probability of
    each tag at each step, less 1 at the tags given.

    Args:
        emissions: (T,B,K).
        tags: (T,B) among K.
        transitions: (K,K), from the tag of its row to that of its column.
        start, end: (K,), scores of beginning and of ending with a tag; None: 0.
        lengths: (B,); None: all T.
        reduction: "mean" over the B rows, however long they are, "sum", or "none".

    Returns:
        A scalar, or (B,) with reduction="none".

    Raises:
        TypeError, ValueError, IndexError: an argument does not fit; it is named.

    Example:
        >>> loss = models.crf_loss(np.zeros((2, 1, 2)), [[0], [1]], np.zeros((2, 2)))  # one of 4
        >>> round(loss.item(), 4)
        1.3863
    """
    check_reduction(reduction)
    chain = _Chain("crf_loss", emissions, transitions, start, end, lengths)
    losses = chain.losses(_checked_tags(tags, chain.emissions.shape, chain.live))
    if reduction != "none":
        losses = losses.sum() / (max(len(chain.counts), 1) if reduction == "mean" else 1)
    with np.errstate(over="ignore"):  # inf is what float16 has for it
        return astype(losses, chain.dtype)


def viterbi(
    emissions: Any, transitions: Any, start: Any = None, end: Any = None, lengths: Any = None
) -> tuple[HostArray, HostArray]:
    """The tags of the highest score. Nothing is on the tape.

    Args:
        emissions, transitions, start, end, lengths: as in `crf_loss`, and so is what is raised.

    Returns:
        Tags (T,B), 0 past the end of a row, and their scores (B,), as NumPy arrays; of a row without steps 0.

    Example:
        >>> emissions = np.array([[[0.0, 1.0]], [[3.0, 0.0]]])  # (T,B,K)
        >>> tags, scores = models.viterbi(emissions, np.array([[0.0, 0.0], [-5.0, 0.0]]))
        >>> tags.ravel(), scores
        (array([0, 0]), array([3.]))
    """
    with no_grad():
        return _Chain("viterbi", emissions, transitions, start, end, lengths).best()


class CRF(Module):
    """What follows what, learned: transitions (K,K), start and end (K,), all 0 to begin with, for K tags; a loss to
    train with and the best tags, from emissions (T,B,K).

    Args:
        num_tags: K.
        dtype: of the weights.

    Example:
        >>> crf, emissions = models.CRF(num_tags=3), Tensor(np.zeros((4, 2, 3), np.float32))
        >>> round(crf(emissions, np.zeros((4, 2), int)).item(), 4)  # one of 3 ** 4: log 81
        4.3944
    """

    def __init__(self, num_tags: int, *, dtype: Any = np.float32) -> None:
        size = init.size("num_tags", num_tags)
        self.transitions = Parameter(np.zeros((size, size)), dtype=dtype)
        self.start, self.end = (Parameter(np.zeros(size), dtype=dtype) for _ in range(2))

    def __call__(self, emissions: Any, tags: Any, lengths: Any = None, reduction: Reduction = "mean") -> Tensor:
        """The `crf_loss` of emissions (T,B,K) and the tags (T,B)."""
        return crf_loss(emissions, tags, self.transitions, self.start, self.end, lengths, reduction)

    def best(self, emissions: Any, lengths: Any = None) -> tuple[HostArray, HostArray]:
        """The tags (T,B) that `viterbi` finds, and their scores (B,)."""
        return viterbi(emissions, self.transitions, self.start, self.end, lengths)


class _Chain:
    """The scores of a batch. What stands past the end of a row is 0 here."""

    def __init__(self, name: str, emissions: Any, transitions: Any, start: Any, end: Any, lengths: Any) -> None:
        emissions, self.transitions = as_tensor(emissions), as_tensor(transitions)
        if emissions.ndim != 3 or emissions.dtype.kind != "f":
            raise ValueError(
                f"{name}: emissions must be (T,B,K) floats, got {emissions.dtype} of shape {tuple(emissions.shape)}"
            )
        self.lib, classes = emissions.xp, emissions.shape[-1]
        self.start, self.end = (None if x is None else as_tensor(x) for x in (start, end))
        for what, given, shape in (
            ("transitions", self.transitions, (classes, classes)),
            ("start", self.start, (classes,)),
            ("end", self.end, (classes,)),
        ):
            if given is not None and tuple(given.shape) != shape:
                raise ValueError(f"{name}: {what} must have the shape {shape}, got {tuple(given.shape)}")
        self.counts = checked_lengths(emissions, whole_lengths(emissions) if lengths is None else lengths)
        self.live = np.arange(len(emissions))[:, None] < self.counts
        self.mask = self.lib.asarray(self.live[..., None])
        self.dtype = emissions.dtype
        self.emissions = astype(ops.where(self.mask, emissions, 0.0), accumulator(self.dtype, 1))  # scores grow with T

    def losses(self, tags: HostArray) -> Tensor:
        """(B,) Of these tags (T,B): the logarithm of the sum of exp of what each sequence has more than they have, so
        that a small loss is not the difference of two large scores."""
        steps, lib = len(tags), self.lib
        if not steps:
            return self.emissions.sum(axis=(0, 2))
        gained, ended = self._gained(tags)
        possible = lib.logical_not((gained.data.sum(axis=0) + ended.data) == -np.inf)  # so that NaN stays
        gained, ended = ops.where(possible, gained, 0.0), ops.where(possible, ended, 0.0)

        def step(before: Tensor, here: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[()]]:
            emission, live = here
            reached = ops.logsumexp(ops.expand_dims(before, 2) + self.transitions, axis=1)
            return ops.where(live, reached + emission, before), ()

        more = self.emissions - ops.expand_dims(gained, 2)
        reached = self._begun(more[0])
        if steps > 1:
            reached, _ = scan(step, reached, (more[1:], Tensor(self.mask[1:])))
        found = ops.logsumexp(self._ended(reached) - ops.expand_dims(ended, 1), axis=1)
        found = ops.where(possible, found, np.inf)
        return ops.where(lib.asarray(self.counts > 0), found, 0.0)

    def _gained(self, tags: HostArray) -> tuple[Tensor, Tensor]:
        """What these tags (T,B) gain at each step (T,B), with how they got there, and at the end (B,)."""
        asarray, rows = self.lib.asarray, np.arange(len(self.counts))
        gained = self.emissions[asarray(np.arange(len(tags))[:, None]), asarray(rows), asarray(tags)]
        moves = self.transitions[asarray(tags[:-1]), asarray(tags[1:])]
        begun = (gained[0] if self.start is None else gained[0] + self.start[asarray(tags[0])])[None]
        gained = ops.where(asarray(self.live), ops.concatenate([begun, gained[1:] + moves]), 0.0)
        if self.end is None:
            return gained, Tensor(self.lib.zeros(len(rows), dtype=gained.dtype))
        return gained, self.end[asarray(tags[np.maximum(self.counts - 1, 0), rows])]

    def best(self) -> tuple[HostArray, HostArray]:
        steps, rows, classes = self.emissions.shape
        if not steps:
            return np.zeros((0, rows), np.int64), np.zeros(rows, self.dtype)
        stay = Tensor(self.lib.broadcast_to(self.lib.arange(classes), (rows, classes)).copy())

        def step(before: Tensor, here: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            emission, live = here
            scores = ops.expand_dims(before, 2) + self.transitions
            reached = ops.where(live, ops.max(scores, axis=1) + emission, before)
            return reached, ops.where(live, ops.argmax(scores, axis=1), stay)

        reached, origins = self._begun(self.emissions[0]), Tensor(np.zeros((0, rows, classes), np.int64))
        if steps > 1:
            reached, origins = scan(step, reached, (self.emissions[1:], Tensor(self.mask[1:])))
        scores, each = to_host(self._ended(reached).data), np.arange(rows)
        tags = [scores.argmax(axis=1)]
        for origin in to_host(origins.data)[::-1]:
            tags.append(origin[each, tags[-1]])
        found = np.where(self.live, np.stack(tags[::-1]), 0).astype(np.int64)
        return found, np.where(self.counts > 0, scores[each, tags[0]], 0).astype(self.dtype)

    def _begun(self, first: Tensor) -> Tensor:
        """(B,K)"""
        return first if self.start is None else first + self.start

    def _ended(self, reached: Tensor) -> Tensor:
        """(B,K)"""
        return reached if self.end is None else reached + self.end


def _checked_tags(tags: Any, shape: tuple[int, ...], live: HostArray) -> HostArray:
    """Tags (T,B), with 0 past the end of a row."""
    tags = tags.data if isinstance(tags, Tensor) else tags
    tags = to_host(tags) if is_array(tags) else np.asarray(tags)
    if tuple(tags.shape) != shape[:2]:
        raise ValueError(f"crf_loss: tags must have the shape {shape[:2]}, got {tuple(tags.shape)}")
    if tags.dtype.kind not in "iu" and tags.size:
        raise TypeError(f"crf_loss: tags must be whole numbers, got dtype {tags.dtype}")
    wrong = live & ((tags < 0) | (tags >= shape[2]))
    if wrong.any():
        raise IndexError(f"crf_loss: tags must lie between 0 and {shape[2] - 1}, got {tags[wrong][0]}")
    return np.where(live, tags, 0).astype(np.int64)
