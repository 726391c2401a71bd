"""What the child of a fork makes anew. Only the thread that forks goes on there: a lock that another one held at that
moment is held for ever, and what it guards may be half done."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_each_child(renew: Callable[[], None]) -> None:
    """Calls `renew` in every process that is forked from this one, where there are forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
