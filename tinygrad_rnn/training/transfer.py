"""A new run that begins with the weights of a model of another text: what they have in common is kept, word by word."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.data.vocabulary import SPECIALS, Vocabulary
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.training.building import described, permitted_and_fitting
from tinygrad_rnn.training.cell_files import FoundCell, open_cell
from tinygrad_rnn.training.cell_permits import CellPermit
from tinygrad_rnn.training.settings import Settings, SettingsError

OF_THE_MODEL = ("level", "lowercase", "cell", "layers", "embedding", "hidden", "tied", "softmax", "init", "dtype")
"""Settings that a new run has from the model with whose weights it begins."""

_BY_TOKEN = {"embedding.weight": 0, "output_weight": 1, "output_bias": 0}
"""Weights that have a row or a column for each token, and along which axis."""


def inherited(path: Path, given: Collection[str], permit: CellPermit, note: Note) -> tuple[dict[str, Any], FoundCell]:
    """The settings of a model that a run which begins with its weights has, and its cell. One from a file is run only
    where `permit` says so; `note` is told where it is not as it was. Raises CheckpointError, CellNotRun, and
    SettingsError where one of the settings is among those that were `given`."""
    _, settings, cell = permitted_and_fitting(path, checkpoint.load(path), permit, note)
    if settings.softmax != "full":
        raise SettingsError(
            f"--init-from takes the weights of each token, and {path} has some of its {settings.softmax} softmax that "
            "belong to no token: a model with a full one was expected"
        )
    if fixed := sorted({*given} & ({*OF_THE_MODEL} - {"cell"})):
        names = ", ".join(f"--{name}" for name in fixed)
        raise SettingsError(f"with --init-from the model is the one of {path}: {names} cannot be given")
    return {name: getattr(settings, name) for name in OF_THE_MODEL if name not in given}, cell


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


def settings_and_cell(changes: dict[str, Any], trust: bool, note: Note) -> tuple[Settings, FoundCell]:
    """The settings of a new run, of which `changes` were asked for, and its cell: where it begins with the weights of
    another model, that one's. `trust` and `note` are as in `inherited`, which says what is raised."""
    path = changes.get("init_from")
    if path is None:
        settings = Settings(**changes)
        return settings, open_cell(settings.cell)
    known, cell = inherited(Path(path), changes.keys(), CellPermit(changes.get("cell"), trust), note)
    return Settings(**{**known, **changes}), cell
