"""Trains the models that come with the package and writes them to tinygrad_rnn/zoo: `python zoo/make.py`.

    python zoo/make.py dates                 # one of them
    python zoo/make.py --out made dates      # into another folder

They learn from the standard library of the Python that runs this, and from dates that are drawn. The same Python on the
same machine gives the same files, bit for bit. It needs machine code: pip install -e '.[fast]'.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.zoo import FOLDER
from tinygrad_rnn.tasks.finding import saved_task, with_weights
from tinygrad_rnn.training.examples import Data
from tinygrad_rnn.training.folder import BEST
from tinygrad_rnn.training.measuring import measure
from tinygrad_rnn.training.runs import figures_of, saved_data
from tinygrad_rnn.training.saved_runs import load_run
from tinygrad_rnn.training.task import Task
from tinygrad_rnn.training.trained_on import TRAINED_ON, fingerprints

RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "identifiers": (
        "language",
        {"corpus": "identifiers", "level": "char", "layers": 1, "embedding": 32, "hidden": 256, "tied": False}
        | {"dropout": 0.1, "batch_size": 64, "epochs": 14},
    ),
    "docstrings": ("language", {"vocab_size": 2500, "layers": 1, "embedding": 112, "hidden": 112, "epochs": 9}),
    "dates": ("translate", {"problem": "all-dates", "epochs": 8, "patience": 0}),
    "roles": ("tag", {"epochs": 12, "patience": 0}),
}
"""By the name of a model its task, and the options of its run."""

OF_OTHER_PYTHONS = ("identifiers", "docstrings", "roles")
"""Those whose examples are others where the Python is another: these files say what the model was trained on."""


def make(name: str, folder: Path) -> Path:
    """Trains a model and writes its file into a folder."""
    task, options = RECIPES[name]
    with tempfile.TemporaryDirectory() as run:
        tg.tasks.train(task, out=run, engine="machine", threads=1, quiet=False, **options)
        return ship(name, Path(run, BEST), folder)


def ship(name: str, path: Path, folder: Path) -> Path:
    """Writes what is needed of the best checkpoint of a run into a folder: weights in 16 bits, which are read as those
    of 32 that they were, and the description, without what only goes on with a run or tells this machine."""
    saved = load_run(path)
    arrays = {f"model.{key}": values.astype(np.float16) for key, values in saved.part("model").items()}
    task = saved_task(path, saved)
    data = saved_data(path, task, saved.meta, print)
    found = _result(path, replace(saved, arrays=arrays), task, data)
    if name in OF_OTHER_PYTHONS:
        plain = [each.tolist() if isinstance(each, np.ndarray) else each for each in data.train]
        arrays[TRAINED_ON] = fingerprints(plain)
    unneeded: dict[str, Any] = {"optimizer": {}, "schedule": {}, "noise": {}, "files": {}, "products": None}
    target = folder / f"{name}.safetensors"
    checkpoint.save(target, arrays, saved.meta | unneeded | {"run": f"zoo {name}", "result": found})
    return target


def _result(path: Path, saved: checkpoint.Checkpoint, task: Task, data: Data) -> dict[str, Any]:
    """What the model is worth on the part for the result, or where there is none on the one that validates."""
    part = "test" if len(data.test) else "validation"
    found = measure(task, with_weights(path, saved, task), data.test if part == "test" else data.valid)
    return {"part": part, **figures_of(task, found)}


def main() -> None:
    """Makes what the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)} (all unless told)")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="instead of the package's own")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in RECIPES]:
        parser.error(f"there is no recipe for {', '.join(unknown)}: there are {', '.join(RECIPES)}")
    for name in given.names or RECIPES:
        path = make(name, given.out)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
