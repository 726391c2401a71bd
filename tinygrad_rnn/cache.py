"""What takes long to make, kept for the next time in the user's cache folder: a line that says what follows, with its
SHA-256, and the content."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from tinygrad_rnn.disk import named_errors


def cache_folder() -> Path | None:
    """The user's cache folder, as the system has it; None where there is none."""
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    if named and os.path.isabs(named):  # the XDG specification: a relative path is to be ignored
        return Path(named) / "tinygrad_rnn"
    try:
        return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tinygrad_rnn"
    except RuntimeError:  # a user without a home
        return None


def text_digest(text: str) -> str:
    """The SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def _header(name: str, content: bytes) -> bytes:
    return f"{name} {hashlib.sha256(content).hexdigest()}".encode()


def kept(folder: Path, name: str) -> bytes | None:
    """The content kept in a folder under a name, or None where there is none that is whole."""
    try:
        header, _, content = (folder / name).read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if header == _header(name, content) else None


def keep(folder: Path, name: str, content: bytes) -> None:
    """Keeps a content: in a file of its own that is renamed, so that nobody ever finds half of it. A folder that is
    made for it is the user's alone. Raises OSError."""
    with named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{name}-")
        try:
            with open(handle, "wb") as file:
                file.write(_header(name, content) + b"\n" + content)
            os.replace(temporary, folder / name)
        except BaseException:
            os.unlink(temporary)
            raise
