"""Texts that take long to make, kept for the next time in the user's cache folder: a line that says what follows, with
its SHA-256, and the text."""

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


def kept(folder: Path, title: str) -> str | None:
    """The text kept in a folder under a title, or None where there is none that is whole."""
    try:
        header, _, text = (folder / f"{title}.txt").read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if header == f"{title} {text_digest(text)}" else None


def keep(folder: Path, title: str, text: str) -> None:
    """Keeps a text: in a file of its own that is renamed, so that nobody ever finds half of it. Raises OSError."""
    with named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{title}-")
        try:
            with open(handle, "wb") as file:
                file.write(f"{title} {text_digest(text)}\n{text}".encode())
            os.replace(temporary, folder / f"{title}.txt")
        except BaseException:
            os.unlink(temporary)
            raise
