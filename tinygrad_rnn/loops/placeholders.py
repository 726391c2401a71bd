"""Placeholder: what stands for a Tensor while a step is recorded, with a shape and no numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.surroundings import current_surroundings
from tinygrad_rnn.tape import _detached
from tinygrad_rnn.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_rnn.loops.recorder import Recorder


class CannotRecord(RuntimeError):
    """A step did something that a recording cannot hold: it looked at numbers, or drew random ones."""


class Placeholder(Tensor):
    """A Tensor without numbers, in whose place a Var stands."""

    __slots__ = ("recorder", "var")

    def __init__(self, var: Var, recorder: Recorder) -> None:
        self.node = None
        self.var = var
        self.recorder = recorder

    @property
    def data(self) -> Any:  # there is none
        if current_surroundings.get().recorder is not self.recorder:
            raise CannotRecord("the step keeps a Tensor of one call for another: make it a state")
        raise CannotRecord("the step looks at the numbers of a Tensor (.data, bool(), item(), a random draw)")

    def detach(self) -> Tensor:
        return _detached(self)

    def backward(self, gradient: Any = None, retain: bool = False) -> NoReturn:
        raise CannotRecord("the step calls backward(): tinygrad_rnn.grad gives a gradient within a step")

    @property
    def requires_grad(self) -> bool:
        raise CannotRecord("the step asks whether a Tensor requires a gradient")

    @property
    def xp(self) -> Any:
        return np

    @property
    def shape(self) -> tuple[int, ...]:
        return self.var.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.var.dtype

    @property
    def ndim(self) -> int:
        return len(self.var.shape)

    @property
    def size(self) -> int:
        return math.prod(self.var.shape)
