"""Softmaxes over V classes: the full one, and two that ask most classes nothing, for vocabularies of many thousands.

    full         one product with the columns of all V classes
    adaptive     the common classes, beside one entry for each cluster of the others; within a cluster, one of its own
    two-level    a group of about √V / 2 classes, and then one of these

Each is one distribution over all V, exactly normalised: a loss is minus the log-probability of the target, and no class
is left out. The last two expect common classes to have low numbers, as the tokens of a Vocabulary have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import Array, HostArray, to_host, xp
from tinygrad_rnn.models import init
from tinygrad_rnn.models.layers import Linear
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.ops.rows import Reduction, rows_of
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tape import astype
from tinygrad_rnn.tensor import Parameter, Tensor

Part = tuple[Array | None, Callable[..., Tensor]]
"""A summand of the losses of N rows: which rows have it (None: all), and the loss of these as a function of `weights`
and `reduction`."""


class Softmax(Module):
    """What turns each row of hidden units (...,H) into a distribution over V `classes`. A subclass says
    `log_probabilities` and the `parts` of a loss."""

    classes: int

    def loss(
        self,
        hidden: Tensor,
        targets: Any,
        weights: Any = None,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """-log_probabilities[target], in nats, of hidden (...,H): the arguments after it, what comes back and what is
        raised are those of `softmax_cross_entropy`."""
        name = f"{type(self).__name__}: loss"
        rows = rows_of(name, hidden, self.classes, targets, weights, ignore_index, reduction)
        x, total = rows.of(hidden), None
        for index, loss in self.parts(x, rows.labels):
            if reduction != "none":
                part = loss(weights=rows.scale if index is None else rows.scale[index], reduction="sum")
            else:
                part = loss(reduction="none")
                part = part if index is None else ops.scatter(part, index, (len(rows.labels),))
            total = part if total is None else total + part
        if total is None:
            raise NotImplementedError(f"{name} has no parts")
        if reduction != "none":
            return total
        found: Tensor = rows.losses(total * astype(rows.scale, x.dtype))
        return found

    def parts(self, x: Tensor, labels: Array) -> Iterator[Part]:
        """Those of the losses of rows (N,H) whose classes are `labels` (N,); at least one."""
        raise NotImplementedError

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """(...,H) -> (...,V)."""
        raise NotImplementedError

    def scores(self, hidden: Tensor) -> Tensor:
        """(...,H) -> (...,V), of which a softmax makes the probabilities; what is cheapest."""
        return self.log_probabilities(hidden)

    def predict(self, hidden: Tensor) -> Tensor:
        """The likeliest class of each row, of equal ones the first: (...,H) -> (...). Nothing is on the tape."""
        with no_grad():
            return ops.argmax(self.scores(hidden), axis=-1)


class FullSoftmax(Softmax):
    """softmax(hidden @ weight + bias), with weight (H,V) Glorot uniform and bias (V,) zero.

    Args:
        hidden_size, classes: H and V.
        bias: False leaves it out.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).

    Example:
        >>> softmax = models.FullSoftmax(hidden_size=3, classes=10)
        >>> hidden = Tensor(np.ones((5, 3), np.float32))
        >>> softmax.loss(hidden, np.zeros(5, int)).shape, softmax.log_probabilities(hidden).shape
        ((), (5, 10))
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        classes: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        shape = (init.size("hidden_size", hidden_size), init.size("classes", classes))
        self.weight = Parameter(init.glorot(init.generator(rng), shape), dtype=dtype)
        self.bias = Parameter(np.zeros(classes), dtype=dtype) if bias else None
        self.classes = classes

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> FullSoftmax:
        """The one with these weights, (H,V) and (V,), which may be another's."""
        made = cls.__new__(cls)
        made.weight, made.bias, made.classes = weight, bias, weight.shape[1]
        return made

    def loss(
        self,
        hidden: Tensor,
        targets: Any,
        weights: Any = None,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """-log_probabilities[target], in nats, of hidden (...,H): the arguments after it, what comes back and what is
        raised are those of `softmax_cross_entropy`. The (...,V) scores never exist."""
        return ops.linear_cross_entropy(hidden, self.weight, self.bias, targets, weights, ignore_index, reduction)

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """(...,H) -> (...,V)."""
        return ops.log_softmax(self.scores(hidden), axis=-1)

    def scores(self, hidden: Tensor) -> Tensor:
        """(...,H) -> (...,V): the logits."""
        y = hidden @ self.weight
        return y if self.bias is None else y + self.bias


class AdaptiveSoftmax(Softmax):
    """Rarer classes have fewer weights (Grave et al. 2017). It has the methods of `FullSoftmax`.

    The classes below cutoffs[0] stand in the `head`, with one entry for each cluster of the others, [cutoffs[0],
    cutoffs[1]) and so on to V. Cluster i is read from H / shrink**(i+1) units (at least one), a product of the hidden
    ones.

    Args:
        hidden_size, classes: H and V.
        cutoffs: rising from 1 to V - 1. Unless told there are two: at V/50, but at least at a thousand or a quarter of
            V, and at the geometric mean of that and V. None at all, (), make it a full softmax.
        shrink: by what clusters become smaller.
        bias: stands in the head and in every cluster.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).

    Raises:
        ValueError: cutoffs do not rise so.

    Example:
        >>> softmax = models.AdaptiveSoftmax(hidden_size=8, classes=100, cutoffs=[10, 40])
        >>> softmax.size < models.FullSoftmax(8, 100).size
        True
    """

    def __init__(
        self,
        hidden_size: int,
        classes: int,
        cutoffs: Sequence[int] | None = None,
        shrink: float = 4.0,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.classes = init.size("classes", classes)
        inner = _cutoffs(self.classes) if cutoffs is None else tuple(init.size("cutoffs", cut) for cut in cutoffs)
        if any(a >= b for a, b in pairwise((*inner, self.classes))):
            raise ValueError(f"cutoffs must rise and lie between 1 and {self.classes - 1}, got {inner}")
        if not shrink >= 1:
            raise ValueError(f"shrink must be at least 1, got {shrink!r}")
        self.cutoffs = (*inner, self.classes)
        options: Any = {"dtype": dtype, "rng": init.generator(rng)}
        self.head = Linear(hidden_size, self.cutoffs[0] + len(inner), bias, **options)
        sizes = [max(1, int(hidden_size / shrink ** (i + 1))) for i in range(len(inner))]
        self.down = [Linear(hidden_size, size, False, **options) for size in sizes]
        self.up = [
            Linear(size, end - start, bias, **options)
            for size, (start, end) in zip(sizes, pairwise(self.cutoffs), strict=True)
        ]

    def parts(self, x: Tensor, labels: Array) -> Iterator[Part]:
        """The head's choice of every row, and the cluster's of those that lie in one."""
        lib, first, chosen = xp(labels), self.cutoffs[0], labels
        for i, (start, end) in enumerate(pairwise(self.cutoffs)):
            here = (labels >= start) & (labels < end)
            chosen = lib.where(here, first + i, chosen)
            index = lib.flatnonzero(here)
            if len(index):
                up = self.up[i]
                small = self.down[i](x[index])
                yield index, partial(ops.linear_cross_entropy, small, up.weight, up.bias, labels[index] - start)
        yield None, partial(ops.linear_cross_entropy, x, self.head.weight, self.head.bias, chosen)

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """(...,H) -> (...,V)."""
        head, first = ops.log_softmax(self.head(hidden), axis=-1), self.cutoffs[0]
        clusters = [
            ops.log_softmax(up(down(hidden)), axis=-1) + head[..., first + i : first + i + 1]
            for i, (down, up) in enumerate(zip(self.down, self.up, strict=True))
        ]
        return ops.concatenate([head[..., :first], *clusters], axis=-1)

    def predict(self, hidden: Tensor) -> Tensor:
        """See `Softmax.predict`. Only where the head finds a cluster likeliest are the others asked."""
        with no_grad():
            x = hidden.reshape((-1, hidden.shape[-1]))
            found = ops.argmax(self.head(x), axis=-1).data
            index = xp(found).flatnonzero(found >= self.cutoffs[0])
            if len(index):
                found[index] = super().predict(x[index]).data
            return Tensor(found.reshape(hidden.shape[:-1]))


def _cutoffs(classes: int) -> tuple[int, ...]:
    first = max(classes // 50, min(1000, classes // 4), 1)
    return tuple(sorted({first, math.isqrt(first * classes)} - {classes}))


class TwoLevelSoftmax(Softmax):
    """P(group) P(class | group) (Goodman 2001; Mikolov et al. 2011), where group c has the classes c S to c S + S - 1.
    It has the methods of `FullSoftmax`.

    `top` is a layer (H,C) to the groups, whose weights are (C,H,S), with biases (C,S); a loss reads and changes only
    those of its targets' groups.

    Args:
        hidden_size, classes: H and V.
        group_size: S, √V / 2, rounded up, unless told (reading a group's weights costs more than choosing among
            groups); the last group may have fewer.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).

    Example:
        >>> models.TwoLevelSoftmax(hidden_size=8, classes=100).weight.shape
        (20, 8, 5)
    """

    def __init__(
        self,
        hidden_size: int,
        classes: int,
        group_size: int | None = None,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng, self.classes = init.generator(rng), init.size("classes", classes)
        usual = math.ceil(math.sqrt(self.classes) / 2)
        self.group_size = min(init.size("group_size", usual if group_size is None else group_size), self.classes)
        groups = -(-self.classes // self.group_size)
        self.top = Linear(hidden_size, groups, dtype=dtype, rng=rng)
        each = init.glorot(rng, (hidden_size, groups * self.group_size)).reshape(hidden_size, groups, self.group_size)
        self.weight = Parameter(np.ascontiguousarray(each.swapaxes(0, 1)), dtype=dtype)
        self.bias = Parameter(np.zeros((groups, self.group_size)), dtype=dtype)

    def parts(self, x: Tensor, labels: Array) -> Iterator[Part]:
        """The choice of a group, and that within it. The rows of a group lie in blocks of BLOCK_ROWS, some of them
        empty, so that its weights are read once for so many."""
        group, within = labels // self.group_size, labels % self.group_size
        yield None, partial(ops.linear_cross_entropy, x, self.top.weight, self.top.bias, group)
        lib, (blocks, slots) = xp(labels), _blocks(to_host(group))
        rows = ops.scatter(x, lib.asarray(slots), (len(blocks) * BLOCK_ROWS, x.shape[1]))
        of_block = lib.asarray(blocks)
        logits = rows.reshape((len(blocks), BLOCK_ROWS, x.shape[1])) @ ops.take(self.weight, of_block)
        logits = logits + ops.expand_dims(ops.take(self.bias, of_block), 1)
        logits = logits.reshape((-1, self.group_size))[lib.asarray(slots)]
        yield None, partial(ops.softmax_cross_entropy, self._of_classes(logits, group), within)

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """(...,H) -> (...,V)."""
        x = hidden.reshape((-1, hidden.shape[-1]))
        groups, size = self.bias.shape
        logits = ops.swapaxes(x @ self.weight + ops.expand_dims(self.bias, 1), 0, 1)
        logits = self._of_classes(logits, xp(logits.data).arange(groups))
        all_ = ops.expand_dims(ops.log_softmax(self.top(x), axis=-1), 2) + ops.log_softmax(logits, axis=-1)
        return all_.reshape((len(x), groups * size))[:, : self.classes].reshape((*hidden.shape[:-1], self.classes))

    def _of_classes(self, logits: Tensor, groups: Array) -> Tensor:
        """Logits (...,G,S) of groups (G,), with the lowest number in the places of the last one that are no classes."""
        if self.classes % self.group_size == 0:
            return logits
        lib = xp(groups)
        there = groups[:, None] * self.group_size + lib.arange(self.group_size) < self.classes
        return ops.where(there, logits, float(np.finfo(logits.dtype).min) / 2)


BLOCK_ROWS = 8
"""Rows of a group that share a copy of its weights: with more, most of them are empty in rare groups; with fewer, more
copies are made of common ones."""


def _blocks(group: HostArray) -> tuple[HostArray, HostArray]:
    """Blocks of BLOCK_ROWS rows of one group each: their groups, and for each row (N,) its slot in all the blocks."""
    found, number, counts = np.unique(group, return_inverse=True, return_counts=True)
    blocks = -(-counts // BLOCK_ROWS)
    starts, first = np.cumsum(counts) - counts, np.cumsum(blocks) - blocks
    rank = np.empty(len(group), np.int64)  # of a row among those of its group
    rank[np.argsort(number, kind="stable")] = np.arange(len(group)) - np.repeat(starts, counts)
    return np.repeat(found, blocks), first[number] * BLOCK_ROWS + rank


SOFTMAXES: dict[str, Callable[..., Softmax]] = {
    "full": FullSoftmax,
    "adaptive": AdaptiveSoftmax,
    "two-level": TwoLevelSoftmax,
}
"""By name: each is made of H and V."""
