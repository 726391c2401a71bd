"""The model of a task: with new weights, or with those of a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.training.cell_files import is_shipped
from tinygrad_rnn.training.examples import TaskError
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_files import blame
from tinygrad_rnn.training.saved_runs import refused
from tinygrad_rnn.training.task import Task


def build_model(task: Task, rng: np.random.Generator) -> Any:
    """The model of a task, with new weights. Raises OptionError, MemoryError."""
    cell = task.options.cell
    own = not is_shipped(cell)
    try:
        model = task.build(rng)
        if not isinstance(model, Module):
            raise TaskError(f"{task.name}.build must give a Module, got {type(model).__name__}")
        if own:
            task.try_out(model)
    except (checkpoint.CheckpointError, TaskError):
        raise
    except Exception as error:
        found = blame(error)
        if own and not isinstance(error, OptionError) and (found is None or found[0] == "cell"):
            what = found[1] if found else f"{type(error).__name__}: {error}"
            raise OptionError(f"cell {cell!r} cannot be used: {what}") from error
        if isinstance(error, TypeError | ValueError) and not found:
            raise OptionError(str(error)) from error
        raise
    return model


class _Bounded(np.random.Generator):
    """Draws the first weights of a model that a checkpoint describes, and few more numbers than it has weights: what
    the checkpoint says of its sizes takes no memory where it is not so."""

    def __init__(self, seed: np.random.SeedSequence, path: Path, weights: checkpoint.Arrays) -> None:
        super().__init__(np.random.PCG64(seed))
        self.path, self.total = path, sum(each.size for each in weights.values())
        self.left = 2 * self.total + SPARE

    def _draw(self, size: Any) -> None:
        self.left -= 1 if size is None else math.prod(map(int, np.atleast_1d(size)))
        if self.left < 0:
            raise checkpoint.CheckpointError(
                f"{self.path}: the weights do not fit the model that it describes: by the settings it has more than "
                f"the {self.total:,} numbers that are there"
            )

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        self._draw(size)
        return super().uniform(low, high, size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        self._draw(size)
        return super().normal(loc, scale, size)

    def standard_normal(self, size: Any = None, *args: Any, **options: Any) -> Any:
        self._draw(size)
        return super().standard_normal(size, *args, **options)

    def random(self, size: Any = None, *args: Any, **options: Any) -> Any:
        self._draw(size)
        return super().random(size, *args, **options)


SPARE = 10**5
"""Numbers that a model may draw and throw away."""


def model_of(path: Path, saved: checkpoint.Checkpoint, task: Task) -> Any:
    """The model that a checkpoint, loaded from `path`, describes, with the first weights that it had. Raises
    OptionError, CheckpointError."""
    return build_model(task, _Bounded(seeds_of(task)[0], path, saved.part("model")))


def seeds_of(task: Task) -> list[np.random.SeedSequence]:
    """Of a run's first weights, and of its noise."""
    return np.random.SeedSequence(task.options.seed).spawn(2)


def load_weights(path: Path, saved: checkpoint.Checkpoint, model: Any) -> None:
    """Gives a model the weights in a checkpoint, loaded from `path`. Raises CheckpointError where they do not fit."""
    with refused(path, "the weights do not fit the model that it describes"):
        model.load_state_dict(saved.part("model"))
