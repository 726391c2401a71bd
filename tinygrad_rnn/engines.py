"""What calculates: machine code by way of LLVM, or NumPy calls; on a GPU, kernels of CUDA."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Literal

from tinygrad_rnn.surroundings import PerThread

Engine = Literal["machine", "numpy", "cuda"]
ENGINES: tuple[Engine, ...] = ("machine", "numpy")
"""Those that can be chosen: of arrays on a GPU there is one alone."""

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
    return "machine" if _is_there("llvmlite") else "numpy"


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


switch: PerThread[Engine | Literal[True] | None] = PerThread("tinygrad_rnn.compiled", True)
"""What `compiled` was told; True: the best engine that there is; None: the plain loop."""


def engine_in_force() -> Engine | None:
    """Which emitter writes the loops of this thread; None where every scan is a plain loop."""
    here = switch.get()
    return best_engine() if here is True else here


def engine_on_gpu() -> Engine | None:
    """The same for arrays on a GPU, of which NumPy calls are a plain loop. So is every scan on another system than
    Linux, where cuBLAS is not found as it is here."""
    return "cuda" if sys.platform == "linux" and switch.get() not in (None, "numpy") else None


products_choice: PerThread[Mapping[str, bool] | None] = PerThread("tinygrad_rnn.products", None)
"""By kind ("shallow", "deep") whether machine code makes large products itself, for which it would otherwise call BLAS,
as a run that goes on had it; None: whichever is faster on this machine (`machine/choosing.py`)."""
