"""A device that is none: kernels in CUDA C are compiled by this machine's compiler of C++, with a header that stands
for CUDA's words, and run on NumPy arrays. A block has several threads, which wait for each other as on a GPU."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import engines
from tinygrad_rnn.backend import address
from tinygrad_rnn.loops.cuda import cuda_loop, one_kernel
from tinygrad_rnn.loops.cuda.parts import Device, Lying, MatrixProduct, PassStart, Work

COMPILER = which("g++")
THREADS = 4

HEADER = """
#include <cmath>
using namespace std;
#define __global__
#define __device__
#define __launch_bounds__(threads)
#define __shared__ static
struct Dim { unsigned x; };
static thread_local Dim threadIdx, blockIdx;
static Dim blockDim, gridDim;
static void (*wait_for_all)();
#define __syncthreads() wait_for_all()
extern "C" void place(unsigned thread, unsigned block) { threadIdx = {thread}, blockIdx = {block}; }
extern "C" void prepare(unsigned threads, unsigned blocks, void (*wait)()) {
  blockDim = {threads}, gridDim = {blocks}, wait_for_all = wait;
}
"""
"""What a kernel is told of where it runs."""

BLOCKS = """
#include <barrier>
#include <thread>
#include <vector>
static std::barrier<> *together;
static void wait_for_all() { together->arrive_and_wait(); }
extern "C" void start(void (*prepare)(unsigned, unsigned, void (*)()), void (*place)(unsigned, unsigned),
                      void (*kernel)(const long long *, long long), unsigned blocks, unsigned threads,
                      const long long *table, long long t) {
  std::barrier<> all(threads);
  together = &all;
  prepare(threads, blocks, wait_for_all);
  std::vector<std::thread> running;
  for (unsigned n = 0; n < threads; n++)
    running.emplace_back([=] {
      for (unsigned block = 0; block < blocks; block++) {
        place(n, block);
        kernel(table, t);
        wait_for_all();  // what is shared is that of one block
      }
    });
  for (auto &each : running) each.join();
}
"""
"""One block after the other, each with its threads."""


_one_at_a_time = Lock()


@cache
def library(source: str) -> ctypes.CDLL:
    """A module, compiled."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "module.so"
        command = [COMPILER or "g++", "-x", "c++", "-std=c++20", "-O0", "-w", "-shared", "-fPIC", "-pthread"]
        subprocess.run([*command, "-o", str(path), "-"], input=source.encode(), check=True)
        return ctypes.CDLL(str(path))


class HostDevice:
    """It offers what `parts.Device` asks for."""

    def compiled(self, source: str, count: int) -> list[Any]:
        module = library(HEADER + source)
        return [(module.prepare, module.place, getattr(module, f"pass{n}")) for n in range(count)]

    def address(self, x: Any) -> int:
        return address(getattr(x, "inside", x))

    def start(self, kernel: Any, blocks: int, threads: int, table: np.ndarray, number: int) -> None:
        parts = int(table[-1, 0])  # as many of the threads have an entry: any number of others does
        start_kernel(kernel, min(3, blocks), table, number, parts * min(threads // parts, THREADS // 2))

    def run(self, work: Work, before: dict[Hashable, Any]) -> None:
        scratch = np.full(max(1, work.scratch_bytes), 0xFF, np.uint8)  # as floats it is NaN
        table = work.table.copy()
        table[work.scratch, 0] += address(scratch)
        for t in range(work.steps):
            for part in work.parts:
                if isinstance(part, PassStart):
                    start_kernel(work.kernels[part.kernel], min(3, part.entries), table, t)
                else:
                    left, out = (
                        int(table[n, 0] + (t % 2 if work.ringed[n] else t) * table[n, 1]) + offset
                        for n, offset in ((part.left, part.left_offset), (part.out, part.out_offset))
                    )
                    multiply(part, left, self.address(work.matrices[part.right]), out)


def start_kernel(kernel: Any, blocks: int, table: np.ndarray, t: int, threads: int = THREADS) -> None:
    """Of so many blocks and threads."""
    at = ctypes.c_void_p(table.ctypes.data)
    with _one_at_a_time:
        library(BLOCKS).start(*kernel, blocks, threads, at, ctypes.c_longlong(t))


def multiply(part: MatrixProduct, left: int, right: int, out: int) -> None:
    (M, K, N), dtype = part.sizes, np.dtype(part.type_code)
    a, b = seen(left, (M, K), part.left_lies, dtype), seen(right, (K, N), part.right_lies, dtype)
    result = seen(out, (M, N), part.out_lies, dtype)
    result[...] = a @ b + (result if part.adds else 0)


def seen(at: int, shape: tuple[int, int], lies: Lying, dtype: np.dtype[Any]) -> Any:
    """The matrix at an address."""
    rows, columns = shape[::-1] if lies.turned else shape
    count = (rows - 1) * lies.leading + columns
    size = dtype.itemsize
    flat = np.ctypeslib.as_array((ctypes.c_ubyte * (count * size)).from_address(at)).view(dtype)
    found = np.lib.stride_tricks.as_strided(flat, (rows, columns), (lies.leading * size, size))
    return found.T if lies.turned else found


def put_in_place(patch: pytest.MonkeyPatch, gpu_of: Callable[[Any], Device]) -> None:
    """Loops of arrays run on the device that is told."""
    for module in (cuda_loop, one_kernel):
        patch.setattr(module, "gpu_of", gpu_of)


@contextmanager
def switched() -> Iterator[None]:
    """Scans of NumPy arrays, in this thread, are those of a GPU."""
    token = engines.switch.set("cuda")
    try:
        yield
    finally:
        engines.switch.reset(token)


@contextmanager
def on_host(device: Device | None = None) -> Iterator[None]:
    """Scans of NumPy arrays run as those on a GPU would, on a device of the host's or on this one."""
    device = device or HostDevice()
    with pytest.MonkeyPatch.context() as patch, switched():
        put_in_place(patch, lambda x: device)
        patch.setattr(one_kernel, "STEPS_EACH", 2)  # so that threads share the steps of short sequences too
        yield
