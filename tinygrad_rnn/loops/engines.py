"""Which emitter writes the loops: machine code by way of LLVM (`machine/`), or NumPy calls (`emitting.py`)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

from tinygrad_rnn.loops.emitting import Emitted
from tinygrad_rnn.loops.layout import Layout
from tinygrad_rnn.loops.machine.lowering import NotInMachineCode

Engine = Literal["machine", "numpy"]
ENGINES: tuple[Engine, ...] = ("machine", "numpy")

INSTALL = "pip install 'tinygrad-rnn[fast]'"
"""What brings LLVM."""


@cache
def _is_there(module: str) -> bool:
    return find_spec(module) is not None


def is_installed(engine: Engine) -> bool:
    """Whether what an engine needs is there."""
    return engine == "numpy" or _is_there("llvmlite")


def best_engine() -> Engine:
    """The fastest that is installed."""
    return next(engine for engine in ENGINES if is_installed(engine))


def chosen_engine(on: bool | str) -> Engine | None:
    """What `compiled(on)` asks for; None: the plain loop. Raises ValueError for anything else, and ImportError where
    what it needs is not there."""
    if on is True or on is False:
        return best_engine() if on else None
    for engine in ENGINES:
        if on == engine:
            if not is_installed(engine):
                raise ImportError(f"compiled({on!r}) needs llvmlite, which is not installed: {INSTALL}")
            return engine
    raise ValueError(f'compiled: True, False, "machine" or "numpy" was expected, got {on!r}')


def emitted(layout: Layout, engine: Engine) -> tuple[Any, str]:
    """A loop that can be run, and why it is not what was asked for, where it is not."""
    if engine == "numpy":
        return Emitted(layout), ""
    from tinygrad_rnn.loops.machine.running import MachineLoop  # noqa: PLC0415  (LLVM is optional, and large)

    try:
        return MachineLoop(layout), ""
    except NotInMachineCode as error:
        return Emitted(layout), str(error)
