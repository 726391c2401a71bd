"""The checkpoints that come with the package: `zoo:NAME` stands wherever a checkpoint's path does."""

from __future__ import annotations

import os
from pathlib import Path

import tinygrad_rnn.backend

PREFIX = "zoo:"
FOLDER = Path(tinygrad_rnn.backend.__file__).with_name("zoo")
"""Beside the engine, since this room may lie elsewhere."""
_ENDING = ".safetensors"


def zoo_names() -> list[str]:
    """What there is, as a command takes it: zoo:dates, ..."""
    return sorted(f"{PREFIX}{path.name.removesuffix(_ENDING)}" for path in FOLDER.glob(f"*{_ENDING}"))


def is_of_zoo(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a name of the zoo, of a model that is there or not. It is one also where a file in the current
    folder is called so: an absolute path opens that."""
    return os.fspath(path).startswith(PREFIX)


def file_of(path: str | os.PathLike[str]) -> Path:
    """The file of a name of the zoo; of any other path that path itself. Raises LookupError, with what there is, for a
    name that the zoo does not have."""
    if not is_of_zoo(path):
        return Path(path)
    name, there = os.fspath(path), zoo_names()
    if name not in there:
        asked = f"has no model {name.removeprefix(PREFIX)!r}" if name != PREFIX else "is asked for a model by its name"
        raise LookupError(f"the zoo {asked}: there are {', '.join(there)}")
    return FOLDER / f"{name.removeprefix(PREFIX)}{_ENDING}"
