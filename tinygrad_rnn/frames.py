"""Whose code a frame of the call stack runs: told wherever a line of the user's own is named."""

from __future__ import annotations

import sys
from traceback import walk_tb
from types import FrameType
from typing import Literal

USER_FILE = "tinygrad_rnn_user_"
"""How the names of modules begin that are imported from a file that the user named, as in `--cell FILE.py:Class`."""

Owner = Literal["engine", "shipped cell", "user's file", "user"]


def owner(frame: FrameType) -> Owner:
    """Whose code it is: this package's, that of a cell which comes with it (its equations), that of a file which the
    user named, or any other."""
    module = str(frame.f_globals.get("__name__", ""))
    if module.startswith(USER_FILE):
        return "user's file"
    if module.startswith(("tinygrad_rnn.models.cells", "tinygrad_rnn.models.variants")):
        return "shipped cell"
    return "engine" if module.partition(".")[0] == "tinygrad_rnn" else "user"


def is_ours(frame: FrameType) -> bool:
    """Whether it is a line of this package, its cells included."""
    return owner(frame) in ("engine", "shipped cell")


def user_frame() -> tuple[FrameType, int]:
    """The innermost frame that is not ours, and the `stacklevel` by which a warning of the function that calls this is
    one of that line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and is_ours(frame):
        frame, level = frame.f_back, level + 1
    return frame, level


def user_lines(error: BaseException) -> list[tuple[str, int]]:
    """File and line of the frames that an error went through and that are not ours, the innermost last."""
    frames = walk_tb(error.__traceback__)
    return [(frame.f_code.co_filename, line) for frame, line in frames if not is_ours(frame)]
