"""Checkpoints of runs: their files, and what they say beside their arrays, of this version or an older one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.labels import Labels
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.training.description import check_description
from tinygrad_rnn.training.examples import TaskError

KEEP_NUMBERS = ("epochs", "patience", "threads", "engine", "split_optimizer")
"""Options that do not decide the numbers of a run."""


def load_run(path: Path) -> checkpoint.Checkpoint:
    """The checkpoint of a run of any task, in the form of this version. Raises CheckpointError where it is none, or its
    description is not one that a run saved."""
    saved = checkpoint.load(path)
    if not isinstance(saved.meta.get("task"), str):
        raise checkpoint.CheckpointError(f"{path}: a checkpoint of a training run was expected")
    with refused(path, "an incomplete or malformed checkpoint"):
        meta = _modern(saved.meta)
        check_description(meta)
        if "run" not in meta and "Vocabulary" not in meta["tables"].get("vocabulary", {}):
            raise ValueError("it is without its run")  # which older ones, of language models, can do without
    return replace(saved, meta=meta)


def _modern(meta: dict[str, Any]) -> dict[str, Any]:
    """The description as this version writes it. Before there were other tasks than the language model, its vocabulary
    was the only table."""
    if meta["task"] != "language model":
        return meta
    if missing := [name for name in ("vocabulary", "corpus") if name not in meta]:
        raise ValueError(f"it is without its {', '.join(missing)}")
    rest = {name: value for name, value in meta.items() if name not in ("vocabulary", "corpus")}
    return rest | {
        "task": "language",
        "tables": {"vocabulary": {"Vocabulary": meta["vocabulary"]}},
        "data": meta["corpus"],
    }


@contextmanager
def refused(path: Path, what: str) -> Iterator[None]:
    """Within it an error about what stands in a checkpoint, loaded from `path`, becomes a CheckpointError."""
    try:
        yield
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise checkpoint.CheckpointError(f"{path}: {what}: {error}") from None


def id_of_run(meta: Mapping[str, Any]) -> str:
    """The run that a checkpoint is of, by what it says beside its arrays. An older one does not say: it gets an id from
    what decides the numbers of a run, so that those of one run have the same."""
    if isinstance(meta.get("run"), str):
        return str(meta["run"])
    settings = {name: value for name, value in meta["settings"].items() if name not in KEEP_NUMBERS}
    decisive = [settings, meta["data"]["sha256"], meta["tables"]["vocabulary"]["Vocabulary"]]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


# --- Tables ----------------------------------------------------------------------------------------------------

_KINDS: dict[str, type[Vocabulary] | type[Labels]] = {"Vocabulary": Vocabulary, "Labels": Labels}


def tables_to_json(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Tables as JSON values: what is none already is a dictionary of one entry, its kind. Raises TaskError for other
    kinds."""
    found = {}
    for name, table in tables.items():
        kind = type(table).__name__
        if kind in _KINDS:
            found[name] = {kind: table.to_list()}
        else:
            try:
                found[name] = {"JSON": json.loads(json.dumps(table, allow_nan=False))}
                if found[name]["JSON"] != table:
                    raise ValueError("it would come back otherwise, since JSON knows lists and texts as keys alone")
            except (TypeError, ValueError) as error:
                raise TaskError(
                    f"the table {name!r} must be a Vocabulary, Labels or JSON values, got {kind}: {error}"
                ) from None
    return found


def tables_from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `tables_to_json` gave. Raises ValueError for anything else."""
    found = {}
    for name, value in values.items():
        (kind, content), *more = value.items()
        if more or kind not in (*_KINDS, "JSON"):
            raise ValueError(f"the table {name!r} must be one of {', '.join((*_KINDS, 'JSON'))}, got {list(value)}")
        found[name] = content if kind == "JSON" else _KINDS[kind].from_list(content)
    return found
