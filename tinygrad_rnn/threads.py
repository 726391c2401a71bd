"""How many threads there are to calculate with, and sharing work out among them.

There is one number for all: that of NumPy's BLAS (`OPENBLAS_NUM_THREADS`, threadpoolctl). While threads of ours run,
BLAS has one: its own wait for work by turning round and round, on the processors that ours need.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from tinygrad_rnn.forks import in_each_child


@cache
def numpys_blas() -> Any:
    """NumPy's OpenBLAS, as threadpoolctl has it; None for another BLAS."""
    for library in ThreadpoolController().lib_controllers:
        if library.internal_api == "openblas" and "numpy" in library.filepath:
            return library
    return None


class _Held:
    """BLAS, held at one thread by so many that want it so."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.threads = 1
        """What it had before."""


_held = _Held()
_pools: list[ThreadPoolExecutor] = []


def _begin_anew() -> None:
    global _held  # noqa: PLW0603  (one for the process)
    if _held.holders and (library := numpys_blas()):
        library.set_num_threads(_held.threads)
    _held = _Held()
    _pools.clear()  # a fork has none of its parent's threads


in_each_child(_begin_anew)


def threads() -> int:
    """How many threads there are to calculate with."""
    if _held.holders:
        return _held.threads
    library = numpys_blas()
    found: int | None = library.num_threads if library else os.cpu_count()
    return found or 1


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
            library.set_num_threads(1)
        held.holders += 1
    try:
        yield
    finally:
        with held.lock:
            held.holders -= 1
            if not held.holders:
                library.set_num_threads(held.threads)


def _submitted(function: Callable[[int], Any], number: int) -> Future[Any] | None:
    """A part of some work, begun in another thread; None where there are none any more, as at the interpreter's end."""
    try:
        if not _pools:
            _pools.append(ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), "tinygrad_rnn"))
        return _pools[0].submit(function, number)
    except RuntimeError:
        return None


def in_threads(parts: int, function: Callable[[int], Any]) -> None:
    """Calls `function(i)` for i = 0 to parts - 1, the first here and the others in threads beside it. It returns when
    all have ended, also where one fails or Ctrl-C comes in between: they may be writing to memory of the caller's."""
    if parts == 1:
        function(0)
        return
    with one_blas_thread():
        begun = [(i, _submitted(function, i)) for i in range(1, parts)]
        try:
            function(0)
            for i, future in begun:
                if future is None:
                    function(i)
        finally:
            interrupted = _all_ended([future for _, future in begun if future is not None])
        if interrupted is not None:
            raise interrupted


def _all_ended(futures: list[Future[Any]]) -> BaseException | None:
    """Waits for all of them; returns what came in between, or what one failed with."""
    found: BaseException | None = None
    for future in futures:
        while not future.done():
            try:
                future.exception()
            except BaseException as error:  # Ctrl-C, while waiting
                found = error
        found = found or future.exception()
    return found
