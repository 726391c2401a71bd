"""Products of vectors, matrices and whatever Einstein's convention can write."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from tinygrad_rnn.backend import Array, as_array, xp
from tinygrad_rnn.ops.arithmetic import mul
from tinygrad_rnn.tape import Box, primitive

if TYPE_CHECKING:
    from tinygrad_rnn.tensor import Tensor


@primitive
def matmul(a: Array, b: Array) -> Array:
    """a @ b in every combination that NumPy allows: vectors, matrices, and stacks of matrices that broadcast. Raises
    ValueError where the shapes do not fit."""
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"matmul: shapes (..., n, k) and (..., k, m) were expected, got {a.shape} and {b.shape}")
    if a.ndim > 2 and b.ndim == 2:
        # One product over all rows instead of one per leading index.
        return (a.reshape((-1, a.shape[-1])) @ b).reshape((*a.shape[:-1], b.shape[-1])) if a.size else a @ b
    return a @ b


def _matmul_left(g: Any, out: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return g.reshape((*g.shape, 1)) * b
    if a.ndim == 1:
        return matmul(b, g.reshape((*g.shape, 1))).reshape(b.shape[:-1])
    return matmul(g, b.swapaxes(-1, -2))


def _matmul_right(g: Any, out: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return g.reshape((*g.shape, 1)) * a
    if a.ndim == 1:
        return g.reshape((*g.shape[:-1], 1, g.shape[-1])) * a.reshape((-1, 1))
    if b.ndim == 2 and a.ndim > 2 and 0 not in (*a.shape, *out.shape):
        return matmul(a.reshape((-1, a.shape[-1])).swapaxes(0, 1), g.reshape((-1, g.shape[-1])))
    return matmul(a.swapaxes(-1, -2), g)


matmul.vjp(_matmul_left, _matmul_right)


def outer(a: Any, b: Any) -> Tensor:
    """The products of every entry of `a` with every entry of `b`, both flattened: (A,), (B,) -> (A,B)."""
    return mul(a.reshape((-1, 1)), b.reshape((1, -1)))


@primitive
def _einsum(subscripts: str, *operands: Array) -> Array:
    return xp(operands[0]).einsum(subscripts, *operands)


def _einsum_rule(n: int, g: Any, out: Any, subscripts: str, *operands: Any) -> Any:
    """The gradient of operand n is an einsum of `g` and the other operands. A letter that has its size in no
    other place gets a row of ones (its sum broadcasts back), and a repeated one an identity (its diagonal)."""
    n -= 1  # argument 0 is the subscripts
    inputs, result = subscripts.split("->")
    terms = inputs.split(",")
    sizes: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for letter, size in zip(term, x.shape, strict=True):
            sizes[letter] = size if size != 1 else sizes.get(letter, 1)
    spare = (c for c in string.ascii_letters if c not in subscripts)
    names, arrays = [result, *terms[:n], *terms[n + 1 :]], [g, *operands[:n], *operands[n + 1 :]]
    elsewhere = {
        letter
        for term, x in zip(names, arrays, strict=True)
        for letter, size in zip(term, x.shape, strict=True)
        if size == sizes[letter]
    }
    own, lib = "", (g.xp if isinstance(g, Box) else xp(g))
    for letter in terms[n]:
        if letter in own:
            twin = next(spare)
            names.append(letter + twin)
            arrays.append(lib.eye(sizes[letter], dtype=g.dtype))
            own += twin
        else:
            own += letter
            if letter not in elsewhere:
                names.append(letter)
                arrays.append(lib.ones(sizes[letter], dtype=g.dtype))
    return _einsum(",".join(names) + "->" + own, *arrays)


_einsum.vjp_each(_einsum_rule)


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Einstein summation as `numpy.einsum` writes it, `...` and repeated letters included.

    Raises ValueError where the subscripts do not fit the operands."""
    if not isinstance(subscripts, str):
        raise TypeError(f'einsum: subscripts such as "ij,jk->ik" were expected first, got {type(subscripts).__name__}')
    operands = tuple(as_array(x) if isinstance(x, list | tuple) else x for x in operands)
    explicit = _spell_out(subscripts.replace(" ", ""), [x.ndim for x in operands])
    return _einsum(explicit, *operands)


def _spell_out(subscripts: str, ndims: list[int]) -> str:
    """Subscripts with an arrow, and letters where `...` stood."""
    inputs, arrow, result = subscripts.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: {subscripts!r} names {len(terms)} operands, got {len(ndims)}")
    if not arrow:
        once = sorted(c for c in set(inputs) - set(",.") if inputs.count(c) == 1)
        result = ("..." if "..." in inputs else "") + "".join(once)
    spare = "".join(c for c in string.ascii_letters if c not in subscripts)
    widest = 0
    spelled = []
    for term, ndim in zip(terms, ndims, strict=True):
        width = ndim - len(term.replace("...", "")) if "..." in term else 0
        if width < 0 or len(term.replace("...", "")) + width != ndim:
            raise ValueError(f"einsum: {term!r} in {subscripts!r} does not fit an operand with {ndim} axes")
        widest = max(widest, width)
        spelled.append((term, width))
    if arrow and widest and "..." not in result:
        raise ValueError(f"einsum: {subscripts!r} leaves out of its result the axes that `...` stands for")
    letters = spare[:widest]
    terms = [term.replace("...", letters[widest - width :]) for term, width in spelled]
    return ",".join(terms) + "->" + result.replace("...", letters)
