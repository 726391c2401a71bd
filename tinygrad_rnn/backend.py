"""Which array library an array belongs to, and moving arrays between the host and a device.

An op asks the array itself (`xp(x).tanh(x)`), so nothing here knows what the tape is doing, and nothing is
ever moved unless `to_device` or `to_host` is called by name.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy or CuPy array (or any array that answers `__array_namespace__`)."""

HostArray = np.ndarray[Any, Any]
"""A NumPy array."""

DEFAULT_DTYPE = np.dtype(np.float32)
"""What Python numbers and lists become. NumPy arrays keep the dtype that they have."""


class DeviceUnavailable(RuntimeError):
    """The device that was asked for is not there; the message says what is missing."""


_namespaces: dict[type, Any] = {np.ndarray: np}


def xp(x: Array) -> Any:
    """The namespace of an array: `numpy` for arrays, scalars and lists, otherwise what the array's type names."""
    kind = type(x)
    found = _namespaces.get(kind)
    if found is None:
        found = _namespaces[kind] = _namespace_of(kind, x)
    return found


def _namespace_of(kind: type, x: Any) -> Any:
    if kind.__module__.partition(".")[0] == "cupy":
        import cupy  # noqa: PLC0415  (optional, and only where somebody made a CuPy array)

        return cupy
    return x.__array_namespace__() if hasattr(x, "__array_namespace__") else np


def is_array(x: object) -> bool:
    """True for an array of any backend, False for scalars, lists and everything else."""
    return isinstance(x, np.ndarray) or (not isinstance(x, type) and xp(x) is not np and hasattr(x, "shape"))


def as_array(value: Any, dtype: Any = None) -> Array:
    """An array of `value`: arrays are kept (no copy, same dtype), DLPack producers are shared without a copy,
    Python numbers and lists become float32 (booleans stay boolean). `dtype` overrides."""
    if is_array(value):
        array = value
    elif isinstance(value, np.generic):
        array = np.asarray(value)
    elif hasattr(value, "__dlpack__"):
        array = np.from_dlpack(value)
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"an array was expected, got a ragged or mixed list: {error}") from None
        if array.dtype.kind in "iuf":
            array = array.astype(DEFAULT_DTYPE)
    if array.dtype.kind not in "iufb":
        raise TypeError(
            f"an array of real numbers or booleans was expected, got dtype {array.dtype} from {type(value).__name__}"
        )
    return array if dtype is None else array.astype(dtype, copy=False)


def device_of(x: Array) -> str:
    """`"cpu"` or `"cuda"`."""
    return "cpu" if isinstance(x, np.ndarray | np.generic) or xp(x).__name__ != "cupy" else "cuda"


def to_device(x: Array, device: str) -> Array:
    """The array on `device` ("cpu" or "cuda"); the same object where it is there already.

    Raises DeviceUnavailable where CuPy or a GPU is missing, ValueError for an unknown device name."""
    if device == "cpu":
        return to_host(x)
    return cuda_namespace(device).asarray(x)


def to_host(x: Array) -> np.ndarray[Any, Any]:
    """The array as a NumPy array: the same object on the CPU, a copy from a GPU."""
    if isinstance(x, np.ndarray):
        return x
    return x.get() if hasattr(x, "get") else np.asarray(x)


def cuda_namespace(device: str = "cuda") -> ModuleType:
    """CuPy, once it is sure that it can be used for `device`."""
    if device != "cuda":
        raise ValueError(f'device must be "cpu" or "cuda", got {device!r}')
    try:
        import cupy  # noqa: PLC0415  (optional)
    except ImportError:
        raise DeviceUnavailable(
            'device="cuda" needs CuPy, which is not installed: pip install cupy-cuda12x (or cupy-cuda13x)'
        ) from None
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceUnavailable(f'device="cuda" needs an NVIDIA GPU and its driver: {error}') from None
    if not found:
        raise DeviceUnavailable('device="cuda" needs an NVIDIA GPU, and CuPy finds none')
    module: ModuleType = cupy
    return module
