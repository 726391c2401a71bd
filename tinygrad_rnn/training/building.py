"""The model that a run's settings describe: with new weights, or with those of a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.data.vocabulary import SPECIALS, Vocabulary
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.embedding import VectorSizeError
from tinygrad_rnn.models.language import CELLS, LanguageModel
from tinygrad_rnn.training.cell_files import FoundCell, blame, open_cell
from tinygrad_rnn.training.cell_permits import NOTHING_PERMITTED, CellPermit, permitted_cell
from tinygrad_rnn.training.description import check_description
from tinygrad_rnn.training.saved_sizes import check_sizes
from tinygrad_rnn.training.settings import Settings, SettingsError


def build_model(
    settings: Settings, vocabulary: Vocabulary, rng: np.random.Generator, cell: FoundCell | None = None
) -> LanguageModel:
    """The model that the settings describe, with new weights; `cell` where it has been found already, and otherwise the
    one that the settings name is: its file is run. Raises SettingsError, MemoryError."""
    own = settings.cell not in CELLS
    try:
        cell = open_cell(settings.cell) if cell is None else cell
        model = LanguageModel(
            len(vocabulary),
            settings.embedding,
            settings.hidden,
            settings.layers,
            cell.cell,
            tied=settings.tied,
            softmax=settings.softmax,
            dropout=settings.dropout,
            recurrent_dropout=settings.recurrent_dropout,
            zoneout=settings.zoneout,
            init=settings.init,
            dtype=np.dtype(settings.dtype),
            rng=rng,
            **cell.options,
        )
        if own:
            _try_out(model)
    except Exception as error:
        if own and not isinstance(error, SettingsError):
            found = blame(error) or f"{type(error).__name__}: {error}"
            raise SettingsError(f"cell {settings.cell!r} cannot be used: {found}") from error
        if isinstance(error, TypeError | ValueError):
            raise SettingsError(str(error)) from error
        raise
    return model


def load_word_vectors(settings: Settings, model: LanguageModel, vocabulary: Vocabulary) -> int:
    """Gives the embedding the word vectors that the settings name, and returns of how many tokens there were any.
    Raises SettingsError, OSError."""
    if settings.vectors is None:
        return 0
    try:
        return model.embedding.load_vectors(settings.vectors, vocabulary.tokens)
    except VectorSizeError as error:
        sizes = f"--embedding {error.found}" + (f" --hidden {error.found}" if settings.tied else "")
        raise SettingsError(f"{error}: {sizes} takes them") from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _try_out(model: LanguageModel) -> None:
    """A step of training on two tokens, so that a cell that cannot work says so before training."""
    ids = np.zeros((2, 1), dtype=np.int64)
    loss, state = model.loss(ids, ids, rng=np.random.default_rng(0))
    model.loss(ids, ids, state=state)
    loss.backward()
    model.zero_grad()


def load_model(
    path: Path, device: str = "cpu", permit: CellPermit = NOTHING_PERMITTED, note: Note = warnings.warn
) -> tuple[LanguageModel, Vocabulary, Settings, dict[str, Any]]:
    """A trained model, its vocabulary, its settings and everything else that its checkpoint says. A cell from a file is
    run only where `permit` says so; `note` is told where it is not as it was. Raises CheckpointError, SettingsError
    (CellNotRun)."""
    return rebuilt(path, checkpoint.load(path), device, permit, note)


def rebuilt(
    path: Path, saved: checkpoint.Checkpoint, device: str, permit: CellPermit, note: Note
) -> tuple[LanguageModel, Vocabulary, Settings, dict[str, Any]]:
    """What `load_model` gives, from a checkpoint that has been loaded from `path`."""
    vocabulary, settings, cell = permitted_and_fitting(path, saved, permit, note)
    model = build_model(settings, vocabulary, np.random.default_rng(0), cell)
    load_weights(path, saved, model)
    return model.to(device), vocabulary, settings, saved.meta


def described(path: Path, saved: checkpoint.Checkpoint) -> tuple[Vocabulary, Settings]:
    """The vocabulary and the settings of the model in a checkpoint, loaded from `path`. Raises CheckpointError where
    its description is not one that a run saved."""
    if saved.meta.get("task") != "language model":
        raise checkpoint.CheckpointError(f"{path}: a checkpoint of a language model was expected")
    with refused(path, "an incomplete or malformed checkpoint"):
        check_description(saved.meta)
        vocabulary, settings = (
            Vocabulary.from_list(saved.meta["vocabulary"]),
            Settings.from_json(saved.meta["settings"]),
        )
        if len(vocabulary) == len(SPECIALS):
            raise ValueError("its vocabulary has no tokens")
    return vocabulary, settings


@contextmanager
def refused(path: Path, what: str) -> Iterator[None]:
    """Within it an error about what stands in a checkpoint, loaded from `path`, becomes a CheckpointError."""
    try:
        yield
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise checkpoint.CheckpointError(f"{path}: {what}: {error}") from None


def permitted_and_fitting(
    path: Path, saved: checkpoint.Checkpoint, permit: CellPermit, note: Note
) -> tuple[Vocabulary, Settings, FoundCell]:
    """What a model is built with again: its vocabulary, settings and cell, whose sizes are those of the weights. Raises
    CheckpointError, SettingsError (CellNotRun)."""
    vocabulary, settings = described(path, saved)
    cell = permitted_cell(path, settings, saved.meta.get("cell"), permit, note)
    with refused(path, "the weights do not fit the model that it describes"):
        check_sizes(settings, len(vocabulary), cell.cell, saved.part("model"))
    return vocabulary, settings, cell


def load_weights(path: Path, saved: checkpoint.Checkpoint, model: LanguageModel) -> None:
    """Gives a model the weights in a checkpoint, loaded from `path`. Raises CheckpointError where they do not fit."""
    with refused(path, "the weights do not fit the model that it describes"):
        model.load_state_dict(saved.part("model"))
