"""A trained language model from its checkpoint."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, cast

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models.checkpoint import Checkpoint
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.tasks.finding import saved_task, with_weights
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.saved import refuse_other_tasks
from tinygrad_rnn.training.permits import NOTHING_PERMITTED, Permit
from tinygrad_rnn.training.saved_runs import load_run


def load_language_model(
    path: str | Path, device: str = "cpu", permit: Permit = NOTHING_PERMITTED, note: Note = warnings.warn
) -> tuple[LanguageModel, Vocabulary, LanguageOptions, dict[str, Any]]:
    """A trained language model.

    Args:
        path: of the checkpoint, or its name in the zoo, "zoo:identifiers".
        device: "cpu" or "cuda".
        permit: which files may be run: a cell's, if it is from one.
        note: is told where a cell is not as it was.

    Returns:
        The model, its vocabulary, its options and everything else that its checkpoint says.

    Raises:
        CheckpointError: it cannot be read.
        OptionError: it needs a file that may not be run (FileNotRun).
    """
    return rebuilt(Path(path), load_run(Path(path)), device, permit, note)


def rebuilt(
    path: Path, saved: Checkpoint, device: str, permit: Permit, note: Note
) -> tuple[LanguageModel, Vocabulary, LanguageOptions, dict[str, Any]]:
    """What `load_language_model` gives, from a checkpoint that has been loaded from `path`."""
    refuse_other_tasks(path, saved)
    task = saved_task(path, saved, permit, note)
    model = cast(LanguageModel, with_weights(path, saved, task, device))
    return model, task.tables["vocabulary"], task.options, saved.meta
