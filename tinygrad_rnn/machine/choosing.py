"""Whether large products are made by our own function or by NumPy's BLAS: by trying both, once on a machine.

The answer is kept in the user's cache folder, so that all runs have the same numbers to the last digit, and a run that
goes on has that of its checkpoint. Where it cannot be kept, it is BLAS: a timing may come out otherwise the next time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.cache import keep, kept
from tinygrad_rnn.engines import products_choice
from tinygrad_rnn.machine.multiplying import multiply
from tinygrad_rnn.machine.object_files import private_folder, version
from tinygrad_rnn.machine.target import MadeOnce
from tinygrad_rnn.threads import numpys_blas, one_blas_thread

SHALLOW = 128
"""The largest K of a shallow product: packing is then a larger part of it, and so is what is done to an entry at the
end."""

TRIED = {"shallow": ((512, 64, 512), (128, 128, 1024)), "deep": ((256, 1024, 128), (128, 1024, 256))}
"""M, K and N of products as training has them."""

TURNS = 5

CLEARLY = 0.95
"""Ours must take less than so much of BLAS's time."""


def ours_is_chosen(K: int, dtype: np.dtype[Any]) -> bool:
    """Whether a product of so many columns by as many rows is made by our own function in this thread."""
    choice = products_choice.get() or products_found(dtype)
    return choice["shallow" if K <= SHALLOW else "deep"]


@MadeOnce
def products_found(dtype: np.dtype[Any]) -> dict[str, bool]:
    """For each kind of product whether our own function is faster, as it was found on this machine, now or before."""
    library = numpys_blas()
    known = f"{version()} {np.__version__} {library.architecture if library else ''} {dtype}"
    name, folder = f"products-{dtype.char}.json", private_folder()
    if folder is None:
        return dict.fromkeys(TRIED, False)
    if (content := kept(folder, name)) is not None:
        before = json.loads(content)
        if before["of"] == known:
            return {kind: bool(before[kind]) for kind in TRIED}
    with one_blas_thread():
        answer = {kind: _ours_takes_less(sizes, dtype) for kind, sizes in TRIED.items()}
    try:
        keep(folder, name, json.dumps({"of": known, **answer}).encode())
    except OSError:
        return dict.fromkeys(TRIED, False)
    return answer


def _ours_takes_less(sizes: Iterable[tuple[int, int, int]], dtype: np.dtype[Any]) -> bool:
    ours, theirs = map(sum, zip(*(_seconds(size, dtype) for size in sizes), strict=True))
    return bool(ours < CLEARLY * theirs)


def _seconds(size: tuple[int, int, int], dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least time of our function and of BLAS."""
    M, K, N = size
    a, b, out = np.ones((K, M), dtype).T, np.ones((K, N), dtype), np.empty((M, N), dtype)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for each, function in zip(times, (multiply, by_blas), strict=True):
            start = time.perf_counter()
            function(a, b, out)
            each.append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


def by_blas(a: Array, b: Array, out: Array) -> None:
    """out = a @ b, by NumPy's BLAS."""
    np.matmul(a, b, out=out)
