"""Every op on arrays of another library: a stand-in for CuPy that refuses whatever CuPy refuses, so that no op can
move data between host and device without being asked. Where there is a GPU, CuPy itself takes the stand."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_table import DIFFERENTIABLE, TABLE, UNDIFFERENTIABLE, erf

from tinygrad_rnn import backend, ops
from tinygrad_rnn.checks.derivatives import gradcheck
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.tape import Box
from tinygrad_rnn.tensor import Parameter, Tensor
from tinygrad_rnn.transforms import grad, jacobian, vjp

# --- The stand-in ----------------------------------------------------------------------------------------------


class DeviceArray:
    """An array "on a device": NumPy's numbers behind a wall. Other arrays cannot be mixed in, nothing comes out but
    by `get()` and `item()`, and a Tensor on the right of an operator is refused, as CuPy refuses it."""

    def __init__(self, inside: Any) -> None:
        self.inside = np.asarray(inside)

    def __array_namespace__(self, **_: Any) -> Any:
        return device

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion of a device array to a NumPy array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        called = getattr(ufunc, method)
        return placed(called(*(host(x) for x in inputs), **{k: host(v) for k, v in options.items()}))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return getattr(device, function.__name__)(*args, **options)

    shape = property(lambda self: self.inside.shape)
    dtype = property(lambda self: self.inside.dtype)
    ndim = property(lambda self: self.inside.ndim)
    size = property(lambda self: self.inside.size)
    T = property(lambda self: DeviceArray(self.inside.T))

    def get(self) -> Any:
        return self.inside.copy()

    def item(self) -> Any:
        return self.inside.item()

    def __getitem__(self, index: Any) -> Any:
        return DeviceArray(self.inside[host(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.inside[host(index)] = host(value)

    def __len__(self) -> int:
        return len(self.inside)

    def __iter__(self) -> Any:
        return (DeviceArray(x) for x in self.inside)

    def __bool__(self) -> bool:
        return bool(self.inside)

    def __int__(self) -> int:
        return int(self.inside)

    def __float__(self) -> float:
        return float(self.inside)


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


def operator(name: str) -> Any:
    def method(self: DeviceArray, *others: Any) -> Any:
        return placed(getattr(self.inside, name)(*(host(other) for other in others)))

    return method


for _name in "add sub mul truediv floordiv mod pow matmul and or".split():
    setattr(DeviceArray, f"__{_name}__", operator(f"__{_name}__"))
    setattr(DeviceArray, f"__r{_name}__", operator(f"__r{_name}__"))
for _name in "neg eq ne lt le gt ge invert".split():
    setattr(DeviceArray, f"__{_name}__", operator(f"__{_name}__"))
for _name in "reshape swapaxes astype sum min max any all copy argmax".split():
    setattr(
        DeviceArray,
        _name,
        lambda self, *args, _name=_name, **options: placed(getattr(self.inside, _name)(*host(args), **options)),
    )


class DeviceFunction:
    """A function of the device's library: device arrays in, device arrays out."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any, **options: Any) -> Any:
        return placed(self.function(*host(args), **{k: host(v) for k, v in options.items()}))

    def __getattr__(self, name: str) -> Any:
        return DeviceFunction(getattr(self.function, name))


class Device(ModuleType):
    """The library: NumPy's functions on device arrays. Only `asarray` and `array` take arrays of the host."""

    @staticmethod
    def asarray(value: Any, dtype: Any = None) -> DeviceArray:
        return DeviceArray(np.asarray(value.inside if isinstance(value, DeviceArray) else value, dtype=dtype))

    @staticmethod
    def array(value: Any, dtype: Any = None, copy: bool = True) -> DeviceArray:
        return DeviceArray(np.array(value.inside if isinstance(value, DeviceArray) else value, dtype=dtype))

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        return DeviceFunction(found) if callable(found) and not isinstance(found, type) else found


device = Device("cupy")  # the name by which ops know that there is a device


