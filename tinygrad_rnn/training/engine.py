"""The engine of a run: which one it has, what is said of it, and putting it in force, with what it leaves to BLAS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.engines import INSTALL, engine_in_force, is_installed, products_choice, switch
from tinygrad_rnn.loops.scanning import compiled
from tinygrad_rnn.training.options import OptionError


def with_engine(options: Any, device: str, note: Note) -> Any:
    """The options of a run, which name the engine that it has: unless told the one in force, and None where loops are
    plain. `note` is told what would make it faster."""
    if device != "cpu":
        if options.engine == "machine":
            note(f"--engine machine is for the CPU: on {device} loops run op by op.")
        return options
    if options.engine is not None:
        return options
    if switch.get() is True and not is_installed("machine"):
        note(f"Loops run as NumPy calls; as machine code they are faster: {INSTALL}")
    return options.changed(engine=engine_in_force())


def with_engine_again(options: Any, asked: bool, device: str, note: Note) -> Any:
    """The options of a run that goes on: where its engine is not installed, and nobody `asked` for that just now, it
    has the other one."""
    if device == "cpu" and not asked and options.engine == "machine" and not is_installed("machine"):
        note(
            "This run was trained with machine code, and llvmlite is not installed here: it goes on with NumPy, to "
            f"other last digits ({INSTALL})."
        )
        return options.changed(engine="numpy")
    return with_engine(options, device, note)


@contextmanager
def engine_put_in_force(options: Any, device: str, products: Mapping[str, bool] | None = None) -> Iterator[None]:
    """Within it scans run by the engine that the options name, and large products are made as `products` says. (On a
    GPU all loops are plain.) Raises OptionError where it is not installed."""
    engine = options.engine
    if engine is None or device != "cpu":
        yield
        return
    if not is_installed(engine):
        raise OptionError(f"--engine {engine} needs llvmlite, which is not installed: {INSTALL}")
    before = products_choice.set(products)
    try:
        with compiled(engine):
            yield
    finally:
        products_choice.reset(before)


def products_of(options: Any, device: str) -> dict[str, bool] | None:
    """By kind whether machine code makes the large products of a run itself; None where it does not run."""
    if options.engine != "machine" or device != "cpu" or not is_installed("machine"):
        return None
    from tinygrad_rnn.machine.choosing import found  # noqa: PLC0415  (LLVM is optional, and large)

    return dict(products_choice.get() or found(np.dtype(options.dtype)))
