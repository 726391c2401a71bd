"""Runs the notebooks of the tutorial and beside it, which the build has made, each alone in an empty folder:
`python docs/run_notebooks.py`, or with the beginnings of the names of some, `01 forward`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

MADE = [Path(__file__).parent / gallery for gallery in ("tutorial", "further")]


def run(path: Path) -> None:
    """Executes it from top to bottom. Raises CellExecutionError, with the cell, where one fails."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()


def main(beginnings: tuple[str, ...]) -> None:
    """Those whose names begin so, or all."""
    notebooks = [path for folder in MADE for path in sorted(folder.glob("*.ipynb"))]
    paths = [path for path in notebooks if path.name.startswith(beginnings or "")]
    if not paths:
        places = " and ".join(map(str, MADE))
        sys.exit(f"run_notebooks: no such notebooks in {places}; python -m sphinx docs docs/build/html makes them")
    for path in paths:
        run(path)
        print(f"{path.name} runs")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
