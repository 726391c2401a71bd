"""Embedding: a table of vectors, one per id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray, is_array, to_device, xp
from tinygrad_rnn.models import init
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.ops.indexing import _within
from tinygrad_rnn.tensor import Parameter, Tensor


class Embedding(Module):
    """Looks ids up in `weight` (V,E): ids (...) -> (...,E). Normal with standard deviation 1/sqrt(E), so that vectors
    start with length about 1. The gradient is row-sparse: only rows that were read are touched.

    Args:
        num_embeddings, embedding_size: V and E.
        padding: a row that reads as zeros and never receives a gradient.
        dtype, rng: of the table, and the generator that draws it (seed 0 unless told).

    Raises:
        TypeError: called, ids are not integers.
        IndexError: called, one is not in the table.

    Example:
        >>> embedding = models.Embedding(100, 8)
        >>> vectors = embedding([[3, 1], [4, 1], [5, 9]])
        >>> vectors.shape
        (3, 2, 8)
        >>> vectors.sum().backward()
        >>> embedding.weight.grad.rows
        array([1, 3, 4, 5, 9])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_size: int,
        padding: int | None = None,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        shape = (init.size("num_embeddings", num_embeddings), init.size("embedding_size", embedding_size))
        if padding is not None and not 0 <= padding < num_embeddings:
            raise ValueError(f"padding must be a row between 0 and {num_embeddings - 1}, got {padding!r}")
        table = init.generator(rng).standard_normal(shape) / np.sqrt(embedding_size)
        if padding is not None:
            table[padding] = 0
        self.weight = Parameter(table, dtype=dtype)
        self.padding = padding

    def __call__(self, ids: Any) -> Tensor:
        """(...) of integers -> (...,E). For a table on a GPU they may lie on the host, which then need not wait for it.
        Raises TypeError where ids are not integers, IndexError where one is not in the table."""
        ids = ids if isinstance(ids, Tensor) or is_array(ids) else np.asarray(ids)
        if ids.dtype.kind not in "iu":
            raise TypeError(f"Embedding: ids must be integers, got dtype {ids.dtype}")
        ids = _within(ids, self.weight.shape[0], "Embedding: ids")
        vectors = ops.take(self.weight, ids)
        if self.padding is None:
            return vectors
        counts = (ids != self.padding)[..., None]
        if vectors.xp is not np and (counts.xp if isinstance(counts, Tensor) else xp(counts)) is np:
            counts = vectors.xp.asarray(counts.data if isinstance(counts, Tensor) else counts)
        return ops.where(counts, vectors, 0.0)

    def load_vectors(self, path: str | PathLike[str], tokens: Sequence[str]) -> int:
        """Sets rows to pre-trained vectors; the others stay as they are.

        Args:
            path: a text file as `read_vectors` reads it, of GloVe or word2vec.
            tokens: row i is tokens[i].

        Returns:
            How many of them the file had.

        Raises:
            ValueError, OSError: as `read_vectors` does, and for more tokens than rows.
        """
        if len(tokens) > self.weight.shape[0]:
            raise ValueError(f"tokens must be at most {self.weight.shape[0]}, one per row, got {len(tokens)}")
        vectors = read_vectors(path, tokens, self.weight.shape[1])
        table = self.weight.numpy().copy()
        for row, token in enumerate(tokens):
            if token in vectors and row != self.padding:
                table[row] = vectors[token]
        self.weight.data = to_device(table, self.device)
        return len(vectors)


class VectorSizeError(ValueError):
    """A file of word vectors has another size than was expected; `found` is the file's."""

    def __init__(self, path: str | PathLike[str], expected: int, found: int) -> None:
        super().__init__(f"{path}: vectors of {expected} numbers were expected, the file has vectors of {found}")
        self.found = found


def read_vectors(path: str | PathLike[str], tokens: Iterable[str], size: int) -> dict[str, HostArray]:
    """Word vectors of `size` numbers in the text format of GloVe (Pennington et al. 2014): a line per word, the word
    and its numbers apart by spaces or tabs; or of word2vec (Mikolov et al. 2013), which has a line "count size" above.
    Blank lines and a byte order mark are passed by.

    Raises VectorSizeError where the vectors are of another size, ValueError naming the file and the line where a line
    does not fit, OSError where the file cannot be read."""
    wanted = set(tokens)
    found: dict[str, HostArray] = {}
    first = True
    with Path(path).open(encoding="utf-8-sig", errors="strict") as file:
        try:
            for number, line in enumerate(file, 1):
                fields = [field for field in line.rstrip("\n").replace("\t", " ").split(" ") if field]
                if not fields:
                    continue
                if first:
                    first = False
                    if _described(path, fields, size):
                        continue
                word, numbers = " ".join(fields[:-size]), fields[-size:]  # a word may itself hold spaces
                if not word or (len(fields) > size + 1 and _is_number(fields[-size - 1])):
                    raise ValueError(
                        f"{path}, line {number}: a word and {size} numbers were expected, got {line.rstrip()[:60]!r}"
                    )
                if word in wanted and word not in found:
                    vector = np.array([float(x) if _is_number(x) else np.nan for x in numbers])
                    if not np.isfinite(vector).all():
                        raise ValueError(f"{path}, line {number}: the vector of {word!r} is not made of finite numbers")
                    found[word] = vector
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: a text file of word vectors in UTF-8 was expected: {error}") from None
    return found


def _described(path: str | PathLike[str], fields: list[str], size: int) -> bool:
    """Whether the first line is word2vec's "count size". Raises VectorSizeError where it tells another size than
    `size`."""
    heading = len(fields) == 2 and size != 1
    if heading and fields[1].isdecimal():
        there = int(fields[1])
    elif len(fields) == size + 1:
        there = size
    else:
        words = (i for i in range(len(fields) - 1, 0, -1) if not _is_number(fields[i]))
        there = len(fields) - 1 - next(words, 0)
    if there not in (0, size):
        raise VectorSizeError(path, size, there)
    return heading


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
