"""How the times are taken: a machine at rest, the same threads and allocator for everybody, contestants in turn.

One process times all contestants of a work for one number of threads, bound to as many cores, which is what JAX's pool
goes by; the pools of OpenBLAS (NumPy) and OpenMP (PyTorch) get the number in the environment. A pool's threads go on
spinning for a while after their last work (OpenBLAS 26 ms at 2.6 GHz), and would take the core from the next
contestant: so everybody rests before its turn, and then takes one step that is not timed, which wakes its own threads
and brings its own data into the caches, as the step before does in a training run.

Standard library only: it is imported before the environment is settled.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

BUSY = 0.5  # load average over the last minute above which figures mean little
REST = 0.05  # seconds before a turn
TURN = 0.15  # seconds that a turn's timed steps should come to, if ten of them do
SLOW, EVERY = 8, 4  # who takes so many times as long as the fastest comes only every so many rounds
MIB = 1 << 20

ALLOCATORS: dict[str, dict[str, str]] = {
    "default": {},
    # Freed memory stays with the process, so that the next array of that size costs no page faults. As it is, glibc
    # comes to do so for arrays of up to 32 MiB while less than 64 MiB of them are free.
    "keep": {"MALLOC_MMAP_THRESHOLD_": str(1024 * MIB), "MALLOC_TRIM_THRESHOLD_": str(4096 * MIB)},
}


class Stepping(Protocol):
    """What is timed."""

    def step(self) -> float:
        """Once."""


def environment(threads: int, allocator: str, device: str = "cpu") -> dict[str, str]:
    """The environment of a worker process."""
    count = str(threads)
    own = {name: count for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    rest = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    # The framework that lies beside the benchmarks, whichever is installed.
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    # JAX is not to take all of a GPU's memory.
    jax = {"JAX_PLATFORMS": "cuda,cpu" if device == "cuda" else "cpu", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return rest | own | ALLOCATORS[allocator] | jax | {"PYTHONPATH": path}


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bind(threads: int) -> None:
    """Keeps this process on so many cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def busy() -> str | None:
    """One sentence where the machine is not at rest."""
    load = os.getloadavg()[0]
    if load <= BUSY:
        return None
    return (
        f"the machine is busy (load {load:.2f} over the last minute, {BUSY} is the most at which figures mean "
        "something): wait, or say --anyway"
    )


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    versions: dict[str, str | None] = {}
    for package in ("numpy", "llvmlite", "torch", "jax", "jaxlib", "autograd"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB,
        "system": platform.platform(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def round_robin(contestants: Mapping[str, Stepping], rounds: int) -> dict[str, list[float]]:
    """Seconds per step of each contestant: in every round each has a turn, in a new order."""
    pace = {name: min(_timed(each) for _ in range(2)) for name, each in contestants.items()}
    fastest, order, names = min(pace.values()), random.Random(0), list(contestants)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        order.shuffle(names)
        for name in names:
            if pace[name] > SLOW * fastest and number % EVERY:
                continue
            time.sleep(REST)
            contestants[name].step()
            for _ in range(max(1, min(10, round(TURN / pace[name])))):
                times[name].append(_timed(contestants[name]))
    return times


def _timed(contestant: Stepping) -> float:
    start = time.perf_counter()
    contestant.step()
    return time.perf_counter() - start


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median and quartiles in ms, and of how many steps."""
    ms = sorted(1e3 * s for s in seconds)
    low, _, high = statistics.quantiles(ms, n=4) if len(ms) > 1 else ms * 3
    return {"median_ms": statistics.median(ms), "quartiles_ms": [low, high], "least_ms": ms[0], "steps": len(ms)}


def peak_gflops(dtype: str, device: str = "cpu") -> float:
    """Of NumPy's, or CuPy's, product of matrices at its best: 10^9 additions and multiplications a second."""
    if device == "cuda":
        import cupy as np  # noqa: PLC0415  (where there is a GPU)

        n, done = 8192, np.cuda.Device().synchronize
    else:
        import numpy as np  # noqa: PLC0415  (the environment is settled by now)

        n, done = 1024, lambda: None
    a, out = np.ones((n, n), dtype), np.empty((n, n), dtype)
    seconds = []
    for _ in range(10):
        done()
        start = time.perf_counter()
        np.matmul(a, a, out=out)
        done()
        seconds.append(time.perf_counter() - start)
    return float(2e-9 * n**3 / min(seconds))


def gpu_memory() -> float:
    """What all processes have of the GPU's memory, in MiB: pools keep the most that they had."""
    import cupy  # noqa: PLC0415  (where there is a GPU)

    free, total = cupy.cuda.runtime.memGetInfo()
    return float(total - free) / MIB


def peak_memory(device: str = "cpu") -> float:
    """The most memory that this process had at a time, in MiB (Linux: VmHWM), or its GPU has."""
    if device == "cuda":
        return gpu_memory()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
