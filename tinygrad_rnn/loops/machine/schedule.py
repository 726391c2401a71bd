"""In which order the lines of a loop run, and what of it goes through memory.

Lines over one space of indices run together in one pass: entry by entry, what one line makes the next one has at hand,
and it need not lie in memory. A pass ends where somebody needs entries that others make: at a product of matrices, at a
sum over an axis, at another view. Of a GRU's step

    level 0   pass (B, H)     what does not wait for a product
              product         [z_z z_r] = h @ [W_z W_r]
    level 1   pass (B, H)     z = sigmoid(z_z + x_z), r = sigmoid(...), r * h
              product         (r * h) @ W_n
    level 2   pass (B, H)     n = tanh(...), h' = (1 - z) * h + z * n

In memory, a value is at step t where it has its address: first address + t times a stride (how that is so for each
kind of value is in `layout.py`, and in numbers in `loop_code.py`).

Where the step treats each row of a batch of B by itself, `rows` is B, and the loop may be run for some of them alone:
then nothing that it makes for others is read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinygrad_rnn.loops.layout import Layout
from tinygrad_rnn.loops.machine.lines import Line, Product
from tinygrad_rnn.loops.machine.lowering import lowered
from tinygrad_rnn.loops.machine.views import Piece, StridedView, natural_strides, piece_of
from tinygrad_rnn.machine.refusal import NothingToDo
from tinygrad_rnn.sums import SUMMED_AT_ONCE

ENTRY = 4
"""How many multiplications of a product cost what an op on one entry does, about."""


@dataclass(eq=False)
class Pass:
    """Lines over one space. `folded` are the axes over which it adds up, `rows` is that of the batch."""

    shape: tuple[int, ...]
    lines: list[Line] = field(default_factory=list)
    folded: tuple[int, ...] = ()
    rows: int | None = None
    kept: set[Piece] = field(default_factory=set)
    """What must lie in memory, of all that the loop makes."""


@dataclass(eq=False)
class LoopSchedule:
    """A loop, ready for an emitter."""

    parts: list[Pass | Product]
    """In order, with no part before those that it waits for."""
    memory: list[Piece]
    """What lies in memory, and has an address."""
    scratch: set[Piece]
    """Of these, what nobody outside knows: one step's value is written over the one before it."""
    rights: list[tuple[StridedView, ...]]
    """The matrices by which it multiplies."""
    rows: int | None
    """B, where rows of the batch are independent."""

    @property
    def work(self) -> int:
        """About how many multiplications a step is worth."""
        return sum(
            sum(math.prod(left.shape) for left in part.lefts) * part.out.shape[1]
            if isinstance(part, Product)
            else ENTRY * len(part.lines) * math.prod(part.shape)
            for part in self.parts
        )

    @property
    def traffic(self) -> int:
        """How many bytes the parts of a step read and write in memory."""
        return sum(
            math.prod(n for n, stride in zip(view.shape, view.strides, strict=True) if stride)
            * view.piece.dtype.itemsize
            for part in self.parts
            for view in {*_touched(part, part.kept if isinstance(part, Pass) else set())}
            | {*(part.rights if isinstance(part, Product) else ())}
        )

    def text(self, ringed: set[Piece]) -> str:
        """All that its code depends on; `ringed` pieces are in two places in turn."""
        numbers: dict[Piece, int] = {piece: n for n, piece in enumerate(self.memory)}

        def seen(a: object) -> str:
            if not isinstance(a, StridedView):
                return f"{type(a).__name__} {a!r}"
            number = numbers.setdefault(a.piece, len(numbers))
            text = f"{number} {a.piece.dtype.str} {a.shape} {a.strides} {a.offset}"
            return text if a.further is None else f"{text} {numbers[a.further.piece]} {a.further[1:]}"

        lines = [f"{SUMMED_AT_ONCE} {self.rows} {[numbers[piece] for piece in self.memory if piece in ringed]}"]
        for part in self.parts:
            if isinstance(part, Product):
                lines.append(f"product {[*map(seen, part.lefts)]} {self.rights.index(part.rights)} {seen(part.out)}")
                continue
            lines.append(f"pass {part.shape} {part.folded} {part.rows}")
            for line in part.lines:
                stored = "stored" if line.out.piece in part.kept else ""
                lines.append(
                    f"{line.primitive.name} {[*map(seen, line.args)]} {[d.str for d in line.dtypes]} "
                    f"{seen(line.out)} {line.folded} {stored}"
                )
        return "\n".join(lines)


