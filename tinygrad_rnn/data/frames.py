"""Frames of numbers with no marks where one symbol ends and the next begins, as speech has them: made up, or from a
file."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from zipfile import is_zipfile

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.data.readers import files_named

SPOKEN = "abcdefghij"
"""The symbols of MovingSpectra."""


class MovingSpectra:
    """Ten symbols, each of which moves from one spectrum (F,) to another in 3 to 8 frames, with silence before and
    between some, and noise over all."""

    def __init__(self, rng: np.random.Generator, features: int = 12, noise: float = 0.6) -> None:
        self.ends = rng.normal(size=(len(SPOKEN), 2, features))
        self.noise = noise

    def draw(self, rng: np.random.Generator) -> tuple[HostArray, str]:
        """Frames (T,F) float32, and the 3 to 8 symbols in them."""
        symbols, features = rng.integers(0, len(SPOKEN), rng.integers(3, 9)), self.ends.shape[-1]
        parts = [np.zeros((rng.integers(1, 4), features))]
        for symbol in symbols:
            along = np.linspace(0, 1, rng.integers(3, 9))[:, None]
            parts.append(self.ends[symbol, 0] * (1 - along) + self.ends[symbol, 1] * along)
            if rng.random() < 0.4:
                parts.append(np.zeros((rng.integers(1, 4), features)))
        clean = np.concatenate(parts)
        frames: HostArray = (clean + self.noise * rng.normal(size=clean.shape)).astype(np.float32)
        return frames, "".join(SPOKEN[symbol] for symbol in symbols)


def fits(frames: HostArray, text: str) -> bool:
    """Whether there are enough frames (T,F) to say the text: one for each symbol, and one between equal ones."""
    return len(frames) >= len(text) + sum(one == other for one, other in pairwise(text))


def read_frames(path: str | os.PathLike[str], note: Note | None = None) -> Iterator[tuple[HostArray, str]]:
    """Utterances: frames (T,F) float32 and the text that is said in them, a symbol a character, which may be empty.

    Args:
        path: an npz file with the arrays `frames` and `text` for one, or for several `frames_0`, `text_0`, `frames_1`
            and so on, or other endings, in the order in which they lie in it: `np.savez(path, frames_0=x,
            text_0="abc")`. Of a folder all files are read.
        note: is told of the files of a folder.

    Raises:
        TextError: an array is missing or is of another kind, or the number of features changes; it says the file and
            the array.
    """
    features = None
    for name in files_named(path, note):
        arrays = _arrays(name)
        keys = [key for key in arrays if key.startswith("frames")]
        if not keys:
            raise TextError(
                f"{name}: arrays called frames_0, text_0, frames_1 and so on were expected, got "
                f"{', '.join(arrays) or 'none'}"
            )
        for key in keys:
            frames, text = _frames(f"{name}: {key}", arrays[key]), _text(name, arrays, key.replace("frames", "text", 1))
            features = features or frames.shape[1]
            if frames.shape[1] != features:
                raise TextError(f"{name}: {key} must have {features} features as those before, got {frames.shape[1]}")
            yield frames, text


def _arrays(name: str) -> dict[str, HostArray]:
    try:
        with open(name, "rb") as file:
            if not is_zipfile(file):
                raise TextError(f"{name}: an npz file was expected, as numpy.savez writes it")
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            return {key: arrays[key] for key in arrays.files}
    except OSError as error:
        raise TextError(f"{name}: cannot be read: {error.strerror or error}") from None
    except (TextError, MemoryError):
        raise
    except Exception as error:  # whatever NumPy and zipfile say of a file that is damaged, or made of other things
        raise TextError(f"{name}: an npz file of numbers and texts was expected: {error}") from None


def _frames(name: str, values: HostArray) -> HostArray:
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        raise TextError(f"{name} must be numbers (T,F), a row for each frame, got {values.dtype} {values.shape}")
    with np.errstate(over="ignore"):
        frames: HostArray = values.astype(np.float32)
    if not np.isfinite(frames).all():
        raise TextError(f"{name} must be finite numbers as float32 has them, got {values[~np.isfinite(frames)][0]}")
    return frames


def _text(name: str, arrays: dict[str, HostArray], key: str) -> str:
    value = arrays.get(key)
    if value is None or value.dtype.kind != "U" or value.shape != ():
        found = "none" if value is None else f"{value.dtype} {value.shape}"
        raise TextError(f"{name}: {key} must be a text, got {found}")
    text = str(value)
    # Cc are control characters, Zl and Zp end lines and paragraphs; what only joins letters is a part of many scripts.
    if any(unicodedata.category(each) in ("Cc", "Zl", "Zp") for each in text):
        raise TextError(f"{name}: {key} must be a text of one line, got {text[:40]!r}")
    return text


def parse_frames(value: Any) -> HostArray:
    """Frames (T,F) float32 from JSON: a list of lists of numbers. Raises TextError."""
    try:
        return _frames("frames", np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        message = "frames were expected, lists of as many finite numbers each: [[0.1, 0.2], [0.3, 0.4]]"
        raise TextError(message) from None
