"""Every way in which NumPy, or another library, may swallow a Tensor: it becomes an op, or it raises. No gradient
is lost in silence."""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import compiled, grad, ops, primitive, scan
from tinygrad_rnn.backend import as_array
from tinygrad_rnn.tensor import Parameter, Tensor, as_tensor

ARRAY = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def leaf(value: Any = ARRAY) -> Tensor:
    return Tensor(np.array(value, dtype=np.float64), requires_grad=True)


def array() -> Any:
    return ARRAY.copy() + 0.5


# --- What becomes an op ----------------------------------------------------------------------------------------

RECORDED: dict[str, Callable[[Any], Any]] = {
    "array + t": lambda t: array() + t,
    "array - t": lambda t: array() - t,
    "array * t": lambda t: array() * t,
    "array / t": lambda t: array() / t,
    "array ** t": lambda t: array() ** t,
    "array // t": lambda t: array() // t,
    "array % t": lambda t: array() % t,
    "array @ t": lambda t: array().T @ t,
    "t + array": lambda t: t + array(),
    "t - array": lambda t: t - array(),
    "t * array": lambda t: t * array(),
    "t / array": lambda t: t / array(),
    "t ** array": lambda t: t ** array(),
    "t // array": lambda t: t // array(),
    "t % array": lambda t: t % array(),
    "t @ array": lambda t: t @ array().T,
    "1 + t": lambda t: 1 + t,
    "1 - t": lambda t: 1 - t,
    "2 * t": lambda t: 2 * t,
    "2 / t": lambda t: 2 / t,
    "2 ** t": lambda t: 2**t,
    "5 // t": lambda t: 5 // t,
    "5 % t": lambda t: 5 % t,
    "-t": lambda t: -t,
    "abs(t)": abs,
    "np.float64 * t": lambda t: np.float64(2.0) * t,
    "np.float32 - t": lambda t: np.float32(2.0) - t,
    "np.int64 ** t": lambda t: np.int64(2) ** t,
    "np.add(array, t)": lambda t: np.add(array(), t),
    "np.multiply(t, t)": lambda t: np.multiply(t, t),
    "np.subtract(1, t)": lambda t: np.subtract(1.0, t),
    "np.divide(list, t)": lambda t: np.divide([1.0, 2.0, 3.0], t),
    "np.power": lambda t: np.power(t, 2.0),
    "np.float_power": lambda t: np.float_power(t, 2.0),
    "np.maximum": lambda t: np.maximum(array(), t),
    "np.minimum": lambda t: np.minimum(t, 2.5),
    "np.matmul": lambda t: np.matmul(array().T, t),
    **{f"np.{name}": getattr(np, name) for name in "exp expm1 log log1p sqrt square reciprocal sin cos tanh".split()},
    "np.negative": np.negative,
    "np.abs": np.abs,
    "np.sign": np.sign,
    "np.floor": np.floor,
    "np.mod": lambda t: np.mod(t, 2.5),
    "np.remainder": lambda t: np.remainder(-5.5, t),
    "np.floor_divide": lambda t: np.floor_divide(t, 0.7),
    "np.sum": np.sum,
    "np.sum(axis)": lambda t: np.sum(t, axis=0, keepdims=True),
    "np.mean": lambda t: np.mean(t, axis=1),
    "np.max": lambda t: np.max(t, axis=-1),
    "np.min": np.min,
    "np.prod": lambda t: np.prod(t, axis=0),
    "np.var": lambda t: np.var(t, axis=1, ddof=1),
    "np.sum(where)": lambda t: np.sum(t, axis=1, initial=0.5, where=array() > 3),
    "np.mean(where)": lambda t: np.mean(t, axis=0, where=[[True], [False]]),
    "np.max(where)": lambda t: np.max(t, axis=1, initial=-np.inf, where=array() < 3),
    "np.min(where)": lambda t: np.min(t, initial=4.5, where=array() > 5),
    "np.prod(where)": lambda t: np.prod(t, axis=0, where=array() > 3),
    "np.var(where)": lambda t: np.var(t, axis=1, where=array() != 2.5),
    "np.cumsum": lambda t: np.cumsum(t, axis=1),
    "np.reshape": lambda t: np.reshape(t, (3, 2)),
    "np.transpose": np.transpose,
    "np.swapaxes": lambda t: np.swapaxes(t, 0, 1),
    "np.moveaxis": lambda t: np.moveaxis(t, 0, -1),
    "np.expand_dims": lambda t: np.expand_dims(t, 1),
    "np.squeeze": np.squeeze,
    "np.broadcast_to": lambda t: np.broadcast_to(t, (2, 2, 3)),
    "np.repeat": lambda t: np.repeat(t, 2),
    "np.repeat(axis)": lambda t: np.repeat(t, [2, 0, 1], axis=1),
    "np.take_along_axis": lambda t: np.take_along_axis(t, np.array([[2, -1]]), axis=1),
    "np.take_along_axis flat": lambda t: np.take_along_axis(t, np.array([5, 0]), None),
    "np.flip": lambda t: np.flip(t, 0),
    "np.stack": lambda t: np.stack([array(), t]),
    "np.concatenate": lambda t: np.concatenate([t, array()], axis=1),
    "np.concatenate flat": lambda t: np.concatenate([t, array()], axis=None),
    "np.split": lambda t: np.split(t, 3, axis=1)[1],
    "np.where": lambda t: np.where(array() > 3, t, 0.0),
    "np.outer": lambda t: np.outer(array(), t),
    "np.einsum": lambda t: np.einsum("ij,kj->ik", array(), t),
    "np.clip": lambda t: np.clip(t, 2.2, 4.4),
    "np.clip below": lambda t: np.clip(t, None, 4.4),
    "np.linalg.norm": np.linalg.norm,
    "np.linalg.norm(axis)": lambda t: np.linalg.norm(t, 2, axis=1),
    "np.linalg.norm(fro)": lambda t: np.linalg.norm(t, "fro"),
}


