"""Why something is not compiled."""

from __future__ import annotations


class NotInMachineCode(Exception):
    """Why a loop cannot be compiled; ends a sentence that begins with "because"."""
