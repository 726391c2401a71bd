"""The page for those who come from another library: its names are there, and its numbers are theirs."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tinygrad_rnn
from tinygrad_rnn import Tensor, data, models, ops, optim, tasks, training
from tinygrad_rnn.models import checkpoint, conversions

PAGE = Path(__file__).parents[1] / "docs" / "coming_from.rst"
F8 = NDArray[np.float64]
Rows = list[tuple[str, str, str]]

KNOWN: dict[str, Any] = {
    "tg": tinygrad_rnn,
    "np": np,
    "Tensor": Tensor,
    "model": models.Module,
    "optimizer": optim.Optimizer,
    "models": models,
    "models.checkpoint": checkpoint,
    "models.conversions": conversions,
    **{"data": data, "ops": ops, "optim": optim, "tasks": tasks, "training": training},
}
"""What the page calls things, and where they are."""

NAME = re.compile(r"(?<!`)`{1,2}([A-Za-z_][\w.]*)")
ROW = re.compile(r"   \* - (.*?)\n     - (.*?)\n     - (.*?)(?=\n   \* - |\n\n)", re.DOTALL)

if not PAGE.is_file():
    pytest.skip("docs/ is not beside these tests", allow_module_level=True)


def rows(library: str, table: str = "") -> Rows:
    """The rows of the tables of a library, or of one of them, without their headings."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n{library}\n{'-' * len(library)}\n")[2]
    text = re.split(r"\n\w+\n-+\n", text)[0]
    parts = [part for part in text.split(".. list-table:: ")[1:] if part.startswith(table)]
    return [found for part in parts for found in ROW.findall(part + "\n") if found[0] != library]


def resolved(name: str) -> Any:
    """What a name of ours stands for."""
    start = max((known for known in KNOWN if name == known or name.startswith(f"{known}.")), key=len)
    thing = KNOWN[start]
    for part in name.removeprefix(start).split(".")[1:]:
        thing = getattr(thing, part)
    return thing


def theirs(name: str) -> Any:
    """What a name of theirs stands for."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            thing = getattr(thing, part)
        return thing
    raise AssertionError(f"there is no {name}")


def library(name: str) -> Any:
    """A library that may not be installed. Keras computes with PyTorch unless told."""
    if name == "keras":
        pytest.importorskip("torch")
        os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip(name)


LIBRARIES = {"PyTorch": "torch", "Keras": "keras", "JAX": "jax"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_name_of_ours_is_there(name: str) -> None:
    found = rows(name)
    assert len(found) > 10
    for row in found:
        ours = NAME.findall(row[1])
        assert len(ours) == 1 and resolved(ours[0]) is not None


def test_every_name_in_prose_is_there() -> None:
    found = {name for name in NAME.findall(PAGE.read_text(encoding="utf-8")) if name.split(".")[0] in KNOWN}
    assert len(found) > 30 and all(resolved(name) is not None for name in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_every_name_of_theirs_is_there(name: str) -> None:
    library(LIBRARIES[name])
    for row in rows(name):
        (found,) = NAME.findall(row[0])
        assert theirs(found) is not None
