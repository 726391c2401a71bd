"""From the equations of a loop to lines: one op, entry by entry over a space of indices, or one product of matrices.

Changes of shape become views of what they are made of, stacks come apart into their slices, softmax and the like become
several simpler ops, and a product with anything but a constant matrix becomes a sum of products of entries:

    o = sigmoid(z)              line   sigmoid   z[b, h]                  -> o[b, h]
    y = h.reshape(B, 4, H / 4)         nothing: another view of h
    m = mean(h, -1)             lines  add over h  h[b, h]                -> s[b]
                                       mul       s[b], 1 / H              -> m[b]
    z = h @ W                   product         h, W                     -> z
    r = C @ q                   lines  mul       C[b, i, j], q[b, j]      -> t[b, i, j]
                                       add over j  t[b, i, j]             -> r[b, i]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.batching import ELEMENTWISE, options_of
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.layout import Layout
from tinygrad_rnn.loops.machine.lines import (
    COMPARISONS,
    DTYPES,
    ENTRYWISE,
    FLOATING,
    LOGIC,
    MULTIPLIED,
    Line,
    Product,
    taken_as,
)
from tinygrad_rnn.loops.machine.simpler import SIMPLER, in_simpler_ops
from tinygrad_rnn.loops.machine.views import Piece, StridedView, all_of, piece_of
from tinygrad_rnn.loops.products import sum_of_products
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.machine.refusal import NotInMachineCode
from tinygrad_rnn.ops.indexing import Slot, _getitem, _parts, _row_at, _scatter
from tinygrad_rnn.ops.products import _einsum
from tinygrad_rnn.ops.reductions import _max, _mean, _min, _sum
from tinygrad_rnn.ops.shapes import _concatenate, _split, _stack, _unstack
from tinygrad_rnn.tape import Primitive, _astype, _detached, _truncated


def lowered(layout: Layout) -> list[Line | Product]:
    """The loop of a layout, in order. Raises NotInMachineCode."""
    lowering = _Lowering(layout)
    for equation in layout.equations:
        lowering.add(equation)
    return lowering.lines


class _Lowering:
    """`views` says how the values so far are seen."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lines: list[Line | Product] = []
        self.views: dict[Var, StridedView] = {}
        self.numbers = count(-1, -1)  # of new Vars
        self.placed = {*layout.stored, *layout.timed, *layout.next_carry, *layout.home, *layout.stacks}
        """What must lie in a place of its own."""
        self.moving = {*layout.made, *layout.timed, *layout.carry}
        self.owned: dict[Var, StridedView] = {}
        """Where slices of a stack lie, by the names that they have here."""

    def add(self, e: Equation) -> None:
        """The lines of an equation."""
        for v in (*e.reads, *e.outs):
            if v.dtype.char not in DTYPES or not v.dtype.isnative:
                raise NotInMachineCode(f"{e.primitive.name} of {v.dtype} is not done in machine code")
        slices = None if e.several else self.slices(e.outs[0])
        if slices is not None:
            for i, piece in enumerate(slices):
                self.add(self._of_slice(e, i, piece))
            return
        simpler = in_simpler_ops(e, self.numbers)
        if simpler is not None:
            for each in simpler:
                self.add(each)
        elif (shaped := _VIEWS.get(e.primitive)) is not None:
            self._see(e, shaped(self, e))
        elif (rule := _RULES.get(e.primitive)) is not None:
            rule(self, e)
        else:
            self._entrywise(e.primitive, [self.arg(a) for a in e.args], self.own(e.outs[0]), e)

    def _of_slice(self, e: Equation, i: int, piece: Piece) -> Equation:
        """What an equation of stacks does to slice number `i`, which makes `piece`."""
        stack, rank = e.outs[0].shape, len(e.outs[0].shape)

        def slice_of(v: Any) -> Any:
            if not isinstance(v, Var):
                return v
            slices = self.slices(v)
            if slices is not None:
                return self._seen_as(all_of(slices[i]), self.views)
            is_stack = len(v.shape) == rank and (v.shape[0] in (1, stack[0]))
            at = i if v.shape[0] == stack[0] else 0
            return self._seen_as(self.view(v).index((at,)), self.views) if is_stack else v

        out = self._seen_as(all_of(piece), self.owned)
        return Equation(e.primitive, tuple(map(slice_of, e.args)), e.params, (out,))

    def _seen_as(self, view: StridedView, seen: dict[Var, StridedView]) -> Var:
        """A new name for a view."""
        name = Var(next(self.numbers), view.shape, view.piece.dtype)
        seen[name] = view
        return name

    # --- Values ---

    def is_constant(self, view: StridedView) -> bool:
        """Whether it is the same at every step."""
        return view.piece.var not in self.moving

    def slices(self, v: Var) -> list[Piece] | None:
        """The pieces of a stack, or of a run of its slices; None for any other value."""
        place = self.layout.home.get(v)
        if place is not None and place.hi is not None:
            return [Piece(place.stack, i) for i in range(place.lo, place.hi)]
        return [Piece(v, i) for i in range(v.shape[0])] if v in self.layout.stacks else None

    def view(self, v: Var) -> StridedView:
        """How a value is seen."""
        if v in self.views:
            return self.views[v]
        if self.slices(v) is not None:
            raise NotInMachineCode(f"a stack of {v.shape} is read in another way than by its slices")
        return self.own(v)

    def own(self, v: Var) -> StridedView:
        """Where a value lies itself."""
        if v in self.owned:
            return self.owned[v]
        return all_of(piece_of(v, self.layout.home))

    def arg(self, a: Any) -> Any:
        """The same of an argument; a number stays one."""
        return self.view(a) if isinstance(a, Var) else a

    def new(self, shape: Sequence[int], dtype: np.dtype[Any]) -> StridedView:
        """A value that no equation makes."""
        return all_of(Piece(Var(next(self.numbers), tuple(shape), dtype)))

    # --- Lines ---

    def line(
        self,
        primitive: Primitive[Any],
        args: Sequence[Any],
        dtypes: tuple[np.dtype[Any], ...],
        out: StridedView,
        folded: tuple[int, ...] = (),
    ) -> None:
        """One more line; axes of size 1 are left out."""
        axes = [i for i, n in enumerate(out.shape) if n != 1]
        seen = tuple(a.transpose(axes) if isinstance(a, StridedView) else a for a in args)
        self.moving.add(out.piece.var)
        onto = tuple(axes.index(a) for a in folded if a in axes)
        self.lines.append(Line(primitive if onto or not folded else copy, seen, dtypes, out.transpose(axes), onto))

    def multiply(self, lefts: Sequence[StridedView], rights: Sequence[StridedView], out: StridedView) -> None:
        """One more product."""
        lefts = tuple(map(self.at_a_place, lefts))
        self.moving.add(out.piece.var)
        self.lines.append(Product(lefts, tuple(rights), out))

    def _entrywise(self, primitive: Primitive[Any], args: Sequence[Any], out: StridedView, e: Equation) -> None:
        if primitive not in ENTRYWISE or e.params or not all(isinstance(a, StridedView | int | float) for a in args):
            raise NotInMachineCode(f"{e.primitive.name} is not done in machine code")
        views = [a.broadcast_to(out.shape) if isinstance(a, StridedView) else a for a in args]
        self.line(primitive, views, taken_as(primitive, args, out.piece.dtype), out)

    def at_a_place(self, view: StridedView) -> StridedView:
        """A view that lies where it lies at every step."""
        if view.further is None:
            return view
        apart = self.new(view.shape, view.piece.dtype)
        self.copied(view, apart)
        return apart

    def copied(self, x: Any, out: StridedView) -> None:
        """A view or a number, to where it must lie."""
        view = x.broadcast_to(out.shape) if isinstance(x, StridedView) else x
        self.line(copy, [view], (out.piece.dtype,), out)

    def _see(self, e: Equation, views: Sequence[StridedView]) -> None:
        """The results of an equation are other views of what it reads; copied where they must lie somewhere."""
        for v, view in zip(e.outs, views, strict=True):
            if v in self.placed:
                self.copied(view, self.own(v))
            else:
                self.views[v] = view

    def fold(self, primitive: Primitive[Any], x: StridedView, axes: tuple[int, ...], out: StridedView) -> None:
        """`x` over some of its axes. `out` has the others, in order, and may have axes of size 1."""
        if not x.piece.size:
            raise NotInMachineCode("a reduction of nothing is not done in machine code")
        if out.piece.dtype.kind == "b":
            raise NotInMachineCode(f"{primitive.name} over an axis of booleans is not done in machine code")
        strides = iter([s for n, s in zip(out.shape, out.strides, strict=True) if n != 1])
        onto = tuple(0 if i in axes or n == 1 else next(strides) for i, n in enumerate(x.shape))
        seen = StridedView(out.piece, x.shape, onto, out.offset)
        if x.piece.dtype != out.piece.dtype:  # integers and booleans add up in a wider dtype
            wide = self.new(x.shape, out.piece.dtype)
            self.copied(x, wide)
            x = wide
        self.line(primitive if axes else copy, [x], (out.piece.dtype,), seen, axes)

    def contract(self, factors: Sequence[tuple[StridedView, str]], result: str, out: StridedView) -> None:
        """Einstein's convention: the product of factors with these letters for axes, summed over all that `out` does
        not have."""
        sizes: dict[str, int] = {}
        for view, letters in factors:
            for letter, n in zip(letters, view.shape, strict=True):
                sizes[letter] = n if n != 1 else sizes.get(letter, 1)
        summed = [letter for letter in sizes if letter not in result]
        space = [*result, *summed]
        shape = [sizes[letter] for letter in space]
        product: Any = None
        for view, letters in factors:
            if len(set(letters)) < len(letters):
                raise NotInMachineCode("an einsum of a diagonal is not done in machine code")
            seen = view.transpose([letters.index(letter) for letter in space if letter in letters])
            for at, letter in enumerate(space):
                seen = seen if letter in letters else seen.with_axis(at)
            seen = seen.broadcast_to(shape)
            last = view is factors[-1][0] and not summed
            if product is None and len(factors) > 1:
                product = seen
                continue
            args = (seen,) if product is None else (product, seen)
            into = out if last else self.new(shape, out.piece.dtype)
            self.line(copy if product is None else ops.mul, args, (out.piece.dtype,) * len(args), into)
            product = into
        if summed:
            self.fold(ops.add, product, tuple(range(len(result), len(space))), out)


