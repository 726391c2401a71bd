"""Buffers of what lives within a step are used again as soon as they may be, and never before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import ops
from tinygrad_rnn.loops.kernels import writes, writes_where_it_reads
from tinygrad_rnn.loops.places import Home, Place
from tinygrad_rnn.loops.products import sum_of_products
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.scratch import Scratch, ScratchBuffer, allocate_scratch, last_uses

DTYPE = np.dtype(np.float64)
B, H, G = 2, 3, 3  # rows, units, and slices of a stack


class Step:
    """A step that is written down line by line."""

    def __init__(self) -> None:
        self.count = 0
        self.equations: list[Equation] = []
        self.home: Home = {}
        self.x, self.W = self.var(B, H), self.var(H, H)
        self.stacked_W = self.var(G, H, H)
        self.bound: set[Var] = {self.x, self.W, self.stacked_W}

    def var(self, *shape: int) -> Var:
        self.count += 1
        return Var(self.count, shape, DTYPE)

    def slices(self, stack: Var) -> list[Var]:
        """Those of a stack, as values of their own."""
        found = [self.var(*stack.shape[1:]) for _ in range(stack.shape[0])]
        self.home.update((v, Place(stack, i)) for i, v in enumerate(found))
        return found

    def add(self, primitive: object, *args: object, out: Var | None = None) -> Var:
        """An equation; without `out` the result is like the first argument."""
        first = args[0]
        assert isinstance(first, Var)
        out = self.var(*first.shape) if out is None else out
        self.equations.append(Equation(primitive, args, {}, (out,)))  # type: ignore[arg-type]
        return out

    def scratch(self) -> Scratch:
        return allocate_scratch(self.equations, self.home, self.bound)


# --- When a value is read for the last time --------------------------------------------------------------------


def test_a_value_lives_until_it_is_read_for_the_last_time() -> None:
    step = Step()
    a = step.add(ops.exp, step.x)
    b = step.add(ops.tanh, a)
    c = step.add(ops.add, a, b)
    assert last_uses(step.equations) == {step.x: 0, a: 2, b: 2, c: 2}


def test_a_value_lives_as_long_as_what_may_be_a_view_of_it() -> None:
    step = Step()
    a = step.add(ops.exp, step.x)
    view = step.add(ops.reshape, step.add(ops.reshape, a, (B, H)), (B, H))
    step.add(ops.exp, step.x)
    end = step.add(ops.add, step.x, view)
    assert last_uses(step.equations)[a] == 4
    assert step.scratch().buffer_of.keys() == {a, step.equations[3].outs[0], end}  # a reshape needs no buffer
    assert step.scratch().buffer_of[a] != step.scratch().buffer_of[step.equations[3].outs[0]]


# --- How many buffers there are --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, count", [("a function", 1), ("a function that needs room", 2), ("a product", 2), ("both in turn", 2)]
)
@pytest.mark.parametrize("length", [2, 3, 50])
def test_a_chain_of_any_length_takes_as_many_buffers_as_one_of_its_links(line: str, count: int, length: int) -> None:
    step = Step()
    v = step.add(ops.exp, step.x)
    for i in range(length):
        if line == "a product" or (line == "both in turn" and i % 2):
            v = step.add(ops.matmul, v, step.W)
        else:
            v = step.add(ops.sigmoid if line == "a function that needs room" else ops.tanh, v)
    assert len(step.scratch().buffers) == count


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_of_work_entry_by_entry_there_are_as_many_buffers_as_live_values(plan: list[tuple[int, int]]) -> None:
    step = Step()
    made = [step.add(ops.exp, step.x)]
    for i, j in plan:
        made.append(step.add(ops.add, made[-1 - i % len(made)], made[-1 - j % len(made)]))
    reads = {v: [at for at, e in enumerate(step.equations) if v in e.reads] for v in made}
    alive = [
        sum(not reads[v] or reads[v][-1] > at for v in made[: at + 1])  # one that nobody reads stays where it is
        for at in range(len(made))
    ]
    assert len(step.scratch().buffers) == max(alive)


def test_only_values_of_one_shape_and_dtype_take_turns_in_a_buffer() -> None:
    step = Step()
    a = step.add(ops.exp, step.x)
    wide = step.add(ops.matmul, a, step.var(H, 5), out=step.var(B, 5))
    truths = step.add(ops.less, wide, 0.5, out=Var(100, (B, 5), np.dtype(bool)))
    again = step.add(ops.where, truths, step.x, 0.0, out=step.var(B, H))
    scratch = step.scratch()
    assert [b[1:] for b in scratch.buffers] == [((B, H), DTYPE), ((B, 5), DTYPE), ((B, 5), np.dtype(bool))]
    assert scratch.buffer_of[again] == scratch.buffer_of[a]


def test_what_lies_somewhere_already_takes_no_buffer() -> None:
    step = Step()
    a, b = step.add(ops.exp, step.x), step.add(ops.tanh, step.x)
    step.bound |= {a, b}
    stack = step.var(G, B, H)
    for v in step.slices(stack):  # of a stack that is kept for all steps
        step.bound.add(step.add(ops.exp, step.x, out=v))
    assert step.scratch().buffers == []


def test_slices_lie_in_the_buffer_of_their_stack_which_is_kept_for_the_last_of_them() -> None:
    step = Step()
    stack = step.var(G, B, H)
    first, second, third = step.slices(stack)
    for v in (first, second, third):
        step.add(ops.exp, step.x, out=v)
    step.add(ops.tanh, first)
    other = step.add(ops.exp, step.stacked_W, out=step.var(G, B, H))
    step.add(ops.tanh, third)
    after = step.add(ops.exp, step.stacked_W, out=step.var(G, B, H))
    scratch = step.scratch()
    buffer_of = scratch.buffer_of
    assert second not in buffer_of and buffer_of[stack] != buffer_of[other]
    assert buffer_of[after] == buffer_of[stack]
    assert [b.shape for b in scratch.buffers] == [(G, B, H), (B, H), (G, B, H), (B, H)]


def test_a_slice_that_comes_in_an_array_of_its_own_is_copied_into_the_buffer_of_its_stack() -> None:
    step = Step()
    stack = step.var(G, B, H)
    for v in step.slices(stack):
        step.add(ops.reshape, step.x, (B, H), out=v)
    assert step.scratch().buffer_of.keys() == {stack}


# --- Where functions work that need room -----------------------------------------------------------------------


def test_a_sigmoid_works_where_its_argument_lies_if_nobody_reads_that_again() -> None:
    step = Step()
    a = step.add(ops.exp, step.x)
    for _ in range(2):
        step.bound.add(step.add(ops.sigmoid, a))  # its results are kept elsewhere, for all steps
    scratch = step.scratch()
    first, second = (scratch.workplaces[e] for e in step.equations[1:])
    assert second is a
    assert isinstance(first, ScratchBuffer) and first != scratch.buffer_of[a]


def test_a_sigmoid_never_works_where_its_result_lies() -> None:
    step = Step()
    a = step.add(ops.exp, step.x)
    results = [step.add(ops.sigmoid, x) for x in (a, a, step.x)]
    scratch = step.scratch()
    assert scratch.buffer_of[results[1]] == scratch.buffer_of[a]  # nobody reads that again
    for e in step.equations[1:]:
        assert isinstance(work := scratch.workplaces[e], ScratchBuffer) and work != scratch.buffer_of[e.outs[0]]


def test_a_sigmoid_of_a_slice_leaves_a_run_alone_that_is_read_later() -> None:
    step = Step()
    stack = step.var(G, B, H)
    first, second, third = step.slices(stack)
    run = step.var(2, B, H)
    step.home[run] = Place(stack, 0, 2)
    step.add(ops.exp, step.stacked_W, out=stack)
    for v in (first, second, third):
        step.add(ops.sigmoid, v)
    step.add(ops.tanh, run)
    workplaces = step.scratch().workplaces
    assert [workplaces[e] is e.reads[0] for e in step.equations[1:4]] == [False, False, True]


def test_a_sigmoid_of_a_stack_leaves_its_slices_alone_that_are_read_later() -> None:
    step = Step()
    stack = step.add(ops.exp, step.stacked_W, out=step.var(G, B, H))
    _, second, _ = step.slices(stack)
    gates = step.add(ops.sigmoid, stack)
    step.add(ops.tanh, second)
    scratch = step.scratch()
    taken = (stack, gates, scratch.buffer_of[stack], scratch.buffer_of[gates])
    assert scratch.workplaces[step.equations[1]] not in taken


def test_products_are_summed_in_a_buffer_that_others_use_too() -> None:
    step = Step()
    a = step.add(ops.exp, step.stacked_W, out=step.var(G, B, H))
    total = step.add(sum_of_products, a, step.stacked_W, out=step.var(B, H))
    again = step.add(ops.exp, step.stacked_W, out=step.var(G, B, H))
    step.add(ops.add, step.add(sum_of_products, again, step.stacked_W, out=step.var(B, H)), total)
    scratch = step.scratch()
    assert len(scratch.buffers) == 4  # the two totals, and by turns the left operands and the products
    works = [scratch.workplaces[step.equations[i]] for i in (1, 3)]
    assert scratch.buffer_of[a] not in works[:1] and scratch.buffer_of[again] not in works[1:]


# --- Whatever is read is still there ---------------------------------------------------------------------------

LINE = st.tuples(st.integers(0, 8), st.integers(0, 11), st.integers(0, 11), st.integers(0, 5))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """Functions, products, views and stacks, made at once or slice by slice, of which some are kept elsewhere."""
    step = Step()
    values = [step.x]
    stacks: list[Var] = []
    for kind, i, j, kept in draw(st.lists(LINE, min_size=10, max_size=25)):
        a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
        new: list[Var] = []
        if kind < 4:
            args = [(ops.tanh, a), (ops.sigmoid, a), (ops.add, a, b), (ops.matmul, a, step.W)][kind]
            new = [step.add(*args)]
        elif kind == 4:
            new = [step.add(ops.reshape, a, (B, H))]
        elif kind == 5 and stacks:
            new = [step.add(sum_of_products, stacks[i % len(stacks)], step.stacked_W, out=step.var(B, H))]
        elif kind == 6 and stacks:
            stacks.append(step.add(ops.tanh if i % 3 else ops.sigmoid, stacks[i % len(stacks)]))
            new = step.slices(stacks[-1]) if j % 2 else []
        elif kind == 7:
            stacks.append(step.add(ops.matmul, a, step.stacked_W, out=step.var(G, B, H)))
            new = step.slices(stacks[-1])
        elif kind == 8:
            stack = step.var(G, B, H)
            new = step.slices(stack)
            for n, v in enumerate(new):
                if (i + n) % 4 == 0:
                    step.add(ops.reshape, a, (B, H), out=v)
                else:
                    step.add(*[(ops.tanh, a), (ops.sigmoid, b), (ops.add, a, b)][(i + n) % 3], out=v)
                a, b = (v, a) if j % 2 else (a, b)
            stacks.append(stack)
        values += new
        if kept == 0 and new:
            step.bound |= {*new, *stacks[-1:]} if kind > 5 else {*new}
    return step


Cell = tuple[str, int]
"""A buffer, by its name, and one part of it on its leading axis."""


class Memory:
    """A step that runs without numbers. Of every cell it is known what was written there last (None: rubbish)."""

    def __init__(self, step: Step) -> None:
        self.step, self.scratch = step, step.scratch()
        self.now: dict[Cell, Var | None] = {}
        self.views: dict[Var, dict[Cell, Var | None]] = {}

    def cells(self, v: Var) -> set[Cell]:
        """Where a value lies, if that is in a buffer."""
        place = None if v in self.step.bound else self.step.home.get(v)
        buffer = self.scratch.buffer_of.get(v if place is None else place.stack)
        if buffer is None:
            return set()
        return {(buffer.name, i) for i in (range(buffer.shape[0]) if place is None else range(place.lo, place.end))}

    def sight(self, v: Var) -> dict[Cell, Var | None]:
        """What must stand where for a value to be right. A slice is what its stack is there."""
        return self.views.get(v) or dict.fromkeys(self.cells(v), self.step.home[v].stack if v in self.step.home else v)

    def run(self, e: Equation) -> None:
        """One line, which may return a view of all that it reads if it is not told where to write."""
        (out,) = e.outs
        seen = {cell: what for v in e.reads for cell, what in self.sight(v).items()}
        assert all(self.now[cell] is what for cell, what in seen.items())
        cells = self.cells(out)
        assert bool(cells) == (out not in self.step.bound and (writes(e) or out in self.step.home))
        if not cells:
            self.views[out] = {} if out in self.step.bound else seen
        assert writes_where_it_reads(e) or cells.isdisjoint(seen)
        if e in self.scratch.workplaces:
            work = self.scratch.workplaces[e]
            near = (
                {(work.name, i) for i in range(work.shape[0])} if isinstance(work, ScratchBuffer) else self.cells(work)
            )
            assert e.primitive is ops.sigmoid or near.isdisjoint(seen)
            assert near.isdisjoint(self.cells(out))
            self.now.update(dict.fromkeys(near))
        self.now.update(self.sight(out) if cells else {})


@given(steps())
def test_whatever_is_read_is_still_there(step: Step) -> None:
    memory = Memory(step)
    for equation in step.equations:
        memory.run(equation)


@given(steps())
def test_two_values_that_are_alive_at_once_never_share_a_buffer(step: Step) -> None:
    memory = Memory(step)
    made: list[Var] = []
    for at, e in enumerate(step.equations):
        made += e.outs
        later = {v for other in step.equations[at + 1 :] for v in other.reads}
        alive = [v for v in made if v in later]
        for i, v in enumerate(alive):
            for other in alive[:i]:
                beside = {step.home[u].stack if u in step.home else u for u in (v, other)}
                assert len(beside) == 1 or memory.cells(v).isdisjoint(memory.cells(other))
