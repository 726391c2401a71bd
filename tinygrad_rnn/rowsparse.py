"""The gradient of an embedding table: only the rows that were looked up, never the whole table."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import Array, is_array, xp
from tinygrad_rnn.row_sums import is_had, row_sums
from tinygrad_rnn.sums import group_sums


class RowSparse:
    """An array that is zero outside some of its rows: the gradient of an embedding table.

    Sums of RowSparse stay sparse, a sum with a dense array is dense (`array += r` adds in place), and a scalar scales
    the values; anything else asks for `.dense()`.

    Args:
        rows: (K,) of integers, sorted and without repeats; shared, not copied.
        values: (K, *shape[1:]), where `values[k]` is row `rows[k]`; shared, not copied.
        shape: of the whole array.

    Raises:
        ValueError: the shapes, the order or the range do not fit.

    Example:
        >>> table = Parameter(np.zeros((5, 2)))
        >>> ops.take(table, [3, 1, 3]).sum().backward()
        >>> table.grad.rows, table.grad.values
        (array([1, 3]), array([[1., 1.], [2., 2.]]))
        >>> table.grad.dense().shape
        (5, 2)
    """

    __slots__ = ("rows", "shape", "values")

    def __init__(self, rows: Array, values: Array, shape: tuple[int, ...]) -> None:
        self.rows, self.values, self.shape = rows, values, tuple(shape)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise ValueError(f"rows must be a vector of integers, got shape {rows.shape} of {rows.dtype}")
        if values.shape != (len(rows), *self.shape[1:]):
            expected = (len(rows), *self.shape[1:])
            raise ValueError(f"values of {len(rows)} rows must have shape {expected}, got {values.shape}")
        if len(rows) and (rows[0] < 0 or rows[-1] >= self.shape[0] or (rows[1:] <= rows[:-1]).any()):
            raise ValueError(
                f"rows must be sorted, without repeats, and within 0 ... {self.shape[0] - 1} "
                "(RowSparse.from_indices takes indices in any order, repeated ones too)"
            )

    @classmethod
    def from_indices(cls, indices: Array, values: Array, shape: tuple[int, ...]) -> RowSparse:
        """Sums values into rows: the adjoint of `table[indices]`. The sums run in the order of the indices, so the
        result is the same on every run.

        Args:
            indices: integers of any shape, which may repeat, and count from the end where negative. What is on the host
                is put in order there, and nobody waits for a GPU.
            values: (*indices.shape, *shape[1:]).
            shape: of the whole array.

        Raises:
            IndexError: an index is outside the table.
            ValueError: indices are not integers.
        """
        lib, size = xp(values), shape[0]
        home = np if isinstance(indices, np.ndarray) else lib
        flat = home.asarray(indices).reshape(-1)
        if flat.dtype.kind not in "iu" and flat.size:
            raise ValueError(f"indices must be integers, got {flat.dtype}")
        flat = flat.astype(np.int64, copy=False)
        values = values.reshape((flat.size, *shape[1:]))
        if not flat.size:
            return cls._of(lib.asarray(flat), values, shape)
        if int(flat.view(np.uint64).max()) >= size:  # as such numbers, negative ones are larger than any size
            if int(flat.min()) < -size or int(flat.max()) >= size:
                raise IndexError(f"indices must be within the {size} rows of the table, or negative from its end")
            flat = home.where(flat < 0, flat + size, flat)
        key = flat.astype(np.uint16) if size <= 1 << 16 else flat  # 16 bits are sorted by radix, five times as fast
        order = home.argsort(key, kind="stable")
        flat = flat[order]
        first = home.empty(flat.shape, dtype=bool)  # where a new row begins
        first[0] = True
        first[1:] = flat[1:] != flat[:-1]
        starts = home.flatnonzero(first)
        rows = lib.asarray(flat[starts])
        if home is np and values.size and is_had(values):
            return cls._of(rows, row_sums(values, order, starts), shape)
        values = lib.take(values, lib.asarray(order), axis=0)
        if len(starts) < len(flat):
            values = group_sums(values, starts)
        return cls._of(rows, values, shape)

    @classmethod
    def _of(cls, rows: Array, values: Array, shape: tuple[int, ...]) -> RowSparse:
        """One of rows that are known to be in order."""
        made = cls.__new__(cls)
        made.rows, made.values, made.shape = rows, values, tuple(shape)
        return made

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        dtype: np.dtype[Any] = self.values.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes of the dense array."""
        return len(self.shape)

    def dense(self) -> Array:
        """The whole array, zeros included; a new array each time."""
        out = xp(self.values).zeros(self.shape, dtype=self.dtype)
        out[self.rows] = self.values
        return out

    def add_to(self, array: Array) -> Array:
        """Adds to a dense array of the same shape in place, and returns it."""
        array[self.rows] += self.values  # right because no row is repeated
        return array

    def astype(self, dtype: Any, copy: bool = True) -> RowSparse:
        """The same rows with the values in `dtype`; `copy=False` shares them where they are so already."""
        return self._of(self.rows, self.values.astype(dtype, copy=copy), self.shape)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, RowSparse) and not is_array(other):
            return NotImplemented
        if other.shape != self.shape:
            raise ValueError(f"a sum with a RowSparse needs equal shapes, got {other.shape} and {self.shape}")
        if isinstance(other, RowSparse):
            lib = xp(self.values)
            rows = lib.concatenate((self.rows, other.rows))
            return RowSparse.from_indices(rows, lib.concatenate((self.values, other.values)), self.shape)
        return self.add_to(other.astype(np.result_type(other.dtype, self.dtype)))  # astype copies

    __radd__ = __add__

    def __mul__(self, factor: Any) -> RowSparse:
        if getattr(factor, "ndim", 0) or isinstance(factor, RowSparse):
            return NotImplemented
        # The factor takes the dtype of the values: a float64 scalar must not widen float32 gradients.
        return self._of(self.rows, self.values * self.dtype.type(float(factor)), self.shape)

    __rmul__ = __mul__

    def __neg__(self) -> RowSparse:
        return self._of(self.rows, -self.values, self.shape)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        # `array + r`, `array += r` and `scalar * r` arrive here. `__array_ufunc__ = None` would do for the
        # first and the last, but NumPy then refuses the second instead of trying `__radd__`.
        if method != "__call__" or options or ufunc not in (np.add, np.multiply):
            return NotImplemented
        left, right = inputs
        if out is None:
            other = left if right is self else right
            return self.__add__(other) if ufunc is np.add else self.__mul__(other)
        if ufunc is np.add and out[0] is left and left.shape == self.shape:
            return self.add_to(left)
        return NotImplemented

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a RowSparse is not turned into an array in silence: call .dense()")

    def __repr__(self) -> str:
        return f"RowSparse({len(self.rows)} of {self.shape[0]} rows, shape={self.shape}, dtype={self.dtype})"
