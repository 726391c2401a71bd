"""A GPU, by CuPy: kernels are compiled by NVRTC, products are made by cuBLAS, and a loop is captured once as a CUDA
graph and replayed.

What a graph multiplies must lie where it lay when it was captured. So it has arrays of its own for that, into which and
out of which the numbers are copied; kernels read addresses from a table.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from functools import cache
from itertools import accumulate
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from tinygrad_rnn.backend import Array
from tinygrad_rnn.loops.cuda.kernel_source import THREADS
from tinygrad_rnn.loops.cuda.parts import Device, MatrixProduct, Work

GRAPHS = 4
"""How many of a loop are kept, for different numbers of steps."""

BLOCKS = 4096
"""The most that a kernel is started with; threads go round if there are more entries."""

WORKSPACE = 1 << 25
"""Bytes that cuBLAS may use while it is captured (32 MiB)."""

ALIGNED = 256
"""Bytes to which a matrix is aligned."""

TF32 = 3
"""What cuBLAS calls products of float32 that may be multiplied with 10 bits of them."""

ON_DEVICE = 3
"""What CUDA calls a copy from the device to itself."""


def gpu_of(x: Array) -> Device:
    """That on which an array is."""
    return _cupy_device(int(x.device.id))


@cache
def _cupy_device(number: int) -> CupyDevice:
    return CupyDevice()


class CupyDevice:
    """The GPU that is in use."""

    def __init__(self) -> None:
        import cupy  # noqa: PLC0415  (optional)

        self.cupy = cupy
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.blas = Blas(cupy, self.stream)
        self.capturing = Lock()
        """One loop at a time is captured."""

    def compiled(self, source: str, count: int) -> list[Any]:
        module = self.cupy.RawModule(code=source, options=("--std=c++17",))
        return [module.get_function(f"pass{n}") for n in range(count)]

    def address(self, x: Array) -> int:
        return int(x.data.ptr)

    def start(self, kernel: Any, blocks: int, threads: int, table: np.ndarray, number: int) -> None:
        kernel((min(blocks, BLOCKS),), (threads,), (self.cupy.asarray(table), np.int64(number)))

    def run(self, work: Work, before: dict[Hashable, Any]) -> None:
        ranges = _ranges(work, self.address)
        matrices = [_range_of(x, self.address(x)) for x in work.matrices]
        form = work.form, *(tuple(each.size for each in those) for those in (ranges, matrices))
        found = before.pop(form, None)  # which is nobody else's as long as it runs
        if found is None:
            found = _Replayed(self, work, ranges, matrices)
        found.replay(work, ranges, matrices)
        while len(before) >= GRAPHS:
            before.pop(next(iter(before)), None)
        before[form] = found  # the latest last


class _Range(NamedTuple):
    """Memory from an address on, of so many bytes."""

    start: int
    size: int

    def holds(self, address: int) -> bool:
        return self.start <= address < self.start + self.size


def _range_of(x: Array, address: int) -> _Range:
    """That in which the entries of an array lie, of which the first is at an address."""
    ends = [(n - 1) * stride for n, stride in zip(x.shape, x.strides, strict=True)]
    return _Range(address + sum(end for end in ends if end < 0), sum(map(abs, ends)) + x.dtype.itemsize)


def _ranges(work: Work, address: Callable[[Array], int]) -> list[_Range]:
    """The memory of all left operands and products, but for scratch, each once: of an array that is half of another one
    or more, as those of paired states are, all of that one."""
    found: dict[int, _Range] = {}
    for x in (x for each in work.arrays.values() for x in each):
        own, base = _range_of(x, address(x)), x.base
        whole = own if base is None or base.nbytes > 2 * own.size else _range_of(base, address(base))
        if whole.start not in found or found[whole.start].size < whole.size:
            found[whole.start] = whole
    return list(found.values())


class PlacedProduct(NamedTuple):
    """A product of matrices at these addresses."""

    part: MatrixProduct
    left: int
    right: int
    out: int

    def is_like(self, other: PlacedProduct) -> bool:
        """Whether both are of one left operand, their right ones lie alike, and so do the products."""
        same = self.part._replace(right=other.part.right, out=other.part.out, out_offset=other.part.out_offset)
        return same == other.part and self.left == other.left and not self.part.adds


def _alike(products: list[PlacedProduct]) -> Iterator[list[PlacedProduct]]:
    """Neighbours of one left operand whose right ones are as far from each other as the next, and so are the products:
    those of all gates."""
    run: list[PlacedProduct] = []
    for product in products:
        before = run[-2:]
        even = len(before) < 2 or all(
            getattr(before[1], place) - getattr(before[0], place) == getattr(product, place) - getattr(before[1], place)
            for place in ("right", "out")
        )
        if run and not (even and run[-1].is_like(product)):
            yield run
            run = []
        run.append(product)
    if run:
        yield run


class _Replayed:
    """A loop of so many steps as a graph."""

    def __init__(self, device: CupyDevice, work: Work, ranges: list[_Range], matrices: list[_Range]) -> None:
        cupy = device.cupy
        self.cupy, self.address, self.kernels = cupy, device.address, work.kernels
        self.table = cupy.empty(work.table.shape, cupy.int64)
        self.scratch = cupy.empty(max(1, work.scratch_bytes), cupy.uint8)
        self.own = [cupy.empty(each.size, cupy.uint8) for each in ranges]
        places = list(accumulate((-(-each.size // ALIGNED) * ALIGNED for each in matrices), initial=0))
        self.matrices = cupy.empty(max(1, places[-1]), cupy.uint8)
        self.places = [self.address(self.matrices) + place for place in places[:-1]]
        """Where in it each matrix is: if they are alike, as far from each other."""
        self.made = [_in_range(work, work.made, each) for each in ranges]
        self.read = [not self.made[i] or _in_range(work, ~work.made, each) for i, each in enumerate(ranges)]
        table = self._moved(work, ranges)
        offsets = [self.address(x) - each.start for x, each in zip(work.matrices, matrices, strict=True)]
        rights = [place + offset for place, offset in zip(self.places, offsets, strict=True)]
        self.done = cupy.cuda.Event(disable_timing=True)
        cupy.cuda.get_current_stream().synchronize()
        with device.capturing, device.stream:
            device.stream.begin_capture()
            try:
                for t in range(work.steps):
                    self._start_step(device.blas, work, table, rights, t)
            except BaseException:
                with suppress(Exception):  # for what was captured would not work either
                    device.stream.end_capture()
                raise
            self.graph = device.stream.end_capture()

    def _start_step(self, blas: Blas, work: Work, table: np.ndarray, rights: list[int], t: int) -> None:
        """Starts all that a step consists of."""
        waiting: list[PlacedProduct] = []
        for part in work.parts:
            if isinstance(part, MatrixProduct):
                if any(part.left == other.part.out for other in waiting):
                    blas.multiply_all(waiting)
                waiting.append(_placed(part, work, table, rights, t))
                continue
            blas.multiply_all(waiting)
            blocks = part.entries if part.adds_up else -(-part.entries // THREADS)
            work.kernels[part.kernel]((min(blocks, BLOCKS),), (THREADS,), (self.table, np.int64(t)))
        blas.multiply_all(waiting)

    def _moved(self, work: Work, ranges: list[_Range]) -> np.ndarray:
        """The table with addresses of our own for those in the ranges."""
        pairs = [(each, self.address(own)) for each, own in zip(ranges, self.own, strict=True)]

        def moved(at: int) -> int:
            return next((at - each.start + own for each, own in pairs if each.holds(at)), at)

        table = work.table.copy()
        for n, (at, step) in enumerate(work.table.tolist()):
            if work.scratch[n]:
                table[n, 0] = at + self.address(self.scratch)
            elif work.ringed[n]:
                table[n] = moved(at), moved(at + step) - moved(at)
            else:
                table[n, 0] = moved(at)
        return table

    def replay(self, work: Work, ranges: list[_Range], matrices: list[_Range]) -> None:
        """Runs it on the arrays of this work."""
        copy, stream = self.cupy.cuda.runtime.memcpyAsync, self.cupy.cuda.get_current_stream()
        stream.wait_event(self.done)  # of what was asked of another stream
        for (start, size), own, is_read in zip(ranges, self.own, self.read, strict=True):
            if is_read:
                copy(self.address(own), start, size, ON_DEVICE, stream.ptr)
        for (start, size), place in zip(matrices, self.places, strict=True):
            copy(place, start, size, ON_DEVICE, stream.ptr)
        self.table.set(self._moved(work, ranges))
        self.graph.launch(stream)
        for (start, size), own, is_made in zip(ranges, self.own, self.made, strict=True):
            if is_made:
                copy(start, self.address(own), size, ON_DEVICE, stream.ptr)
        self.done.record(stream)


def _placed(part: MatrixProduct, work: Work, table: np.ndarray, rights: list[int], t: int) -> PlacedProduct:
    """A product with the addresses that it has at a step."""
    left, out = (
        int(table[n, 0] + (t % 2 if work.ringed[n] else t) * table[n, 1]) + offset
        for n, offset in ((part.left, part.left_offset), (part.out, part.out_offset))
    )
    return PlacedProduct(part, left, rights[part.right], out)


def _in_range(work: Work, which: np.ndarray, one: _Range) -> bool:
    """Whether some of these pieces lie in a range."""
    firsts = work.table[which & ~work.scratch, 0].tolist()
    seconds = work.table[which & work.ringed].sum(axis=1).tolist()
    return any(map(one.holds, [*firsts, *seconds]))


class Blas:
    """cuBLAS, which CuPy does not call while a stream is captured."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        cupy.cuda.device.get_cublas_handle()  # which loads the library
        self.library = ctypes.CDLL(_path_of("libcublas.so"))
        self.handle = ctypes.c_void_p()
        _check(self.library.cublasCreate_v2(ctypes.byref(self.handle)))
        self.workspace = cupy.empty(WORKSPACE, cupy.uint8)
        _check(self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream.ptr)))
        workspace = ctypes.c_void_p(self.workspace.data.ptr)
        _check(self.library.cublasSetWorkspace_v2(self.handle, workspace, ctypes.c_size_t(WORKSPACE)))
        if os.environ.get("CUPY_TF32") == "1":  # by which CuPy's own products are allowed the same
            _check(self.library.cublasSetMathMode(self.handle, ctypes.c_int(TF32)))

    def multiply_all(self, products: list[PlacedProduct]) -> None:
        """Those that wait, none of which reads what another one makes; then none waits any more."""
        first = sorted((each for each in products if not each.part.adds), key=lambda each: (each.left, each.right))
        for alike in _alike([*first, *(each for each in products if each.part.adds)]):
            self.multiply(alike)
        products.clear()

    def multiply(self, products: list[PlacedProduct]) -> None:
        """Some that are alike. cuBLAS has columns in one piece: to it matrices are turned, and so is the product."""
        part, left, right, out = products[0]
        number, size = (ctypes.c_float, 4) if part.type_code == "f" else (ctypes.c_double, 8)
        function = getattr(self.library, f"cublas{'S' if size == 4 else 'D'}gemmStridedBatched")
        M, K, N = part.sizes
        apart = [(b - a) // size for a, b in zip(products[0][2:], products[-1][2:], strict=True)]
        rights, outs = (ctypes.c_longlong(each // max(1, len(products) - 1)) for each in apart)
        status = function(
            self.handle,
            ctypes.c_int(int(part.right_lies.turned)),
            ctypes.c_int(int(part.left_lies.turned)),
            *map(ctypes.c_int, (N, M, K)),
            ctypes.byref(number(1)),
            *(ctypes.c_void_p(right), ctypes.c_int(part.right_lies.leading), rights),
            *(ctypes.c_void_p(left), ctypes.c_int(part.left_lies.leading), ctypes.c_longlong(0)),
            ctypes.byref(number(1 if part.adds else 0)),
            *(ctypes.c_void_p(out), ctypes.c_int(part.out_lies.leading), outs),
            ctypes.c_int(len(products)),
        )
        _check(status)


def _path_of(name: str) -> str:
    """Of a library that this process has loaded already."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            path = line.rpartition(" ")[2].strip()
            if path.rpartition("/")[2].startswith(name):
                return path
    raise OSError(f"{name} is not loaded")


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"cuBLAS failed with status {status}")
