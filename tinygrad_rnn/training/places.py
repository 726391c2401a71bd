"""Where the files that a checkpoint names are now: where they were, or as seen from here, or from the checkpoint."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.training.options import RunOptions


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


def places_of(options: RunOptions) -> dict[str, str]:
    """Where the files that the options name are, as absolute paths, for a checkpoint; pipes are left out."""
    return {name: str(Path(name).resolve()) for name, _ in options.named_files() if _stays(name)}


def found_files(
    options: RunOptions, checkpoint: Path, known: Mapping[str, str], anew: Collection[str] = ()
) -> dict[str, str]:
    """Where the files that the options of a checkpoint name are found, as absolute paths; `known` is what `places_of`
    gave when it was saved, and the fields in `anew` are of now. Raises TextError for a file that is not found."""
    found = places_of(options)
    for name, flag in options.named_files():
        if flag.removeprefix("--") in anew:
            continue
        there = candidates(name, checkpoint, known.get(name))
        if not there:
            if name in pipes(options):
                raise TextError(f"{name}: the text came from a pipe, and is gone: name it with {flag}")
            raise TextError(f"{name}: cannot be read: No such file or directory; name it with {flag}")
        found[name] = str(Path(there[0]).resolve())
    return found


def pipes(options: RunOptions) -> dict[str, str]:
    """What can be read only once, pipes, process substitutions, terminals, and the options that named it."""
    return {name: flag for name, flag in options.named_files() if _is_pipe(name)}


def _is_pipe(name: str) -> bool:
    fleeting = name == "-" or name.startswith(("/dev/fd/", "/proc/"))
    return not os.path.isfile(name) and (fleeting or (os.path.exists(name) and not os.path.isdir(name)))
