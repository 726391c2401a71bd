"""Whether everything was freed by reference counting alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

OWN = ("tinygrad_rnn", "test_")


def is_own(thing: Any) -> bool:
    """Whether the package or a test made it. Whatever else runs in the process, such as the thread by which
    pytest-xdist hears what to do, may leave garbage of its own at any time."""
    if isinstance(thing, FrameType):
        return str(thing.f_globals.get("__name__", "")).startswith(OWN)
    return isinstance(thing, np.ndarray) or str(getattr(thing, "__module__", "")).startswith(OWN)


@contextmanager
def nothing_left_for_the_collector() -> Iterator[None]:
    """Fails where the block leaves cycles of the package's own, of what it made."""
    gc.disable()
    gc.freeze()  # with a whole suite in memory, looking at what is there already takes a second
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        left = [type(thing).__name__ for thing in gc.garbage if is_own(thing)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    if left:
        raise AssertionError(f"left for the collector: {left}")
