"""How many threads there are to calculate with, and sharing work out among them.

There is one number for all: that of NumPy's BLAS (`OPENBLAS_NUM_THREADS`, threadpoolctl). While threads of ours run,
BLAS has one: its own wait for work by turning round and round, on the processors that ours need.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from threadpoolctl import ThreadpoolController

from tinygrad_rnn.forks import in_each_child


@cache
def _all_blas() -> list[Any]:
    """Every BLAS of this process, as threadpoolctl has them."""
    libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries


@cache
def numpys_blas() -> Any:
    """NumPy's OpenBLAS, as threadpoolctl has it; None for another BLAS."""
    for library in _all_blas():
        if library.internal_api == "openblas" and "numpy" in library.filepath:
            return library
    return None


def _set_blas_threads(library: Any, count: int) -> None:
    """For the whole process: since version 3.8 threadpoolctl does nothing where another thread was first to ask."""
    getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


class _Held:
    """BLAS, held at one thread by so many that want it so."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.threads = 1
        """What it had before."""


_held = _Held()


def _begin_anew() -> None:
    global _held, _helpers
    if _held.holders and (library := numpys_blas()):
        _set_blas_threads(library, _held.threads)
    _limits.lock = threading.Lock()
    _held, _helpers = _Held(), _Helpers()  # a fork has none of its parent's threads


in_each_child(_begin_anew)


def threads() -> int:
    """How many threads there are to calculate with."""
    if _held.holders:
        return _held.threads
    library = numpys_blas()
    if library is not None:
        return int(library.num_threads)
    return _limits.counts[-1][0] if _limits.counts else processors()  # of a BLAS that says nothing of its own


class _Limits:
    """What `limited_to` was told and is in force, the latest last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: list[list[int]] = []
        self.before: list[int] = []
        """The threads of each BLAS of this process where nothing is in force."""


_limits = _Limits()


@contextmanager
def limited_to(count: int) -> Iterator[None]:
    """Within it this process has so many threads to calculate with, those of BLAS too. Where several threads say
    different numbers at a time, the latest holds, and when all have ended it is as before."""
    limits, own = _limits, [count]
    with limits.lock:
        if not limits.counts:
            limits.before = [_blas_threads(library) for library in _all_blas()]
        limits.counts.append(own)
        _give(count)
    try:
        yield
    finally:
        with limits.lock:
            limits.counts[:] = [each for each in limits.counts if each is not own]
            _give(limits.counts[-1][0] if limits.counts else None)


def _blas_threads(library: Any) -> int:
    held = _held.holders and library is numpys_blas()
    return _held.threads if held else int(library.num_threads)


def _give(count: int | None) -> None:
    """So many threads to each BLAS, or what it had before; to one that is held at one thread, when it is let go."""
    for library, before in zip(_all_blas(), _limits.before, strict=True):
        wanted = before if count is None else count
        with _held.lock:
            if _held.holders and library is numpys_blas():
                _held.threads = wanted
            else:
                _set_blas_threads(library, wanted)


def processors() -> int:
    """How many this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _quota() or count)


CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux tells a container how much of how long a time it may calculate, in microseconds."""


@cache
def _quota() -> int | None:
    """The processors that a container is given, a part counted as one; None where it may use all."""
    try:
        time, period = CPU_MAX.read_text().split()
        return max(1, -(-int(time) // int(period)))
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return None


WORTH_SHARING, LEAST_SHARE = 1 << 23, 1 << 21
"""Multiplications from which work is worth more than one thread, and how many a thread must have at least: to begin one
takes as long as some 10^5."""


def shares(work: int) -> int:
    """Among how many threads work of so many multiplications is shared out."""
    return min(threads(), work // LEAST_SHARE) if work >= WORTH_SHARING else 1


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it BLAS has one thread, whatever the others of this process do."""
    library, held = numpys_blas(), _held
    if library is None:
        yield
        return
    with held.lock:
        if not held.holders:
            held.threads = library.num_threads
            _set_blas_threads(library, 1)
        held.holders += 1
    try:
        yield
    finally:
        with held.lock:
            held.holders -= 1
            if not held.holders:
                _set_blas_threads(library, held.threads)


class _Parts:
    """Parts of some work: whoever is free takes the next, this thread or one beside it.

    Ctrl-C comes between any two lines of the caller's thread, and may leave a lock held for ever that it has just
    taken. So there is none that others wait for: a thread beside says that it is here before it takes a part, and that
    it goes after the last one, by operations that nothing comes in between."""

    def __init__(self, count: int, function: Callable[[int], Any]) -> None:
        self.function, self.left = function, deque(range(count))
        self.here: deque[None] = deque()
        """An entry for each thread beside."""
        self.gone: SimpleQueue[None] = SimpleQueue()
        self.error: BaseException | None = None

    def take(self) -> None:
        """Takes parts until there are none."""
        while self.left:
            try:
                number = self.left.popleft()
            except IndexError:  # another was quicker
                return
            self.function(number)

    def take_beside(self) -> None:
        """The same, in another thread."""
        self.here.append(None)
        try:
            self.take()
        except BaseException as error:
            self.error = error
            self.left.clear()
        finally:
            self.here.pop()
            self.gone.put(None)

    def ended(self) -> BaseException | None:
        """No more is begun, and what was has ended; returns what came in between, or what a part failed with."""
        found: BaseException | None = None
        while True:
            try:
                self.left.clear()
                while self.here:
                    self.gone.get()
                return found or self.error
            except BaseException as error:  # Ctrl-C, while waiting
                found = error


class _Helpers:
    """Threads of this process that wait for parts to take."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[_Parts] = SimpleQueue()
        self.begun = 0

    def ask(self, parts: _Parts, count: int) -> None:
        """Has so many threads take parts, or as many as there are: at the interpreter's end none can be begun."""
        with suppress(RuntimeError):
            while self.begun < min(count, max(1, processors() - 1)):
                threading.Thread(target=self._help, name="tinygrad_rnn", daemon=True).start()
                self.begun += 1
        for _ in range(min(count, self.begun)):
            self.asked.put(parts)

    def _help(self) -> None:
        while True:
            self.asked.get().take_beside()


_helpers = _Helpers()


def in_threads(parts: int, function: Callable[[int], Any]) -> None:
    """Calls `function(i)` for i = 0 to parts - 1, here and in threads beside this one. It returns when all have ended,
    also where one fails or Ctrl-C comes in between: they may be writing to memory of the caller's."""
    if parts == 1:
        function(0)
        return
    work = _Parts(parts, function)
    with one_blas_thread():
        try:
            _helpers.ask(work, parts - 1)
            work.take()
        finally:
            error = work.ended()
    if error is not None:
        raise error
