"""Why something is not compiled."""

from __future__ import annotations


class NotInMachineCode(Exception):
    """Why a loop cannot be compiled; ends a sentence that begins with "because"."""


class NothingToDo(NotInMachineCode):
    """There is nothing to compile: of no rows, or no steps, whatever runs is as fast."""