def scheduled(layout: Layout) -> LoopSchedule:
    """The schedule of a loop. Raises NothingToDo, NotInMachineCode."""
    lines = _wanted(lowered(layout), layout)
    if not all(math.prod(view.shape) for line in lines for view in (line.out, *line.reads)):
        raise NothingToDo("it has no entries")
    levels = _levels(lines)
    _delay(lines, levels)
    parts = _parts(lines, levels)
    made = {line.out.piece for line in lines}
    kept = _in_memory(parts, made, layout)
    rows = _Rows(layout, parts).found()
    memory = {a.piece for part in parts for a in _touched(part, kept)}
    rights = [*dict.fromkeys(part.rights for part in parts if isinstance(part, Product))]
    return LoopSchedule(
        parts=parts,
        memory=sorted(memory, key=lambda piece: (piece.var.number, piece.slice or 0)),
        scratch={piece for piece in memory & made if not _is_known(piece, layout)},
        rights=rights,
        rows=rows,
    )


def _is_known(piece: Piece, layout: Layout) -> bool:
    """Whether what is made has a place that others know."""
    return piece.var in layout.timed or piece.var in layout.next_carry


def _wanted(lines: list[Line | Product], layout: Layout) -> list[Line | Product]:
    """Without what nobody reads."""
    wanted: list[Line | Product] = []
    read: set[Piece] = set()
    for line in reversed(lines):
        if line.out.piece in read or _is_known(line.out.piece, layout):
            wanted.append(line)
            read.update(view.piece for view in line.reads)
    return wanted[::-1]


# --- The order -------------------------------------------------------------------------------------------------


def _at_hand(reader: Line | Product, view: StridedView, maker: Line | Product) -> bool:
    """Whether a reader in the pass of the maker has each entry when it needs it."""
    return (
        isinstance(reader, Line)
        and isinstance(maker, Line)
        and not maker.folded
        and reader.out.shape == maker.out.shape
        and view == maker.out
    )


def _makers(
    lines: list[Line | Product],
) -> Iterator[tuple[Line | Product, list[tuple[StridedView, list[Line | Product]]]]]:
    """Each line, with the views that it reads and who made what is seen there."""
    makers: dict[Piece, list[Line | Product]] = defaultdict(list)
    for line in lines:
        yield line, [(view, makers[view.piece]) for view in line.reads]
        makers[line.out.piece].append(line)


def _levels(lines: list[Line | Product]) -> dict[Line | Product, int]:
    """How many products, sums and changes of view come one after the other before a line can run. At each level the
    passes come first, and then the products."""
    levels: dict[Line | Product, int] = {}
    folds: dict[tuple[int, tuple[int, ...]], tuple[int, ...]] = {}
    filled: dict[Piece, int] = {}
    for line, reads in _makers(lines):
        level = filled.get(line.out.piece, -1) + 1 if isinstance(line, Line) else 0
        for view, makers in reads:
            for maker in makers:
                soon = isinstance(line, Product) and isinstance(maker, Line)
                level = max(level, levels[maker] + (0 if soon or _at_hand(line, view, maker) else 1))
        if isinstance(line, Line) and line.folded:  # in one pass all sums are over the same axes
            while folds.setdefault((level, line.out.shape), line.folded) != line.folded:
                level += 1
        levels[line] = level
        if math.prod(line.out.shape) == line.out.piece.size:
            filled[line.out.piece] = level  # what is written there later, in parts, must come later
    return levels


def _delay(lines: list[Line | Product], levels: dict[Line | Product, int]) -> None:
    """What needs nothing that the step makes runs when it is first needed: earlier, it would have to be kept."""
    readers: dict[Piece, list[tuple[Line | Product, StridedView]]] = defaultdict(list)
    writers: dict[Piece, int] = defaultdict(int)
    for line in lines:
        writers[line.out.piece] += 1
        for view in line.reads:
            readers[view.piece].append((line, view))
    free: set[Line | Product] = set()
    for line, reads in _makers(lines):
        alone = writers[line.out.piece] == 1 and isinstance(line, Line) and not line.folded
        if alone and all(maker in free for _, makers in reads for maker in makers):
            free.add(line)
    for line in reversed(lines):
        waiting = readers[line.out.piece]
        if line in free and waiting:
            levels[line] = min(
                levels[reader] - (0 if isinstance(reader, Product) or _at_hand(reader, view, line) else 1)
                for reader, view in waiting
            )


