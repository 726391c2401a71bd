"""Series: a column of numbers in the order of time, some of which may be missing."""

from __future__ import annotations

import os
from itertools import chain

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.csv_rows import csv_rows, index_of_column, need_no_more
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.readers import read_lines, shown_name

MISSING = ("", "nan", "na", "n/a", "null", "none")
"""What stands where a number is missing, in small letters."""

_LARGEST = 1e100
"""The squares of what is larger may be infinite."""


def parse_number(text: str) -> float:
    """The number in a text, NaN for one that is missing. Raises TextError."""
    if (bare := text.strip()).lower() in MISSING:
        return np.nan
    try:
        value = float(bare)
    except ValueError:
        value = np.nan
    if not abs(value) <= _LARGEST:
        raise TextError(f"a number was expected, or nothing where it is missing, got {text[:40]!r}")
    return value


def read_series(path: str | os.PathLike[str], column: str | int | None = None, encoding: str = "utf-8") -> HostArray:
    """A column of a CSV file, (T,) float64; NaN where a number is missing: an empty field, or one of MISSING.

    Args:
        path, encoding: as in `read_lines`.
        column: its index from 0, or its title, where the first row has titles: it has where what stands in this column
            is no number. The last one unless told.

    Raises:
        TextError: for what is no number and for a row without this column; it says the file and the line.
    """
    name = shown_name(path)
    rows = csv_rows(name, read_lines(path, encoding))
    number, first = next(rows)
    titles = [field.strip() for field in first]
    by_index = column is not None and str(column).isdecimal()
    index = (
        -1 if column is None else index_of_column(name, [*map(str, range(len(first)))] if by_index else titles, column)
    )
    index %= len(first)
    values = []
    for line, row in chain([(number, first)], rows) if _is_number(first[index]) else rows:
        if index >= len(row):
            raise TextError(f"{name}, line {line:,}: {index + 1} columns or more were expected, got {len(row)}")
        need_no_more(name, line, row, len(first))
        try:
            values.append(parse_number(row[index]))
        except TextError as error:
            raise TextError(f"{name}, line {line:,}: {error}") from None
    return np.array(values)


def without_gaps(window: HostArray) -> HostArray:
    """A window (T,) of a series with straight lines across its gaps, and beside the outer ones the nearest number: of
    what comes after it nothing is known. Raises TextError for one without a number."""
    if not _some(window):
        raise TextError(f"a number was expected in a window of {len(window)} steps, and all are missing")
    known, steps = ~np.isnan(window), np.arange(len(window))
    return window if known.all() else np.interp(steps, steps[known], window[known])


def windows_of(name: str, series: HostArray, window: int, horizon: int) -> list[tuple[HostArray, HostArray]]:
    """Every `window` of a series (T,), `without_gaps`, and the `horizon` values after it, NaN where they are missing;
    those in which all are missing are left out. Raises TextError, by the `name` of the series, where there is none."""
    ends = range(window, len(series) - horizon + 1)
    pairs = [(series[end - window : end], series[end : end + horizon]) for end in ends]
    found = [(without_gaps(seen), after) for seen, after in pairs if _some(seen) and _some(after)]
    if not found:
        raise TextError(
            f"{name}: a series of a window of {window:,} steps, a horizon of {horizon:,} and more was expected, "
            f"with numbers in both, got {len(series):,}, of which {np.count_nonzero(~np.isnan(series)):,} numbers"
        )
    return found


def _some(values: HostArray) -> bool:
    return not np.isnan(values).all()


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except TextError:
        return False
    return True
