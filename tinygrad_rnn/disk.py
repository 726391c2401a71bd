"""Errors of the disk that say which file they are about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def named_errors(path: str | os.PathLike[str], hidden: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Within it an OSError that names no file names this one, and so does one that names `hidden`, a file that is to
    become it. The system says "no space left on device" when bytes are written, and knows the file's name only when it
    is opened."""
    try:
        yield
    except OSError as error:
        foreign = error.filename is not None and (hidden is None or error.filename != os.fspath(hidden))
        if error.errno is None or foreign:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