# --- Ops that are another view ---------------------------------------------------------------------------------


def _options(e: Equation, *names: str) -> list[Any]:
    options = options_of(e)
    return [options[name] for name in names]


def _axes(axis: Any, rank: int) -> tuple[int, ...]:
    """Numbers of axes, counted from the first."""
    given = range(rank) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % rank for a in given) if rank else ()


def _itself(low: _Lowering, e: Equation) -> list[StridedView]:
    return [low.view(e.args[0])]


def _reshaped(low: _Lowering, e: Equation) -> list[StridedView]:
    x, shape = low.view(e.args[0]), e.outs[0].shape
    view = x.reshape(shape)
    if view is None:
        apart = low.new(x.shape, x.piece.dtype)
        low.copied(x, apart)
        view = apart.reshape(shape)
    if view is None:
        raise RuntimeError(f"a whole piece of {x.shape} could not be seen as {shape}")
    return [view]


def _swapped(low: _Lowering, e: Equation) -> list[StridedView]:
    x = low.view(e.args[0])
    order = [*range(len(x.shape))]
    i, j = (a % len(order) for a in _options(e, "axis1", "axis2"))
    order[i], order[j] = order[j], order[i]
    return [x.transpose(order)]


def _transposed(low: _Lowering, e: Equation) -> list[StridedView]:
    x, (axes,) = low.view(e.args[0]), _options(e, "axes")
    axes = tuple(axes) if isinstance(axes, list) else axes
    return [x.transpose(range(len(x.shape))[::-1] if axes is None else _axes(axes, len(x.shape)))]


