"""An array library that stands in for CuPy where there is no GPU: NumPy's numbers behind a wall. It refuses what CuPy
refuses, and does what CuPy does otherwise than NumPy, so that what would fail on a GPU fails everywhere. It is stricter
in two things: an index may be no NumPy array, which CuPy moves to the GPU in silence, and it takes no more than older
versions do (no `ravel("K")`, no int64 in `add.at`, no array in `repeat`)."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from op_table import erf

from tinygrad_rnn.tape import Box

waits: list[str] = []
"""What the host has waited for so far: numbers that it read, and results whose size depends on numbers."""


class DeviceArray:
    """An array "on a device". Other arrays cannot be mixed in, and nothing comes out but by `get()` and as a number."""

    def __init__(self, inside: Any) -> None:
        self.inside = np.asarray(inside)
        if self.inside.dtype.itemsize > 8:
            raise ValueError(f"Unsupported dtype {self.inside.dtype}")

    def __array_namespace__(self, **_: Any) -> Any:
        return device

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion of a device array to a NumPy array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(hasattr(x, "__array_ufunc__") and not isinstance(x, _KNOWN) for x in inputs):
            return NotImplemented
        called = getattr(ufunc, method)
        return placed(called(*(host(x) for x in inputs), **{k: host(v) for k, v in options.items()}))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return getattr(device, function.__name__)(*args, **options)

    shape = property(lambda self: self.inside.shape)
    strides = property(lambda self: self.inside.strides)
    dtype = property(lambda self: self.inside.dtype)
    ndim = property(lambda self: self.inside.ndim)
    size = property(lambda self: self.inside.size)
    nbytes = property(lambda self: self.inside.nbytes)
    T = property(lambda self: DeviceArray(self.inside.T))

    @property
    def flags(self) -> Any:
        """Without `writeable`: all arrays are."""
        own = self.inside.flags
        return SimpleNamespace(c_contiguous=own.c_contiguous, f_contiguous=own.f_contiguous)

    def transpose(self, *axes: Any) -> Any:
        return DeviceArray(self.inside.transpose(*axes))

    def get(self) -> Any:
        waits.append("get")
        return self.inside.copy()

    def item(self) -> Any:
        waits.append("item")
        return self.inside.item()

    def ravel(self, order: Any = "C") -> Any:
        if order == "K":
            raise NotImplementedError("ravel with order='K' not yet implemented.")
        return DeviceArray(self.inside.ravel(order))

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, DeviceArray) and part.dtype == bool for part in parts):
            waits.append("a mask")
        return DeviceArray(self.inside[host(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.inside[host(index)] = host(value)

    def __len__(self) -> int:
        return len(self.inside)

    def __iter__(self) -> Any:
        return (DeviceArray(x) for x in self.inside)

    def __bool__(self) -> bool:
        waits.append("bool")
        return bool(self.inside)

    def __int__(self) -> int:
        waits.append("int")
        return int(self.inside)

    def __float__(self) -> float:
        waits.append("float")
        return float(self.inside)


_KNOWN = (DeviceArray, np.ndarray, np.generic)


def host(value: Any) -> Any:
    """What is inside: arrays of the host are refused, unless they are scalars."""
    if isinstance(value, DeviceArray):
        return value.inside
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, Box):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(host(part) for part in value)
    return value


def placed(value: Any) -> Any:
    """Arrays and NumPy's scalars (CuPy has none) on the device; dtypes and the rest as they are."""
    if isinstance(value, tuple | list):
        return type(value)(placed(part) for part in value)
    return DeviceArray(value) if isinstance(value, np.ndarray | np.generic) else value


def _rounded_quotient(x: Any, y: Any) -> Any:
    """As CuPy has it, which rounds twice."""
    return np.floor(x / y) if np.result_type(x, y).kind == "f" else np.floor_divide(x, y)


_OTHERWISE: dict[str, Callable[..., Any]] = {
    "floordiv": _rounded_quotient,
    "rfloordiv": lambda x, y: _rounded_quotient(y, x),
    "mod": lambda x, y: x - y * _rounded_quotient(x, y),
    "rmod": lambda x, y: y - x * _rounded_quotient(y, x),
}
"""Operators that CuPy has in another way than NumPy."""


def _operator(name: str) -> Any:
    def method(self: DeviceArray, *others: Any) -> Any:
        if any(hasattr(other, "__array_ufunc__") and not isinstance(other, _KNOWN) for other in others):
            return NotImplemented  # as CuPy leaves it to NumPy's function, and that to the other
        args = [host(other) for other in others]
        if name in _OTHERWISE:
            return placed(_OTHERWISE[name](self.inside, *args))
        return placed(getattr(self.inside, f"__{name}__")(*args))

    return method


