"""check_cell: the battery that every cell must pass, the built-in ones and a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Any

from tinygrad_rnn.checks.battery import COMPILED, all_rows
from tinygrad_rnn.checks.rows import Row
from tinygrad_rnn.checks.subject import Subject
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.recurrent import Recurrent


class CellError(AssertionError):
    """A cell failed a check; the message names the gate, the parameter and the entry where there are such."""


@dataclass(frozen=True)
class CellReport:
    """What `check_cell` found: printed, a table."""

    title: str
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(row.held is not False for row in self.rows)

    def __str__(self) -> str:
        failed = sum(row.held is False for row in self.rows)
        held = sum(row.held is True for row in self.rows)
        end = f"{held} checks passed" if not failed else f"{failed} of {held + failed} checks failed"
        return "\n".join([self.title, *map(str, self.rows), end])


def check_cell(
    cell: type[Cell],
    input_size: int = 2,
    hidden_size: int = 3,
    *,
    seed: int = 0,
    show: bool = True,
    **options: Any,
) -> CellReport:
    """Checks a class made with `Cell`, in float64 and with every weight drawn at random.

    What is checked: that its step depends on nothing but its arguments and weights; all entries of its first and second
    derivatives against finite differences; the compiled scan against the plain loop; two halves with the carried state
    against the whole; that batch rows do not depend on one another, nor on padding; both directions and several layers;
    other sizes; dropout; float32; a file with its weights; and, where there is one, the GPU.

    A Parameter that no output depends on is reported, and so are a step that cannot be compiled, a state that zoneout
    treats as units and is no row of them, and a product of a state that recurrent dropout misses; none is a failure.

    Args:
        cell: the class.
        input_size, hidden_size: I and H of the cells that are checked.
        seed: of the weights and inputs.
        show: prints the table of what was checked, with the figure.
        options: the cell's.

    Returns:
        The table.

    Raises:
        CellError: a check fails (an AssertionError); it names the parameter, the entry and both values.
        TypeError: `cell` is no such class, or an option is one of the layer's.

    Example:
        >>> tg.check_cell(models.RNNCell, show=False).passed
        True
    """
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise TypeError(f"check_cell: cell must be a class made with Cell, got {cell!r}")
    if of_layer := sorted(options.keys() & set(signature(Recurrent.__init__).parameters)):
        raise TypeError(f"check_cell: options are the cell's; of the layer is {', '.join(of_layer)}")
    subject = Subject(cell, input_size, hidden_size, seed, options)
    rows = all_rows(subject)
    report = CellReport(subject.title, rows)
    if show:
        print(report)
    if not report.passed:
        failures = [f"{row.what}: {row.figure}" for row in report.rows if row.held is False]
        failures += [
            f"(note) {row.what}: {row.figure}" for row in report.rows if row.what == COMPILED and row.held is None
        ]
        raise CellError(f"{cell.__name__}: {'; '.join(failures)}")
    return report
