"""Metrics of numbers that are forecast."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray


def mae(gold: Any, said: Any) -> float:
    """The mean absolute error of numbers in arrays of one shape. Raises ValueError."""
    right, found = _numbers("gold", gold), _numbers("said", said)
    if right.shape != found.shape:  # which NumPy would broadcast, (N,) and (N,1) to (N,N)
        raise ValueError(f"gold and said must be of one shape, got {right.shape} and {found.shape}")
    return float(np.abs(right - found).mean())


def mase(gold: Any, said: Any, train: Any, season: int = 1) -> float:
    """The mean absolute scaled error (Hyndman & Koehler 2006): `mae` in units of the mean absolute error that it is, in
    the series `train` (T,), to say of each number the one `season` steps before; below 1 is better than that. Raises
    ValueError, too, for a series that is too short or repeats itself every season, which has no such unit."""
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
