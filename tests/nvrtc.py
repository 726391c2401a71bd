"""CUDA's compiler, which needs no GPU: `pip install nvidia-cuda-nvrtc-cu12`."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def _library() -> ctypes.CDLL | None:
    """None where it is not installed."""
    try:
        spec = find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    folders = [] if spec is None else [Path(each) for each in spec.submodule_search_locations or ()]
    found = [path for folder in folders for path in sorted(folder.glob("lib/libnvrtc.so.*")) if "alt" not in path.name]
    return ctypes.CDLL(str(found[0])) if found else None


def is_installed() -> bool:
    return _library() is not None


def machine_code(source: str, architecture: str) -> bytes:
    """Of a module, for "sm_80" and the like. Raises ValueError with what the compiler says."""
    return _compiled(source, architecture)[0]


def registers(source: str, architecture: str) -> list[int]:
    """How many each kernel of a module has for a thread."""
    return [int(number) for number in re.findall(r"Used (\d+) registers", _compiled(source, architecture)[1])]


def _compiled(source: str, architecture: str) -> tuple[bytes, str]:
    """Machine code, and what the compiler says of it."""
    library = _library()
    assert library is not None
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"module.cu", 0, None, None)
    options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17", b"--ptxas-options=-v"]
    status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    if status:
        raise ValueError(log.value.decode())
    library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    library.nvrtcGetCUBIN(program, code)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw, log.value.decode()
