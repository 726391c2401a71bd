"""What a training program says of a task, unless the task says it otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_rnn.training.comparing import Comparison, comparisons
from tinygrad_rnn.training.display import TIE, exact_figure, figure
from tinygrad_rnn.training.examples import Data
from tinygrad_rnn.training.fitting import Evaluation


class Telling:
    """The texts of a task, which a subclass may override. A pair is a label and what stands beside it."""

    options: Any
    metric: str
    higher: bool
    loss_unit: ClassVar[str]
    counted: ClassVar[str]
    source_called: ClassVar[str]

    @property
    def training_called(self) -> str:
        """What the curve of the training loss is called, which may lie above that of validation."""
        return "training, with dropout" if self.options.noisy else "training"

    def about_data(self, data: Data) -> list[tuple[str, str]]:
        """What is learnt from, and what simple methods reach."""
        about, sizes = data.about, (len(data.train), len(data.valid), len(data.test))
        found = [
            (self.source_called, f"{about['name']}: {about['examples']:,} examples, sha256 {about['sha256'][:12]}"),
            ("split", f"{sizes[0]:,} training, {sizes[1]:,} validation and {sizes[2]:,} test examples"),
        ]
        if methods := comparisons(about, self.higher):
            measured = f"{self.loss_unit} per {self.unit}" if self.metric == "loss" else self.metric
            found += [("baseline", self.baseline_line(methods)), ("", f"({measured} on the same examples)")]
        return found

    def about_model(self, model: Any) -> str:
        """What the model is, without its size."""
        options = self.options
        sizes = [
            f"{name} {getattr(options, name)}" for name in ("layers", "embedding", "hidden") if hasattr(options, name)
        ]
        return ", ".join([options.cell, *sizes])

    def about_beginning(self) -> list[tuple[str, str]]:
        """Where the first weights are from, if from anywhere."""
        return []

    def remarks(self, source: Any) -> list[str]:
        """What a user should know who trains on these examples."""
        return []

    def warnings(self) -> list[str]:
        """What was asked for, of the first weights, and could not be had."""
        return []

    def figures(self, found: Evaluation) -> list[tuple[str, str]]:
        """Beside the loss: names, and values as they are shown."""
        return [(name, figure(value, 4)) for name, value in found.metrics.items()]

    def beside_loss(self, loss: float) -> str:
        """What the mean training loss comes to, where that is easier to grasp."""
        return ""

    def metric_text(self, value: float, digits: int = 4) -> str:
        """A value of the metric, with its name or unit."""
        if self.metric == "loss":
            return f"{exact_figure(value, digits)} {self.loss_unit} per {self.unit}"
        return f"{self.metric} {exact_figure(value, digits)}"

    @property
    def unit(self) -> str:
        """One of what the loss counts."""
        return self.counted.removesuffix("s")

    def result(self, found: Evaluation, part: str) -> str:
        """What came out, on a part of the examples ("validation", "test")."""
        exact = {name: exact_figure(value, 4) for name, value in found.metrics.items()}
        metrics = [f"{name}{TIE}{exact.get(name, value)}" for name, value in self.figures(found)]
        loss = f"{exact_figure(found.loss, 4)}{TIE}{self.loss_unit}"
        return f"{', '.join([*metrics, loss])} on {found.count:,} {part} {self.counted}"

    def about_result(self, about: Mapping[str, Any], model: Any) -> str:
        """What that is worth; `about` is that of the examples."""
        parts = (
            f"{model.size:,} parameters",
            f"{self.source_called} sha256 {about['sha256'][:12]}",
            f"seed {self.options.seed}",
        )
        return ", ".join(each.replace(" ", TIE) for each in parts)

    def baseline_line(self, methods: Sequence[Comparison]) -> str:
        """What simple methods reach, the best last, and whether a model does better."""
        ordered = sorted(methods, key=lambda each: each.value, reverse=not self.higher)
        unit = f" {self.loss_unit} per {self.unit}" if self.metric == "loss" else ""
        words = [f"{each.name} {exact_figure(each.value, 4)}{unit}{verdict_text(each, 4)}" for each in ordered]
        return ", ".join(each.replace(" ", TIE) for each in words)

    @property
    def of_several_lines(self) -> bool:
        """Whether what the model makes up has several lines, or may have."""
        return False

    def samples(self, model: Any, rng: np.random.Generator, count: int) -> Iterator[str]:
        """What the model makes up, where it does."""
        return iter(())


def verdict_text(each: Comparison, digits: int) -> str:
    """Whether a model does better than a method, by how much, and twice the standard error of that; nothing where no
    model was measured."""
    if each.verdict is None or each.gain is None:
        return ""
    sure = "" if each.error is None else f" ± {exact_figure(2 * each.error, digits)}"
    gain = exact_figure(abs(each.gain), digits)
    match each.verdict:
        case "beaten":
            return f": beaten by {gain}{sure}"
        case "level":
            return f": level, {gain}{sure} {'better' if each.gain >= 0 else 'worse'}"
        case _:
            return f": not reached, {gain}{sure} worse"


def baseline_lines(text: str, methods: Sequence[Comparison]) -> list[tuple[str, str]]:
    """What a `text` says of methods, and how sure that is: labels, and texts for `entry`."""
    measured = any(each.gain is not None for each in methods)
    sureness = (
        "(±: twice the standard error of the difference, on the same examples)"
        if any(each.error is not None for each in methods)
        else "(of so few examples, or batches, it cannot be told how sure a difference is)"
    )
    return [("baseline", text), *([("", sureness)] if measured else [])]


"""What stands below verdicts."""
