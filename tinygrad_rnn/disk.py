"""Errors of the disk that say which file they are about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def named_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within it an OSError that names no file names this one. The system says "no space left on device" when bytes are
    written, and knows the file's name only when it is opened."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
