"""What a checkpoint says of a language model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.vocabulary import SPECIALS, Vocabulary
from tinygrad_rnn.models.checkpoint import Checkpoint, CheckpointError
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.telling import ORDERS
from tinygrad_rnn.training.saved_runs import refused, tables_from_json

LANGUAGE = "language"
"""What the task is called."""


def refuse_other_tasks(path: Path, saved: Checkpoint) -> None:
    """Raises CheckpointError for a checkpoint of another task."""
    if saved.meta["task"] != LANGUAGE:
        raise CheckpointError(
            f"{path}: a checkpoint of a language model was expected, and it is of the task {saved.meta['task']}"
        )


def described(path: Path, saved: Checkpoint) -> tuple[Vocabulary, LanguageOptions]:
    """The vocabulary and the options of the language model in a checkpoint, loaded from `path`. Raises CheckpointError
    where its description is not one that a run saved."""
    refuse_other_tasks(path, saved)
    with refused(path, "an incomplete or malformed checkpoint"):
        tables = tables_from_json(saved.meta["tables"])
        check_language(saved.meta, tables)
        return tables["vocabulary"], LanguageOptions.from_json(saved.meta["settings"])


def check_language(meta: Mapping[str, Any], tables: Mapping[str, Any]) -> None:
    """Raises ValueError where something is missing that a run of a language model saves, or is not what it saves."""
    if missing := [name for name in ("tokens", "sentences", "baselines") if name not in meta["data"]]:
        raise ValueError(f"it is without its {', '.join(f'data.{name}' for name in missing)}")
    if unknown := [order for order in meta["data"]["baselines"] if order not in ORDERS]:
        raise ValueError(f"data.baselines must be by the orders {', '.join(ORDERS)}, got {unknown[0]!r}")
    if any("valid_nats" not in each for each in meta["history"]):
        raise ValueError("history must say valid_nats of each evaluation")
    vocabulary = tables.get("vocabulary")
    if not isinstance(vocabulary, Vocabulary):
        raise ValueError("it is without its tables.vocabulary")
    if len(vocabulary) == len(SPECIALS):
        raise ValueError("its vocabulary has no tokens")