@pytest.mark.parametrize("use", RECORDED)
def test_numpy_functions_and_operators_are_recorded_and_give_what_numpy_gives(use: str) -> None:
    t = leaf()
    out = RECORDED[use](t)
    assert isinstance(out, Tensor) and out.requires_grad
    np.testing.assert_allclose(out.numpy(), RECORDED[use](ARRAY.copy()), rtol=1e-13)
    out.sum().backward()
    assert t.grad is not None and t.grad.shape == t.shape


# --- What raises -----------------------------------------------------------------------------------------------


def assign(a: Any, t: Any) -> None:
    a[:] = t


def in_place(op: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    return lambda t: op(array(), t)


REFUSED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "array += t": ("cannot write a Tensor into an array", in_place(operator.iadd)),
    "array -= t": ("cannot write a Tensor into an array", in_place(operator.isub)),
    "array *= t": ("cannot write a Tensor into an array", in_place(operator.imul)),
    "array /= t": ("cannot write a Tensor into an array", in_place(operator.itruediv)),
    "np.add(out=)": ("cannot write a Tensor into an array", lambda t: np.add(array(), t, out=array())),
    "np.sum(out=)": ("cannot write a Tensor into out=", lambda t: np.sum(t, axis=0, out=np.zeros(3))),
    "array[:] = t": ("on the tape was about to become a plain array", lambda t: assign(array(), t)),
    "array[0] = t": ("on the tape was about to become", lambda t: operator.setitem(array(), 0, t[0])),
    "np.asarray": ("use .numpy()", np.asarray),
    "np.array": ("use .numpy()", np.array),
    "np.array of a list": ("use .numpy()", lambda t: np.array([t, t])),
    "np.float64()": ("use .numpy()", np.float64),
    "np.add.reduce": ("numpy.add.reduce has no gradient here", np.add.reduce),
    "np.add.accumulate": ("numpy.add.accumulate has no gradient", np.add.accumulate),
    "np.multiply.outer": ("numpy.multiply.outer has no gradient", lambda t: np.multiply.outer(t, t)),
    "np.add.at": ("has no gradient here", lambda t: np.add.at(array(), [0], t)),
    "np.add(where=)": ("with where has no gradient", lambda t: np.add(t, 1.0, where=np.array(True))),
    "np.add(dtype=)": ("with dtype has no gradient", lambda t: np.add(t, 1.0, dtype=np.float32)),
    "np.arctan2": ("numpy.arctan2 has no gradient", lambda t: np.arctan2(t, 1.0)),
    "np.isnan": ("numpy.isnan has no gradient", np.isnan),
    "np.fmod": ("numpy.fmod has no gradient", lambda t: np.fmod(array(), t)),
    "np.divmod": ("numpy.divmod has no gradient", lambda t: divmod(array(), t)),
    "np.dot": ("numpy.dot has no gradient", lambda t: np.dot(array(), t)),
    "np.sort": ("numpy.sort has no gradient", np.sort),
    "np.vstack": ("numpy.vstack has no gradient", lambda t: np.vstack([t, t])),
    "np.linalg.inv": ("numpy.inv has no gradient", lambda t: np.linalg.inv(t[:, :2])),
    "np.copyto": ("numpy.copyto has no gradient", lambda t: np.copyto(array(), t)),
    "np.put": ("numpy.put has no gradient", lambda t: np.put(array(), [0], t)),
    "spectral norm": ("only the Euclidean norm", lambda t: np.linalg.norm(t, 2)),
    "nuclear norm": ("only the Euclidean norm", lambda t: np.linalg.norm(t, "nuc")),
    "sum of absolutes": ("only the Euclidean norm", lambda t: np.linalg.norm(t, 1, axis=1)),
    "DLPack": (r"use .detach\(\)", np.from_dlpack),
    "t[...] = x": ("cannot be changed in place", lambda t: operator.setitem(t, ..., 1.0)),
}


