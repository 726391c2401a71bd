"""Where the files that a checkpoint names are now: where they were, or as seen from here, or from the checkpoint."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.training.settings import Settings


def candidates(name: str, checkpoint: Path, known: str | None = None) -> list[str]:
    """The files that a checkpoint may mean by `name`, those that are there, the likeliest first: the one that it was
    when the checkpoint was saved (`known`, as an absolute path); as seen from where one stands, from the checkpoint's
    folder and from those above it; and one called so beside the checkpoint. Anything but a file or a folder, such as a
    pipe, is left out."""
    return [each for each in dict.fromkeys(_places(name, checkpoint.resolve(), known)) if _stays(each)]


def _places(name: str, checkpoint: Path, known: str | None) -> Iterator[str]:
    if known is not None:
        yield known
    yield name
    if not Path(name).name:
        return
    for folder in checkpoint.parents:
        yield str(folder / name)
    yield str(checkpoint.parent / Path(known or name).name)


def _stays(name: str) -> bool:
    """Whether it can be read again: a file or a folder of some name, and no pipe."""
    return os.path.isfile(name) or (os.path.isdir(name) and Path(name).name not in ("", ".."))


def text_files(settings: Settings) -> dict[str, str]:
    """Where the texts that the settings name are, as absolute paths, for a checkpoint; pipes are left out."""
    return {name: str(Path(name).resolve()) for name, _ in _named(settings) if _stays(name)}


def found_texts(
    settings: Settings, checkpoint: Path, known: Mapping[str, str], anew: Collection[str] = ()
) -> dict[str, str]:
    """Where the texts that the settings of a checkpoint name are found, as absolute paths; `known` is what `text_files`
    gave when it was saved, and the settings in `anew` are of now. Raises TextError for a text that is not found."""
    found = text_files(settings)
    for name, option in _named(settings):
        if option.removeprefix("--") in anew:
            continue
        there = candidates(name, checkpoint, known.get(name))
        if not there:
            if name in pipes(settings):
                raise TextError(f"{name}: the text came from a pipe, and is gone: name it with {option}")
            raise TextError(f"{name}: cannot be read: No such file or directory; name it with {option}")
        found[name] = str(Path(there[0]).resolve())
    return found


def with_texts_at(settings: Settings, files: Mapping[str, str], anew: Collection[str] = ()) -> Settings:
    """The settings, by which the texts are read where `files` says that they are, but for those of the settings in
    `anew`."""
    there: dict[str, Any] = {
        "text": tuple(files.get(name, name) for name in settings.text),
        "csv": files.get(settings.csv or "", settings.csv),
        "valid": files.get(settings.valid or "", settings.valid),
    }
    return replace(settings, **{option: names for option, names in there.items() if option not in anew})


def option_of(settings: Settings, name: str) -> str:
    """The option by which a text was named."""
    return dict(_named(settings))[name]


def pipes(settings: Settings) -> set[str]:
    """The texts that can be read only once: pipes, process substitutions, terminals."""
    return {name for name, _ in _named(settings) if _is_pipe(name)}


def _is_pipe(name: str) -> bool:
    fleeting = name == "-" or name.startswith(("/dev/fd/", "/proc/"))
    return not os.path.isfile(name) and (fleeting or (os.path.exists(name) and not os.path.isdir(name)))


def _named(settings: Settings) -> list[tuple[str, str]]:
    """The texts that the settings name, and the options that did."""
    valid = [] if settings.valid is None else [(settings.valid, "--valid")]
    corpus = [(name, "--text") for name in settings.text] if settings.csv is None else [(settings.csv, "--csv")]
    return [*corpus, *valid]
