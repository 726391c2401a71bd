"""Which examples a model was trained on, by their fingerprints: of a corpus that is another one where the Python is
another, what the model has not been trained on can then still be told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.models.checkpoint import Arrays, Checkpoint
from tinygrad_rnn.training.examples import Data, digest_of
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.runs import saved_data
from tinygrad_rnn.training.task import Task

TRAINED_ON = "trained_on"
"""What a checkpoint calls the fingerprints, if it has any."""


def fingerprints(examples: Iterable[Any]) -> HostArray:
    """32 bits of the hash of each example, in order, each once."""
    return np.unique(np.array([_fingerprint(each) for each in examples], dtype=np.uint32))


def _fingerprint(example: Any) -> int:
    return int(digest_of([example])[:8], 16)


def not_trained_on(arrays: Arrays, examples: Iterable[Any]) -> list[Any] | None:
    """Those of the examples that the model in a checkpoint with these arrays was not trained on; None where it does not
    say. One in millions is taken for another, and left out."""
    if TRAINED_ON not in arrays:
        return None
    known = {*arrays[TRAINED_ON].ravel().tolist()}
    return [each for each in examples if _fingerprint(each) not in known]


def data_to_measure(path: Path, task: Task, saved: Checkpoint, note: Note) -> tuple[Data, bool]:
    """What a checkpoint, loaded from `path`, can be measured on, and whether that is the data of its run. Where these
    were the task's own and are others now, and the checkpoint has fingerprints, the part for the result has those of
    now that the model was not trained on, and `note` is told. Raises as `saved_data` does."""
    try:
        return saved_data(path, task, saved.meta, note), True
    except OptionError:
        if task.options.data is not None:
            raise
        source = task.source(note)
        rest = not_trained_on(saved.arrays, source.examples)
        if not rest:
            raise
    note(others_now(len(rest), len(source.examples), "examples"))
    about = {"name": source.name, "examples": len(rest), "sha256": source.sha256}
    return Data([], [], rest, about), False


def others_now(count: int, total: int, called: str) -> str:
    """What is told where a model is measured on what is new to it."""
    return (
        f"This Python's library is not the one that the model was trained on: it is measured on the {count:,} of the "
        f"{total:,} {called} here that it was not trained on."
    )
