"""The two cells of the xLSTM: gates that are exponentials, and what keeps these from overflowing."""

from __future__ import annotations

import math

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.gate import Gate
from tinygrad_rnn.ops import exp, log_sigmoid, maximum, minimum, sigmoid, tanh
from tinygrad_rnn.tensor import Tensor


class _Exponential(Cell):
    """What both have: log f by the option, and a stabiliser m that begins below everything, so that the first input
    gate sets the scale: m = 0 would let it underflow, and c / n be 0 / 0."""

    def log_forget(self, total: Tensor) -> Tensor:
        """log f of the forget gate's sum."""
        return log_sigmoid(total) if self.forget == "sigmoid" else total

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        *states, m = super().initial_state(batch_size)
        return *states, m + float(np.finfo(m.dtype).min) / 2


class SLSTMCell(_Exponential):
    """Beck et al. 2024, eq. 8 to 17: sLSTM, an LSTM whose input gate is exp, and which divides its cell by what its
    gates add up to. `forget`: that gate is "sigmoid" or "exp". `heads`, a divisor of H: the recurrence stays within
    each, so that W counts in its diagonal blocks alone. States (B,H) each: h, and c, the normaliser n, and the
    stabiliser m, of which zoneout leaves all three alone, since one is the scale of the others. (Left out is the block
    around it: convolution before i and f, norm of each head, gated projection; and that b of f starts at 3 to 6.)"""

    gates = "z i f o"
    state = "h c n m"
    kept = "c n m"

    def setup(self, forget: str = "sigmoid", heads: int = 1, forget_bias: float = 1.0) -> None:
        self.forget, self.heads = _forget(forget), _divisor(heads, self.hidden_size)
        if heads > 1:
            size = self.hidden_size // heads
            self.within = np.kron(np.eye(heads), np.ones((size, size)))
        self.f.b.data += forget_bias

    def of_heads(self, gate: Gate) -> Gate:
        """The gate with the blocks of W within a head alone."""
        return gate if self.heads == 1 else gate.with_recurrent(gate.W * self.within)

    def step(self, x: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        z, i, f, o = (self.of_heads(gate)(x, h) for gate in (self.z, self.i, self.f, self.o))
        kept = self.log_forget(f) + m
        m = maximum(kept, i)
        i, f = exp(i - m), exp(kept - m)
        c, n = f * c + i * tanh(z), f * n + i
        return sigmoid(o) * c / n, c, n, m


class MLSTMCell(_Exponential):
    """Beck et al. 2024, eq. 19 to 27: mLSTM, which writes v into a matrix under a key k and reads it by a query q; its
    gates see the input alone. `forget`: that gate is "sigmoid" or "exp". `heads`, a divisor of H, have a matrix of D by
    D = H / heads each, and i and f of their own. States: C (B,heads,D,D), of values by keys; the normaliser n
    (B,heads,D), and the stabiliser m (B,heads). Zoneout leaves them alone, since m is the scale of the others. (As in
    the authors' code, 1/sqrt(D) is on the bias of k too. Left out is the block around it: projection up, convolution
    before q and k, norm of each head, skip, gated projection down; and that b of f starts at 3 to 6.)"""

    gates = "q:x k:x v:x o:x"
    state = "C n m"
    kept = "C n m"

    def setup(self, forget: str = "sigmoid", heads: int = 1, forget_bias: float = 1.0) -> None:
        self.forget, self.heads = _forget(forget), _divisor(heads, self.hidden_size)
        self.width = self.hidden_size // heads
        self.i, self.f = (self.new_gate(name, "x", heads) for name in "if")
        self.f.b.data += forget_bias

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.heads, self.width, self.width), (self.heads, self.width), (self.heads,)]

    def output(self, x: Tensor, C: Tensor, n: Tensor, m: Tensor) -> Tensor:
        q = self.by_head(self.q(x))
        # Where m is low the least divisor is 1 in another scale; where this would overflow all that is divided is 0.
        highest = 0.9 * math.log(float(np.finfo(m.dtype).max))
        least = exp(minimum(-m, highest)).reshape((-1, self.heads, 1))
        found = (C * q.reshape((-1, self.heads, 1, self.width))).sum(axis=-1)
        h = found / maximum(ops.abs((n * q).sum(axis=-1, keepdims=True)), least)
        return sigmoid(self.o(x)) * h.reshape((-1, self.hidden_size))

    def by_head(self, v: Tensor) -> Tensor:
        """(B,H) -> (B,heads,D)."""
        return v.reshape((-1, self.heads, self.width))

    def step(self, x: Tensor, C: Tensor, n: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i, kept = self.i(x), self.log_forget(self.f(x)) + m
        m = maximum(kept, i)
        i, f = (exp(each - m).reshape((-1, self.heads, 1)) for each in (i, kept))
        k, v = self.by_head(self.k(x) / math.sqrt(self.width)), self.by_head(self.v(x))
        written = (i * v).reshape((-1, self.heads, self.width, 1)) * k.reshape((-1, self.heads, 1, self.width))
        return f.reshape((-1, self.heads, 1, 1)) * C + written, f * n + i * k, m


def _forget(value: str) -> str:
    if value not in ("sigmoid", "exp"):
        raise ValueError(f"forget must be sigmoid or exp, got {value!r}")
    return value


def _divisor(heads: int, hidden_size: int) -> int:
    if hidden_size % init.size("heads", heads):
        raise ValueError(f"heads must divide hidden_size {hidden_size}, got {heads}")
    return heads
