"""How a run went, from a checkpoint and the log that lies beside it: curves over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_rnn.inspection.short_steps import without_short_steps
from tinygrad_rnn.models.zoo import is_of_zoo
from tinygrad_rnn.training.log import LogLine, first_line, numbers, read_log


def records_beside(path: Path, run: str) -> tuple[list[LogLine], str]:
    """The records of the log that lies beside a checkpoint of a run, and what is to be said where there are none."""
    if is_of_zoo(path):
        return [], "a model of the zoo comes without its log"
    log = path.with_name("log.jsonl")
    first = first_line(log)
    if first is not None and first["event"] == "run" and first.get("run") != run:
        return [], "the log.jsonl beside the checkpoint is of another run"
    return read_log(log), "no log.jsonl lies beside the checkpoint"


def of_steps(records: list[LogLine], key: str, counted: str) -> list[tuple[int, float]]:
    """The values of the steps under a key, without the jumps of short steps; `counted` is what the loss counts."""
    counts = dict(numbers(records, "step", counted))
    return without_short_steps([(step, value, counts.get(step, 0)) for step, value in numbers(records, "step", key)])


def of_evaluations(records: list[LogLine], meta: dict[str, Any], key: str, best: bool) -> list[tuple[int, float]]:
    """All that the files know under a key: the log has an evaluation at the very end as well, which the history of the
    run has not, and the best model's file has its own, of this key where it is the `best` one's."""
    found = dict(numbers(records, "evaluation", key))
    found |= {each["step"]: each[key] for each in meta["history"] if each.get(key) is not None}
    if best and meta["best"] is not None and meta["best"] not in found.values():
        found[meta["progress"]["step"]] = meta["best"]
    return sorted(found.items())
