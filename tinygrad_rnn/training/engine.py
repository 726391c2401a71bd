"""What a run calculates with: its engine and its threads, what is said of them, and putting them in force, with what is
left to BLAS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_rnn.backend import use_gpu
from tinygrad_rnn.blas import machine_code
from tinygrad_rnn.data.messages import Note, unheard
from tinygrad_rnn.engines import INSTALL, Engine, engine_in_force, is_installed, products_choice, switch
from tinygrad_rnn.loops.scanning import compiled
from tinygrad_rnn.ranks.by_mpi import everyone
from tinygrad_rnn.threads import limited_to, processors
from tinygrad_rnn.training.options import OptionError

MOST_THREADS = 4
"""Of a run that is not told how many. Few models of this size have work for more."""


def with_engine(options: Any, device: str, note: Note = unheard) -> Any:
    """The options of a run, which name the engine and the threads that it has. The engine: unless told, the one in
    force, and None where loops are plain. `note` is told what would make it faster."""
    if device != "cpu":
        if options.engine == "machine":
            note(f"--engine machine is for the CPU: on {device} loops run op by op.")
        return _with_threads(options, 1)
    if options.engine is None:
        if switch.get() is True and not is_installed("machine"):
            note(f"Loops run as NumPy calls; as machine code they are faster: {INSTALL}")
        options = options.changed(engine=engine_in_force())
    return _with_threads(options, _threads_of_a_rank() if options.engine == "machine" else 1)


def _with_threads(options: Any, unless_told: int) -> Any:
    return options if options.threads is not None else options.changed(threads=unless_told)


def _threads_of_a_rank() -> int:
    """How many a run has unless told: ranks on one machine share its processors."""
    return max(1, min(processors() // everyone().beside, MOST_THREADS))


def with_engine_again(before: Any, changes: Mapping[str, Any], device: str, note: Note) -> Any:
    """The options of a run that goes on with some of them changed. Where its engine is not installed, and nobody asks
    for it just now, it has the other one. With another engine it has the threads that suit that, unless told."""
    options = before.changed(**changes)
    if options.engine != before.engine and "threads" not in changes:
        options = options.changed(threads=None)
    if device == "cpu" and "engine" not in changes and options.engine == "machine" and not is_installed("machine"):
        note(
            "This run was trained with machine code, and llvmlite is not installed here: it goes on with NumPy, to "
            f"other last digits ({INSTALL})."
        )
        options = options.changed(engine="numpy", threads=changes.get("threads"))
    if everyone().size > 1 and "threads" not in changes and (options.threads or 0) > _threads_of_a_rank():
        options = options.changed(threads=_threads_of_a_rank())  # it had the processors for itself
    return with_engine(options, device, note)


def loops_by(engine: Engine) -> compiled:
    """Within it loops run by an engine. Raises OptionError where it is not installed."""
    if not is_installed(engine):
        raise OptionError(f"--engine {engine} needs llvmlite, which is not installed: {INSTALL}")
    return compiled(engine)


def take_gpu(device: str) -> None:
    """Where several ranks of a machine calculate on "cuda", each takes a GPU of its own, as long as there are some.
    Raises DeviceUnavailable."""
    if device == "cuda" and (ranks := everyone()).size > 1:
        use_gpu(ranks.place)


@contextmanager
def calculating_as(options: Any, device: str, products: Mapping[str, bool] | None = None) -> Iterator[None]:
    """Within it the threads and the engine of a run, which its options name, are in force, and large products are made
    as `products` says. Raises OptionError where its engine is not installed."""
    with limited_to(options.threads):
        if options.engine is None or device != "cpu":
            yield
            return
        before = products_choice.set(products)
        try:
            with loops_by(options.engine):
                yield
        finally:
            products_choice.reset(before)


def products_of(options: Any, device: str, before: Mapping[str, bool] | None) -> Mapping[str, bool] | None:
    """By kind whether machine code makes the large products of a run itself: as it did `before`, or as is found on this
    machine; None where it does not run."""
    if device != "cpu" or options.engine != "machine":
        return None
    code = machine_code(dtype := np.dtype(options.dtype))
    return before or (code and code.products_found(dtype))
