"""What a trained model did with some examples, as numbers to draw: a page and a picture draw the same views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygrad_rnn.backend import HostArray


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A table of numbers to draw: which source symbol each target symbol was made from, how likely each symbol is in
    each frame, which label was taken for which.

    Args:
        title: above it.
        values: (R,C).
        rows, columns: a name for each row and each column.
        row_title, column_title: what they are.
        counts: shows the values as numbers.

    Example:
        >>> tasks.HeatMap("attention", np.eye(2), rows=["a", "b"], columns=["A", "B"]).values.shape
        (2, 2)
    """

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
    """Lines to draw.

    Args:
        title: above it.
        x: (N,).
        lines: (N,) each, by name; NaN where one has a gap.
        bands: (low, high), (N,) each, by name, which lie behind the lines.
        x_title, y_title: of the axes.

    Example:
        >>> tasks.Chart("a window", np.arange(3), {"series": np.array([1.0, np.nan, 3.0])}).title
        'a window'
    """

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
