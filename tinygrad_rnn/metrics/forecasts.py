"""Metrics of numbers that are forecast."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray


def mae(gold: Any, said: Any) -> float:
    """The mean absolute error of numbers in arrays of one shape. Raises ValueError for others.

    Example:
        >>> metrics.mae([1.0, 2.0], [2.0, 4.0])
        1.5
    """
    right, found = _numbers("gold", gold), _numbers("said", said)
    if right.shape != found.shape:  # which NumPy would broadcast, (N,) and (N,1) to (N,N)
        raise ValueError(f"gold and said must be of one shape, got {right.shape} and {found.shape}")
    return float(np.abs(right - found).mean())


def mase(gold: Any, said: Any, train: Any, season: int = 1) -> float:
    """The mean absolute scaled error (Hyndman & Koehler 2006): `mae` in units of what saying for each number of the
    series the one a season before has; below 1 is better than that.

    Args:
        gold, said: arrays of one shape.
        train: the series (T,).
        season: in steps.

    Raises:
        ValueError: shapes differ, or the series is too short or repeats itself every season, and has no such unit.

    Example:
        >>> metrics.mase([1.0, 2.0], [2.0, 4.0], train=[0.0, 3.0, 0.0, 3.0])
        0.5
    """
    series = _numbers("train", train)
    if series.ndim != 1 or not 1 <= season < len(series):
        raise ValueError(f"train must be a series longer than a season of {season} steps, got shape {series.shape}")
    unit = float(np.abs(series[season:] - series[:-season]).mean())
    if not unit:
        raise ValueError(f"train must change from season to season, got a series that repeats itself every {season}")
    return mae(gold, said) / unit


def _numbers(name: str, values: Any) -> HostArray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or not array.size:
        raise ValueError(f"{name} must be numbers, got {'none' if not array.size else array.dtype}")
    return array.astype(np.float64)