def _parts(lines: list[Line | Product], levels: dict[Line | Product, int]) -> list[Pass | Product]:
    parts: list[Pass | Product] = []
    for level in sorted(set(levels.values())):
        passes: dict[tuple[int, ...], Pass] = {}
        for line in lines:
            if levels[line] == level and isinstance(line, Line):
                found = passes.setdefault(line.out.shape, Pass(line.out.shape))
                found.lines.append(line)
                found.folded = found.folded or line.folded
        parts += passes.values()
        parts += [line for line in lines if levels[line] == level and isinstance(line, Product)]
    return parts


# --- Memory ----------------------------------------------------------------------------------------------------


def _in_memory(parts: list[Pass | Product], made: set[Piece], layout: Layout) -> set[Piece]:
    """Of what is made, that which must lie in memory. Notes in each pass what it keeps."""
    kept = {piece for piece in made if _is_known(piece, layout)}
    for part in parts:
        if isinstance(part, Product):
            kept |= {part.out.piece, *(view.piece for view in part.lefts)}
            continue
        makers = {line.out.piece: line for line in part.lines}
        for line in part.lines:
            for view in line.reads:
                if view.piece not in makers or not _at_hand(line, view, makers[view.piece]):
                    kept.add(view.piece)
    for part in parts:
        if isinstance(part, Pass):
            part.kept = kept
    return kept


def _touched(part: Pass | Product, kept: set[Piece]) -> Iterator[StridedView]:
    """What a part reads and writes in memory."""
    if isinstance(part, Product):
        yield from part.lefts
        yield part.out
        return
    made = {line.out.piece for line in part.lines}
    for line in part.lines:
        yield from (view for view in line.reads if view.piece not in made)
        if line.out.piece in kept:
            yield line.out


# --- Rows ------------------------------------------------------------------------------------------------------


class _Rows:
    """Finds which axis of each pass is that of the batch, if the step treats each row by itself."""

    def __init__(self, layout: Layout, parts: list[Pass | Product]) -> None:
        self.parts = parts
        carried = [*layout.carry, *layout.next_carry]
        sizes = {v.shape[0] if v.shape else 0 for v in carried}
        self.count = sizes.pop() if len(sizes) == 1 else 0
        self.strides: dict[Piece, int] = {}
        """Of what is made and of states: how far apart its rows lie."""
        for v in carried:
            self.strides[piece_of(v, layout.home)] = natural_strides(v.shape)[0] if v.shape else 0

    def found(self) -> int | None:
        """B; None where rows are not independent. Notes the axis in each pass."""
        if self.count < 2:
            return None
        axes = []
        for part in self.parts:
            axis = self._of_product(part) if isinstance(part, Product) else self._of_pass(part)
            if axis is None:
                return None
            axes.append(axis)
        for part, axis in zip(self.parts, axes, strict=True):
            if isinstance(part, Pass):
                part.rows = axis
        return self.count

    def _of_pass(self, part: Pass) -> int | None:
        for axis, n in enumerate(part.shape):
            before = dict(self.strides)
            if n == self.count and axis not in part.folded and all(self._fits(line, axis) for line in part.lines):
                return axis
            self.strides = before
        return None

    def _fits(self, line: Line, axis: int) -> bool:
        """Whether a line goes along this axis from row to row in all that it reads and makes."""
        seen = [view for view in line.reads if view.piece in self.strides]
        if not all(self._is_of_rows(view, axis) for view in seen):
            return False
        self.strides.setdefault(line.out.piece, line.out.strides[axis])
        return self._is_of_rows(line.out, axis)

    def _is_of_rows(self, view: StridedView, axis: int) -> bool:
        """Whether this axis of a view is that of the rows, and no other goes from one row to another."""
        stride = self.strides[view.piece]
        if view.strides[axis] != stride or not stride:
            return False
        others = [(n, abs(s)) for i, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)) if i != axis]
        within = sum((n - 1) * s for n, s in others if s % (stride * self.count))
        return view.offset // stride % self.count == 0 and view.offset % stride + within < stride

    def _of_product(self, part: Product) -> int | None:
        """0 where the rows of its matrices are those of the batch, or as many for each."""
        for view in (*part.lefts, part.out):
            rows, stride = view.shape[0], view.strides[0]
            each = rows // self.count
            if rows % self.count or view.offset:
                return None
            if view is part.out:
                self.strides.setdefault(view.piece, each * stride)
            if view.piece in self.strides and self.strides[view.piece] != each * stride:
                return None
        return 0
