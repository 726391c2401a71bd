"""Fewer, larger operations, the same function.

    h @ W_i, h @ W_f, ...                    one product: the slices of h @ [W_i W_f ...]
    dz_i @ W_iᵀ + dz_f @ W_fᵀ + ... + r      one sum of products: Σ [dz_i dz_f ...] @ [W_iᵀ W_fᵀ ...], plus r
    i = sigmoid(z_i), f = sigmoid(z_f)       one call, where z_i and z_f lie beside each other: sigmoid([z_i z_f])

Each makes values lie beside each other (see places.py), and so there is more for the next to do: the products of the
gates come out in one stack, the gates follow, and their gradients are the left operands of one sum of products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.neighbours import merge_neighbours
from tinygrad_rnn.loops.places import Home, Places
from tinygrad_rnn.loops.products import affine, sum_of_products
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.splitting import Parts


def merge(
    parts: Parts,
    ends: Iterable[Var],
    moving: Iterable[Var],
    kept: Iterable[Var],
    known: Home,
    numbers: Iterator[int],
) -> Home:
    """Merges within each part, in place, and returns which values lie in which stack. `ends` are made apart (the loop
    hands them on); `moving` are the carry and what differs from step to step; `kept` are wanted afterwards, of all
    steps; `known` lie in stacks from before; `numbers` are for new Vars."""
    late = {out for e in parts.after for out in e.outs}
    kept = {*kept, *(a for e in parts.after for a in e.reads if a not in late)}
    places = Places(parts, ends, moving, known, numbers)
    sources = {e.outs[0]: e.reads[0] for e in parts.once if e.reads}
    for part in (parts.before, parts.loop, parts.after):
        _merge_products(part, places, kept)
        _merge_sums(part, places, _uses(parts, kept | places.ends), sources)
        merge_neighbours(part, places, kept)
    return places.home


def _uses(parts: Parts, wanted: set[Var]) -> Counter[Var]:
    """How often each value is used: read by an equation, or wanted otherwise."""
    uses = Counter(a for part in (parts.before, parts.loop, parts.after) for e in part for a in e.reads)
    uses.update(wanted)
    return uses


def _is_by_constant(e: Equation, places: Places) -> bool:
    """Whether a product is that of a matrix with one that does not change, such as h @ W."""
    left, right, *_ = e.args
    return right not in places.moving and len(right.shape) == 2 and len(left.shape) == 2


# --- Products of one left operand ------------------------------------------------------------------------------


def _merge_products(part: list[Equation], places: Places, kept: set[Var]) -> None:
    """`z_i = h @ W_i` and `z_f = h @ W_f` become `[z_i z_f] = h @ [W_i W_f]`, and so do products with a bias."""
    groups: dict[Any, list[Equation]] = {}
    for e in part:
        out = e.outs[0]
        if e.primitive in (ops.matmul, affine) and _is_by_constant(e, places) and places.is_free(out):
            # What is kept and what is not are stored apart: no step's value is saved for its neighbour's sake.
            kinds = [(a.shape, a.dtype) for a in e.args]
            groups.setdefault((e.primitive, e.args[0], *kinds, out in kept), []).append(e)
    for group in groups.values():
        if len(group) > 1:
            left, *columns = zip(*(e.args for e in group), strict=True)
            args = (left[0], *(places.constants(column, 2) for column in columns))
            stack = places.settle([e.outs[0] for e in group])
            part[part.index(group[0])] = Equation(group[0].primitive, args, {}, (stack,))
            part[:] = [e for e in part if e not in group]


# --- Sums of products ------------------------------------------------------------------------------------------


class _Sum(NamedTuple):
    """A sum, written out: `a + (b + c)` has three terms."""

    adds: list[Equation]
    """The equations that make it: first the one whose result it is."""
    terms: list[Any]
    """From left to right; numbers may be among them."""
    products: list[Equation]
    """Those that make a term, a product with a constant that nothing else reads, in the order of the constants."""


def _merge_sums(part: list[Equation], places: Places, uses: Counter[Var], sources: dict[Var, Var]) -> None:
    """`dz_i @ W_iᵀ + dz_f @ W_fᵀ + r` becomes `Σ [dz_i dz_f] @ [W_iᵀ W_fᵀ] + r`, where dz_i and dz_f lie beside each
    other or can be made so."""
    for found in _sums(part, places, uses, sources):
        lefts = _lefts(found.products, places)
        if lefts is not None:
            _rewrite(part, found, lefts, places)


def _sums(part: list[Equation], places: Places, uses: Counter[Var], sources: dict[Var, Var]) -> list[_Sum]:
    """The sums of a part, and which of their terms are products that may be merged. `sources` tells for a constant of
    what it is made (W for Wᵀ): sorted by that, the products of different sums have their left operands in one order,
    in which a stack can serve them all."""
    makers = {e.outs[0]: e for e in part}
    additions = [e for e in part if e.primitive is ops.add]

    def is_inner(v: Var, outer: Var) -> bool:
        """Whether a term of a sum is itself a sum, for it alone."""
        return v in makers and makers[v].primitive is ops.add and uses[v] == 1 and v.shape == outer.shape

    def is_mergeable(term: Any, total: Var) -> bool:
        """Whether a term is a product that may be merged with others."""
        if term not in makers or makers[term].primitive is not ops.matmul or not _is_by_constant(makers[term], places):
            return False
        return uses[term] == 1 and term not in places.home and term.shape == total.shape

    def order(product: Equation) -> int:
        constant: Var = product.args[1]
        return sources.get(constant, constant).number

    inner = {v for e in additions for v in e.reads if is_inner(v, e.outs[0])}
    found = []
    for root in additions:
        if root.outs[0] not in inner:
            adds, terms = _written_out(root, makers, inner)
            products = [makers[term] for term in terms if is_mergeable(term, root.outs[0])]
            found.append(_Sum(adds, terms, sorted(products, key=order)))
    return found


def _written_out(root: Equation, makers: dict[Var, Equation], inner: set[Var]) -> tuple[list[Equation], list[Any]]:
    """The additions that make a sum, the last one first, and its terms from left to right."""
    adds, terms = [root], []
    waiting = list(root.args[::-1])
    while waiting:
        term = waiting.pop()
        if term in inner:
            adds.append(makers[term])
            waiting.extend(makers[term].args[::-1])
        else:
            terms.append(term)
    return adds, terms


def _lefts(products: list[Equation], places: Places) -> Var | None:
    """The stack of the left operands of products that can be one sum of products: a new one where none of them has its
    place yet, or one in which they lie beside each other, in order. None where they cannot be one: where constants or
    dtypes differ in kind, left operands lie elsewhere, or there is only one (then they are one product already)."""
    lefts = [e.args[0] for e in products]
    kinds = {(*e.args[1].shape, *(a.dtype for a in e.args)) for e in products}
    if len(set(lefts)) < 2 or len(kinds) > 1:
        return None
    return places.settle(lefts) if places.can_settle(lefts) else places.run(lefts)


def _rewrite(part: list[Equation], found: _Sum, lefts: Var, places: Places) -> None:
    """Puts a sum of products, to which the other terms are added, in the place of the sum that was found."""
    result = found.adds[0].outs[0]
    right = places.constants([e.args[1] for e in found.products], 2)
    merged = {e.outs[0] for e in found.products}
    others = [term for term in found.terms if term not in merged]
    totals = [*(places.new(result.shape, result) for _ in others), result]  # after each of them
    new = [Equation(sum_of_products, (lefts, right), {}, (totals[0],))]
    for term, before, after in zip(others, totals[:-1], totals[1:], strict=True):
        new.append(Equation(ops.add, (before, term), {}, (after,)))
    places.note(new)
    at = part.index(found.adds[0])
    gone = {*found.adds, *found.products}
    part[:] = [*(e for e in part[:at] if e not in gone), *new, *(e for e in part[at:] if e not in gone)]