def _in_place(name: str) -> Any:
    def method(self: DeviceArray, other: Any) -> Any:
        getattr(self.inside, name)(host(other))
        return self

    return method


def _method(name: str) -> Any:
    def method(self: DeviceArray, *args: Any, **options: Any) -> Any:
        return DeviceFunction(getattr(self.inside, name))(*args, **options)

    return method


for _name in "add sub mul truediv floordiv mod pow matmul and or".split():
    setattr(DeviceArray, f"__{_name}__", _operator(_name))
    setattr(DeviceArray, f"__r{_name}__", _operator(f"r{_name}"))
for _name in "add sub mul truediv and or".split():
    setattr(DeviceArray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in "neg abs eq ne lt le gt ge invert".split():
    setattr(DeviceArray, f"__{_name}__", _operator(_name))
for _name in "reshape swapaxes astype sum min max any all copy view argmax nonzero dot".split():
    setattr(DeviceArray, _name, _method(_name))


class DeviceFunction:
    """A function of the library: device arrays in, device arrays out, without the options that CuPy has not."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any, **options: Any) -> Any:
        if getattr(self.function, "__name__", "") in ("nonzero", "flatnonzero", "argwhere", "unique"):
            waits.append(self.function.__name__)
        if unknown := {"where", "initial"} & options.keys():
            raise TypeError(f"got an unexpected keyword argument {min(unknown)!r}")
        return placed(self.function(*host(args), **{k: host(v) for k, v in options.items()}))

    def at(self, out: DeviceArray, index: Any, updates: DeviceArray) -> None:
        if out.dtype not in (np.int32, np.uint32, np.uint64, np.float16, np.float32, np.float64):  # int64: since 14
            raise TypeError("cupy.add.at only supports int32, float16, float32, float64, uint32, uint64 as data type")
        self.function.at(out.inside, host(index), host(updates))

    def reduceat(self, values: DeviceArray, starts: DeviceArray, axis: int = 0) -> DeviceArray:
        """Differences of running sums."""
        running = np.cumsum(np.moveaxis(values.inside, axis, 0), axis=0)
        running = np.concatenate([np.zeros_like(running[:1]), running])
        ends = np.append(starts.inside[1:], len(running) - 1)
        return DeviceArray(np.moveaxis(running[ends] - running[starts.inside], 0, axis))


class Device(ModuleType):
    """The library: NumPy's functions on device arrays. Only `asarray` and `array` take arrays of the host."""

    @staticmethod
    def asarray(value: Any, dtype: Any = None) -> DeviceArray:
        inside = np.asarray(value.inside if isinstance(value, DeviceArray) else value, dtype=dtype)
        return value if isinstance(value, DeviceArray) and inside is value.inside else DeviceArray(inside.copy())

    @staticmethod
    def array(value: Any, dtype: Any = None, copy: bool = True) -> DeviceArray:
        return DeviceArray(np.array(value.inside if isinstance(value, DeviceArray) else value, dtype=dtype))

    @staticmethod
    def where(condition: Any, x: Any, y: Any) -> DeviceArray:
        return DeviceArray(np.where(host(condition.astype(bool)), host(x), host(y)))

    @staticmethod
    def split(x: DeviceArray, cuts: Any, axis: int = 0) -> list[DeviceArray]:
        if not isinstance(cuts, int) and any(cut < -x.shape[axis] for cut in cuts):
            raise MemoryError("CuPy would read what lies before the array")
        return [DeviceArray(part) for part in np.split(x.inside, cuts, axis)]

    @staticmethod
    def repeat(x: DeviceArray, repeats: Any, axis: int | None = None) -> DeviceArray:
        if isinstance(repeats, DeviceArray):
            raise ValueError("cupy.ndarray cannot be specified as `repeats` argument.")
        return DeviceArray(np.repeat(x.inside, repeats, axis))

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        return DeviceFunction(found) if callable(found) and not isinstance(found, type) else found


device = Device("cupy")  # the name by which ops know that there is a device


def special_functions() -> dict[str, Any]:
    """CuPy keeps `erf` and `ndtr`, the normal distribution, in a module of their own: the modules by name."""
    names = ("cupyx", "cupyx.scipy", "cupyx.scipy.special")
    modules: list[Any] = [ModuleType(name) for name in names]
    modules[0].scipy, modules[1].special = modules[1], modules[2]
    modules[2].erf = DeviceFunction(lambda x: erf(x).astype(np.float32 if x.dtype == np.float32 else np.float64))
    modules[2].ndtr = DeviceFunction(lambda x: (0.5 * (1 + erf(x / np.sqrt(2)))).astype(x.dtype))
    return dict(zip(names, modules, strict=True))
