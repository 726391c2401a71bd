"""Labels out of what `ctc_loss` trains: scores of each label and the blank in each frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray, to_host
from tinygrad_rnn.models import init
from tinygrad_rnn.models.ctc import check_blank
from tinygrad_rnn.models.padding import checked_lengths, whole_lengths
from tinygrad_rnn.tensor import as_tensor


def ctc_greedy(logits: Any, lengths: Any = None, *, blank: int = 0) -> tuple[list[list[int]], HostArray]:
    """What the likeliest label of each frame spells once repetitions are merged and blanks dropped (Graves et al. 2006,
    sect. 3.2, best path).

    Args:
        logits: (T,B,K).
        lengths: (B,), numbers of frames; None: all T.
        blank: the label that says nothing.

    Returns:
        A list of labels for each row, and the log-probabilities (B,) of those single paths, in nats.

    Raises:
        TypeError, ValueError: an argument does not fit, or a frame's largest logit is NaN or infinite.

    Example:
        >>> frames = [2, 2, 0, 2, 1]
        >>> labels, nats = models.ctc_greedy(9.0 * np.eye(3)[frames][:, None])
        >>> labels
        [[2, 2, 1]]
    """
    scores, live = _log_probs("ctc_greedy", logits, lengths, blank)
    said = np.where(live, scores.argmax(axis=-1), blank)
    new = said != blank
    new[1:] &= said[1:] != said[:-1]
    log_probs = np.where(live, scores.max(axis=-1), 0).sum(axis=0)
    return [[int(i) for i in column[kept]] for column, kept in zip(said.T, new.T, strict=True)], log_probs


def ctc_beam(
    logits: Any, lengths: Any = None, beam: int = 10, *, best: int | None = None, blank: int = 0
) -> tuple[Any, HostArray]:
    """The likeliest labels of each row that a prefix search finds (Hannun et al. 2014, algorithm 1): in each frame it
    keeps the likeliest beginnings, each with the probability of all its alignments, those that end with a blank apart
    from the others.

    Args:
        logits, lengths, blank: as in `ctc_greedy`, and so is what is raised.
        beam: how many beginnings are kept.
        best: gives a list of so many lists for each row, the likeliest first, and fewer where there are no more.

    Returns:
        A list of labels for each row, and the logarithms (B,) of the probabilities that were found: the whole one,
        minus `ctc_loss`, where no beginning was dropped on the way, otherwise at most that. With `best` (B,best), of
        which the rest is -inf.

    Example:
        >>> frames = np.log([[0.6, 0.4], [0.6, 0.4]])[:, None]
        >>> models.ctc_greedy(frames)[0], models.ctc_beam(frames)[0]  # 0.36 for nothing, 0.64 for a 1
        ([[]], [[1]])
    """
    width = init.size("ctc_beam: beam", beam)
    count = 1 if best is None else init.size("ctc_beam: best", best)
    if count > width:
        raise ValueError(f"ctc_beam: best must be at most the beam, {width}, got {count}")
    scores, live = _log_probs("ctc_beam", logits, lengths, blank)
    found = _Beginnings(scores.shape[1], width, blank)
    for frame, running in zip(scores, live, strict=True):
        found.read(frame, running)
    totals = found.totals()
    order = np.argsort(-totals, axis=1, kind="stable")[:, :count]
    log_probs = np.full((len(totals), count), -np.inf)
    log_probs[:, : order.shape[1]] = np.take_along_axis(totals, order, axis=1)
    sequences = [
        [found.labels(row, slot) for slot, log_prob in zip(slots, each, strict=False) if log_prob > -np.inf]
        for row, (slots, each) in enumerate(zip(order, log_probs, strict=True))
    ]
    return (sequences, log_probs) if best is not None else ([each[0] for each in sequences], log_probs[:, 0])


def _log_probs(name: str, logits: Any, lengths: Any, blank: int) -> tuple[HostArray, HostArray]:
    """Log-probabilities (T,B,K), and which frames of which rows count (T,B)."""
    logits = as_tensor(logits)
    if logits.ndim != 3:
        raise ValueError(f"{name}: logits must have the shape (T,B,K), got {tuple(logits.shape)}")
    steps, _, classes = logits.shape
    check_blank(name, blank, classes)
    counts = checked_lengths(logits, whole_lengths(logits) if lengths is None else lengths)
    live = np.arange(steps)[:, None] < counts
    scores = to_host(logits.data).astype(np.float64)
    scores[~live] = 0
    most = scores.max(axis=-1, keepdims=True)
    if not np.isfinite(most).all():
        raise ValueError(f"{name}: the largest logit of a frame must be finite, got {most[~np.isfinite(most)][0]}")
    return scores - most - np.log(np.exp(scores - most).sum(axis=-1, keepdims=True)), live


class _Beginnings:
    """The beginnings of each row's labels that are kept, W of them, and the logarithm of the probability (B,W) of those
    of their alignments that end with a blank, and of those that end with their last label."""

    def __init__(self, rows: int, width: int, blank: int) -> None:
        self.blank, self.rows = blank, np.arange(rows)[:, None]
        self.by_blank = np.full((rows, width), -np.inf)
        self.by_label = np.full((rows, width), -np.inf)
        self.by_blank[:, 0] = 0
        self.tree: list[tuple[int, int]] = [(-1, -1)] * rows
        """For every beginning that ever was, that without its last label, and this label."""
        self.number: dict[tuple[int, int], int] = {}
        """The same the other way round, so that what was dropped and comes back is what it was."""
        self.nodes = np.full((rows, width), -1)
        self.nodes[:, 0] = np.arange(rows)

    def totals(self) -> HostArray:
        """(B,W)"""
        found: HostArray = np.logaddexp(self.by_blank, self.by_label)
        return found

    def labels(self, row: int, slot: int) -> list[int]:
        """Those of one beginning."""
        node, found = int(self.nodes[row, slot]), []
        while self.tree[node][1] >= 0:
            node, label = self.tree[node]
            found.append(label)
        return found[::-1]

    def read(self, frame: HostArray, running: HostArray) -> None:
        """Goes on by a frame of log-probabilities (B,K), in the rows (B,) that run."""
        entries = np.array([self.tree[node] for node in self.nodes.flat], dtype=np.int64).reshape(*self.nodes.shape, 2)
        parents, last = np.where(self.nodes < 0, -2, entries[..., 0]), entries[..., 1]
        totals = self.totals()
        by_blank = totals + frame[:, self.blank, None]
        by_label = self.by_label + np.where(last < 0, -np.inf, frame[self.rows, last])
        grown = totals[..., None] + frame[:, None]  # (B,W,K)
        ended = self.rows, np.arange(last.shape[1]), last
        grown[ended] = np.where(last < 0, grown[ended], self.by_blank + frame[self.rows, last])  # else one, prolonged
        grown[..., self.blank] = -np.inf
        # One that grows into another that is kept is that.
        grows = (parents[:, :, None] == self.nodes[:, None]) & (self.nodes >= 0)[:, None]
        row, into, origin = np.nonzero(grows)
        label = last[row, into]
        by_label[row, into] = np.logaddexp(by_label[row, into], grown[row, origin, label])
        grown[row, origin, label] = -np.inf
        self._keep(by_blank, by_label, grown, running)

    def _keep(self, by_blank: HostArray, by_label: HostArray, grown: HostArray, running: HostArray) -> None:
        """The likeliest of those that stayed as they are and those that grew."""
        rows, width, classes = grown.shape
        found = np.concatenate([np.logaddexp(by_blank, by_label), grown.reshape(rows, width * classes)], axis=1)
        chosen = np.sort(np.argpartition(-found, width - 1, axis=1)[:, :width], axis=1)
        stays = chosen < width
        origins, labels = np.divmod(chosen - width, classes)
        slots = np.where(stays, chosen, origins)
        values, nodes = found[self.rows, chosen], self.nodes[self.rows, slots]
        for row, slot in zip(*np.nonzero(~stays & (values > -np.inf) & running[:, None]), strict=True):
            nodes[row, slot] = self._node(int(nodes[row, slot]), int(labels[row, slot]))
        nodes[values == -np.inf] = -1
        by_blank = np.where(stays, by_blank[self.rows, slots], -np.inf)
        by_label = np.where(stays, by_label[self.rows, slots], values)
        self.by_blank, self.by_label, self.nodes = (
            np.where(running[:, None], new, old)
            for new, old in ((by_blank, self.by_blank), (by_label, self.by_label), (nodes, self.nodes))
        )

    def _node(self, parent: int, label: int) -> int:
        if (parent, label) not in self.number:
            self.number[parent, label] = len(self.tree)
            self.tree.append((parent, label))
        return self.number[parent, label]
