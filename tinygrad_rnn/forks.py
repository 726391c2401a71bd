"""What the child of a fork makes anew. Only the thread that forks goes on there: a lock that another one held at that
moment is held for ever, and what it guards may be half done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def in_each_child(renew: Callable[[], None]) -> None:
    """Calls `renew` in every process that is forked from this one, where there are forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)


class ForksWait:
    """`with forks_wait:` — one thread at a time, and no fork as long as it is within. For libraries whose own state a
    child would find half done."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self.__enter__, after_in_parent=self.__exit__, after_in_child=self._begin_anew)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
