"""What a forecast must be better than: inputs are windows of a series, outputs the values that come after."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.baselines.baseline import Baseline
from tinygrad_rnn.data.messages import TextError


class LastValue(Baseline):
    """Everything stays as it is, or as it was a season ago.

    Args:
        season: how many steps that is.

    Raises:
        TextError: a window is shorter than that.

    Example:
        >>> windows, after = [np.array([1.0, 2.0])], [np.array([1.0, 2.0, 1.0])]
        >>> method = baselines.LastValue(season=2).fit(windows, after)
        >>> method.predict([np.array([5.0, 6.0])])[0]
        array([5., 6., 5.])
    """

    def __init__(self, season: int = 1) -> None:
        self.season = season

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        self._horizon = len(outputs[0])

    def _answer(self, inputs: list[Any]) -> list[Any]:
        if (shortest := min(map(len, inputs), default=self.season)) < self.season:
            raise TextError(f"windows must have the {self.season} steps of a season, got {shortest}")
        steps = np.arange(self._horizon) % self.season - self.season
        return [np.asarray(window)[steps] for window in inputs]


class Autoregression(Baseline):
    """Each step ahead is a linear function of the latest values, found by least squares on the windows after which it
    is known: a forecast of its own for each step.

    Args:
        lags: of how many values. Unless told that is chosen for each step, up to the whole window, so that the
            corrected information criterion of Hurvich & Tsai (1989) is least, n log(RSS / n) + 2kn / (n - k - 1) for n
            windows and k weights: a short series gets few.

    Example:
        >>> windows = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
        >>> method = baselines.Autoregression(lags=1).fit(windows, windows[:, 1:] + 1)
        >>> method.predict([np.array([7.0, 8.0])])[0].round(6)
        array([9.])
    """

    def __init__(self, lags: int | None = None) -> None:
        self.lags = lags

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        # Around 0 and about 1: digits would be lost to a large mean, and all of a tiny series to the column of ones.
        self.mean = float(np.mean([np.mean(window) for window in inputs]))
        self.scale = float(np.max(np.abs(np.stack(inputs) - self.mean))) or 1.0
        rows = self._rows(inputs)
        targets = (np.stack(outputs) - self.mean) / self.scale  # (N,horizon), NaN where unknown
        self.weights = np.zeros((rows.shape[1], targets.shape[1]))
        for step, target in enumerate(targets.T):
            if (known := ~np.isnan(target)).any():
                found = rows[known] if self.lags else _worth_having(rows[known], target[known])
                self.weights[: found.shape[1], step] = np.linalg.lstsq(found, target[known], rcond=None)[0]

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return list(self._rows(inputs) @ self.weights * self.scale + self.mean) if inputs else []

    def _rows(self, windows: list[Any]) -> HostArray:
        """A column of ones, then the values above the mean in units of the scale, the latest first."""
        values = np.stack([np.asarray(window, dtype=np.float64) for window in windows])[:, ::-1][:, : self.lags]
        return np.column_stack([np.ones(len(values)), (values - self.mean) / self.scale])


def _worth_having(rows: HostArray, target: HostArray) -> HostArray:
    """Of the columns of `rows` (N,K) the first ones, as many as the criterion says."""
    n = len(rows)
    orthogonal, _ = np.linalg.qr(rows)  # of which the first k columns span what the first k of `rows` do
    explained = np.cumsum(np.square(orthogonal.T @ target))[: max(n - 2, 1)]
    total = float(np.square(target).sum())
    rest = np.maximum(total - explained, max(total, 1e-200) * 1e-30)  # a perfect fit has a logarithm, too
    k = np.arange(1, len(explained) + 1)
    return rows[:, : 1 + int(np.argmin(n * np.log(rest / n) + 2 * k * n / np.maximum(n - k - 1, 1)))]
