"""Where a step of training does not fit into memory: which batch size does."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tinygrad_rnn.backend import cuda_namespace


@contextmanager
def telling_what_fits(batch_size: int, device: str, step: Callable[[int], object]) -> Iterator[None]:
    """Within it a MemoryError is raised with the largest batch size, of halves of `batch_size`, of which a step fits.

    Args:
        batch_size: rows of a batch.
        device: "cpu" or "cuda".
        step: makes a forward and a backward pass over the longest batch of so many rows, and changes nothing.

    Raises:
        MemoryError: it names both sizes.
    """
    try:
        yield
    except MemoryError as error:
        what = str(error)
        traceback.clear_frames(error.__traceback__)  # which hold what was made so far
    else:
        return
    size = batch_size // 2
    while size and not _fits(step, size, device):
        size //= 2
    place = "the GPU's memory" if device == "cuda" else "memory"
    end = f"one of {size} does: --batch-size {size}" if size else "a single row does not either"
    raise MemoryError(f"a step with a batch of {batch_size} rows does not fit into {place}; {end} ({what})")


def _fits(step: Callable[[int], object], size: int, device: str) -> bool:
    gc.collect()
    if device == "cuda":
        cuda_namespace().get_default_memory_pool().free_all_blocks()
    try:
        step(size)
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)
        return False
    return True
