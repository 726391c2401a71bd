"""What everything runs on here: versions, processor, GPU, and what is installed beside."""

from __future__ import annotations

import locale
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from tinygrad_rnn.backend import DeviceUnavailable, cuda_namespace
from tinygrad_rnn.cache import cache_folder
from tinygrad_rnn.engines import engine_in_force
from tinygrad_rnn.ranks.by_mpi import INSTALL_MPI
from tinygrad_rnn.threads import processors

TOLD_VARIABLES = "OPENBLAS_ OMP_ MKL_ XDG_CACHE_HOME PYTHONHASHSEED PYTHONOPTIMIZE CUDA_ CUPY_".split()
"""What the names of variables of the environment begin with that may change what is calculated, or how fast."""
_LOOPS = {"machine": "machine code", "numpy": "NumPy calls", None: "plain"}
_OPTIONAL = "llvmlite cupy-cuda12x cupy-cuda13x mpi4py matplotlib h5py sacrebleu dask".split()


def about_machine(device: str) -> list[tuple[str, str]]:
    """Labels and texts. What cannot be found out is told as such."""
    told: dict[str, Callable[[], str]] = {
        "package": lambda: f"{version('tinygrad-rnn')} in {Path(__file__).resolve().parents[1]}",
        "Python": _python,
        "system": lambda: f"{platform.platform()}, {sys.getfilesystemencoding()}, {locale.getpreferredencoding(False)}",
        "processor": lambda: f"{_processor()}, {processors()} of {os.cpu_count()} to be used",
        "NumPy": _numpy,
        "NLTK": lambda: f"{version('nltk')}, {_punkt()}",
        "beside": _beside,
        "GPU": _gpu if device == "cuda" else lambda: "not asked for (--device cuda)",
        "loops": lambda: _LOOPS[engine_in_force()],
        "cache": _cache,
        "variables": lambda: ", ".join(_variables()) or "none that matter",
    }
    return [(label, _or_why(text)) for label, text in told.items()]


def _or_why(text: Callable[[], str]) -> str:
    try:
        return text()
    except Exception as error:
        return f"could not be found out: {type(error).__name__}: {error}"


def _python() -> str:
    free = getattr(sys, "_is_gil_enabled", lambda: True)()
    kind = "" if free else ", free-threaded"
    return f"{platform.python_version()}, {platform.python_implementation()}{kind}, {platform.machine()}"


def _processor() -> str:
    """Its name, where the system says it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _numpy() -> str:
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    blas = [f"{p['internal_api']} {p['version']} {p.get('architecture') or ''}".strip() for p in pools]
    threads = max((pool["num_threads"] for pool in pools), default=1)
    return f"{np.__version__}, {', '.join(dict.fromkeys(blas)) or 'a BLAS that says nothing'}, threads: {threads}"


def _punkt() -> str:
    import nltk.tokenize  # noqa: PLC0415  (takes half a second)

    try:
        nltk.tokenize.PunktTokenizer("english")
    except LookupError:
        return "without its Punkt model: sentences are found by one that is trained on the text"
    return "with its Punkt model"


def _beside() -> str:
    found = []
    for name in _OPTIONAL:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    missing = "" if any(each.startswith("mpi4py") for each in found) else f" (no mpi4py: {INSTALL_MPI})"
    return (", ".join(found) or "nothing") + missing


def _gpu() -> str:
    try:
        cupy: Any = cuda_namespace()
    except DeviceUnavailable as error:
        return str(error)
    runtime = cupy.cuda.runtime
    found = runtime.getDeviceProperties(0)
    name = found["name"].decode() if isinstance(found["name"], bytes) else found["name"]
    kind = f"{found['major']}.{found['minor']}"
    memory = f"{found['totalGlobalMem'] / 2**30:.0f} GiB"
    versions = f"CUDA {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}, CuPy {cupy.__version__}"
    return f"{name}, compute capability {kind}, {memory}; {versions}; {runtime.getDeviceCount()} to be used"


def _cache() -> str:
    folder = cache_folder()
    if folder is None:
        return "there is no cache folder"
    place = folder if folder.exists() else next((each for each in folder.parents if each.exists()), folder)
    return f"{folder}{'' if os.access(place, os.W_OK) else ', which cannot be written to'}"


def _variables() -> list[str]:
    return [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(tuple(TOLD_VARIABLES))]