def _moved(low: _Lowering, e: Equation) -> list[StridedView]:
    x, (source, destination) = low.view(e.args[0]), _options(e, "source", "destination")
    rank = len(x.shape)
    pairs = sorted(zip(_axes(destination, rank), _axes(source, rank), strict=True))
    order = [a for a in range(rank) if a not in [source for _, source in pairs]]
    for at, axis in pairs:
        order.insert(at, axis)
    return [x.transpose(order)]


def _one_row(low: _Lowering, e: Equation) -> list[StridedView]:
    return [low.at_a_place(low.view(e.args[0])).at_row(low.view(e.args[1]))]


def _flipped(low: _Lowering, e: Equation) -> list[StridedView]:
    x, (axis,) = low.view(e.args[0]), _options(e, "axis")
    turned = _axes(axis, len(x.shape))
    return [x.index([slice(None, None, -1 if i in turned else None) for i in range(len(x.shape))])]


def _broadcast(low: _Lowering, e: Equation) -> list[StridedView]:
    return [low.view(e.args[0]).broadcast_to(e.outs[0].shape)]


def _plain_index(index: Any) -> tuple[Any, ...]:
    parts = _parts(index)
    if any(isinstance(part, Slot | bool | list) for part in parts):
        raise NotInMachineCode("reading at an array of indices is not done in machine code")
    return parts