@pytest.mark.parametrize("use", REFUSED)
def test_what_would_lose_a_gradient_raises_and_says_what_to_do(use: str) -> None:
    message, call = REFUSED[use]
    with pytest.raises((TypeError, BufferError), match=message):
        call(leaf())


def test_nothing_was_written_before_the_refusal() -> None:
    a, t = array(), leaf()
    add: Any = operator.iadd
    attempts: list[Any] = [lambda: add(a, t), lambda: assign(a, t), lambda: np.add(a, t, out=a)]
    for attempt in attempts:
        with pytest.raises(TypeError):
            attempt()
    np.testing.assert_array_equal(a, array())


# --- What is no array of real numbers --------------------------------------------------------------------------

OTHER_NUMBERS: dict[str, Any] = {
    "complex": 1 + 0.2j,
    "np.complex64": np.complex64(1j),
    "np.complex128": np.complex128(1j),
    "complex array": np.full((2, 3), 1 + 0.2j),
    "complex64 array": np.full((2, 3), 1j, np.complex64),
    "list of complex": [1j, 2.0, 3.0],
    "tuple of complex": (1j, 2.0, 3.0),
    "object array": np.array([1.0, 2.0, 3.0], dtype=object),
    "timedelta array": np.array([1, 2, 3], dtype="m8[s]"),
    "datetime array": np.array([1, 2, 3], dtype="M8[s]"),
    "np.timedelta64": np.timedelta64(3, "ns"),
    "timedelta": datetime.timedelta(1),
    "Fraction": Fraction(1, 2),
    "np.matrix": ARRAY[:1].view(np.matrix),
    "masked array": np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False]),
    "masked": np.ma.masked,
    "array with operators of its own": np.ones(3).view(
        type("Metres", (np.ndarray,), {"__mul__": lambda a, b: NotImplemented})
    ),
}

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    **{name: getattr(operator, name) for name in "add sub mul truediv floordiv mod pow".split()},
    **{f"np.{name}": getattr(np, name) for name in "add multiply power maximum".split()},
}

COMPARED: dict[str, Callable[[Any, Any], Any]] = {name: getattr(operator, name) for name in "lt le gt ge".split()}


DECIDES_ITSELF = {
    (operator.pow, "matrix"): "a power of matrices, of integers alone",
    (operator.pow, "Fraction"): "the power of a float",
}


def either_side(f: Callable[[Any, Any], Any], t: Tensor, other: Any) -> None:
    sides = [(t, other), (other, t)]
    for a, b in sides[:1] if (f, type(other).__name__) in DECIDES_ITSELF else sides:
        with pytest.raises(TypeError) as caught:
            f(a, b)
        assert re.search(r"np\.asarray\(", str(caught.value)), (f, caught.value)


