"""The names that functions give to values, seen in their local variables while they run. For `explain` alone.

Nothing in a Tensor tells that the step calls it `keep`: only the local variables of the step do, and of the functions
that it calls. `sys.setprofile` asks the interpreter to call a function of ours whenever any other is entered or left,
with its frame, in which they can be read. That is what profilers are made with, and it makes Python slow; so it is in
force only while `explain` records a step, which calculates nothing. No training ever comes here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tinygrad_rnn.frames import owner


@contextmanager
def watched_locals(see: Callable[[str, Any], None]) -> Iterator[None]:
    """Within the block, calls `see(name, value)` for every local variable of each function that is entered or left in
    this thread, but for the engine's own; of one that another of the user's calls, not its parameters: to a helper all
    is `x`. A profiler that was in force is put back in the end; it misses the block."""

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "return") and owner(frame) != "engine":
            caller, code = frame.f_back, frame.f_code
            is_helper = caller is not None and owner(caller) != "engine"
            parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if is_helper else ()
            for name, value in frame.f_locals.items():
                if name not in parameters:
                    see(name, value)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)