def _indexed(low: _Lowering, e: Equation) -> list[StridedView]:
    return [low.view(e.args[0]).index(_plain_index(e.args[1]))]


def _unstacked(low: _Lowering, e: Equation) -> list[StridedView]:
    x, (axis,) = low.view(e.args[0]), _options(e, "axis")
    before = [slice(None)] * (axis % len(x.shape))
    return [x.index([*before, i]) for i in range(len(e.outs))]


def _parted(low: _Lowering, e: Equation) -> list[StridedView]:
    x, (axis,) = low.view(e.args[0]), _options(e, "axis")
    axis, start, views = axis % len(x.shape), 0, []
    for out in e.outs:
        stop = start + out.shape[axis]
        views.append(x.index([*[slice(None)] * axis, slice(start, stop)]))
        start = stop
    return views


_VIEWS: dict[Primitive[Any], Callable[[_Lowering, Equation], list[StridedView]]] = {
    _detached: _itself,
    ops.reshape: _reshaped,
    ops.expand_dims: _reshaped,
    ops.squeeze: _reshaped,
    ops.swapaxes: _swapped,
    ops.transpose: _transposed,
    ops.moveaxis: _moved,
    ops.flip: _flipped,
    ops.broadcast_to: _broadcast,
    _getitem: _indexed,
    _row_at: _one_row,
    _unstack: _unstacked,
    _split: _parted,
}

# --- Ops that are several lines --------------------------------------------------------------------------------


def _joined(low: _Lowering, e: Equation) -> None:
    out, (axis,) = low.own(e.outs[0]), _options(e, "axis")
    axis, start = axis % len(out.shape), 0
    for a in e.args:
        x = low.arg(a)
        if not isinstance(x, StridedView):
            raise NotInMachineCode(f"{e.primitive.name} of a list or a number is not done in machine code")
        x = x if e.primitive is _concatenate else x.with_axis(axis)
        stop = start + x.shape[axis]
        low.copied(x, out.index([*[slice(None)] * axis, slice(start, stop)]))
        start = stop


def _written(low: _Lowering, e: Equation) -> None:
    out, index = low.own(e.outs[0]), _plain_index(e.args[1])
    low.copied(0, out)
    low.copied(low.arg(e.args[0]), out.index(index))


def _reduced(primitive: Primitive[Any]) -> Callable[[_Lowering, Equation], None]:
    def rule(low: _Lowering, e: Equation) -> None:
        x, (axis,) = low.view(e.args[0]), _options(e, "axis")
        low.fold(primitive, x, _axes(axis, len(x.shape)), low.own(e.outs[0]))

    return rule


def _summed_to(low: _Lowering, e: Equation) -> None:
    x, out = low.view(e.args[0]), low.own(e.outs[0])
    extra = len(x.shape) - len(out.shape)
    stretched = [extra + i for i, n in enumerate(out.shape) if n == 1 and x.shape[extra + i] != 1]
    low.fold(ops.add, x, (*range(extra), *stretched), out)


def _product(low: _Lowering, e: Equation) -> None:
    a, b = e.args
    out, left, right = low.own(e.outs[0]), low.view(a), low.view(b)
    if low.is_constant(right) and len(b.shape) == 2 and a.dtype == b.dtype == out.piece.dtype in MULTIPLIED:
        rows = math.prod(left.shape[:-1])
        matrix, onto = left.reshape((rows, left.shape[-1])), out.reshape((rows, b.shape[1]))
        if matrix is not None and onto is not None:
            low.multiply([matrix], [right], onto)
            return
    lead = "abcdefgh"[: max(len(left.shape), len(right.shape), 2) - 2]
    of_left = "k" if len(left.shape) == 1 else f"{lead[len(lead) - len(left.shape) + 2 :]}mk"
    of_right = "k" if len(right.shape) == 1 else f"{lead[len(lead) - len(right.shape) + 2 :]}kn"
    result = lead + "m" * (len(left.shape) > 1) + "n" * (len(right.shape) > 1)
    low.contract([(left, of_left), (right, of_right)], result, out)


def _sum_of_products(low: _Lowering, e: Equation) -> None:
    a, b = e.args
    slices = low.slices(a)
    right = low.view(b)
    if slices is None or not low.is_constant(right):
        raise NotInMachineCode("a sum of products of what is no stack is not done in machine code")
    rights = [right.index((i,)) for i in range(len(slices))]
    low.multiply([*map(all_of, slices)], rights, low.own(e.outs[0]))