@pytest.mark.parametrize("on_tape", [True, False])
@pytest.mark.parametrize("kind", OTHER_NUMBERS)
def test_other_numbers_than_real_ones_are_refused_on_either_side_by_a_sentence_that_names_asarray(
    kind: str, on_tape: bool
) -> None:
    t = leaf() if on_tape else leaf().detach()
    for f in BINARY.values():
        either_side(f, t, OTHER_NUMBERS[kind])
    if not isinstance(OTHER_NUMBERS[kind], list | tuple):  # those are compared by NumPy, and have no gradient to lose
        for f in COMPARED.values():
            if kind not in ("timedelta", "Fraction"):
                either_side(f, t, OTHER_NUMBERS[kind])


@pytest.mark.parametrize("kind", ["np.matrix", "masked array", "complex array"])
def test_so_are_matrices_masked_and_complex_arrays_in_a_product(kind: str) -> None:
    t, ones = leaf(np.ones((3, 3))), np.ones((3, 3))
    other: Any = {"np.matrix": ones.view(np.matrix), "masked array": np.ma.array(ones)}.get(kind, ones * 1j)
    either_side(operator.matmul, t, other)
    either_side(np.matmul, t, other)
    either_side(lambda a, b: ops.einsum("ij,jk->ik", a, b), t, other)
    either_side(lambda a, b: ops.stack([a, b]), t, other)
    either_side(lambda a, b: ops.concatenate([a, b]), t, other)
    either_side(lambda a, b: ops.where(t > 0, a, b), t, other)


complex_number: Any = 1j
leaky_relu: Any = ops.leaky_relu
OPTIONS: dict[str, Callable[[Any], Any]] = {
    "slope": lambda t: ops.leaky_relu(t, slope=complex_number),
    "slope by position": lambda t: ops.leaky_relu(t, complex_number),
    "slope of NumPy's": lambda t: leaky_relu(t, slope=np.complex64(complex_number)),
    "bound": lambda t: ops.clip(t, 1j, None),
    "bound by name": lambda t: ops.clip(t, a_max=1j),
    "exponent": lambda t: t ** np.array(1j),
    "padding": lambda t: ops.pad(t, 1, complex_number),
}


@pytest.mark.parametrize("use", OPTIONS)
def test_so_are_complex_options(use: str) -> None:
    with pytest.raises(TypeError, match=r"real number.*np\.asarray"):
        OPTIONS[use](leaf())


