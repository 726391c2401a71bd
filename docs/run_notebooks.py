"""Runs the notebooks of the tutorial, which the build has made, each alone in an empty folder:
`python docs/run_notebooks.py`, or with the beginnings of the names of some, `01 05`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

MADE = Path(__file__).parent / "tutorial"


def run(path: Path) -> None:
    """Executes it from top to bottom. Raises CellExecutionError, with the cell, where one fails."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()


def main(beginnings: tuple[str, ...]) -> None:
    """Those whose names begin so, or all."""
    paths = [path for path in sorted(MADE.glob("*.ipynb")) if path.name.startswith(beginnings or "")]
    if not paths:
        sys.exit(f"run_notebooks: {MADE} has no such notebooks; python -m sphinx docs docs/build/html makes them")
    for path in paths:
        run(path)
        print(f"{path.name} runs")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
