"""A new run that begins with the weights of a model of another text: what they have in common is kept, word by word."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.vocabulary import SPECIALS, Vocabulary
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.language import CELLS, LanguageModel
from tinygrad_rnn.training.building import described
from tinygrad_rnn.training.settings import Settings, SettingsError

OF_THE_MODEL = ("level", "lowercase", "cell", "layers", "embedding", "hidden", "tied", "init", "dtype")
"""Settings that a new run has from the model with whose weights it begins."""

_BY_TOKEN = {"embedding.weight": 0, "output_weight": 1, "output_bias": 0}
"""Weights that have a row or a column for each token, and along which axis."""


def inherited(path: Path, given: Collection[str]) -> dict[str, Any]:
    """The settings of a model that a run which begins with its weights has. Raises CheckpointError, and SettingsError
    where one of them is among those that were `given`, or where the cell is one of the user's own that was not."""
    _, settings = described(path, checkpoint.load(path))
    if fixed := sorted({*given} & ({*OF_THE_MODEL} - {"cell"})):
        names = ", ".join(f"--{name}" for name in fixed)
        raise SettingsError(f"with --init-from the model is the one of {path}: {names} cannot be given")
    if settings.cell.lower() not in CELLS and "cell" not in given:
        raise SettingsError(f"{path} has a cell of one's own, {settings.cell}: name it with --cell FILE.py:Class")
    return {name: getattr(settings, name) for name in OF_THE_MODEL if name not in given}


def begin_from(path: Path, model: LanguageModel, vocabulary: Vocabulary) -> int:
    """Gives a model the weights in a checkpoint: those of a token where both vocabularies have it, and all that have
    nothing to do with tokens. The others stay as they are. Returns how many tokens were known. Raises CheckpointError,
    SettingsError where the weights do not fit."""
    saved = checkpoint.load(path)
    known, _ = described(path, saved)
    theirs = {token: i for i, token in enumerate(known.tokens[len(SPECIALS) :], len(SPECIALS))}
    pairs = [(i, i) for i in range(len(SPECIALS))]
    pairs += [(i, theirs[token]) for i, token in enumerate(vocabulary.tokens) if i >= len(SPECIALS) and token in theirs]
    here, there = ([pair[side] for pair in pairs] for side in (0, 1))
    given, own = saved.part("model"), model.state_dict()
    if given.keys() != own.keys():
        raise SettingsError(
            f"{path}: its model has other weights than this one: {', '.join(sorted(given.keys() ^ own.keys()))}"
        )
    for name, values in own.items():
        axis = _BY_TOKEN.get(name)
        if axis is None:
            own[name] = given[name]
        else:
            index: Any = (slice(None),) * axis
            own[name] = values.copy()
            own[name][(*index, here)] = given[name][(*index, there)]
    try:
        model.load_state_dict(own)
    except ValueError as error:
        raise SettingsError(f"{path}: its weights do not fit this model: {error}") from None
    return len(pairs) - len(SPECIALS)


def settings_of(path: str | None, changes: dict[str, Any]) -> Settings:
    """The settings of a new run, of which `changes` were asked for; `path` is the model that it begins from, if any."""
    return Settings(**(changes if path is None else {**inherited(Path(path), changes.keys()), **changes}))
