"""The page of all shipped cells, made from their code and from what `benchmarks/cells.py` measured."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.models import Cell
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.equations import equations_as_html

HERE = Path(__file__).parent

UNBROKEN = "\xa0"
"""A space at which no line is broken."""
BASIS = ("I H", "H²", "I", "H", "")
SIZES = [(i, h) for i in (7, 11, 13, 17) for h in (12, 18, 24, 30)]


def formula(cell: type[Cell]) -> str:
    """The number of weights as a polynomial in the inputs I and the units H, from its value at several sizes."""
    rows = [[i * h, h * h, i, h, 1] for i, h in SIZES]
    counts = [cell(i, h).size for i, h in SIZES]
    factors = np.linalg.lstsq(np.array(rows, float), np.array(counts, float), rcond=None)[0]
    whole = factors.round().astype(int)
    if not np.array_equal(np.array(rows) @ whole, counts):
        raise ValueError(f"the weights of {cell.__name__} are no polynomial in {', '.join(BASIS)}: {counts}")
    terms = [(f"{n} {name}" if n != 1 else name).strip() or "1" for n, name in zip(whole, BASIS, strict=True) if n]
    return " + ".join(term.replace(" ", UNBROKEN) for term in terms)


def equations(cell: type[Cell]) -> str:
    """The source of its step, without the annotations."""
    source = textwrap.dedent(inspect.getsource(cell.step))
    return re.sub(r"^def step\(self, (.*?)\) -> .*:$", _bare, source, count=1, flags=re.MULTILINE).rstrip()


def mathematics(cell: type[Cell]) -> list[str]:
    """The equations of its recorded step, as MathML; nothing where what it does depends on numbers."""
    found = equations_as_html(cell(8, 16))
    return [".. raw:: html", "", f"    {found}", ""] if found else []


def _bare(match: re.Match[str]) -> str:
    return f"def step(self, {re.sub(r': Tensor', '', match[1])}):"


FIGURES = {
    "time": ("time", 2),
    "adding": ("adding", 4),
    "dyck": ("Dyck", 3),
    "copy": ("copy", 3),
    "characters": ("characters", 3),
}
"""By the name of a work its title, and how many digits of its figures are told."""


def _introduction(about: dict[str, Any]) -> str:
    """What the figures of the table are."""
    parts = [
        "Every cell by the name that the command line takes (``tinygrad-rnn train --cell janet``). *Time*: a training "
        "step of 64 steps with 128 units beside the LSTM's in the same round, the median and half of what lies between "
        "the quartiles; as machine code, on one thread."
    ]
    tasks = {
        "adding": "*Adding*: the mean squared error of the sum of two marked numbers among {length}; who always "
        "says the mean has 0.167.",
        "dyck": "*Dyck*: by what share the loss is above the entropy, of brackets of two kinds nested three deep at "
        "most; 0.02 is 2 %.",
        "copy": "*Copy*: nats a symbol, the silence before them included, of ten symbols of eight kinds that are to be "
        "said again after a delay of {length}.",
        "characters": "*Characters*: nats a character of the manual that comes with Python.",
    }
    parts += [said.format(**about[work]) for work, said in tasks.items() if work in about]
    parts.append(
        f"Means over {about['seeds']} seeds, ± their standard error, made with ``tinygrad-rnn compare``; of small "
        "networks after a few epochs, with one width and one learning rate for all: a first look, no contest."
    )
    return " ".join(parts)


def _figure(work: str, found: list[float] | None) -> str:
    """A figure and its spread; nothing where there is none."""
    digits = FIGURES[work][1]
    return "" if found is None else f"{found[0]:.{digits}f} ±{UNBROKEN}{found[1]:.{digits}f}"


def write() -> None:
    """Writes cells.rst."""
    told: dict[str, Any] = json.loads((HERE / "cells.json").read_text())
    measured, about = told["cells"], told["about"]
    lines = ["The cells", "=========", ""]
    lines += textwrap.wrap(_introduction(about), width=110)
    lines += ["", ".. list-table::", "   :header-rows: 1", "   :class: figures", ""]
    works = [work for work in FIGURES if any(work in found for found in measured.values())]
    rows: list[tuple[str, ...]] = [("name", "weights", "states", *(FIGURES[work][0] for work in works))]
    for name in [*CELLS, *(name for name in measured if name not in CELLS)]:
        cell = CELLS[name.partition("(")[0]]  # "gru(reset=before)" is one of its options
        states = ", ".join(cell(7, 12).states)
        figures = (_figure(work, measured.get(name, {}).get(work)) for work in works)
        rows.append((f":ref:`{name} <cell-{name}>`" if name in CELLS else name, formula(cell), states, *figures))
    for row in rows:
        lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)]
    for name, cell in CELLS.items():
        said = inspect.getdoc(cell) or ""
        lines += ["", f".. _cell-{name}:", "", name, "-" * len(name), ""]
        lines += [f"``{cell.__name__}``. {_plain(said)}", "", *mathematics(cell), ".. code-block:: python", ""]
        lines += [f"    {line}".rstrip() for line in equations(cell).split("\n")]
    (HERE / "cells.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plain(text: str) -> str:
    """A docstring as reStructuredText: single backquotes are code, and stars are stars."""
    text = " ".join(text.split())
    return re.sub(r"`([^`]+)`", r"``\1``", text.replace("*", r"\*").replace("|", r"\|"))


if __name__ == "__main__":
    write()
