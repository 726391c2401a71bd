"""What a check of check_cell comes to: a row of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_rnn.frames import user_lines

SAME = 1e-10
"""The relative error allowed of what must be equal but for rounding."""

_WORDS = {True: "ok  ", False: "FAIL", None: "note"}
_WIDTH = 46


@dataclass(frozen=True)
class Row:
    """One check: what was checked, whether it held (None where it could not be tried), and the figure."""

    what: str
    held: bool | None
    figure: str

    def __str__(self) -> str:
        return f"  {_WORDS[self.held]}  {self.what:<{_WIDTH}}  {self.figure}"


class Remark(Exception):
    """A check could not be tried, or found what is no failure."""


def row_of(what: str, check: Callable[[], str]) -> Row:
    """The check, made. It returns the figure, and raises AssertionError where it does not hold; any other error within
    it is a failure too."""
    try:
        with np.errstate(all="ignore"):  # what is not finite is told by the checks
            return Row(what, True, check())
    except Remark as remark:
        return Row(what, None, str(remark))
    except AssertionError as error:
        return Row(what, False, str(error))
    except Exception as error:
        return Row(what, False, f"{type(error).__name__}: {error}{_place(error)}")


def require(holds: Any, failure: str) -> None:
    """What `assert` does, under `python -O` as well: there, too, a wrong cell must fail."""
    if not holds:
        raise AssertionError(failure)


@contextmanager
def unchanged(arrays: list[Any], failure: str) -> Iterator[None]:
    """Within it the arrays cannot be written into: AssertionError, with the line, where somebody tries."""
    free = [array for array in arrays if isinstance(array, np.ndarray) and array.flags.writeable]
    for array in free:
        array.flags.writeable = False
    try:
        yield
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError(f"{failure}{_place(error)}: make a new Tensor, as with ops.where") from error
    finally:
        for array in free:
            array.flags.writeable = True


@contextmanager
def suspected(failure: str) -> Iterator[None]:
    """Within it an error of shapes is told with what it is probably of."""
    try:
        yield
    except (ValueError, TypeError, IndexError) as error:
        raise AssertionError(f"{failure}: {type(error).__name__}: {error}{_place(error)}") from error


def agreement(found: list[Any], expected: list[Any], what: str, tolerance: float = SAME) -> str:
    """The largest difference, relative to 1 or the largest entry. Raises AssertionError where it is too large."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(b).max(initial=0.0)))
        difference = float(np.abs(a - b).max(initial=0.0)) / scale
        require(difference <= tolerance, f"results {what} differ by {difference:.2g} (allowed {tolerance:.0e})")
        worst = max(worst, difference)
    return f"{worst:.1e} at most, allowed {tolerance:.0e}"


def _place(error: BaseException) -> str:
    """Where in a user's file an error comes from."""
    lines = user_lines(error)
    return f" ({lines[-1][0]}, line {lines[-1][1]})" if lines else ""
