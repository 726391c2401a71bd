"""Signals that end a training run: it saves first."""

from __future__ import annotations

import signal
import threading
from typing import Any

HUNG_UP = 128 + 1
"""The exit code after SIGHUP."""


def ends_program(number: int) -> bool:
    """Whether a signal, 0 for none, is one after which the program is to end and not only the run: whoever sent it does
    not wait for a summary."""
    return number not in (0, signal.SIGINT)


class Signals:
    """Within it Ctrl-C, SIGTERM and SIGHUP ask for an end after the step in progress; the same one again does what it
    did before. SIGTERM and SIGHUP are left alone where they are ignored already, as under nohup, or where the program
    has a use for them. Leaving it after one of these two raises SystemExit: 128 and the signal's number."""

    def __enter__(self) -> Signals:
        self.number = 0
        """The signal that came, or 0."""
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._take(signal.SIGINT)
            for name in ("SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # there is no SIGHUP on Windows
                if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                    self._take(number)
        return self

    def _take(self, number: int) -> None:
        self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if not self.at_once:
            self.number = number
        signal.signal(number, self._before[number])

    @property
    def at_once(self) -> bool:
        """Whether the program is to end and not only the run."""
        return ends_program(self.number)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self.at_once:
            raise SystemExit(128 + self.number) from None
