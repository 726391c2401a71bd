"""A recorded step: equations in single assignment. Every value is a `Var` that one equation makes.

Parameters, captured Tensors and arrays are operands of a program, never constants in it; options (axes, shapes,
numbers) are part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_rnn.surroundings import Where
from tinygrad_rnn.tape import Primitive


class Var:
    """A value of a program: a number to call it by, a shape and a dtype."""

    __slots__ = ("dtype", "number", "shape")

    def __init__(self, number: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.number, self.shape, self.dtype = number, shape, dtype

    def __repr__(self) -> str:
        return f"v{self.number}"


@dataclass(eq=False)  # and not frozen, which takes four times as long to make, at every step of a training
class Equation:
    """`outs = primitive(*args, **params)`; args are Vars and options. It is never changed."""

    primitive: Primitive[Any]
    args: tuple[Any, ...]
    params: dict[str, Any]
    outs: tuple[Var, ...]
    several: bool = False
    graded: bool = True
    """Whether a gradient goes through it: not where the step says no_grad() or detach(), and not to an integer."""
    where: Where = ()

    @cached_property
    def reads(self) -> list[Var]:
        """The Vars among its arguments."""
        return [a for a in self.args if isinstance(a, Var)]


@dataclass(frozen=True, eq=False)
class Program:
    """A recorded step: from states and inputs to new states and outputs; `captured` are the operands that it closes
    over, and what stood there when it was recorded."""

    equations: list[Equation]
    captured: list[Var]
    operands: list[Any]
    states: list[Var]
    xs: list[Var]
    new_states: list[Any]
    ys: list[Any]
    count: int
    key: Any
    tags: dict[str, Var] = field(default_factory=dict)
    """Names that the step gave to some of its values."""
    all_moves: bool = False
    """Whether it is known that each equation reads a state or an input, or what is made of them."""

    def sorted(self, operands: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """Operands of a scan, one after the other, as captured ones, states and inputs."""
        a = len(self.captured)
        b = a + len(self.states)
        return operands[:a], operands[a:b], operands[b:]
