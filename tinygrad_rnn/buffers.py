"""Memory that is used again: fresh pages from the system cost more than the arithmetic that fills them.

A buffer goes back when the last array that lies in it is gone, whoever holds it: an op's node, a gradient, or a user.
So two forward passes before one backward pass keep to themselves, and what a user can see is never written to.
"""

from __future__ import annotations

import math
import threading
import weakref
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, address
from tinygrad_rnn.forks import in_each_child

SMALLEST = 1 << 16
"""Bytes below which an array is made in the ordinary way: malloc uses such memory again by itself."""

LIMIT = 1 << 28
"""Bytes that may lie idle (256 MiB); beyond, all of it is let go."""

LINE = 64
"""Bytes in a cache line, to which buffers are aligned."""

_lock = threading.RLock()  # a buffer may come back (garbage collection) while another is being taken
_idle: dict[int, list[Array]] = {}
_bytes = 0


def empty_buffer(shape: tuple[int, ...], dtype: np.dtype[Any], lib: Any = np) -> Array:
    """An array of unspecified numbers. CuPy (`lib`) uses memory again by itself."""
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST or lib is not np:
        return lib.empty(shape, dtype=dtype)
    global _bytes  # noqa: PLW0603  (what lies idle, shared by all threads)
    quarter = 1 << (size.bit_length() - 3)
    capacity = -(-size // quarter) * quarter
    with _lock:
        waiting = _idle.get(capacity)
        memory = waiting.pop() if waiting else None
        _bytes -= 0 if memory is None else capacity
    if memory is None:
        memory = np.empty(capacity + LINE, np.uint8)
    start = -address(memory) % LINE
    # Views of `owner` refer to it and not to `memory`: it lives as long as any of them.
    owner = np.frombuffer(memory.data, np.uint8, size, start)
    weakref.finalize(owner, _give_back, memory, capacity).atexit = False
    return owner.view(dtype).reshape(shape)


def _give_back(memory: Array, capacity: int) -> None:
    global _bytes  # noqa: PLW0603  (as above)
    with _lock:
        if _bytes + capacity > LIMIT:
            _idle.clear()
            _bytes = 0
        _idle.setdefault(capacity, []).append(memory)
        _bytes += capacity


def _begin_anew() -> None:
    global _lock, _bytes  # noqa: PLW0603  (as above)
    _lock = threading.RLock()
    _idle.clear()
    _bytes = 0


in_each_child(_begin_anew)
