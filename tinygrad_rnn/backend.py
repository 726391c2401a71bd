"""Which array library an array belongs to, and moving arrays between the host and a device.

An op asks the array itself (`xp(x).tanh(x)`), so nothing here knows what the tape is doing, and nothing is
ever moved unless `to_device` or `to_host` is called by name.
"""

from __future__ import annotations

import ctypes
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy or CuPy array (or any array that answers `__array_namespace__`)."""

HostArray = np.ndarray[Any, Any]
"""A NumPy array."""

DEFAULT_DTYPE = np.dtype(np.float32)
"""What Python numbers and lists become. NumPy arrays keep the dtype that they have."""


REAL = "fiub"
"""The kinds of dtype that there are here: floating-point, signed and unsigned integers, booleans."""


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


_OPERATORS = "__add__ __mul__ __matmul__ __pow__ __array_ufunc__ __array_function__".split()
_computing: dict[type, bool] = {np.ndarray: True}


def computes_as_numpy(kind: type) -> bool:
    """Whether a class of NumPy arrays has NumPy's own operators. `np.memmap` has; `np.matrix`, masked arrays and arrays
    with units have not, and would mean something else in an op than what it differentiates."""
    found = _computing.get(kind)
    if found is None:
        found = all(getattr(kind, name) is getattr(np.ndarray, name) for name in _OPERATORS)
        _computing[kind] = found
    return found


def real_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype. Raises TypeError unless it is one of real numbers or booleans."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found.kind not in REAL:
        raise TypeError(f"a dtype of real numbers or booleans was expected, got {found}")
    return found


def _unfit(array: Array, value: Any) -> TypeError:
    """What to say of an array that is none of real numbers; `value` is what it was made of."""
    if array.dtype.kind not in REAL:
        made = "np.asarray(x).real or .imag, or both apart" if array.dtype.kind == "c" else "np.asarray(x, dtype=float)"
        found = f"dtype {array.dtype} from {type(value).__name__}: pass {made}"
        return TypeError(f"an array of real numbers or booleans was expected, got {found}")
    kind = f"{type(array).__module__.removesuffix('.core')}.{type(array).__qualname__}"
    return TypeError(f"a NumPy array was expected, got {kind}, whose operators mean something else: pass np.asarray(x)")


def as_array(value: Any, dtype: Any = None) -> Array:
    """An array of `value`: arrays are kept (no copy, same dtype), DLPack producers are shared without a copy,
    Python numbers and lists become float32 (booleans stay boolean). `dtype` overrides.

    Raises TypeError for complex numbers, objects, dates and strings, and for arrays whose operators are not NumPy's
    (`np.matrix`, masked arrays); ValueError for ragged lists."""
    if type(value) is np.ndarray and dtype is None and value.dtype.kind in REAL:
        return value  # most often
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
        if array.dtype.kind in "iuf":  # to another dtype at once: by way of the default one they would be rounded
            return array.astype(DEFAULT_DTYPE if dtype is None else real_dtype(dtype))
    kind = type(array)
    if array.dtype.kind not in REAL or (
        kind is not np.ndarray and isinstance(array, np.ndarray) and not computes_as_numpy(kind)
    ):
        raise _unfit(array, value)
    return array if dtype is None else array.astype(real_dtype(dtype), copy=False)


def device_of(x: Array) -> str:
    """`"cpu"` or `"cuda"`."""
    return "cpu" if isinstance(x, np.ndarray | np.generic) or xp(x).__name__ != "cupy" else "cuda"


def to_device(x: Array, device: str) -> Array:
    """The array on `device` ("cpu" or "cuda"); the same object where it is there already.

    Raises DeviceUnavailable where CuPy or a GPU is missing, ValueError for an unknown device name."""
    if device == "cpu":
        return to_host(x)
    return cuda_namespace(device).asarray(x)


def address(x: Array) -> int:
    """Where in memory the first entry of a NumPy array is."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(x))  # a fifth of the time that the other takes
    except (TypeError, ValueError):  # read-only, empty, or not in one piece
        found: int = x.__array_interface__["data"][0]
        return found


def to_host(x: Array) -> np.ndarray[Any, Any]:
    """The array as a NumPy array: the same object on the CPU, a copy from a GPU."""
    if isinstance(x, np.ndarray):
        return x
    return x.get() if hasattr(x, "get") else np.asarray(x)


def use_gpu(number: int) -> None:
    """From now on the arrays of device "cuda" that this thread makes are on the GPU of that number; behind the last
    comes the first again. Raises DeviceUnavailable."""
    cupy: Any = cuda_namespace()
    cupy.cuda.Device(number % cupy.cuda.runtime.getDeviceCount()).use()


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
