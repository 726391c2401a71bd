"""Runs of the smallest models, and a clock for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.cell_files import FoundCell
from tinygrad_rnn.training.runs import Run


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def language_run(options: LanguageOptions, cell: FoundCell | None = None, **given: Any) -> Run:
    """A new run of a language model; `given` is what else the run is to have."""
    return new_run(find_task("language").new(options, cell), lambda sentence: None, **given)


def small_run(text: Path, run_id: str | None = None, **options: Any) -> Run:
    """A new run on the lines of a text, eight side by side; of a given id, where equal runs must be equal files."""
    tiny: dict[str, Any] = {"lines": True, "embedding": 3, "hidden": 3, "layers": 1, "batch_size": 8, "steps": 8}
    given: dict[str, Any] = {} if run_id is None else {"id": run_id}
    return language_run(LanguageOptions(text=(str(text),), **{**tiny, **options}), **given)
