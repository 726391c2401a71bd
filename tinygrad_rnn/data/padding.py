"""Examples side by side: batches of like length, and rows of different lengths as one array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.vocabulary import Ids

_Example = TypeVar("_Example")


def buckets(
    examples: Sequence[_Example],
    size: int,
    key: Callable[[_Example], Any],
    rng: np.random.Generator | None = None,
) -> Iterator[list[_Example]]:
    """Batches of examples whose keys (their lengths, say) are alike, so that little of them is padding; one may be
    smaller.

    Args:
        examples: of any kind.
        size: of a batch.
        key: of an example: `lambda example: len(example[0])`.
        rng: shuffles the examples of equal key, and the batches, and nothing but it decides how; without it the
            smallest keys come first.

    Raises:
        TextError: there is no example.

    Example:
        >>> list(data.buckets(["ccc", "a", "bb", "dddd"], 2, key=len))
        [['a', 'bb'], ['ccc', 'dddd']]
    """
    if size < 1:
        raise TextError(f"the size of a batch must be at least 1, got {size}")
    if not len(examples):
        raise TextError("batches need an example, got none")
    order = range(len(examples)) if rng is None else rng.permutation(len(examples)).tolist()
    order = sorted(order, key=lambda i: key(examples[i]))  # stable: those of equal key stay as they were drawn
    begins = np.arange(0, len(order), size)
    for begin in begins if rng is None else rng.permutation(begins):
        yield [examples[i] for i in order[begin : begin + size]]


def padded(rows: Sequence[Any], value: float = 0, dtype: Any = None) -> tuple[HostArray, Ids]:
    """Rows of ids, (T_b,) each, or of frames, (T_b, F), side by side.

    Args:
        rows: one for each of B.
        value: what stands after the end of a row.
        dtype: int64 for whole numbers and otherwise that of the rows, unless told.

    Returns:
        An array (T,B) or (T,B,F), and the lengths (B,) int64. T is the longest length, and 1 where all rows are empty.

    Raises:
        TextError: no rows, frames of different sizes, and numbers or `value` that would not keep what they are in
            `dtype`.

    Example:
        >>> data.padded([[1, 2, 3], [4]])
        (array([[1, 4], [2, 0], [3, 0]]), array([3, 1]))
    """
    arrays = [_as_row(number, row) for number, row in enumerate(rows)]
    if not arrays:
        raise TextError("rows to pad were expected, got none")
    said = [array for array in arrays if array.size or array.ndim > 1]  # to NumPy [] is a row of floats
    said = said or [np.zeros(0, dtype=np.int64)]
    shapes = sorted({array.shape[1:] for array in said})
    if len(shapes) > 1:
        raise TextError(
            f"rows of one shape but for their length were expected, got entries of {shapes[0]} and {shapes[1]}"
        )
    found = np.result_type(*said)
    made = np.dtype(np.int64 if found.kind in "iu" else found) if dtype is None else np.dtype(dtype)
    if not np.can_cast(found, made, "same_kind") or (made.kind != "f" and not isinstance(value, int | np.integer)):
        raise TextError(f"rows of {found} and the value {value} do not keep what they are as {made}")
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    out = np.full((max(int(lengths.max()), 1), len(arrays), *shapes[0]), value, dtype=made)
    for b, array in enumerate(arrays):
        if array.size:
            out[: len(array), b] = array
    return out, lengths


def _as_row(number: int, row: Any) -> HostArray:
    try:
        array = np.asarray(row)
    except ValueError:  # a ragged list
        array = np.asarray(None)
    if array.ndim == 0 or array.dtype.kind not in "iufb":
        raise TextError(f"row {number} must be ids or frames, numbers in one shape, got {str(row)[:40]!r}")
    return array
