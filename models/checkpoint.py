"""Checkpoints: one safetensors file of plain arrays and one JSON text. Nothing in it can run code."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.models.whole_files import write_whole
from tinygrad_rnn.models.zoo import file_of

FORMAT = "tinygrad_rnn checkpoint 1"
_KEY = "tinygrad_rnn"

Arrays = dict[str, HostArray]


class CheckpointError(ValueError):
    """A file is missing, foreign or damaged; the message says which, in one sentence."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: arrays by name, and everything else as JSON values."""

    arrays: Arrays
    meta: dict[str, Any]

    def part(self, name: str) -> Arrays:
        """The arrays whose name begins with `name.`, without that."""
        return {key[len(name) + 1 :]: value for key, value in self.arrays.items() if key.startswith(f"{name}.")}


def save(path: str | os.PathLike[str], arrays: Arrays, meta: dict[str, Any]) -> None:
    """Writes arrays and JSON values to a safetensors file, so that at every moment the old file or the new one is
    there, whole. Equal contents give equal bytes.

    Args:
        path: of the file.
        arrays: by name, of booleans and numbers of up to 8 bytes.
        meta: by name, what JSON can hold.

    Raises:
        OSError: the folder cannot be written.
        TypeError, ValueError: arrays or values are of other kinds.

    Example:
        >>> import tempfile, os
        >>> from tinygrad_rnn.models import checkpoint
        >>> model = models.GRU(2, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "gru.safetensors")
        ...     checkpoint.save(path, model.state_dict(), {"hidden_size": 3})
        ...     found = checkpoint.load(path)
        >>> model.load_state_dict(found.arrays)
        >>> found.meta
        {'hidden_size': 3}
    """
    arrays = {name: _plain(name, array) for name, array in sorted(arrays.items())}
    contents = {"format": FORMAT, "meta": meta}
    text = json.dumps(contents | {"sha256": _digest(arrays, contents)}, sort_keys=True, allow_nan=False)
    data = safetensors.numpy.save(arrays, metadata={_KEY: text})
    write_whole(Path(path), data)


def _plain(name: str, array: HostArray) -> HostArray:
    """The array as a file can hold it. safetensors writes the memory of an array as it lies, whatever its strides and
    its byte order: a transposed view would come back wrong."""
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"a checkpoint holds booleans and numbers of up to 8 bytes, got {array.dtype} for {name!r}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads what `save` wrote, or by "zoo:NAME" what comes with the package, and verifies its hash. Raises
    CheckpointError for a file that is missing, that is no checkpoint of this program, or that is damaged."""
    try:
        place = file_of(path)
    except LookupError as error:
        raise CheckpointError(str(error.args[0])) from None
    if not place.is_file():
        found = "it is a folder" if place.is_dir() else "there is no such file"
        raise CheckpointError(f"{path}: a checkpoint was expected, and {found}")
    try:
        with safe_open(place, framework="np") as file:
            text = (file.metadata() or {}).get(_KEY)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    # AttributeError, TypeError: an array of a dtype that NumPy does not have.
    except (SafetensorError, OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one ({error})") from None
    if text is None:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint that tinygrad_rnn wrote")
    try:
        contents = json.loads(text)
        digest = contents.pop("sha256")
        kind, meta = contents["format"], contents["meta"]
        found = _digest(arrays, contents)
        if not isinstance(meta, dict):
            raise TypeError(f"a dictionary was expected, got {meta!r}")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise CheckpointError(f"{path}: a damaged checkpoint: its description cannot be read") from None
    if kind != FORMAT:
        raise CheckpointError(f"{path}: a checkpoint of the format {FORMAT!r} was expected, got {kind!r}")
    if digest != found:
        raise CheckpointError(f"{path}: a damaged checkpoint: its contents do not match its SHA-256")
    return Checkpoint(arrays, meta)


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a file says of itself that `save` wrote it, whole or damaged. Its arrays are not read."""
    try:
        with safe_open(path, framework="np") as file:
            return _KEY in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


def _digest(arrays: Arrays, contents: dict[str, Any]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of the arrays and over the JSON values."""
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True, allow_nan=False).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.asarray(array, order="C").tobytes())
    return digest.hexdigest()
