"""The model that a run's settings describe: with new weights, or with those of a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.embedding import VectorSizeError
from tinygrad_rnn.models.language import CELLS, LanguageModel
from tinygrad_rnn.training.cell_files import blame, find_cell
from tinygrad_rnn.training.settings import Settings, SettingsError


def build_model(settings: Settings, vocabulary: Vocabulary, rng: np.random.Generator) -> LanguageModel:
    """The model that the settings describe, with new weights. Raises SettingsError, OSError (a file of word vectors),
    MemoryError."""
    own = settings.cell not in CELLS
    try:
        model = LanguageModel(
            len(vocabulary),
            settings.embedding,
            settings.hidden,
            settings.layers,
            find_cell(settings.cell),
            tied=settings.tied,
            dropout=settings.dropout,
            recurrent_dropout=settings.recurrent_dropout,
            zoneout=settings.zoneout,
            init=settings.init,
            dtype=np.dtype(settings.dtype),
            rng=rng,
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
    if settings.vectors is not None:
        try:
            model.embedding.load_vectors(settings.vectors, vocabulary.tokens)
        except VectorSizeError as error:
            sizes = f"--embedding {error.found}" + (f" --hidden {error.found}" if settings.tied else "")
            raise SettingsError(f"{error}: {sizes} takes them") from None
        except ValueError as error:
            raise SettingsError(str(error)) from None
    return model


def _try_out(model: LanguageModel) -> None:
    """A step of training on two tokens, so that a cell that cannot work says so before training."""
    ids = np.zeros((2, 1), dtype=np.int64)
    loss, state = model.loss(ids, ids, rng=np.random.default_rng(0))
    model.loss(ids, ids, state=state)
    loss.backward()
    model.zero_grad()


def load_model(path: Path, device: str = "cpu") -> tuple[LanguageModel, Vocabulary, Settings, dict[str, Any]]:
    """A trained model, its vocabulary, its settings and everything else that its checkpoint says. Raises
    CheckpointError, SettingsError."""
    saved = checkpoint.load(path)
    vocabulary, settings = described(path, saved)
    model = build_model(replace(settings, vectors=None), vocabulary, np.random.default_rng(0))
    load_weights(path, saved, model)
    return model.to(device), vocabulary, settings, saved.meta


_PARTS = (
    "vocabulary",
    "settings",
    "corpus",
    "progress",
    "optimizer",
    "schedule",
    "noise",
    "best",
    "trouble",
    "history",
)
"""What the checkpoint of a run says beside its arrays."""


def described(path: Path, saved: checkpoint.Checkpoint) -> tuple[Vocabulary, Settings]:
    """The vocabulary and the settings of the model in a checkpoint, loaded from `path`. Raises CheckpointError,
    SettingsError."""
    if saved.meta.get("task") != "language model":
        raise checkpoint.CheckpointError(f"{path}: a checkpoint of a language model was expected")
    if missing := [key for key in _PARTS if key not in saved.meta]:
        raise checkpoint.CheckpointError(f"{path}: an incomplete checkpoint, without its {', '.join(missing)}")
    try:
        return Vocabulary.from_list(saved.meta["vocabulary"]), Settings.from_json(saved.meta["settings"])
    except (KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{path}: a checkpoint with incomplete settings ({error})") from None


def load_weights(path: Path, saved: checkpoint.Checkpoint, model: LanguageModel) -> None:
    """Gives a model the weights in a checkpoint, loaded from `path`. Raises CheckpointError where they do not fit."""
    try:
        model.load_state_dict(saved.part("model"))
    except ValueError as error:
        raise checkpoint.CheckpointError(
            f"{path}: the weights do not fit the model that it describes: {error}"
        ) from None
