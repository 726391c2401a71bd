"""What goes wrong in a method of a task, or with what it gave: told in a sentence that names the method."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.training.examples import TaskError
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_files import blame


@contextmanager
def asked(task: str, method: str) -> Iterator[None]:
    """While a `method` of the task of this name is asked, and its answer is used: raises TaskError for an error that is
    neither meant to be read as it is nor from a line of the user's file, which then is named."""
    try:
        yield
    except (OptionError, TextError, TaskError, MemoryError, OSError):
        raise
    except Exception as error:
        if blame(error):
            raise
        raise TaskError(f"{task}.{method}: {type(error).__name__}: {error}") from error


def number(task: str, method: str, name: Any, given: Any) -> float:
    """What a method of a task gave under a name, as a number. Raises TaskError."""
    value = given.item() if hasattr(given, "item") and getattr(given, "size", 1) == 1 else given
    if not isinstance(name, str) or not isinstance(value, int | float):
        raise TaskError(f"{task}.{method} must give numbers by name, got {name!r}: {type(value).__name__}")
    return float(value)