@pytest.mark.parametrize("make", [Tensor, Parameter, as_tensor], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", OTHER_NUMBERS)
def test_no_tensor_is_made_of_them(kind: str, make: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"np\.asarray\("):
        make(OTHER_NUMBERS[kind])


@pytest.mark.parametrize("dtype", [complex, np.complex64, object, "m8[s]", "U1"], ids=str)
def test_no_tensor_becomes_complex_or_a_date(dtype: Any) -> None:
    attempts: list[Any] = [lambda: Tensor([1.0], dtype=dtype), lambda: leaf().astype(dtype), lambda: as_array(1, dtype)]
    for attempt in attempts:
        with pytest.raises(TypeError, match="a dtype of real numbers or booleans was expected"):
            attempt()


def test_a_gradient_that_is_complex_is_refused() -> None:
    with pytest.raises(TypeError, match="real numbers"):
        (leaf() * 2.0).backward(np.full((2, 3), 1j))
    with pytest.raises(TypeError, match="real number"):
        grad(lambda x: (x * (1 + 0.2j)).sum())(leaf())


CONSTANTS: dict[str, Any] = {
    key: OTHER_NUMBERS[key] for key in ("complex", "complex array", "np.matrix", "masked array")
}


@pytest.mark.filterwarnings("ignore::tinygrad_rnn.ScanWarning")
@pytest.mark.parametrize("kind", CONSTANTS)
def test_a_scan_refuses_them_as_a_plain_loop_does(kind: str) -> None:
    other = CONSTANTS[kind]

    def step(h: Tensor, x: Tensor) -> tuple[Any, Any]:
        return h + x, x * other

    for on in (True, False):
        with compiled(on), pytest.raises(TypeError, match=r"np\.asarray\("):
            scan(step, leaf(np.zeros((1, 3))), Tensor(np.ones((4, 1, 3))))
    if isinstance(other, np.ma.MaskedArray | np.matrix):
        with pytest.raises(TypeError, match=r"np\.asarray\("):
            scan(lambda h, x: (h + x, h), leaf(np.zeros(3)), other)


def test_arrays_in_a_file_and_classes_that_compute_as_arrays_do_are_arrays(tmp_path: Path) -> None:
    class Plain(np.ndarray[Any, Any]):
        """It adds nothing that an op could mistake."""

    mapped: Any = np.memmap(tmp_path / "numbers", np.float64, "w+", shape=(2, 3))
    mapped[:] = ARRAY
    others: list[Any] = [mapped, ARRAY.view(Plain), ARRAY.view(np.recarray)]
    for other in others:
        t: Any = leaf()
        for out in (t * other, other * t, np.multiply(other, t), Tensor(other) * t):
            np.testing.assert_array_equal(out.numpy(), ARRAY * ARRAY)
        (t * other).sum().backward()
        np.testing.assert_array_equal(t.grad, ARRAY)
    assert Tensor(mapped).data is mapped


def test_an_option_that_is_a_complex_array_is_the_business_of_its_op() -> None:
    @primitive
    def filtered(x: Any, response: Any) -> Any:
        return np.fft.irfft(np.fft.rfft(x) * response, x.shape[-1])

    filtered.vjp(lambda g, out, x, response: filtered(g, np.conj(response)))
    x = leaf([1.0, 2.0, 3.0, 4.0])
    filtered(x, np.exp(1j * np.pi * np.arange(3) / 2)).sum().backward()  # a shift by one
    np.testing.assert_allclose(x.grad, np.ones(4))


def test_numpys_masked_arrays_may_still_be_made_of_a_tensor_off_the_tape() -> None:
    t = leaf().detach()
    masked = np.ma.array(t, mask=ARRAY > 3)
    assert masked.sum() == 6.0 and not hasattr(t, "_data")


# --- Off the tape ----------------------------------------------------------------------------------------------


def test_a_tensor_off_the_tape_is_an_array_to_numpy() -> None:
    t = leaf().detach()
    assert np.shares_memory(np.asarray(t), t.data)
    assert not np.shares_memory(np.array(t), t.data)
    assert np.asarray(t, dtype=np.float32).dtype == np.float32
    a = array()
    a[:] = t
    np.testing.assert_array_equal(a, ARRAY)
    np.testing.assert_allclose(t, ARRAY)
    with pytest.raises(ValueError, match="copy"):
        np.asarray(t, dtype=np.float32, copy=False)


def test_dlpack_shares_memory_both_ways() -> None:
    t = leaf().detach()
    assert np.shares_memory(np.from_dlpack(t), t.data)

    class Producer:
        """A foreign array that speaks DLPack and nothing else."""

        def __init__(self) -> None:
            self.inside = array()

        def __dlpack__(self, **options: Any) -> Any:
            return self.inside.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self.inside.__dlpack_device__()

    foreign = Producer()
    assert np.shares_memory(Tensor(foreign).data, foreign.inside)


def test_torch_and_tensors_share_memory_by_dlpack() -> None:
    torch = pytest.importorskip("torch")
    t = Tensor(array())
    theirs = torch.from_dlpack(t)
    theirs[0, 0] = 7.0
    assert t.numpy()[0, 0] == 7.0
    ours = Tensor(torch.ones(3))
    assert ours.dtype == np.float32 and ours.shape == (3,)
    assert ours.data.__array_interface__["data"][0] != 0
    with pytest.raises(BufferError, match="detach"):
        torch.from_dlpack(leaf())


# --- Python's own protocols ------------------------------------------------------------------------------------


def test_scalar_conversions() -> None:
    one = leaf([[2.5]])
    assert (float(one), int(one), one.item(), bool(one)) == (2.5, 2, 2.5, True)
    assert not bool(Tensor(np.array(0.0)))
    for convert in (float, int, bool, Tensor.item):
        with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
            convert(leaf())


def test_an_entry_of_an_array_that_is_set_to_a_tensor_is_a_number_which_the_documentation_says() -> None:
    t, a = leaf(2.5), np.zeros(2)
    a[0] = t  # NumPy calls float(t), as anybody may
    assert a[0] == 2.5
    assert "a[0] = t" in (Tensor.__float__.__doc__ or "")
    with pytest.raises(TypeError, match=r"\.numpy\(\)"):
        a[:1] = leaf([2.5])


def test_integer_tensors_serve_as_indices_and_others_do_not() -> None:
    i = Tensor(np.array(1))
    assert [10, 20, 30][i] == 20 and list(range(i)) == [0] and array()[i].shape == (3,)
    with pytest.raises(TypeError):
        [10, 20][Tensor(np.array(1.0))]


def test_length_iteration_and_membership() -> None:
    t = leaf()
    assert len(t) == 2
    rows = list(t)
    assert [r.shape for r in rows] == [(3,), (3,)]
    (rows[0] * rows[1]).sum().backward()
    np.testing.assert_array_equal(t.grad, ARRAY[::-1])
    first, second = t
    assert first.requires_grad and second.requires_grad
    for use in (len, iter):
        with pytest.raises(TypeError, match="without axes"):
            use(leaf(1.0))


def test_comparisons_give_boolean_tensors_that_select() -> None:
    t = leaf()
    masks = [t > 2, t >= 2, t < 2, t <= 2, t == 2, t != 2, 2 < t, array() > t, t < array(), np.less(array(), t)]
    assert all(isinstance(m, Tensor) and m.dtype == np.bool_ and not m.requires_grad for m in masks)
    assert [int(m.sum()) for m in masks] == [4, 5, 1, 2, 1, 5, 4, 6, 6, 0]
    t[t > 4].sum().backward()
    np.testing.assert_array_equal(t.grad, ARRAY > 4)


def test_masks_combine_with_and_or_not_on_either_side() -> None:
    t = leaf([1.0, 2.0, 3.0])
    mask: Any = np.array([True, True, False])
    for combined in ((t > 1) & mask, mask & (t > 1), np.logical_and(mask, t > 1)):
        assert isinstance(combined, Tensor)
        np.testing.assert_array_equal(combined.numpy(), [False, True, False])
    for combined in ((t > 2) | mask, mask | (t > 2)):
        np.testing.assert_array_equal(combined.numpy(), [True, True, True])
    np.testing.assert_array_equal((~(t > 1)).numpy(), [True, False, False])
    refused: list[Any] = [lambda: t & mask, lambda: Tensor(np.array([5])) & 3, lambda: ~Tensor(np.array([5]))]
    for wrong in refused:
        with pytest.raises(TypeError, match="booleans"):
            wrong()


def test_tensors_hash_by_identity() -> None:
    t, same = leaf(), leaf()
    assert len({t, same, t}) == 2


def test_scalars_and_arrays_decide_the_dtype_as_numpy_decides_it() -> None:
    t = Tensor(np.ones(3, np.float32), requires_grad=True)
    assert (np.float64(2) * t).dtype == (t * np.float64(2)).dtype == (2.0 * t).dtype == np.float32
    assert (np.ones(3) * t).dtype == (t * np.ones(3)).dtype == np.float64
    assert np.add(np.float64(1), t).dtype == np.float32


# --- How it looks ----------------------------------------------------------------------------------------------


def test_repr_tells_values_shape_dtype_and_place() -> None:
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.], shape=(2,), dtype=float32)"
    assert repr(Tensor([1.0], requires_grad=True)) == "Tensor([1.], shape=(1,), dtype=float32, requires_grad)"
    assert repr(Parameter([1.0])).startswith("Parameter([1.], shape=(1,), dtype=float32")
    t = leaf()
    product = t * 2.0
    assert repr(product).endswith("on the tape: mul)")
    assert "on the tape: unstack" in repr(ops.unstack(t)[0])
    product.sum().backward()
    assert repr(product).endswith("freed from the tape)")
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 500
    assert repr(Tensor(np.zeros((0, 3)))) == "Tensor([], shape=(0, 3), dtype=float64)"
    assert repr(Tensor(np.array(True))) == "Tensor(True, shape=(), dtype=bool)"


def test_questions_about_shape_and_type_lose_no_gradient_and_are_answered() -> None:
    t = leaf()
    assert np.ndim(t) == 2 and np.shape(t) == (2, 3)
    assert np.size(t) == 6 and np.size(t, 1) == 3
    assert not np.iscomplexobj(t) and np.isrealobj(t)
    assert np.result_type(t, np.float32(1)) == np.float64 and np.result_type(np.int8, t) == np.float64
