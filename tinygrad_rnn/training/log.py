"""The log of a training run: a line of JSON for every step and every evaluation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

LogLine = dict[str, Any]
"""A line: "event" is "step" or "evaluation", "step" its number; the rest is what Record and Evaluation have. The first
line of a log has the event "run" and says which run it is of."""
LONGEST_LINE = 10_000
"""Bytes of a log's first line at most: a text of one line need not be read whole to see that it is no log."""


def line_of(record: LogLine) -> str:
    """A record as its line. JSON has no NaN: what is not finite is null."""
    known = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(known, allow_nan=False) + "\n"


def first_line(path: Path) -> LogLine | None:
    """The first line of a log; None where there is no log."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            record = json.loads(file.readline(LONGEST_LINE))
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(record, dict) and record.get("event") in ("run", "step", "evaluation")
    return record if known else None


def read_log(path: Path) -> list[LogLine]:
    """The records of a log: "event" is "step" or "evaluation", "step" a whole number. What is no such line, as where
    the machine stopped while it was written, is left out; a file that cannot be read has none, and neither has a pipe,
    in which one would wait for ever."""
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and record.get("event") in ("step", "evaluation") and _is_step(record.get("step")):
            records.append(record)
    return records


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_figure(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) <= 1e300


def numbers(records: list[LogLine], event: str, key: str) -> list[tuple[int, float]]:
    """(step, value) of the records of an event that have a number under `key`, which can be drawn."""
    return [(r["step"], float(r[key])) for r in records if r["event"] == event and _is_figure(r.get(key))]
