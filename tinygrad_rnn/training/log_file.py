"""The log of a run as it is written: a file that is never cut before what was kept is safe, a pipe, or standard
output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from tinygrad_rnn.disk import named_errors
from tinygrad_rnn.models.whole_files import write_whole
from tinygrad_rnn.training.log import LogLine, first_line, line_of, read_log
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.runs import Run


class LogFile:
    """The log of a run, open at its end. A run that goes on keeps the lines up to its step, and evaluations that its
    history has and the log lost are added. `source` is the log that it goes on from, where its own begins anew.

    "-" is standard output. That, pipes and devices are written and never read; `is_kept` says that it is a file. Raises
    OptionError where another file stands there, or the log of another run and not `replace`; OSError."""

    def __init__(self, path: Path, run: Run, *, replace: bool = False, source: Path | None = None) -> None:
        self.path, self.is_kept = path, _may_be_read(path)
        self._file: TextIO = sys.stdout
        self._begun = False
        if str(path) == "-" or _is_standard_output(path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self.is_kept:
            self._file = path.open("w", encoding="utf-8", buffering=1)
            return
        refuse_other_file(path, run, replace=replace)
        found = path if _is_log_of(run, path) else source
        records = read_log(found) if found and _is_log_of(run, found) else []
        lines = _with_history([record for record in records if record["step"] <= run.progress.step], run)
        header = {"event": "run", "step": 0, "run": run.id}
        whole = "".join(map(line_of, [header, *lines])).encode()
        self._begun = not lines and not path.is_file()
        if not path.is_file() or path.read_bytes() != whole:
            write_whole(path.resolve(), whole)
        # Line by line, so that it can be watched.
        self._file = path.open("a", encoding="utf-8", newline="\n", buffering=1)

    def write(self, record: LogLine) -> None:
        """Adds a line. Raises OSError."""
        self._begun = False
        with named_errors(self.path):
            self._file.write(line_of(record))
            if self._file is sys.stdout:
                self._file.flush()

    def close(self) -> None:
        """Ends it. One that was begun, and in which nothing came to stand, is removed: it would seem to be a run's."""
        if self._file is not sys.stdout:
            with named_errors(self.path):
                self._file.close()
                if self._begun:
                    self.path.unlink(missing_ok=True)


def refuse_other_file(path: Path, run: Run | None = None, *, replace: bool = False) -> None:
    """Raises OptionError where something stands in `path` that is no log of this run, or of any where it is new; the
    log of another may be replaced."""
    if not _may_be_read(path) or not path.is_file() or not path.stat().st_size:
        return
    known = first_line(path) is not None
    if not (run and _is_log_of(run, path)) and not (replace and known):
        what = "the log of another run" if known else "something else than a log"
        raise OptionError(f"--log: {path} holds {what}, which stays as it is; give another file")


def _may_be_read(path: Path) -> bool:
    """Whether it is a file, or may become one: no pipe, no device, and not standard output, which is opened already."""
    return str(path) != "-" and not _is_standard_output(path) and (path.is_file() or not path.exists())


def _is_standard_output(path: Path) -> bool:
    """Whether it is the same file, as /dev/stdout is: opened anew, it would be cut."""
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


def _is_log_of(run: Run, path: Path) -> bool:
    """Whether there is a log, and of this run. An older one does not say: its evaluations must be those of the run's
    history."""
    first = first_line(path)
    if first is None:
        return False
    if first["event"] == "run":
        return bool(first.get("run") == run.id)
    if not run.progress.step:
        return False
    key = f"valid_{run.task.loss_unit}"
    found = {each["step"]: each.get(key) for each in read_log(path) if each["event"] == "evaluation"}
    known = {each["step"]: each[key] for each in run.history}
    return all(found[step] == known[step] for step in found.keys() & known.keys())


def _with_history(records: list[LogLine], run: Run) -> list[LogLine]:
    """The records, and the evaluations that the run's history alone has, as where it was killed between saving and
    writing the log."""
    told = {each["step"] for each in records if each["event"] == "evaluation"}
    steps = {each["step"]: each for each in records if each["event"] == "step"}
    task, added = run.task, list[LogLine]()
    best = task.worst
    metric = f"valid_{task.loss_unit}" if task.metric == "loss" else task.metric
    for each in run.history:
        step, value = each["step"], each.get(metric)
        better = value is not None and task.better(value, best)
        if step not in told:
            beside = steps.get(step, {})
            first = (f"valid_{task.loss_unit}", task.counted)
            figures = {name: each.get(name) for name in (*first, *each) if name not in ("step", "epoch")}
            line: LogLine = {"event": "evaluation", "step": step, "epoch": beside.get("epoch"), **figures}
            added.append(line | {"lr": beside.get("lr"), "best": better})
        if better and value is not None:
            best = value
    return sorted([*records, *added], key=lambda each: (each["step"], each["event"] == "evaluation"))
