"""A loop's schedule as one reads it: how much it is, and entry by entry as a textbook has it.

    for each step, first to last:
        h_z = h @ z_W                          (32, 128) @ (128, 128)
        for b, j in (32, 128):
            z = sigmoid(h_z[b, j] + x_z[b, j])
            h_new[b, j] = z * h[b, j] + (1 - z) * ...

What has an index lies in memory, what has none is in a register, or a single number; `s[b] += ...` begins at 0 (and a
largest entry below all). Axes of size 1, and those along which something is repeated, have no index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import tinygrad_rnn.ops as ops
from tinygrad_rnn.engines import INSTALL, is_installed
from tinygrad_rnn.loops.executing import Loop
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.machine.lines import Line, Product
from tinygrad_rnn.loops.machine.schedule import LoopSchedule, Pass
from tinygrad_rnn.loops.machine.views import Piece, StridedView, all_of, natural_strides
from tinygrad_rnn.loops.products import stacked
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.value_names import Names, identifiers, is_made_up
from tinygrad_rnn.tape import Primitive

_WIDEST = 44
"""Characters of what is written into the line that reads it."""

_COMPARED, _SUM, _TERM, _SIGNED, _POWER, _ALONE = range(6)
"""How tightly what is written holds together."""

INFIX: dict[Primitive[Any], tuple[str, int]] = {
    ops.equal: ("==", _COMPARED), ops.not_equal: ("!=", _COMPARED), ops.less: ("<", _COMPARED),
    ops.less_equal: ("<=", _COMPARED), ops.greater: (">", _COMPARED), ops.greater_equal: (">=", _COMPARED),
    ops.add: ("+", _SUM), ops.sub: ("-", _SUM), ops.mul: ("*", _TERM), ops.div: ("/", _TERM), ops.matmul: ("@", _TERM),
    ops.mod: ("%", _TERM), ops.floor_divide: ("//", _TERM), ops.pow: ("**", _POWER),
}  # fmt: skip
"""Ops that stand between their arguments."""


def in_short(loop: Loop) -> str:
    """What a loop is as machine code, or why it is none."""
    schedule = loop.schedule
    if schedule is None:
        return f"the loop runs as NumPy calls, because {loop.why_not}"
    products = sum(isinstance(part, Product) for part in schedule.parts)
    passes = len(schedule.parts) - products
    needs = "" if is_installed("machine") else f" (with llvmlite: {INSTALL})"
    counts = f"{_counted(passes, 'pass', 'passes')}, {_counted(products, 'product', 'products')}"
    return f"as machine code{needs}: {counts}, {schedule.traffic:,} bytes a step read or written"


def _counted(n: int, one: str, several: str) -> str:
    return f"{n} {one if n == 1 else several}"


def as_entries(loop: Loop, schedule: LoopSchedule, names: Names) -> str:
    """A loop, entry by entry."""
    order = "last to first" if loop.layout.reverse else "first to last"
    lines = [f"    {line}" for line in _Reading(schedule, loop, names).lines()]
    return "\n".join([f"for each step, {order}:", *lines])


@dataclass(frozen=True)
class _Text:
    """What is written, and how tightly it holds together."""

    text: str
    tight: int = _ALONE

    def within(self, least: int) -> str:
        """In something that holds together so tightly."""
        return self.text if self.tight >= least else f"({self.text})"


class _Reading:
    """A schedule, and what is written for its pieces: their names as identifiers, numbered where they have none."""

    def __init__(self, schedule: LoopSchedule, loop: Loop, names: Names) -> None:
        self.parts, self.names, self.identifiers = schedule.parts, names, identifiers(names)
        self.slices = {Piece(p.stack, p.lo): v for v, p in loop.layout.home.items() if p.hi is None}
        self.stacks = {e.outs[0]: e.args for e in loop.parts.once if e.primitive is stacked}
        taken = {*self.identifiers.values()}
        self.free = (name for n in count(1) if (name := f"e{n}") not in taken)
        self.unnamed: dict[Piece, str] = {}
        letters = [*"bjklmnpqrsuvwxyzacdefghio", *(f"index{n}" for n in range(64))]  # more axes than an array can have
        self.row, *self.letters = [letter for letter in letters if letter not in taken]

    def lines(self) -> Iterator[str]:
        """All of it, below the line that says how often."""
        for part in self.parts:
            if isinstance(part, Product):
                yield self._product(part)
            elif part.shape:
                letters = self._letters(part)
                yield f"for {', '.join(letters)} in {_shape(part.shape)}:"
                yield from (f"    {line}" for line in self._pass(part, letters))
            else:
                yield from self._pass(part, ())

    def _letters(self, part: Pass) -> list[str]:
        letters = iter(self.letters)
        return [self.row if axis == part.rows else next(letters) for axis in range(len(part.shape))]

    def _var(self, piece: Piece) -> Var:
        return self.slices.get(piece, piece.var)

    def _called(self, piece: Piece) -> str:
        if (v := self._var(piece)) in self.identifiers:
            return self.identifiers[v]
        if piece not in self.unnamed:
            self.unnamed[piece] = next(self.free)
        return self.unnamed[piece]

    def _unstacked(self, view: StridedView) -> StridedView:
        """One of several constants that lie in a stack, by itself."""
        each = self.stacks.get(view.piece.var, ())
        size = view.piece.size // max(len(each), 1)
        last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
        if not each or view.offset // size != last // size:
            return view
        return replace(view, piece=Piece(each[last // size]), offset=view.offset % size)

    # --- Products ---

    def _product(self, part: Product) -> str:
        pairs = zip(part.lefts, part.rights, strict=True)
        total = " + ".join(f"{self._called(a.piece)} @ {self._called(self._unstacked(b).piece)}" for a, b in pairs)
        text = f"{self._called(part.out.piece)} = {total}"
        return f"{text:<56}  {_shape(part.lefts[0].shape)} @ {_shape(part.rights[0].shape)}"

    # --- Passes ---

    def _pass(self, part: Pass, letters: Sequence[str]) -> Iterator[str]:
        readers: dict[Piece, list[Line]] = defaultdict(list)
        for line in part.lines:
            for view in line.reads:
                readers[view.piece].append(line)
        written: dict[Piece, _Text] = {}
        for line in part.lines:
            piece, right = line.out.piece, self._right(line, letters, written)
            if piece in part.kept:
                place = self._indexed(line.out, letters)
            elif self._reads_on(piece, right, readers[piece]):
                written[piece] = right
                continue
            else:
                place = self._called(piece)
                written[piece] = _Text(place)
            if not line.folded:
                yield f"{place} = {right.text}"
            elif line.primitive is ops.add:
                yield f"{place} += {right.text}"
            else:
                yield f"{place} = {line.primitive.name}({place}, {right.text})"

    def _reads_on(self, piece: Piece, right: _Text, readers: Sequence[Line]) -> bool:
        """Whether what makes an entry is written into the only line that reads it."""
        name = self.names.get(self._var(piece))
        fits = len(right.text) <= _WIDEST or readers[0].primitive is copy
        return len(readers) == 1 and fits and (name is None or is_made_up(name))

    def _right(self, line: Line, letters: Sequence[str], written: dict[Piece, _Text]) -> _Text:
        args = [self._arg(a, letters, written) for a in line.args]
        if line.folded:
            return args[0]
        if line.primitive is ops.zeros_like:
            return _Text("0")
        if line.primitive is copy:
            a, new = line.args[0], line.out.piece.dtype
            same = not isinstance(a, StridedView) or a.piece.dtype == new
            return args[0] if same else _Text(f"{new}({args[0].text})")
        if line.primitive is ops.neg:
            return _Text(f"-{args[0].within(_SIGNED)}", _SIGNED)
        if line.primitive in INFIX:
            sign, tight = INFIX[line.primitive]
            return _Text(f"{args[0].within(tight)} {sign} {args[1].within(tight + 1)}", tight)
        return _Text(f"{line.primitive.name}({', '.join(a.text for a in args)})")

    def _arg(self, a: Any, letters: Sequence[str], written: dict[Piece, _Text]) -> _Text:
        if not isinstance(a, StridedView):
            return _Text(str(a), _SIGNED if a < 0 else _ALONE)
        return written.get(a.piece) or _Text(self._indexed(a, letters))

    def _indexed(self, view: StridedView, letters: Sequence[str]) -> str:
        """A piece at the entry that a view has at these indices."""
        view = self._unstacked(view)
        name, piece = self._called(view.piece), view.piece
        moving = [(s, n, x) for s, n, x in zip(view.strides, view.shape, letters, strict=True) if s]
        if view.further is not None:
            named = all_of(view.further.piece).index((view.further.at,))
            moving.append((view.further.stride, 1, self._indexed(named, ())))
        parts, rest, left = [], view.offset, moving
        for n, stride in zip(piece.shape, natural_strides(piece.shape), strict=True):
            if n == 1:
                continue
            start, rest = divmod(rest, stride)
            own = [(s // stride, size, x) for s, size, x in left if abs(s) >= stride]
            left = [each for each in left if abs(each[0]) < stride]
            ends = [start + sum(f(0, a * (size - 1)) for a, size, _ in own) for f in (min, max)]
            if ends[0] < 0 or ends[1] >= n or any(s % stride for s, _, _ in moving if abs(s) >= stride):
                return f"{name}.flat[{_linear(view.offset, moving)}]"
            parts.append(_linear(start, own))
        return f"{name}[{', '.join(parts)}]" if parts else name


def _linear(start: int, terms: Sequence[tuple[int, int, str]]) -> str:
    """start + a * j + ..., of (a, size, j)."""
    ordered = sorted(terms, reverse=True)
    parts = [("-" if a < 0 else "+", x if abs(a) == 1 else f"{abs(a)} * {x}") for a, _, x in ordered]
    if start or not parts:
        parts.insert(0 if parts and parts[0][0] == "-" else len(parts), ("+", str(start)))
    return " ".join(f"{sign} {text}" for sign, text in parts).removeprefix("+ ")


def _shape(shape: Sequence[int]) -> str:
    return str(tuple(shape))
