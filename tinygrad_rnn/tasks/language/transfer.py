"""A new run that begins with the weights of a model of another text: what they have in common is kept, word by word."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.data.vocabulary import SPECIALS, Vocabulary
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.saved import described
from tinygrad_rnn.tasks.language.saved_sizes import check_sizes
from tinygrad_rnn.training.cell_files import FoundCell, open_cell
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.permits import Permit, permitted_cell
from tinygrad_rnn.training.saved_runs import load_run, refused

OF_THE_MODEL = ("level", "lowercase", "cell", "layers", "embedding", "hidden", "tied", "softmax", "init", "dtype")
"""Options that a new run has from the model with whose weights it begins."""

_BY_TOKEN = {"embedding.weight": 0, "output_weight": 1, "output_bias": 0}
"""Weights that have a row or a column for each token, and along which axis."""


def inherited(path: Path, given: Collection[str], permit: Permit, note: Note) -> tuple[dict[str, Any], FoundCell]:
    """The settings of a model that a run which begins with its weights has, and its cell. One from a file is run only
    where `permit` says so; `note` is told where it is not as it was. Raises CheckpointError, FileNotRun, and
    OptionError where one of the settings is among those that were `given`."""
    saved = load_run(path)
    vocabulary, settings = described(path, saved)
    cell = permitted_cell(path, settings.cell, saved.meta.get("cell"), permit, note)
    with refused(path, "the weights do not fit the model that it describes"):
        check_sizes(settings, len(vocabulary), cell.cell, saved.part("model"))
    if settings.softmax != "full":
        raise OptionError(
            f"--init-from takes the weights of each token, and {path} has some of its {settings.softmax} softmax that "
            "belong to no token: a model with a full one was expected"
        )
    if fixed := sorted({*given} & ({*OF_THE_MODEL} - {"cell"})):
        names = ", ".join(f"--{name}" for name in fixed)
        raise OptionError(f"with --init-from the model is the one of {path}: {names} cannot be given")
    return {name: getattr(settings, name) for name in OF_THE_MODEL if name not in given}, cell


def begin_from(path: Path, model: LanguageModel, vocabulary: Vocabulary) -> int:
    """Gives a model the weights in a checkpoint: those of a token where both vocabularies have it, and all that have
    nothing to do with tokens. The others stay as they are. Returns how many tokens were known. Raises CheckpointError,
    OptionError where the weights do not fit."""
    saved = load_run(path)
    known, _ = described(path, saved)
    theirs = {token: i for i, token in enumerate(known.tokens[len(SPECIALS) :], len(SPECIALS))}
    pairs = [(i, i) for i in range(len(SPECIALS))]
    pairs += [(i, theirs[token]) for i, token in enumerate(vocabulary.tokens) if i >= len(SPECIALS) and token in theirs]
    here, there = ([pair[side] for pair in pairs] for side in (0, 1))
    given, own = saved.part("model"), model.state_dict()
    if given.keys() != own.keys():
        raise OptionError(
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
        raise OptionError(f"{path}: its weights do not fit this model: {error}") from None
    return len(pairs) - len(SPECIALS)


def settings_and_cell(changes: dict[str, Any], trust: bool, note: Note) -> tuple[LanguageOptions, FoundCell]:
    """The settings of a new run, of which `changes` were asked for, and its cell: where it begins with the weights of
    another model, that one's. `trust` and `note` are as in `inherited`, which says what is raised."""
    path = changes.get("init_from")
    if path is None:
        settings = LanguageOptions(**changes)
        return settings, open_cell(settings.cell)
    known, cell = inherited(Path(path), changes.keys(), Permit(changes.get("cell"), trust), note)
    return LanguageOptions(**{**known, **changes}), cell
