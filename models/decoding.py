"""Decoding: sequences of ids out of a model that says, after each, how likely every next one is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from tinygrad_rnn.backend import Array, HostArray, to_host
from tinygrad_rnn.models.beam import Bounds, beam_search, length_penalty
from tinygrad_rnn.models.drawing import NOTHING_LEFT, check_drawing, draw
from tinygrad_rnn.models.init import generator, size
from tinygrad_rnn.models.stepping import NextScores, Stepper, largest, log_totals
from tinygrad_rnn.surroundings import no_grad

How = Literal["greedy", "sample", "beam"]
"""Always the likeliest id, an id drawn by chance, or the sequences of the highest score."""


@dataclass(frozen=True)
class Decoded:
    """What `decode` found, as NumPy arrays: for B rows, or, with `best`, for so many of each row, the best first, in
    one more axis at the end."""

    ids: HostArray
    """(T,B) The ids of the longest and, padded with `end` (or 0), of the others; `end` is not among them."""
    lengths: HostArray
    """(B,) How many ids there are."""
    ended: HostArray
    """(B,) Whether `end` came after them, or only `max_length`."""
    log_probs: HostArray
    """(B,) Nats, of all ids and of the end, if there is one, as the step's softmax gives them: whatever was left out,
    and at whatever temperature. -inf where a row has fewer sequences than were asked for."""
    scores: HostArray
    """(B,) These divided by the length penalty."""

    @property
    def sequences(self) -> Any:
        """The ids as lists without padding: a list of them for B rows, and with `best` a list of lists, which leave out
        what was not found."""
        return _sequences(self.ids, self.lengths, self.log_probs)


def decode(
    step: NextScores,
    state: Any,
    start: Any,
    end: int | None,
    how: How = "greedy",
    *,
    max_length: int = 100,
    min_length: int = 0,
    never: Collection[int] = (),
    batch_axis: Any = 0,
    length_normalisation: float = 0.6,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: np.random.Generator | None = None,
    beam: int | None = None,
    best: int | None = None,
) -> Decoded:
    """Sequences that a model writes, id by id, for each row of a batch. Nothing is on the tape.

    How: "greedy" takes the likeliest id, of equal ones the first. "sample" draws. "beam" keeps the likeliest running
    hypotheses of each row and returns the one of the highest score, or the `best` ones; it goes on for as long as a
    running one can become that. The greedy one keeps its place among them, so that the result is never below it, in
    this score.

    A score is the log-probability of n ids, the end among them, divided by ((5 + n) / 6) ** length_normalisation (Wu et
    al. 2016, eq. 14, who found 0.6 to 0.7 best for translation); 0: the log-probability itself.

    Args:
        step: `state, scores = step(state, ids)` reads an id of every row, (B,) on its device, and gives scores (B,V) of
            the next one: logits, or log-probabilities.
        state: what the first step is given, a tree of Tensors (tuples, lists, dicts). A beam takes its rows anew and
            several times over: what belongs to a row must be in it.
        start: an id or ids (B,), after which sequences begin. Of a prompt, which is read before, the last id.
        end: the id that ends a sequence; None: only `max_length` does.
        how: "greedy", "sample" or "beam".
        max_length, min_length: in ids; `end` does not come before `min_length`.
        never: ids that do not come up.
        batch_axis: where the leaves of the state have their rows: a number, or a tree of numbers that begins as the
            state does, such as the `batch_axes` of a `Recurrent`.
        length_normalisation: of the score.
        temperature, top_k, top_p, rng: of "sample", as in `draw`.
        beam: of "beam": how many hypotheses are kept, 5 unless told.
        best: of "beam": how many are returned.

    Raises:
        ValueError, TypeError: an argument does not fit, or nothing is left to choose from.

    Example:
        >>> after = np.log([[0.1, 0.2, 0.7], [0.1, 0.8, 0.1], [1.0, 1e-9, 1e-9]])
        >>> step = lambda state, ids: (state, Tensor(after[ids]))
        >>> said = models.decode(step, (), start=[0, 1], end=0, max_length=4)
        >>> said.sequences
        [[2], [1, 1, 1, 1]]
    """
    if how not in get_args(How):
        raise ValueError(f'decode: how must be "greedy", "sample" or "beam", got {how!r}')
    _check_belonging(how, "sample", temperature=temperature, top_k=top_k, top_p=top_p, rng=rng)
    _check_belonging(how, "beam", beam=beam, best=best)
    if not 0 <= length_normalisation < np.inf:
        raise ValueError(f"decode: length_normalisation must be 0 or more, got {length_normalisation!r}")
    bounds = _bounds(end, never, min_length, max_length)
    named = {"never": bounds.never, "end": () if end is None else (end,)}
    with no_grad():
        model = Stepper(step, state, start, batch_axis, named)
        if how == "beam":
            return _searched(model, bounds, 5 if beam is None else beam, length_normalisation, best)
        choose = _likeliest if how == "greedy" else _drawing(temperature, top_k, top_p, rng)
        ids, lengths, ended, log_probs = _one_a_row(model, bounds, choose)
    scores = log_probs / length_penalty(lengths + ended, length_normalisation)
    return Decoded(_padded(ids, lengths, bounds), lengths, ended, log_probs, scores)


def _searched(model: Stepper, bounds: Bounds, beam: int, alpha: float, best: int | None) -> Decoded:
    width = size("decode: beam", beam)
    count = 1 if best is None else size("decode: best", best)
    if count > width:
        raise ValueError(f"decode: best must be at most the beam, {width}, got {count}")
    found, ids = beam_search(model, bounds, width, alpha, count)
    parts = [_padded(ids, found.lengths, bounds), found.lengths, found.ended, found.log_probs, found.scores]
    return Decoded(*(parts if best is not None else (part[..., 0] for part in parts)))


def _padded(ids: HostArray, lengths: HostArray, bounds: Bounds) -> HostArray:
    """Ids (T,...) of sequences of these lengths (...), with the end behind them, or 0."""
    steps = np.arange(len(ids)).reshape(-1, *(1,) * lengths.ndim)
    return np.where(steps < lengths, ids, 0 if bounds.end is None else bounds.end)


Choice = Callable[[Array, tuple[int, ...], HostArray], tuple[HostArray, HostArray]]
"""Of scores (B,V) an id for each row (B,) and its score, without the ids that are excluded, for the rows (B,) that
run."""


def _one_a_row(model: Stepper, bounds: Bounds, choose: Choice) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """The ids that are chosen (T,B), how many, whether they ended, and their log-probability. Rows that have ended
    are read on until all have, and nothing comes of it."""
    running, log_probs = np.ones(model.rows, dtype=bool), np.zeros(model.rows)
    lengths = np.zeros(model.rows, dtype=np.int64)
    chosen: list[HostArray] = []
    while running.any() and len(chosen) < bounds.max_length:
        scores = model.advance()
        totals = log_totals(scores, running)
        ids, values = choose(scores, bounds.excluded(len(chosen)), running)
        log_probs[running] += (values - totals)[running]
        if bounds.end is not None:
            running &= ids != bounds.end
        lengths += running
        chosen.append(ids)
        model.ids = ids
    longest = int(lengths.max(initial=0))
    return np.array(chosen[:longest], dtype=np.int64).reshape(longest, model.rows), lengths, ~running, log_probs


def _likeliest(scores: Array, excluded: tuple[int, ...], running: HostArray) -> tuple[HostArray, HostArray]:
    values, ids = largest(scores, 1, excluded)
    if not np.isfinite(values[running]).all():
        raise ValueError(NOTHING_LEFT)
    return ids[:, 0], values[:, 0]


def _drawing(
    temperature: float | None, top_k: int | None, top_p: float | None, rng: np.random.Generator | None
) -> Choice:
    if rng is None:
        raise ValueError('decode: rng must be a numpy.random.Generator with how="sample", got None')
    rng, heat = generator(rng), 1.0 if temperature is None else temperature
    check_drawing(heat, top_k, top_p)

    def drawn(scores: Array, excluded: tuple[int, ...], running: HostArray) -> tuple[HostArray, HostArray]:
        left = to_host(scores).astype(np.float64)
        left[:, [*excluded]] = -np.inf
        ids = np.zeros(len(left), dtype=np.int64)
        for row in np.flatnonzero(running):
            ids[row] = draw(left[row], rng, heat, top_k, top_p)
        return ids, left[np.arange(len(left)), ids]

    return drawn


def _check_belonging(how: str, to: str, **options: Any) -> None:
    """Raises ValueError for options of one way of decoding that were given to another."""
    given = [name for name, value in options.items() if value is not None]
    if given and how != to:
        raise ValueError(f'decode: {given[0]} is for how="{to}", got it with how="{how}"')


def _bounds(end: Any, never: Collection[int], min_length: Any, max_length: Any) -> Bounds:
    named = [("never", each) for each in never] + [("end", end)] * (end is not None)
    for name, each in [*named, ("min_length", min_length), ("max_length", max_length)]:
        if isinstance(each, bool) or not isinstance(each, int | np.integer):
            raise TypeError(f"decode: {name} must be a whole number, got {each!r}")
    if not 0 <= min_length <= max_length:
        raise ValueError(f"decode: min_length must lie between 0 and max_length {max_length}, got {min_length!r}")
    return Bounds(
        None if end is None else int(end), tuple(sorted({int(i) for i in never})), int(min_length), int(max_length)
    )


def _sequences(ids: HostArray, lengths: HostArray, log_probs: HostArray) -> Any:
    if lengths.ndim == 2:
        return [
            _sequences(ids[:, row, there], lengths[row, there], log_probs[row, there])
            for row, there in enumerate(np.isfinite(log_probs))
        ]
    return [[int(i) for i in ids[:length, row]] for row, length in enumerate(lengths)]
