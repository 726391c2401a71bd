"""How the figures of a run are laid out: to the width of the terminal, if there is one."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

WIDEST = 110
"""Columns, where nothing says how many there are: in a file, say."""

LEAST_COLUMNS = 40
"""Columns: what is narrower still is not laid out for."""

LABEL = 10
"""Columns that a label takes."""

TIE = "\xa0"
"""A space at which `entry` breaks no line."""


def columns(stream: TextIO | None = None) -> int:
    """The width of the terminal that a stream writes to (standard output unless told), from LEAST_COLUMNS to WIDEST;
    WIDEST where it is no terminal."""
    try:
        found = os.get_terminal_size((sys.stdout if stream is None else stream).fileno()).columns
    except (OSError, ValueError, AttributeError):
        return WIDEST
    return min(max(found, LEAST_COLUMNS), WIDEST) if found else WIDEST


def entry(label: str, text: str, width: int | None = None) -> str:
    """A line with its label at the left; in several lines where it is wider than the terminal."""
    room = (columns() if width is None else width) - LABEL
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    return f"{label:<{LABEL}}" + ("\n" + " " * LABEL).join(lines).replace(TIE, " ")


def figure(value: float, digits: int) -> str:
    """A number with so many digits after the point, or in few characters where it is very large or none."""
    return f"{value:.{digits}f}" if abs(value) < 999_999 else f"{value:.2g}"


def exact_figure(value: float, digits: int) -> str:
    """A figure that is not for a column: of a number so small that hardly one of its digits would say anything two."""
    return f"{value:.2g}" if 0 < abs(value) < 10 ** (1 - digits) else figure(value, digits)


def header(names: Sequence[str], counted: str) -> str:
    """Above the rows of evaluations, with the names of their figures; `counted` are tokens or examples."""
    figures = "".join(f"{name:>{_width(name)}}" for name in names)
    return f"{'':<{LABEL}}{'train':>8}{'valid':>8}{figures}{counted + '/s':>{_width(counted + '/s')}}{'lr':>9}"


def row(
    label: str, train: float, valid: float, figures: Sequence[tuple[str, str]], speed: float, counted: str, lr: float
) -> str:
    """An evaluation in the columns of `header`: the mean loss in training and in validation, figures by name, tokens or
    examples a second, and the learning rate."""
    shown = "".join(f" {value:>{_width(name) - 1}}" for name, value in figures)
    return (
        f"{label:<{LABEL}} {figure(train, 3):>{min(7, 17 - len(label))}} {figure(valid, 3):>7}{shown} "
        f"{speed:>{_width(counted + '/s') - 1},.0f} {lr:>8.2g}"
    )


def _width(name: str) -> int:
    """Of a column: there is room for a name, and for a figure."""
    return max(len(name) + 2, 7)


def shortened(parts: Sequence[tuple[int, str]], room: int) -> str:
    """Parts of a line, each with how much it matters (1 most), with commas between them: the ones that matter least
    are left out where they do not fit into `room` columns."""
    kept = [*parts]
    while len(text := ", ".join(part for _, part in kept)) > room and len(kept) > 1:
        kept.remove(max(kept, key=lambda part: part[0]))
    return text[:room]
