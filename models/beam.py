"""Beam search: the hypotheses that a model gives the highest normalised score, as far as a beam of them can see."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinygrad_rnn.backend import HostArray, to_host
from tinygrad_rnn.models.drawing import NOTHING_LEFT
from tinygrad_rnn.models.stepping import Stepper, largest, log_totals


@dataclass(frozen=True)
class Bounds:
    """Which ids there can be, and how many."""

    end: int | None
    never: tuple[int, ...]
    min_length: int
    max_length: int

    def may_end(self, length: int) -> bool:
        """Whether what has this many ids may end with the next one."""
        return self.end is not None and length >= self.min_length and self.end not in self.never

    def excluded(self, length: int) -> tuple[int, ...]:
        """The ids that cannot be number `length`, counted from 0."""
        return self.never if self.may_end(length) else self.unended

    @property
    def unended(self) -> tuple[int, ...]:
        """The ids that what goes on cannot have."""
        return self.never if self.end is None else (*self.never, self.end)


def length_penalty(scored: int | HostArray, alpha: float) -> HostArray:
    """What a log-probability of so many ids, the end among them, is divided by: ((5 + n) / 6) ** alpha (Wu et al. 2016,
    eq. 14)."""
    return ((5.0 + np.asarray(scored)) / 6.0) ** alpha


@dataclass
class Finished:
    """The best finished hypotheses of each row so far (B, best), from the best on; -inf where there are fewer."""

    rows: int
    best: int
    scores: HostArray = field(init=False)
    log_probs: HostArray = field(init=False)
    lengths: HostArray = field(init=False)
    lanes: HostArray = field(init=False)
    ended: HostArray = field(init=False)

    def __post_init__(self) -> None:
        shape = self.rows, self.best
        self.scores, self.log_probs = np.full(shape, -np.inf), np.full(shape, -np.inf)
        self.lengths, self.lanes, self.ended = np.zeros(shape, int), np.zeros(shape, int), np.zeros(shape, bool)

    def add(self, log_probs: HostArray, length: int, ended: bool, alpha: float) -> None:
        """Hypotheses of this many ids, one a lane (B,L), of which those of -inf do not count."""
        new = {
            "scores": log_probs / length_penalty(length + ended, alpha),
            "log_probs": log_probs,
            "lengths": np.where(np.isfinite(log_probs), length, 0),
            "lanes": np.broadcast_to(np.arange(log_probs.shape[1]), log_probs.shape),
            "ended": np.isfinite(log_probs) & ended,
        }
        both = {name: np.concatenate([getattr(self, name), values], axis=1) for name, values in new.items()}
        order = np.argsort(-both["scores"], axis=1, kind="stable")[:, : self.best]
        for name, values in both.items():
            setattr(self, name, np.take_along_axis(values, order, axis=1))


def beam_search(model: Stepper, bounds: Bounds, beam: int, alpha: float, best: int) -> tuple[Finished, HostArray]:
    """The `best` hypotheses of every row, and their ids (T, B, best), padded with whatever.

    At each step every running hypothesis is tried with the end, which takes no place in the beam, and the `beam` best
    of those that go on stay, among them the greedy one. One is given up when it cannot be among the best any more: its
    log-probability can only fall, and the most that it can be divided by is the penalty of the longest."""
    rows, alone = model.rows, np.arange(model.rows)
    finished = Finished(rows, best)
    log_probs = np.zeros((rows, 1))  # (B,L): of L running hypotheses a row, in lanes; -inf: none
    greedy = np.ones(rows, dtype=bool)  # whether lane 0 holds what always taking the likeliest id gives
    steps: list[tuple[HostArray, HostArray]] = []  # of each lane the lane that it came from, and its id
    for length in range(bounds.max_length):
        scores = model.advance()
        running = np.isfinite(log_probs)
        totals = log_totals(scores, running.ravel()).reshape(running.shape)
        values, ids = largest(scores, min(beam, scores.shape[1]), bounds.unended)
        values, ids = (each.reshape(*running.shape, each.shape[1]) for each in (values, ids))
        if bounds.may_end(length):
            ends = to_host(scores[:, bounds.end]).astype(np.float64).reshape(running.shape)
            finished.add(_after(log_probs, ends - totals, running), length, True, alpha)
            first, likeliest = ids[:, 0, 0], values[:, 0, 0]
            greedy &= (likeliest > ends[:, 0]) | ((likeliest == ends[:, 0]) & (first < bounds.end))
        going_on = _after(log_probs[..., None], values - totals[..., None], running[..., None])
        if not (np.isfinite(going_on).any(axis=(1, 2)) | np.isfinite(finished.scores[:, 0])).all():
            raise ValueError(NOTHING_LEFT)
        hopeless = going_on / length_penalty(bounds.max_length, alpha) <= finished.scores[:, -1:, None]
        going_on[hopeless] = -np.inf
        greedy &= np.isfinite(going_on[:, 0, 0])
        if not np.isfinite(going_on).any():
            break
        order = _best_places(going_on, greedy, beam)
        parents = order // ids.shape[2]
        log_probs = np.take_along_axis(going_on.reshape(rows, -1), order, axis=1)
        chosen = np.take_along_axis(ids.reshape(rows, -1), order, axis=1)
        steps.append((parents, chosen))
        model.follow((alone[:, None] * running.shape[1] + parents).ravel(), chosen.ravel())
    else:
        finished.add(log_probs, bounds.max_length, False, alpha)
    return finished, _traced(finished, steps)


def _after(log_probs: HostArray, more: HostArray, running: HostArray) -> HostArray:
    """Log-probabilities one id later; -inf of what does not run, whatever the model says of it."""
    with np.errstate(invalid="ignore"):
        return np.where(running, log_probs + more, -np.inf)


def _best_places(log_probs: HostArray, greedy: HostArray, beam: int) -> HostArray:
    """(B,L,W) -> (B, beam or fewer): the places of the largest in a row, as one number, the largest first; before
    them, where `greedy` (B,) says so, what stands first."""
    ranks = log_probs.copy()
    ranks[greedy, 0, 0] = np.inf
    return np.argsort(-ranks.reshape(len(ranks), -1), axis=1, kind="stable")[:, :beam]


def _traced(finished: Finished, steps: list[tuple[HostArray, HostArray]]) -> HostArray:
    """The ids of finished hypotheses (T, B, best), from the last back to the first."""
    ids = np.zeros((int(finished.lengths.max(initial=0)), *finished.lengths.shape), dtype=np.int64)
    lanes = finished.lanes
    for step in reversed(range(len(ids))):
        here = finished.lengths > step
        lanes_here = np.where(here, lanes, 0)
        parents, chosen = steps[step]
        ids[step] = np.take_along_axis(chosen, lanes_here, axis=1)
        lanes = np.where(here, np.take_along_axis(parents, lanes_here, axis=1), lanes)
    return ids
