"""Tasks of the smallest models, for the tests of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import LSTM, Linear, Module, checkpoint
from tinygrad_rnn.tasks import Task, TrainingOptions
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.runs import Run

SMALL: dict[str, Any] = {"hidden": 4, "embedding": 3, "batch_size": 8}


def nothing(text: str) -> None:
    """A note that nobody reads."""


def classify_run(digits: Path, **options: Any) -> Run:
    found = find_task("classify")
    return new_run(found.new(found.task.Options(**{"data": str(digits), **SMALL, **options})), nothing)


def steps(run: Run, count: int) -> None:
    """Trains so many steps."""
    for _, _ in zip(range(count), run.steps(), strict=False):
        pass


class Following(Module):
    """A model of streams of numbers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.layer, self.output = LSTM(1, 5, rng=rng), Linear(5, 1, rng=rng)


class Streams(Task):
    """The next number of a series, read in windows with carried state."""

    class Options(TrainingOptions):
        window: int = 7

    metric, higher, carries, loss_unit, counted = "loss", False, True, "mse", "steps"

    def default(self, rng: np.random.Generator) -> Any:
        return np.sin(np.arange(400) * 0.3).astype(np.float32)

    def split(self, examples: Sequence[Any]) -> Any:
        return examples[:280], examples[280:340], examples[340:]

    def batches(self, examples: Sequence[Any], size: int, rng: Any) -> Any:
        window = self.options.window
        series = np.asarray(examples)[: (len(examples) - 1) // size * size + 1]
        length = (len(series) - 1) // size
        rows = np.stack([series[i * length : (i + 1) * length + 1] for i in range(size)], axis=1)
        return [rows[i : i + window + 1] for i in range(0, length, window)]

    def build(self, rng: np.random.Generator) -> Following:
        return Following(rng)

    def collate(self, part: Any) -> Any:
        return part[:-1, :, None], part[1:, :, None]

    def loss(self, model: Following, batch: Any, rng: Any, state: Any) -> Any:
        outputs, state = model.layer(batch[0], state)
        return ops.mse(model.output(outputs), batch[1], reduction="sum"), batch[1].size, state


def same(one: Run, other: Run, folder: Path) -> None:
    """Asserts that two runs are the same in everything that a checkpoint keeps, but for what they are called."""
    one.save(folder / "one.safetensors")
    other.save(folder / "other.safetensors")
    first, second = (checkpoint.load(folder / f"{name}.safetensors") for name in ("one", "other"))
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name], err_msg=name)
    assert {**first.meta, "run": ""} == {**second.meta, "run": ""}


SUMS = """
import numpy as np
from tinygrad_rnn import ops
from tinygrad_rnn.models import Linear, Module, Recurrent
from tinygrad_rnn.tasks import Task, TrainingOptions

class Sums(Task):
    metric = "loss"

    class Options(TrainingOptions):
        hidden: int = 4
        bad: bool = False

    def default(self, rng):
        xs = rng.standard_normal((60, 6, 2))
        return [(x, float(np.tanh(x.sum()))) for x in xs]

    def build(self, rng):
        if self.options.bad:
            raise ValueError("bad was asked for")
        model = Module()
        model.recurrent = Recurrent(input_size=2, hidden_size=self.options.hidden, **self.layer_options(rng))
        model.linear = Linear(model.recurrent.output_size, 1, dtype=np.dtype(self.options.dtype), rng=rng)
        return model

    def collate(self, part):
        dtype = np.dtype(self.options.dtype)
        xs = np.stack([x for x, _ in part], axis=1).astype(dtype)
        return xs, None if part[0][1] is None else np.array([[y] for _, y in part], dtype)

    def loss(self, model, batch, rng, state):
        xs, ys = batch
        outputs, _ = model.recurrent(xs)
        return ops.mse(model.linear(outputs[-1]), ys, reduction="sum"), len(ys), None
"""
"""A file with a task of one's own, `Sums`, that takes a fraction of a second: a layer of its cell adds up."""
