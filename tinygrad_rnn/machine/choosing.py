"""Whether large products are made by our own function or by NumPy's BLAS: by trying both, once on a machine.

The answer is kept in the user's cache folder, so that all runs have the same numbers to the last digit.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.cache import keep, kept
from tinygrad_rnn.machine.multiplying import multiply
from tinygrad_rnn.machine.object_files import private_folder, version
from tinygrad_rnn.threads import numpys_blas, one_blas_thread

TRIED = ((256, 128, 1024), (128, 512, 1024), (512, 1024, 128))
"""M, K and N of products as training has them: of a gradient, of weights, of an output layer."""

TURNS = 5

CLEARLY = 0.95
"""Ours must take less than so much of BLAS's time."""


@cache
def ours_is_faster(dtype: np.dtype[Any]) -> bool:
    """As it was found on this machine, now or before."""
    library = numpys_blas()
    known = f"{version()} {np.__version__} {library.architecture if library else ''} {dtype}"
    name, folder = f"products-{dtype.char}.json", private_folder()
    content = None if folder is None else kept(folder, name)
    if content is not None:
        with suppress(ValueError):
            found = json.loads(content)
            if found["of"] == known:
                return bool(found["ours"])
    with one_blas_thread():
        ours, theirs = map(sum, zip(*(_seconds(size, dtype) for size in TRIED), strict=True))
    answer = bool(ours < CLEARLY * theirs)
    if folder is not None:
        with suppress(OSError):  # it is tried again
            keep(folder, name, json.dumps({"of": known, "ours": answer}).encode())
    return answer


def _seconds(size: tuple[int, int, int], dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least time of our function and of BLAS."""
    M, K, N = size
    a, b, out = np.ones((K, M), dtype).T, np.ones((K, N), dtype), np.empty((M, N), dtype)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for each, function in zip(times, (multiply, _by_blas), strict=True):
            start = time.perf_counter()
            function(a, b, out)
            each.append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


def _by_blas(a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b, out=out)
