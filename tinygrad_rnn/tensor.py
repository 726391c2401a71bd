"""Tensor: a Box with operators, and Parameter: a Tensor that is trained."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, NoReturn, SupportsIndex

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array, HostArray, as_array, to_host, xp
from tinygrad_rnn.blas import blas_held
from tinygrad_rnn.frames import user_frame
from tinygrad_rnn.pictures import heat_map
from tinygrad_rnn.surroundings import is_recording
from tinygrad_rnn.tape import Box, Leaf, Wrap, walk

SHOWN_AS_TEXT = 60
"""Entries of which a notebook shows the numbers too."""


class Tensor(Box):
    """An array that remembers how it was made.

    Operators and indexing are those of NumPy. `t += x` makes a new Tensor; `t[i] = x` raises. `.data` is the array.

    `copy.copy` shares the array and the place on the tape. `copy.deepcopy` and `pickle` copy what is off the tape, and
    leaves: the copy of a leaf is a leaf of its own, with a copy of the `.grad`. A result on the tape raises TypeError.

    Args:
        value: NumPy and CuPy arrays are kept as they are (no copy), DLPack producers are shared, Python numbers and
            lists become float32.
        requires_grad: makes it a leaf of the tape: `loss.backward()` adds to its `.grad`.
        dtype: of its numbers, instead of the array's own.

    Raises:
        TypeError: for anything but real numbers and booleans, and for `requires_grad` of integers.

    Example:
        >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> y = (x * x).sum()
        >>> y.item()
        14.0
        >>> y.backward()
        >>> x.grad
        array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("__weakref__",)

    def __init__(self, value: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        if isinstance(value, Box):
            value = value.data
        self.data = as_array(value, dtype)
        self.node = None
        if requires_grad:
            if self.data.dtype.kind != "f":
                raise TypeError(f"requires_grad needs floating-point numbers, got dtype {self.data.dtype}")
            self.node = Leaf()

    # --- What it is ---

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.data.shape  # type: ignore[no-any-return]  # an array's shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers."""
        return self.data.dtype  # type: ignore[no-any-return]  # an array's dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(self.data.size)

    @property
    def requires_grad(self) -> bool:
        """Whether it is on the tape: a leaf, or made from one."""
        return self.node is not None

    @property
    def grad(self) -> Any:
        """After `backward()`: an array of this shape, a RowSparse for an embedding table, or None. It adds up
        until it is set to None. Of a result it is None always, with a UserWarning: leaves alone collect gradients."""
        if isinstance(self.node, Leaf):
            return self.node.grad
        if self.node is not None:
            warnings.warn(
                "the .grad of a result is None: leaves alone (a Parameter, or a Tensor made with requires_grad=True) "
                "collect their gradients; for that of a result use tinygrad_rnn.grad or vjp, with it as the argument",
                stacklevel=user_frame()[1],
            )
        return None

    @grad.setter
    def grad(self, value: Any) -> None:
        if not isinstance(self.node, Leaf):
            raise AttributeError(
                "grad can be set on a leaf only: a Parameter, or a Tensor made with requires_grad=True"
            )
        self.node.grad = value

    def backward(self, gradient: Any = None, retain: bool = False) -> None:
        """Adds the gradient of this Tensor to the `.grad` of every leaf that it was made from.

        Args:
            gradient: of this Tensor's shape; a scalar needs none.
            retain: keeps the tape, which is otherwise freed on the way.

        Raises:
            RuntimeError: there is no tape.
            FreedTapeError: an earlier call has freed it.
            ValueError: `gradient` is of another shape, or missing.
        """
        if self.node is None:
            raise RuntimeError(
                "backward: this Tensor is not on the tape; nothing that it was made from has requires_grad=True"
                + ("" if is_recording() else " (and recording is off: no_grad())")
            )
        if gradient is None:
            if self.size != 1:
                raise ValueError(
                    f"backward: a scalar was expected, got shape {self.shape}; reduce it (loss.sum()) or pass gradient="
                )
            gradient = xp(self.data).ones_like(self.data)
        else:
            gradient = as_array(gradient.data if isinstance(gradient, Box) else gradient, self.dtype)
            if gradient.shape != self.shape:
                raise ValueError(f"backward: gradient must have the shape {self.shape}, got {gradient.shape}")
        with blas_held():
            walk(self.node, gradient, retain=retain)

    def detach(self) -> Tensor:
        """The same array, off the tape."""
        return Tensor.wrap(self.data, None)

    def numpy(self) -> HostArray:
        """The numbers as a NumPy array: shared on the CPU (do not change it in place), copied from a GPU."""
        return to_host(self.data)

    def item(self) -> Any:
        """The only entry, as a Python number. Raises ValueError where there is more than one."""
        return self._only("item()").item()

    def _only(self, use: str) -> Array:
        if self.size != 1:
            raise ValueError(f"{use} needs a Tensor with one entry, got shape {self.shape}")
        return self.data.reshape(())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a Tensor of shape {self.shape} is ambiguous: one entry is asked at a time; "
                "to choose entry by entry there are ops.where, maximum and minimum"
            )
        return bool(self.data.reshape(()))

    def __float__(self) -> float:
        """The only entry, as a number without a gradient. `a[0] = t` of a NumPy array is this call, and cannot be told
        from it: to fill an array by parts, `ops.stack` them. (Where `t` has axes, NumPy asks `__array__`, which refuses
        a Tensor on the tape.)"""
        return float(self._only("float()"))

    def __int__(self) -> int:
        return int(self._only("int()"))

    def __index__(self) -> int:
        return operator.index(self._only("an index").item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a Tensor without axes")
        return iter(ops.unstack(self))

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), precision=4, threshold=60, edgeitems=3, separator=", ", prefix="Tensor(")
        if self.node is None:
            place = ""
        elif isinstance(self.node, Leaf):
            place = ", requires_grad"
        elif self.node.parents is None:
            place = ", freed from the tape"
        else:
            made_by = self.node.primitive or self.node.parents[0].primitive
            place = f", on the tape: {made_by.name}"
        return f"{type(self).__name__}({text}, shape={self.shape}, dtype={self.dtype}{place})"

    def _repr_html_(self) -> str:
        """In a notebook: its entries as colours, and in numbers where they are few."""
        said = f'<pre style="overflow-x:auto">{escape(repr(self))}</pre>'
        if self.size < 2 or self.dtype.kind not in "fiub":
            return said
        name = getattr(self, "name", "")
        what = f"<b>{type(self).__name__}</b> {escape(name)} {self.shape} {self.dtype}"
        return f"<div>{what}</div>{heat_map(self.numpy())}{said if self.size <= SHOWN_AS_TEXT else ''}"

    # --- Operators ---

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.mod(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.mod(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]  # entry by entry, as NumPy's
        return ops.equal(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]  # entry by entry, as NumPy's
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    def __and__(self, other: Any) -> Tensor:
        return ops.logical_and(_boolean(self), _boolean(other))

    def __or__(self, other: Any) -> Tensor:
        return ops.logical_or(_boolean(self), _boolean(other))

    def __invert__(self) -> Tensor:
        return ops.logical_not(_boolean(self))

    __rand__, __ror__ = __and__, __or__

    __hash__ = object.__hash__  # identity: `==` compares entries

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            "a Tensor cannot be changed in place, because the tape may need what it held: use "
            "ops.where(mask, value, t) or ops.scatter_add(t, index, value) to make a new one"
        )

    # --- Methods under NumPy's names ---

    @property
    def T(self) -> Tensor:  # noqa: N802  (NumPy's name)
        """The axes reversed."""
        return ops.transpose(self)

    def reshape(self, *shape: Any) -> Tensor:
        """`t.reshape(2, 3)` or `t.reshape((2, 3))`."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """`t.transpose(1, 0)`, `t.transpose((1, 0))`, or all axes reversed."""
        return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def swapaxes(self, axis1: SupportsIndex, axis2: SupportsIndex) -> Tensor:
        """Two axes exchanged."""
        return ops.swapaxes(self, int(axis1), int(axis2))

    def squeeze(self, axis: Any = None) -> Tensor:
        """Without axes of size 1."""
        return ops.squeeze(self, axis)

    def astype(self, dtype: Any) -> Tensor:
        """The same numbers in another dtype."""
        return ops.astype(self, np.dtype(dtype))

    def sum(self, axis: Any = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
        """The sum over `axis`, of `initial`, and of what counts by `where`."""
        return ops.sum(self, axis, keepdims, initial=initial, where=where)

    def mean(self, axis: Any = None, keepdims: bool = False, *, where: Any = None) -> Tensor:
        """The mean over `axis`, of what counts by `where`."""
        return ops.mean(self, axis, keepdims, where=where)

    def max(self, axis: Any = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
        """The largest value over `axis`, of `initial`, and of what counts by `where`."""
        return ops.max(self, axis, keepdims, initial=initial, where=where)

    def min(self, axis: Any = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
        """The smallest value over `axis`, of `initial`, and of what counts by `where`."""
        return ops.min(self, axis, keepdims, initial=initial, where=where)

    def argmax(self, axis: int | None = None) -> Tensor:
        """The index of the largest value."""
        return ops.argmax(self, axis)

    # --- NumPy's functions and other libraries ---

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        if self.node is not None:
            raise TypeError(
                "a Tensor on the tape was about to become a plain array, and its gradient would be lost: "
                "use .numpy() or .detach() if that is meant, or an op of tinygrad_rnn.ops"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    @property
    def _data(self) -> NoReturn:
        # numpy.ma asks this of an operand before anything else, and would go on with a plain array.
        if str(sys._getframe(1).f_globals.get("__name__")).startswith("numpy.ma"):
            raise TypeError(
                "a masked array has no gradient, and would make a masked array of a Tensor: pass np.asarray(m) of it"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute '_data'")

    def __dlpack__(self, **options: Any) -> Any:
        if self.node is not None:
            raise BufferError(
                "a Tensor on the tape was about to leave by DLPack, and its gradient would be lost: "
                "use .detach() (or .numpy()) if that is meant"
            )
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__
        if options.get("out") is not None:
            raise TypeError(
                f"numpy.{name} cannot write a Tensor into an array (out= or an in-place operator): its gradient "
                "would be lost; write `a = a + t`, or use t.numpy() if that is meant"
            )
        op = _UFUNCS.get(name)
        if method != "__call__" or op is None or options:
            call = name if method == "__call__" else f"{name}.{method}"
            extra = f" with {', '.join(options)}" if options else ""
            raise TypeError(f"numpy.{call}{extra} has no gradient here: use tinygrad_rnn.ops, or t.numpy() for arrays")
        return op(*inputs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, options: Any) -> Any:
        op = _FUNCTIONS.get(function)
        if function in _QUESTIONS:
            return function(*(x.data if isinstance(x, Box) else x for x in args), **options)
        if op is None:
            raise TypeError(
                f"numpy.{function.__name__} has no gradient here: use tinygrad_rnn.ops, or t.numpy() for arrays"
            )
        if options.get("out") is not None:
            raise TypeError(f"numpy.{function.__name__} cannot write a Tensor into out=: its gradient would be lost")
        return op(*args, **options)


class Parameter(Tensor):
    """A Tensor that is trained: a leaf of the tape, in its own array, with an optional name for messages. Its `.data`
    may be rebound or changed in place between a backward pass and the next forward pass.

    Args:
        value: numbers, which are copied.
        dtype: as for a Tensor.
        name: what messages and the printed tape call it.

    Example:
        >>> w = Parameter([1.0, 2.0], name="w")
        >>> (3 * w).sum().backward()
        >>> w.grad
        array([3., 3.], dtype=float32)
    """

    __slots__ = ()

    def __init__(self, value: Any, dtype: Any = None, name: str = "") -> None:
        super().__init__(value, requires_grad=True, dtype=dtype)
        self.data = xp(self.data).array(self.data, copy=True)  # optimisers work in place
        self.name = name

    @property
    def name(self) -> str:
        """What messages and the printed tape call it."""
        return self._leaf.name

    @name.setter
    def name(self, value: str) -> None:
        self._leaf.name = value

    @property
    def _leaf(self) -> Leaf:
        if not isinstance(self.node, Leaf):
            raise RuntimeError("a Parameter must be a leaf of the tape, but its node was set to another")
        return self.node

    @classmethod
    def wrap(cls, data: Array, node: Any) -> Any:
        """Results of ops on a Parameter are Tensors."""
        return Tensor.wrap(data, node)


def as_tensor(value: Any) -> Tensor:
    """`value` itself if it is a Tensor, otherwise a Tensor of it."""
    return value if isinstance(value, Tensor) else Tensor(value)


def _boolean(x: Any) -> Tensor:
    tensor = as_tensor(x)
    if tensor.dtype.kind != "b":
        raise TypeError(f"& | ~ of Tensors are the logical ones and need booleans, got dtype {tensor.dtype}")
    return tensor


wrap: Wrap = Tensor.wrap
"""Makes the Tensors that rules get when a backward pass is itself recorded."""


_UFUNCS: dict[str, Callable[..., Any]] = {
    name: getattr(ops, name)
    for name in (
        "add exp expm1 log log1p sqrt square reciprocal sign floor floor_divide sin cos tanh maximum minimum matmul "
        "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not"
    ).split()
} | {
    "negative": ops.neg,
    "subtract": ops.sub,
    "multiply": ops.mul,
    "divide": ops.div,
    "remainder": ops.mod,
    "power": ops.pow,
    "float_power": ops.pow,
    "absolute": ops.abs,
    "bitwise_and": lambda x, y: as_tensor(x) & y,
    "bitwise_or": lambda x, y: as_tensor(x) | y,
    "invert": operator.invert,
}

_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    getattr(np, name): getattr(ops, name)
    for name in (
        "sum mean max min prod var cumsum reshape transpose swapaxes moveaxis expand_dims squeeze broadcast_to flip "
        "repeat take_along_axis stack concatenate split where outer einsum clip argmax zeros_like"
    ).split()
} | {np.linalg.norm: lambda x, ord=None, axis=None, keepdims=False: _euclidean(x, ord, axis, keepdims)}

_QUESTIONS: frozenset[Callable[..., Any]] = frozenset(
    {np.ndim, np.shape, np.size, np.iscomplexobj, np.isrealobj, np.result_type}
)
"""NumPy's functions of which shape or dtype is all that the answer depends on."""


def _euclidean(x: Any, ord: Any, axis: Any, keepdims: bool) -> Any:
    over = x.ndim if axis is None else len(axis) if isinstance(axis, tuple) else 1
    if ord is not None and (ord, over) not in ((2, 1), ("fro", 2)):
        raise TypeError(f"numpy.linalg.norm with ord={ord!r} has no gradient here: only the Euclidean norm has")
    return ops.norm(x, axis, keepdims)
