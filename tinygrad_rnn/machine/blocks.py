"""Loops in LLVM's form. A loop is three blocks of instructions, of which each ends by going to another:

    head:  is i below stop? then to the body, otherwise to the end
    body:  what is repeated; then i + step, and back to the head
    end:   what follows

A value is made once and never changed, so that a number which differs from round to round is a *phi*: this one when the
head is reached from above, that one when it is reached from the body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from llvmlite import ir

from tinygrad_rnn.machine.lanes import I64, POINTER, VOID, Value, integer


@dataclass
class Rounds:
    """`i` counts; `values` are those carried from round to round, also after the last one; `next` is to be set to what
    a round makes of them."""

    i: Value
    values: list[Value]
    next: list[Value] = field(default_factory=list)


@contextmanager
def loop(
    b: ir.IRBuilder, start: Value | int, stop: Value | int, step: int = 1, carried: Sequence[Value] = ()
) -> Iterator[Rounds]:
    """What is written within it is repeated for i = start, start + step, ... below stop."""
    start, stop = (integer(n) if isinstance(n, int) else n for n in (start, stop))
    before = b.block
    head, body, end = (b.append_basic_block(name) for name in ("head", "body", "end"))
    b.branch(head)
    b.position_at_end(head)
    phis = [b.phi(first.type) for first in (start, *carried)]
    for phi, first in zip(phis, (start, *carried), strict=True):
        phi.add_incoming(first, before)
    here = Rounds(phis[0], phis[1:])
    b.cbranch(b.icmp_signed("<", here.i, stop), body, end)
    b.position_at_end(body)
    yield here
    following = [b.add(here.i, integer(step)), *here.next]
    for phi, value in zip(phis, following, strict=True):
        phi.add_incoming(value, b.block)
    b.branch(head)
    b.position_at_end(end)


def function(module: ir.Module, name: str, arguments: int, pointers: Sequence[int] = ()) -> ir.IRBuilder:
    """The beginning of a function of so many whole numbers, of which some are addresses; it returns nothing."""
    kinds = [POINTER if i in pointers else I64 for i in range(arguments)]
    made = ir.Function(module, ir.FunctionType(VOID, kinds), name)
    return ir.IRBuilder(made.append_basic_block("entry"))
