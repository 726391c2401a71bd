"""Every shipped cell: the time of a training step beside the LSTM's, and what it learns on four tasks, by `compare`.

    python benchmarks/cells.py docs/cells.json --runs runs/cells        # hours; goes on where it stopped

Adding (Hochreiter & Schmidhuber 1997): the sum of two marked numbers, mean squared error. Dyck-(2,3) (Hewitt et al.
2020): by what share the loss is above the entropy. Copy: nats a symbol of what is said again after a delay, and of the
silence before. Characters: nats a character of the manual that comes with Python. One width and one learning rate for
all cells.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import blas_kernel
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.comparison.judging import Standing
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.threads import limited_to
from tinygrad_rnn.training.cell_names import name_and_options

USUAL = {"hidden": 32, "lr": 0.01, "patience": 0}
WORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "adding": ("memory", {"problem": "adding", "length": 40, "examples": 5000, "epochs": 5, **USUAL}),
    "dyck": ("memory", {"problem": "dyck", "examples": 5000, "epochs": 3, **USUAL}),
    "copy": ("memory", {"problem": "copy", "length": 5, "examples": 5000, "epochs": 4, **USUAL}),
    "characters": (
        "language",
        {"level": "char", "layers": 1, "embedding": 32, "epochs": 2, "dropout": 0.0, "hidden": 64, "lr": 0.005},
    ),
}
CHARACTERS = 100_000
"""Of the manual."""


def contestants() -> list[str]:
    """Every shipped cell by name, the LSTM first, and the GRU of 2014, whose reset gate comes before its product."""
    return ["lstm", *(name for name in CELLS if name != "lstm"), "gru(reset=before)"]


def manual(folder: Path) -> Path:
    """A file with the first characters of Python's own manual."""
    text = "\n\n".join(topics[name] for name in sorted(topics))[:CHARACTERS]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manual.txt"
    path.write_text(text, encoding="utf-8")
    return path


def learned(work: str, names: Sequence[str], seeds: int, folder: Path, jobs: int | None) -> list[Standing]:
    """What came out of a task, the best cell first."""
    task, settings = WORKS[work]
    if task == "language":
        settings = settings | {"text": [(str(manual(folder)),)]}

    def say(outcome: Any, done: int, total: int) -> None:
        print(
            f"{work} {done}/{total}: {outcome.label}, seed {outcome.seed}: {outcome.failed or outcome.value}",
            flush=True,
        )

    return tg.compare(names, task, seeds=seeds, settings=settings, out=folder / work, jobs=jobs, told=say).standings


def speed(names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Of each cell forward and backward over 64 steps, batch 32, 32 inputs, H 128, in turn: its time beside that of
    the LSTM in the same round, the median and the half of what lies between the quartiles."""
    xs = Tensor(np.random.default_rng(0).standard_normal((64, 32, 32)).astype(np.float32))
    layers = {}
    for each in names:
        name, options = name_and_options(each)
        layers[each] = Recurrent(CELLS[name], 32, 128, **options)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(10):  # the first compiles
        for name, layer in layers.items():
            start = time.perf_counter()
            layer(xs)[0].sum().backward()
            times[name].append(time.perf_counter() - start)
    ratios = {name: np.divide(found[1:], times["lstm"][1:]) for name, found in times.items()}
    quartiles = {name: np.percentile(found, (25, 50, 75)) for name, found in ratios.items()}
    return {name: (float(middle), float(high - low) / 2) for name, (low, middle, high) in quartiles.items()}


def rounded(value: float | None, error: float | None) -> list[float] | None:
    """A mean and its standard error; None where a run did not come to a number."""
    return None if value is None else [round(value, 5), round(error or 0.0, 5)]


def main() -> None:
    """Measures everything and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, metavar="FILE", help="where the figures go, as JSON")
    parser.add_argument("--runs", type=Path, default=Path("runs/cells"), help="where the runs lie")
    parser.add_argument("--works", nargs="+", default=["time", *WORKS], choices=["time", *WORKS])
    parser.add_argument("--cells", nargs="+", default=contestants(), help="these alone, and the LSTM")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="runs side by side")
    parser.add_argument("--anyway", action="store_true", help="also with a slower BLAS kernel than the processor has")
    chosen = parser.parse_args()
    kernel = blas_kernel.running()
    if not chosen.anyway and (sentence := blas_kernel.below_the_processors(kernel)):
        parser.error(sentence)
    names = ["lstm", *(name for name in chosen.cells if name != "lstm")]
    told = json.loads(chosen.target.read_text()) if chosen.target.is_file() else {}
    about, figures = told.setdefault("about", {}), told.setdefault("cells", {})
    about |= {"python": platform.python_version(), "kernel": kernel, "seeds": chosen.seeds}
    for work in chosen.works:
        if work == "time":
            with limited_to(1):
                found = {name: rounded(*ratio) for name, ratio in speed(names).items()}
        else:
            about[work] = WORKS[work][1]
            standings = learned(work, names, chosen.seeds, chosen.runs, chosen.jobs)
            found = {each.label: rounded(each.value, each.error) for each in standings}
        for name in names:
            figures.setdefault(name, {})[work] = found[name]
        chosen.target.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