@pytest.fixture
def special_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy keeps `erf` and `ndtr`, the normal distribution, in a module of their own."""
    names = ("cupyx", "cupyx.scipy", "cupyx.scipy.special")
    modules: list[Any] = [ModuleType(name) for name in names]
    modules[0].scipy, modules[1].special, modules[2].erf = modules[1], modules[2], DeviceFunction(erf)
    modules[2].ndtr = DeviceFunction(lambda x: 0.5 * (1 + erf(x / np.sqrt(2))))
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)


def to_stand_in(x: Any) -> Any:
    return DeviceArray(np.array(x))


def numbers(result: Any) -> list[Any]:
    """The results as NumPy arrays, which were on the device."""
    results = result if isinstance(result, tuple | list) else [result]
    assert all(isinstance(r, Tensor) and isinstance(r.data, DeviceArray) for r in results)
    return [r.numpy() for r in results]


# --- Tests -----------------------------------------------------------------------------------------------------


def test_the_stand_in_refuses_what_cupy_refuses() -> None:
    x = to_stand_in([1.0, 2.0])
    for refused in (
        lambda: x * np.ones(2),
        lambda: np.ones(2) * x,
        lambda: np.asarray(x),
        lambda: device.where(np.array([True, False]), x, x),
        lambda: x[np.array([0])],
        lambda: x * Tensor(x),
        lambda: device.add(x, Tensor(x)),
    ):
        with pytest.raises(TypeError, match=r"Unsupported type|implicit conversion"):
            refused()
    factor: Any = np.float64(2.0)
    np.testing.assert_array_equal((factor * (x * factor)).get(), [4.0, 8.0])


@pytest.mark.usefixtures("special_functions")
@pytest.mark.parametrize("name", sorted(TABLE))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_op_moves_data_between_host_and_device_in_any_derivative(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    f, on_device = call.function(), call.function(to_stand_in)
    inputs = [to_stand_in(x) for x in call.inputs]
    expected = f(*map(Tensor, call.inputs))
    expected = list(expected) if isinstance(expected, tuple | list) else [expected]
    for found, reference in zip(numbers(on_device(*map(Tensor, inputs))), expected, strict=True):
        np.testing.assert_allclose(found, reference.numpy(), rtol=1e-13, atol=1e-13)
    if name in UNDIFFERENTIABLE:
        return

    def total(f: Any) -> Any:
        def scalar(*xs: Any) -> Any:
            results = f(*xs)
            parts = [(r * r).sum() for r in (results if isinstance(results, tuple | list) else [results])]
            return sum(parts[1:], parts[0])

        return scalar

    def second(f: Any) -> Any:
        def scalar(*xs: Any) -> Any:
            gradients = grad(total(f), tuple(range(len(xs))))(*xs)
            parts = [(g * g).sum() for g in gradients]
            return sum(parts[1:], parts[0])

        return scalar

    positions = tuple(range(len(inputs)))
    for derivative in (total, second):
        ours = grad(derivative(on_device), positions)(*inputs)
        theirs = grad(derivative(f), positions)(*call.inputs)
        for found, reference in zip(numbers(ours), theirs, strict=True):
            np.testing.assert_allclose(found, reference.numpy(), rtol=1e-12, atol=1e-12)
    leaves = [Tensor(x, requires_grad=True) for x in inputs]
    loss = total(on_device)(*leaves)
    if loss.requires_grad:
        loss.backward()
    for leaf, reference in zip(leaves, grad(total(f), positions)(*call.inputs), strict=True):
        g = leaf.grad.dense() if isinstance(leaf.grad, RowSparse) else leaf.grad
        assert isinstance(g, DeviceArray | None)
        if g is not None:
            np.testing.assert_allclose(g.get(), reference.numpy(), rtol=1e-12, atol=1e-12)


def test_transforms_and_gradcheck_work_on_the_device() -> None:
    x = to_stand_in(np.linspace(0.5, 1.5, 3))
    assert gradcheck(lambda x: ops.tanh(x) * x, x, order=2)
    value, pullback = vjp(ops.exp, x)
    numbers([value, *pullback(to_stand_in(np.ones(3))), jacobian(ops.exp)(x)])


def test_arrays_of_host_and_device_are_not_mixed_in_silence() -> None:
    t = Tensor(to_stand_in([1.0, 2.0]), requires_grad=True)
    for mixed in (lambda: t * np.ones(2), lambda: np.ones(2) * t, lambda: ops.where(np.array([True, False]), t, 0.0)):
        with pytest.raises(TypeError):
            mixed()
    with pytest.raises(TypeError):
        np.asarray(t.detach().data)


def test_a_namespace_is_found_by_the_array_itself() -> None:
    assert backend.xp(to_stand_in([1.0])) is device
    assert all(backend.xp(x) is np for x in (np.ones(2), np.float32(1), 2.0, [1.0]))
    assert backend.device_of(np.ones(2)) == "cpu" and backend.device_of(to_stand_in([1.0])) == "cuda"


def test_to_host_copies_from_a_device_and_shares_on_the_host() -> None:
    x, y = np.ones(2), to_stand_in([1.0, 2.0])
    assert backend.to_host(x) is x and backend.to_device(x, "cpu") is x
    assert isinstance(backend.to_host(y), np.ndarray) and isinstance(backend.to_device(y, "cpu"), np.ndarray)
    assert isinstance(Tensor(y).numpy(), np.ndarray)
    assert repr(Tensor(y)).startswith("Tensor([1., 2.]")


class RuntimeFailure(Exception):
    pass


def fake_cupy(count: Any) -> Any:
    cupy: Any = ModuleType("cupy")
    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.runtime = ModuleType("cupy.cuda.runtime")
    cupy.cuda.runtime.CUDARuntimeError = RuntimeFailure
    cupy.cuda.runtime.getDeviceCount = count
    return cupy


def failing() -> int:
    raise RuntimeFailure("cudaErrorInsufficientDriver")


@pytest.mark.parametrize(
    ("cupy", "message"),
    [
        (None, r"needs CuPy, which is not installed: pip install"),
        (fake_cupy(failing), r"needs an NVIDIA GPU and its driver: cudaErrorInsufficientDriver"),
        (fake_cupy(lambda: 0), r"needs an NVIDIA GPU, and CuPy finds none"),
    ],
    ids=["no CuPy", "no driver", "no GPU"],
)
def test_a_missing_device_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, cupy: Any, message: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(backend.DeviceUnavailable, match=message) as caught:
        backend.to_device(np.ones(2), "cuda")
    assert "\n" not in str(caught.value)


def test_an_unknown_device_is_told() -> None:
    with pytest.raises(ValueError, match='device must be "cpu" or "cuda", got \'tpu\''):
        backend.to_device(np.ones(2), "tpu")


# --- Where there is a GPU --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpu() -> Any:
    cupy = pytest.importorskip("cupy")
    try:
        return backend.cuda_namespace()
    except backend.DeviceUnavailable as error:
        pytest.skip(f"{cupy.__name__}: {error}")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=5)
@given(data=st.data())
def test_cupy_gives_the_values_and_gradients_of_numpy(gpu: Any, name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    results = []
    for move in (np.array, gpu.asarray):
        f = call.function(move)
        leaves = [Tensor(move(x), requires_grad=True) for x in call.inputs]
        out = f(*leaves)
        outs = list(out) if isinstance(out, tuple | list) else [out]
        loss = sum(((o * o).sum() for o in outs[1:]), (outs[0] * outs[0]).sum())
        if loss.requires_grad:
            loss.backward()
        gradients = [g.grad.dense() if isinstance(g.grad, RowSparse) else g.grad for g in leaves]
        results.append([*(o.numpy() for o in outs), *(backend.to_host(g) for g in gradients if g is not None)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_parameter_moves_to_the_gpu_and_back(gpu: Any) -> None:
    p = Parameter(np.ones(3, np.float32))
    p.data = backend.to_device(p.data, "cuda")
    assert isinstance(p.data, gpu.ndarray) and backend.device_of(p.data) == "cuda"
    (p * p).sum().backward()
    assert isinstance(p.grad, gpu.ndarray)
    np.testing.assert_array_equal(backend.to_host(p.grad), [2.0, 2.0, 2.0])
