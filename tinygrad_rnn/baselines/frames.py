"""What a reader of frames must be better than: one that looks at each frame and its neighbours, and at no sequence."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby, product
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.baselines.baseline import Baseline
from tinygrad_rnn.data.messages import TextError

SILENCE = ""


class NearestFrame(Baseline):
    """Says of each frame which symbol's mean frame is nearest, and of a run of equal ones the symbol once.

    The means are those of equal pieces into which the frames (T,F) of each text are cut, one for each symbol and one
    for the silence before, between and after them. Distances are in standard deviations of each feature, and are
    averaged over a few frames; runs that are too short say nothing. How many frames these are is what has the fewest
    errors on the first texts of the training part.

    Args:
        errors: `errors(right, said)` of two lists of texts.

    Raises:
        TextError: no text has a symbol.
    """

    WIDTHS, RUNS, TRIED = (1, 3, 5), (1, 2, 3, 4), 200

    def __init__(self, errors: Callable[[list[str], list[str]], float]) -> None:
        self.errors = errors

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        pieces: dict[str, list[HostArray]] = {SILENCE: []}
        for frames, text in zip(inputs, outputs, strict=True):
            said = [SILENCE, *(each for symbol in text for each in (symbol, SILENCE))]
            for symbol, piece in zip(said, np.array_split(frames, len(said)), strict=True):
                pieces.setdefault(symbol, []).append(piece)
        scale = np.concatenate(inputs).std(axis=0, dtype=np.float64)
        self.scale = np.where(scale > 0, scale, 1.0)
        found = {symbol: np.concatenate(parts) for symbol, parts in sorted(pieces.items())}
        found = {symbol: frames for symbol, frames in found.items() if len(frames)}
        self.symbols = list(found)
        self.means = np.stack([frames.mean(axis=0, dtype=np.float64) for frames in found.values()]) / self.scale
        tried = [(frames, text) for frames, text in zip(inputs, outputs, strict=True) if text][: self.TRIED]
        if not tried:
            raise TextError("texts must have a symbol, got empty ones alone")
        self.width, self.run = min(
            product(self.WIDTHS, self.RUNS),
            key=lambda sizes: self.errors([text for _, text in tried], [self._said(each, *sizes) for each, _ in tried]),
        )

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return [self._said(frames, self.width, self.run) for frames in inputs]

    def _said(self, frames: HostArray, width: int, least: int) -> str:
        distances = np.square(frames[:, None] / self.scale - self.means).sum(axis=-1)  # (T,symbols)
        around = np.pad(distances, ((width // 2, width // 2), (0, 0)), mode="edge")
        nearest = np.lib.stride_tricks.sliding_window_view(around, width, axis=0).mean(axis=-1).argmin(axis=-1)
        runs = [(self.symbols[i], len(list(run))) for i, run in groupby(nearest.tolist())]
        return "".join(symbol for symbol, _ in groupby(symbol for symbol, length in runs if length >= least))
