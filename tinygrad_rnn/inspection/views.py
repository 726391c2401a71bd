"""What a trained model did with some examples, as numbers to draw: a page and a picture draw the same views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygrad_rnn.backend import HostArray


@dataclass(frozen=True, eq=False)
class HeatMap:
    """values (R,C) with a name for each row and each column: which source symbol each target symbol was made from, how
    likely each symbol is in each frame, which label was taken for which. `counts` are shown as numbers."""

    title: str
    values: HostArray
    rows: Sequence[str]
    columns: Sequence[str]
    row_title: str = ""
    column_title: str = ""
    counts: bool = False

    def __post_init__(self) -> None:
        _check_arrays(values=self.values)
        if self.values.shape != (len(self.rows), len(self.columns)):
            raise ValueError(
                f"values must have the shape {(len(self.rows), len(self.columns))} of its rows and columns, got "
                f"{self.values.shape}"
            )


@dataclass(frozen=True, eq=False)
class Chart:
    """Lines over `x` (N,), each (N,), by name; NaN where a line has a gap. A band (low, high), (N,) each, by name, lies
    behind them."""

    title: str
    x: HostArray
    lines: Mapping[str, HostArray]
    bands: Mapping[str, tuple[HostArray, HostArray]] = field(default_factory=dict)
    x_title: str = ""
    y_title: str = ""

    def __post_init__(self) -> None:
        edges = [edge for band in self.bands.values() for edge in band]
        _check_arrays(x=self.x, **self.lines, **{f"band {i}": edge for i, edge in enumerate(edges)})
        if wrong := [each.shape for each in (*self.lines.values(), *edges) if each.shape != self.x.shape]:
            raise ValueError(f"lines and bands must have the shape {self.x.shape} of x, got {wrong[0]}")


def _check_arrays(**given: object) -> None:
    for name, value in given.items():
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")


View = HeatMap | Chart