def _by_einstein(low: _Lowering, e: Equation) -> None:
    inputs, _, result = e.args[0].partition("->")
    factors = [(low.view(a), letters) for a, letters in zip(e.args[1:], inputs.split(","), strict=True)]
    low.contract(factors, result, low.own(e.outs[0]))


def _cast(low: _Lowering, e: Equation) -> None:
    x, out = low.view(e.args[0]), low.own(e.outs[0])
    low.line(copy, [x], (out.piece.dtype,), out)


_RULES: dict[Primitive[Any], Callable[[_Lowering, Equation], None]] = {
    _stack: _joined,
    _concatenate: _joined,
    _scatter: _written,
    _sum: _reduced(ops.add),
    _max: _reduced(ops.maximum),
    _min: _reduced(ops.minimum),
    ops.sum_to: _summed_to,
    ops.matmul: _product,
    sum_of_products: _sum_of_products,
    _einsum: _by_einstein,
    _astype: _cast,
    _truncated: _cast,
}

# --- What can be had so ----------------------------------------------------------------------------------------


def _is_held(v: Var) -> bool:
    """Whether entries may be of this dtype, and there are any."""
    return v.dtype.char in DTYPES and v.dtype.isnative and bool(math.prod(v.shape))


_MOVED = ELEMENTWISE & (ENTRYWISE | SIMPLER.keys() | {_astype, _truncated, _detached})


def can_be_a_line(e: Equation) -> bool:
    """Whether an equation works entry by entry, in a way that is known here."""
    if e.primitive not in _MOVED or not all(map(_is_held, (*e.reads, *e.outs))):
        return False
    plain = COMPARISONS | LOGIC | {ops.where, copy, _astype, _truncated, _detached}
    kind = e.outs[0].dtype.kind
    return kind == "f" or e.primitive in plain or (kind in "iu" and e.primitive not in FLOATING | SIMPLER.keys())


def is_outer_product(e: Equation) -> bool:
    """Whether an equation multiplies every entry of some factors with every one of others, and adds nothing up."""
    if e.primitive is not _einsum or not all(map(_is_held, (*e.reads, *e.outs))):
        return False
    terms, _, result = e.args[0].partition("->")
    return set(terms) <= {*result, ","} and all(len({*term}) == len(term) for term in terms.split(","))


_REDUCTIONS = frozenset({_sum, _mean, _max, _min, ops.sum_to, ops.softmax, ops.log_softmax, ops.logsumexp, ops.norm})


def is_cheap(e: Equation) -> bool:
    """Whether an equation costs next to nothing where what it reads is at hand: one that works entry by entry, or adds
    up what belongs to one row of a batch."""
    if e.primitive not in _REDUCTIONS or not can_be_lowered(e) or e.outs[0].dtype.kind != "f":
        return can_be_a_line(e)
    x, out = e.args[0].shape, e.outs[0].shape
    return bool(out) and len(x) > 1 and x[0] == out[0]


FEWEST_ROWS, LARGEST_MATRIX = 8, 1 << 18
"""Rows, and bytes of a matrix, with which a product at every step takes no longer than one for all steps at once: fewer
rows leave the processor waiting for the matrix, and a larger one leaves the cache."""


def is_small_product(e: Equation) -> bool:
    """Whether an equation multiplies a batch by a matrix that stays in a cache. If the matrix is the same at each step,
    what the equation reads and makes need not go through memory for all of them at once."""
    if e.primitive is not ops.matmul or len(e.reads) < 2 or {a.dtype.char for a in e.reads} not in ({"f"}, {"d"}):
        return False
    left, right = e.reads
    flat, size = len(left.shape) == len(right.shape) == 2, math.prod(right.shape) * right.dtype.itemsize
    return flat and left.shape[0] >= FEWEST_ROWS and size <= LARGEST_MATRIX and can_be_lowered(e)


def can_be_lowered(e: Equation) -> bool:
    """Whether an equation is of a kind that a loop can hold."""
    if not all(map(_is_held, (*e.reads, *e.outs))):
        return False
    if e.primitive in (_getitem, _scatter):
        return len(e.reads) == 1
    return e.primitive in _VIEWS or e.primitive in _RULES or e.primitive in SIMPLER or can_be_a_line(e)
