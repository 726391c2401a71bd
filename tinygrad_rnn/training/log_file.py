"""The log of a run as it is written: a file that is never cut before what was kept is safe, a pipe, or standard
output."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import TextIO

from tinygrad_rnn.models.whole_files import write_whole
from tinygrad_rnn.training.log import LogLine, line_of, read_log
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.settings import SettingsError

LONGEST_LINE = 10_000
"""Bytes of a log's first line at most, so that a text of one line is not read whole."""


class LogFile:
    """The log of a run, open at its end. A run that goes on keeps the lines up to its step, and evaluations that its
    history has and the log lost are added. `source` is the log that it goes on from, where its own begins anew.

    "-" is standard output. That, pipes and devices are written and never read. Raises SettingsError where another file
    stands there, or the log of another run and not `replace`; OSError."""

    def __init__(self, path: Path, run: Run, *, replace: bool = False, source: Path | None = None) -> None:
        self.path = path
        self.is_kept = False
        """Whether it is a file, which can be read again."""
        self._file: TextIO = sys.stdout
        if str(path) == "-" or _is_standard_output(path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            self._file = path.open("w", encoding="utf-8", buffering=1)
            return
        self.is_kept = True
        found: Path | None = path
        if not path.is_file() or not path.stat().st_size:
            found = source
        elif not _is_log_of(run, path):
            if not (replace and _first(path)):
                what = "the log of another run" if _first(path) else "something else than a log"
                raise SettingsError(f"--log: {path} holds {what}, which stays as it is; give another file")
            found = source
        records = read_log(found) if found and _is_log_of(run, found) else []
        lines = _with_history([record for record in records if record["step"] <= run.progress.step], run)
        header = {"event": "run", "step": 0, "run": run.id}
        whole = "".join(map(line_of, [header, *lines])).encode()
        if not path.is_file() or path.read_bytes() != whole:
            write_whole(path.resolve(), whole)
        # Line by line, so that it can be watched.
        self._file = path.open("a", encoding="utf-8", newline="\n", buffering=1)

    def write(self, record: LogLine) -> None:
        """Adds a line. Raises OSError."""
        self._file.write(line_of(record))
        if self._file is sys.stdout:
            self._file.flush()

    def close(self) -> None:
        """Ends it."""
        if self._file is not sys.stdout:
            self._file.close()


def _is_standard_output(path: Path) -> bool:
    """Whether it is the same file, as /dev/stdout is: opened anew, it would be cut."""
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


def _first(path: Path) -> LogLine | None:
    """The first line of a log; None where there is no log."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            record = json.loads(file.readline(LONGEST_LINE))
    except (ValueError, RecursionError):
        return None
    known = isinstance(record, dict) and record.get("event") in ("run", "step", "evaluation")
    return record if known else None


def _is_log_of(run: Run, path: Path) -> bool:
    """Whether there is a log, and of this run. An older one does not say: its evaluations must be those of the run's
    history."""
    first = _first(path)
    if first is None or not run.progress.step:
        return False
    if first["event"] == "run":
        return bool(first.get("run") == run.id)
    found = {each["step"]: each.get("valid_nats") for each in read_log(path) if each["event"] == "evaluation"}
    known = {each["step"]: each["valid_nats"] for each in run.history}
    return all(found[step] == known[step] for step in found.keys() & known.keys())


def _with_history(records: list[LogLine], run: Run) -> list[LogLine]:
    """The records, and the evaluations that the run's history alone has, as where it was killed between saving and
    writing the log."""
    told = {each["step"] for each in records if each["event"] == "evaluation"}
    steps = {each["step"]: each for each in records if each["event"] == "step"}
    added, lowest = [], math.inf
    for each in run.history:
        step, nats = each["step"], each["valid_nats"]
        if step not in told:
            beside = steps.get(step, {})
            line: LogLine = {"event": "evaluation", "step": step, "epoch": beside.get("epoch"), "valid_nats": nats}
            line |= {"tokens": each.get("tokens"), "lr": beside.get("lr"), "best": nats is not None and nats < lowest}
            added.append(line)
        lowest = lowest if nats is None else min(lowest, nats)
    return sorted([*records, *added], key=lambda each: (each["step"], each["event"] == "evaluation"))
