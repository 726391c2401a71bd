"""Large products, shared out among threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinygrad_rnn.backend import Array
from tinygrad_rnn.machine.choosing import by_blas, ours_is_chosen
from tinygrad_rnn.machine.multiplying import multiply
from tinygrad_rnn.machine.product import TALL, panel_columns
from tinygrad_rnn.openblas import adds_product
from tinygrad_rnn.threads import in_threads, shares

Multiplies = Callable[[Array, Array, Array, bool], None]
"""`by(a, b, out, adds)`: out = a @ b, or with `adds` out += a @ b."""

Matrices = tuple[Array, Array, Array]
"""A left operand, a right one, and where their product goes, which has its columns side by side."""


def shared_products(products: Sequence[Matrices], adds: bool = False) -> None:
    """out = a @ b, or with `adds` out += a @ b, of matrices of one dtype (float32 or float64) and one size."""
    parts, by = _parts(products), _function(products[0][0])

    def some(i: int) -> None:
        for a, b, out in products[i::parts]:
            by(a, b, out, adds)

    if len(products) >= parts:
        in_threads(parts, some)
        return
    for a, b, out in products:
        if b.shape[1] > len(a):
            _by_columns(by, a, b, out, parts, adds)
        else:
            _by_rows(by, [(a, b)], out, parts, adds)


def summed_products(pairs: Sequence[tuple[Array, Array]], out: Array) -> None:
    """out = the sum of a @ b over all pairs, of one dtype and one size."""
    _by_rows(_function(pairs[0][0]), pairs, out, _parts([(a, b, out) for a, b in pairs]), False)


def _parts(products: Sequence[Matrices]) -> int:
    """Among how many threads they are shared out."""
    (M, K), N = products[0][0].shape, products[0][1].shape[1]
    return shares(len(products) * M * N * K)


def _function(a: Array) -> Multiplies:
    """What makes products of a matrix like `a`, as this thread has it, whichever thread then calls it."""
    return multiply if ours_is_chosen(a.shape[1], a.dtype) else _by_blas_if_it_can


def _by_blas_if_it_can(a: Array, b: Array, out: Array, adds: bool) -> None:
    if not adds:
        by_blas(a, b, out)
    elif not adds_product(a, b, out):
        multiply(a, b, out, adds)


def _by_columns(by: Multiplies, a: Array, b: Array, out: Array, parts: int, adds: bool) -> None:
    cuts = cut(b.shape[1], parts, panel_columns(a.dtype))

    def part(i: int) -> None:
        columns = slice(cuts[i], cuts[i + 1])
        by(a, b[:, columns], out[:, columns], adds)

    in_threads(parts, part)


def _by_rows(by: Multiplies, pairs: Sequence[tuple[Array, Array]], out: Array, parts: int, adds: bool) -> None:
    cuts = cut(len(out), parts, TALL)

    def part(i: int) -> None:
        rows = slice(cuts[i], cuts[i + 1])
        for number, (a, b) in enumerate(pairs):
            by(a[rows], b, out[rows], adds or number > 0)

    in_threads(parts, part)


def cut(n: int, parts: int, step: int) -> list[int]:
    """Where to cut n in so many parts, each of about as many steps of this size as the others, the last step perhaps a
    shorter one."""
    steps = -(-n // step)
    return [steps * i // parts * step for i in range(parts)] + [n]
