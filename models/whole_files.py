"""Files that are there whole or not at all, whenever the machine stops."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from tinygrad_rnn.disk import named_errors


def write_whole(path: Path, data: bytes) -> None:
    """Writes `data` to `path` so that at every moment the old file or the new one is there, whole: into a temporary
    file beside it, synced, then renamed. Makes the folder where there is none. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with named_errors(path, hidden=temporary):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes a rename lasting, where the system has a way to say so."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_parts(folder: Path, *names: str) -> None:
    """Removes what `write_whole` left where it was killed while it wrote a file whose name is as one of the regular
    expressions says. Nobody else may be writing there. Raises OSError."""
    ours = re.compile(rf"\.({'|'.join(names)})\.[0-9a-f]{{8}}\.part")
    for path in [*folder.iterdir()]:
        if ours.fullmatch(path.name) and path.is_file():
            path.unlink()
