"""Runs of the smallest models, and a clock for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_rnn.training.runs import Run, new_run_id
from tinygrad_rnn.training.settings import Settings
from tinygrad_rnn.training.text_data import ngram_baselines, prepare, read_corpus


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def small_run(text: Path, run_id: str | None = None, **options: Any) -> Run:
    """A new run on the lines of a text, eight side by side; of a given id, where equal runs must be equal files."""
    tiny: dict[str, Any] = {"lines": True, "embedding": 3, "hidden": 3, "layers": 1, "batch_size": 8, "steps": 8}
    settings = Settings(text=(str(text),), **{**tiny, **options})
    data = prepare(settings, read_corpus(settings, print))
    data.about["baselines"] = ngram_baselines(data, settings.level)
    return Run(settings, data, id=new_run_id() if run_id is None else run_id)
