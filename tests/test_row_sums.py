"""Sums of rows as one kernel: its numbers by this machine's compiler of C++, its machine code for GPUs by CUDA's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import nvrtc
import pytest
from host_cuda import COMPILER, HEADER, library, start_kernel
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import RowSparse
from tinygrad_rnn import row_sums as kernels


class CudaArray(np.ndarray):
    """A NumPy array that says, as CuPy's do, where it lies and of what library it is."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    def __array_namespace__(self, **_: Any) -> Any:
        return Library


class Library:
    """What of CuPy is asked for."""

    RawKernel = object

    @staticmethod
    def asarray(x: Any) -> Any:
        return np.array(x).view(CudaArray)

    @staticmethod
    def ascontiguousarray(x: Any) -> Any:
        return np.ascontiguousarray(x).view(CudaArray)

    @staticmethod
    def empty(shape: Any, dtype: Any) -> Any:
        return np.full(shape, 77, dtype).view(CudaArray)


@pytest.fixture(autouse=True)
def kernels_run_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel_of(char: str) -> Any:
        module = library(HEADER + kernels.source_of(char))
        kernel = module.prepare, module.place, module.row_sums

        def start(blocks: Any, threads: Any, given: Any) -> None:
            start_kernel(kernel, min(3, blocks[0]), np.asarray(given[0]), int(given[1]))

        return start

    monkeypatch.setattr(kernels, "_kernel", kernel_of)


@pytest.mark.skipif(COMPILER is None, reason="there is no g++")
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
    st.sampled_from([(), (1,), (5,), (2, 3)]),
    st.sampled_from([np.float32, np.float64]),
)
def test_the_kernel_gives_the_rows_that_the_host_gives(ids: list[int], shape: Any, dtype: Any) -> None:
    values = np.random.default_rng(len(ids)).standard_normal((len(ids), *shape)).astype(dtype)
    expected = RowSparse.from_indices(np.array(ids), values, (7, *shape))
    found = RowSparse.from_indices(np.array(ids), values.view(CudaArray), (7, *shape))
    assert isinstance(found.values, CudaArray) and found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(found.rows), expected.rows)
    near = 1e-6 if dtype is np.float32 else 1e-14
    np.testing.assert_allclose(np.asarray(found.values), expected.values, rtol=near, atol=near)


@pytest.mark.skipif(COMPILER is None, reason="there is no g++")
def test_a_sum_of_many_float32_is_right_to_the_last_digits() -> None:
    values = np.full((100_000, 2), 0.1, np.float32)
    found = RowSparse.from_indices(np.zeros(100_000, int), values.view(CudaArray), (3, 2))
    np.testing.assert_allclose(np.asarray(found.values), 10_000, rtol=1e-6)


def test_other_arrays_have_no_kernel() -> None:
    assert not kernels.is_had(np.ones(2)) and not kernels.is_had(np.ones(2, np.float16).view(CudaArray))


@pytest.mark.skipif(not nvrtc.is_installed(), reason="nvidia-cuda-nvrtc-cu12 is not installed")
@pytest.mark.parametrize("char", ["f", "d"])
def test_it_is_compiled_for_gpus(char: str) -> None:
    for architecture in ("sm_80", "sm_90"):
        assert nvrtc.machine_code(kernels.source_of(char), architecture)[:4] == b"\x7fELF"
