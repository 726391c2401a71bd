"""What came out of a run, in a file for other programs: `result.json`."""

from __future__ import annotations

import json
import math
import platform
from collections import Counter
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.metrics.classes import label_scores
from tinygrad_rnn.metrics.confusion import confusion_matrix
from tinygrad_rnn.models.whole_files import write_whole
from tinygrad_rnn.training.class_report import labels_of
from tinygrad_rnn.training.comparing import comparisons
from tinygrad_rnn.training.measuring import Measured
from tinygrad_rnn.training.runs import Run

RESULT = "result.json"
"""The name of the file in a run's folder."""


def write_result(path: Path, run: Run, found: Measured, part: str, seconds: float, why: str) -> None:
    """Writes what the best model of a run reaches on a `part` of its examples, after so many seconds of training steps,
    which ended for the reason `why`. Raises OSError."""
    text = json.dumps(_result(run, found, part, seconds, why), indent=1, allow_nan=False, default=str)
    write_whole(path, f"{text}\n".encode())


def _result(run: Run, found: Measured, part: str, seconds: float, why: str) -> dict[str, Any]:
    task, about, data = run.task, run.data.about, run.data
    reached = found.reached(task)
    methods = comparisons(about, task.higher, reached)
    return {
        "task": task.name,
        "metric": task.metric,
        "higher_is_better": task.higher,
        "value": _finite(reached),
        "metrics": {name: _finite(value) for name, value in found.metrics.items()},
        "loss": _finite(found.loss),
        "loss_unit": task.loss_unit,
        "part": part,
        "count": found.count,
        "counted": task.counted,
        "baselines": [
            {name: _finite(value) if isinstance(value, float) else value for name, value in asdict(each).items()}
            | {"verdict": each.verdict}
            for each in methods
        ],
        "data": {"name": about["name"], "sha256": about["sha256"], "split_sha256": about.get("split_sha256")},
        "examples": {"training": len(data.train), "validation": len(data.valid), "test": len(data.test)},
        **_labels(run, found),
        "parameters": run.model.size,
        "settings": task.options.differing,
        "seed": task.options.seed,
        "epochs": run.progress.epoch,
        "steps": run.progress.step,
        "seconds": round(seconds, 1),
        "ended": why,
        "versions": {"tinygrad_rnn": _version(), "python": platform.python_version(), "numpy": np.__version__},
    }


def _labels(run: Run, found: Measured) -> dict[str, Any]:
    """How often each label occurs in training, its F1, and what it was taken for; nothing for a task without labels."""
    gold, said = labels_of(run.task, found)
    if not gold:
        return {}
    matrix = confusion_matrix(gold, said)
    return {
        "labels": Counter(map(str, run.task.labels_in([each[1] for each in run.data.train]))),
        "F1": {str(label): round(scores.f1, 6) for label, scores in label_scores(gold, said).items()},
        "confusion": {"labels": [str(label) for label in matrix.labels], "counts": matrix.counts.tolist()},
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _version() -> str:
    try:
        return version("tinygrad-rnn")
    except PackageNotFoundError:  # a copy that is not installed
        return "unknown"
