"""A model that is asked for one id after another: its step, the state between two of them, and the scores that it
gives, of which only small arrays come to the host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, HostArray, is_array, to_host, xp
from tinygrad_rnn.loops.trees import flat, prefix_leaves, rebuild
from tinygrad_rnn.models.drawing import NOTHING_LEFT
from tinygrad_rnn.tensor import Tensor

NextScores = Callable[[Any, Any], Any]
"""`state, scores = step(state, ids)`, ids (B,) and scores (B,V)."""


class Stepper:
    """The rows of a batch on their way through `step`, each with the id that it reads next. `batch_axis` says where the
    leaves of the state have their rows: a number, or a tree of numbers that begins as the state does, as
    `jax.vmap` has its `in_axes`; `named` are the ids that the caller named, by the name of the argument. Raises
    TypeError, ValueError for a start and a state that do not fit."""

    def __init__(
        self, step: NextScores, state: Any, start: Any, batch_axis: Any, named: Mapping[str, Collection[int]]
    ) -> None:
        self.step, self.state, self.batch_axis, self.named = step, state, batch_axis, named
        start = start.data if isinstance(start, Tensor) else start
        self._lib = xp(start)
        self.ids = to_host(start) if is_array(start) else np.asarray(start)
        if self.ids.dtype.kind not in "iu" or self.ids.ndim > 1:
            raise TypeError(f"decode: start must be an id or ids (B,), got {self.ids.dtype} of shape {self.ids.shape}")
        places = self._places()
        if not self.ids.ndim:
            self.ids = np.full(places[0][0].shape[places[0][1]] if places else 1, self.ids)
        for leaf, axis in places:
            self._lib = leaf.xp if isinstance(leaf, Tensor) else xp(leaf)
            if leaf.shape[axis] != self.rows:
                raise ValueError(
                    f"decode: state must have {self.rows} rows, one for each start, got a part of shape "
                    f"{tuple(leaf.shape)}, whose axis {axis} is that of the rows (see batch_axis)"
                )

    @property
    def rows(self) -> int:
        return len(self.ids)

    def advance(self) -> Array:
        """Scores (rows, V) of the id after each row's own, on the device where the step computes. Raises TypeError,
        ValueError where the step returns something else, or has no score for an id that was named."""
        returned = self.step(self.state, self._lib.asarray(self.ids))
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(f"decode: step must return a state and scores, got {type(returned).__name__}")
        self.state, scores = returned
        shape = tuple(getattr(scores, "shape", ()))
        if len(shape) != 2 or shape[0] != self.rows or not shape[1]:
            raise ValueError(f"decode: step must return scores of the shape ({self.rows}, V), got {shape}")
        for name, ids in self.named.items():
            if wrong := [i for i in ids if not 0 <= i < shape[1]]:
                raise ValueError(f"decode: {name} must be an id between 0 and {shape[1] - 1}, got {wrong[0]}")
        scores = scores.data if isinstance(scores, Tensor) else scores
        self._lib = xp(scores)
        return scores

    def follow(self, rows: HostArray, ids: HostArray) -> None:
        """Goes on with these rows of the state, any of them as often as wanted, and the ids (as many) for them."""
        if len(rows) != self.rows or (rows != np.arange(self.rows)).any():
            chosen = [
                leaf[(*(slice(None),) * axis, (leaf.xp if isinstance(leaf, Tensor) else xp(leaf)).asarray(rows))]
                for leaf, axis in self._places()
            ]
            self.state = rebuild(self.state, iter(chosen))
        self.ids = ids

    def _places(self) -> list[tuple[Any, int]]:
        """The leaves of the state, each with the axis of its rows."""
        leaves = flat(self.state)
        try:
            axes = prefix_leaves(self.batch_axis, self.state)
        except ValueError as error:
            raise ValueError(f"decode: batch_axis must be a number, or nested as the state is: {error}") from None
        for leaf, axis in zip(leaves, axes, strict=True):
            if not hasattr(leaf, "shape"):
                raise TypeError(f"decode: state must be Tensors in tuples, lists and dicts, got {type(leaf).__name__}")
            if isinstance(axis, bool) or not isinstance(axis, int) or not 0 <= axis < len(leaf.shape):
                raise ValueError(
                    f"decode: batch_axis must be an axis of every part of the state, got {axis!r} for one of the "
                    f"shape {tuple(leaf.shape)}"
                )
        return [*zip(leaves, axes, strict=True)]


def log_totals(scores: Array, counting: HostArray) -> HostArray:
    """log of the sum of exp of the scores of each row (R,V) -> (R,): what lies between a score and its log-probability.
    Raises ValueError where a row that counts, by `counting` (R,), has NaN, an infinite score, or -inf alone."""
    with np.errstate(invalid="ignore"):  # in rows that do not count
        most = scores.max(axis=-1)
        sums = to_host(xp(scores).exp(scores - most[:, None]).sum(axis=-1, dtype=np.float64))
        totals: HostArray = to_host(most).astype(np.float64) + np.log(sums)
    if not np.isfinite(totals[counting]).all():
        raise ValueError(NOTHING_LEFT)
    return totals


def without(scores: Array, excluded: Collection[int]) -> Array:
    """Scores (R,V) as a new array, with -inf for the ids that are excluded."""
    mask = np.zeros(scores.shape[-1], dtype=bool)
    mask[[*excluded]] = True
    return xp(scores).where(xp(scores).asarray(mask), -np.inf, scores)


def largest(scores: Array, count: int, excluded: Collection[int]) -> tuple[HostArray, HostArray]:
    """The largest scores of each row (R,V) -> (R,count), the largest first, and their ids; of equal ones the first."""
    lib, left = xp(scores), without(scores, excluded)
    rows = lib.arange(len(left))
    values, ids = [], []
    for _ in range(count):  # less than a sort as long as few are wanted, and ties go to the first on every device
        best = left.argmax(axis=-1)
        values.append(left[rows, best])
        ids.append(best)
        left[rows, best] = -np.inf
    return to_host(lib.stack(values, axis=1)).astype(np.float64), to_host(lib.stack(ids, axis=1)).astype(np.int64)
