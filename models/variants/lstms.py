"""Relatives of the LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell, TwoStates
from tinygrad_rnn.models.cells import LSTMCell
from tinygrad_rnn.models.gate import Gate
from tinygrad_rnn.models.layers import LayerNorm
from tinygrad_rnn.ops import sigmoid, softmax, tanh
from tinygrad_rnn.tensor import Parameter, Tensor


class PeepholeLSTMCell(Cell):
    """Gers & Schmidhuber 2000, as Graves 2013 writes it (eq. 7 to 11): the gates see the cell, each unit its own."""

    gates = "i f o g"
    state = "h c"

    def setup(self, forget_bias: float = 1.0) -> None:
        self.i_peep, self.f_peep, self.o_peep = (Parameter(np.zeros(self.hidden_size)) for _ in range(3))
        self.f.b.data += forget_bias

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i = sigmoid(self.i(x, h) + self.i_peep * c)
        f = sigmoid(self.f(x, h) + self.f_peep * c)
        c = f * c + i * tanh(self.g(x, h))
        return sigmoid(self.o(x, h) + self.o_peep * c) * tanh(c), c


class CoupledLSTMCell(Cell):
    """Greff et al. 2017, CIFG: what is written is what was forgotten, f = 1 - i. Without peepholes."""

    gates = "i o g"
    state = "h c"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i = sigmoid(self.i(x, h))
        c = (1 - i) * c + i * tanh(self.g(x, h))
        return sigmoid(self.o(x, h)) * tanh(c), c


class ProjectedLSTMCell(Cell):
    """Sak et al. 2014: a cell of `memory_size` units (2 H unless told) whose output is projected to H, which is what
    the gates read. Without peepholes. States: h (B,H), c (B,memory_size)."""

    state = "h c"

    def setup(self, memory_size: int | None = None, forget_bias: float = 1.0) -> None:
        self.memory_size = 2 * self.hidden_size if memory_size is None else init.size("memory_size", memory_size)
        self.i, self.f, self.o, self.g = (self.new_gate(name, size=self.memory_size) for name in "ifog")
        self.P = Parameter(init.glorot(init.generator(self.rng), (self.memory_size, self.hidden_size)), name="P")
        self.f.b.data += forget_bias

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.memory_size,)]

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i, f, o = sigmoid(self.i(x, h)), sigmoid(self.f(x, h)), sigmoid(self.o(x, h))
        c = f * c + i * tanh(self.g(x, h))
        return (o * tanh(c)) @ self.P, c


class LayerNormLSTMCell(Cell):
    """Ba et al. 2016, eq. 20 to 22: both products and the new cell are normalised; here gate by gate."""

    gates = "i f o g"
    state = "h c"

    def setup(self, forget_bias: float = 1.0) -> None:
        self.of_x = {gate: LayerNorm(self.hidden_size) for gate in "ifog"}
        self.of_h = {gate: LayerNorm(self.hidden_size) for gate in "ifog"}
        self.of_c = LayerNorm(self.hidden_size)
        self.f.b.data += forget_bias

    def total(self, name: str, x: Tensor, h: Tensor) -> Tensor:
        """LN(x U) + LN(h W) + b."""
        gate = getattr(self, name)
        total: Tensor = self.of_x[name](x @ gate.U) + self.of_h[name](gate.recurrent(h)) + gate.b
        return total

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i, f, o = (sigmoid(self.total(name, x, h)) for name in "ifo")
        c = f * c + i * tanh(self.total("g", x, h))
        return o * tanh(self.of_c(c)), c


class MultiplicativeLSTMCell(Cell):
    """Krause et al. 2016: the gates read m = (x U_m + b_m) * (h W_m) in place of h, so that each input has recurrent
    weights of its own. (The paper's m has no bias.)"""

    gates = "m i f o g"
    state = "h c"

    def setup(self, forget_bias: float = 1.0) -> None:
        self.f.b.data += forget_bias

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        m = self.m.input(x) * self.m.recurrent(h)
        i, f, o = sigmoid(self.i(x, m)), sigmoid(self.f(x, m)), sigmoid(self.o(x, m))
        c = f * c + i * tanh(self.g(x, m))
        return o * tanh(c), c


class MultiplicativeIntegrationLSTMCell(Cell):
    """Wu et al. 2016, eq. 4, for each gate: the two products are multiplied too, and every part has a weight for each
    unit: alpha * (x U) * (h W) + beta_x * (x U) + beta_h * (h W) + b. `alpha` and `beta` are where these begin. The
    states: h and c, (B,H) each. (There is nothing around the step.)"""

    gates = "i f o g"
    state = "h c"

    def setup(self, alpha: float = 1.0, beta: float = 0.5, forget_bias: float = 1.0) -> None:
        self.alpha = {gate: Parameter(np.full(self.hidden_size, alpha)) for gate in "ifog"}
        self.beta_x, self.beta_h = (
            {gate: Parameter(np.full(self.hidden_size, beta)) for gate in "ifog"} for _ in range(2)
        )
        self.f.b.data += forget_bias

    def total(self, name: str, x: Tensor, h: Tensor) -> Tensor:
        """What is squashed of a gate."""
        gate = getattr(self, name)
        of_x, of_h = x @ gate.U, gate.recurrent(h)
        total: Tensor = self.alpha[name] * of_x * of_h + self.beta_x[name] * of_x + self.beta_h[name] * of_h + gate.b
        return total

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i, f, o = (sigmoid(self.total(name, x, h)) for name in "ifo")
        c = f * c + i * tanh(self.total("g", x, h))
        return o * tanh(c), c


class MogrifierLSTMCell(Cell):
    """Melis et al. 2020, eq. 1 and 2: before an LSTM's step input and state gate each other in turn, in `rounds`, by
    2 sigmoid of a product without a bias. The states: h and c, (B,H) each. (Left out are the low rank that the paper's
    Q and R may have, and its dropout, which the layer has.)"""

    gates = "i f o g"
    state = "h c"

    def setup(self, rounds: int = 5, forget_bias: float = 1.0) -> None:
        if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 0:
            raise ValueError(f"rounds must be a whole number of at least 0, got {rounds!r}")
        self.rounds = []
        for k in range(1, rounds + 1):
            name, reads, size = (f"Q{k}", "h", self.input_size) if k % 2 else (f"R{k}", "x", None)
            self.rounds.append(self.new_gate(name, reads, size, bias=False))
        self.f.b.data += forget_bias

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        for k, gate in enumerate(self.rounds, start=1):
            if k % 2:
                x = 2 * sigmoid(gate.recurrent(h)) * x
            else:
                h = 2 * sigmoid(x @ gate.U) * h
        i, f, o = sigmoid(self.i(x, h)), sigmoid(self.f(x, h)), sigmoid(self.o(x, h))
        c = f * c + i * tanh(self.g(x, h))
        return o * tanh(c), c


class HyperLSTMCell(Cell):
    """Ha et al. 2017, appendix A.2.2: a small LSTM of `size` units reads the input and the state; for each gate of a
    large one it scales both products, and makes a bias, by way of `embedding` numbers each (z). The states: h and c
    (B,H), and those of the small one (B,size), which zoneout leaves alone. All scales begin near 1. (As in the authors'
    code z is made of the small one's new state, where the paper's equations have the one before. The paper's z has no
    bias where it makes one; left out are the layer norms that it tries too.)"""

    gates = "i f o g"
    state = "h c small_h small_c"
    kept = "small_h small_c"

    def setup(self, size: int = 16, embedding: int = 4, forget_bias: float = 1.0) -> None:
        size, embedding = init.size("size", size), init.size("embedding", embedding)
        given: dict[str, Any] = {"dtype": self._dtype, "rng": self.rng}
        self.small = LSTMCell(self.input_size + self.hidden_size, size, **given, init=self._scheme)
        for gate in self.small.all_gates():
            gate.name = f"small_{gate.name}"
        self.z, self.D = {}, {}
        for name in (f"{each}_{part}" for each in "ifog" for part in "xhb"):
            self.z[name] = Gate(f"z_{name}", size, size, **given, scheme=self._scheme, reads="h", size=embedding)
            self.z[name].b.data += 1.0
            self.D[name] = Parameter(np.full((embedding, self.hidden_size), 0.0 if name[-1] == "b" else 1 / embedding))
        self.f.b.data += forget_bias

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        large, small = self.hidden_size, self.small.hidden_size
        return [(large,), (large,), (small,), (small,)]

    def total(self, name: str, x: Tensor, h: Tensor, small_h: Tensor) -> Tensor:
        """What is squashed of a gate."""
        gate = getattr(self, name)
        of_x, of_h, b = (self.z[f"{name}_{part}"](small_h) @ self.D[f"{name}_{part}"] for part in "xhb")
        total: Tensor = of_x * (x @ gate.U) + of_h * gate.recurrent(h) + b + gate.b
        return total

    def step(self, x: Tensor, h: Tensor, c: Tensor, small_h: Tensor, small_c: Tensor) -> tuple[Tensor, ...]:
        small_h, small_c = self.small.step(ops.concatenate([h, x], axis=-1), small_h, small_c)
        i, f, o = (sigmoid(self.total(name, x, h, small_h)) for name in "ifo")
        c = f * c + i * tanh(self.total("g", x, h, small_h))
        return o * tanh(c), c, small_h, small_c


class ONLSTMCell(Cell):
    """Shen et al. 2019, eq. 6 to 14: ordered neurons. Master gates a (forget) and e (input) are monotone along the
    units, so that what is kept longest stands at one end; each of their entries rules `chunk` neighbouring units."""

    gates = "i f o g"
    state = "h c"

    def setup(self, chunk: int = 1, forget_bias: float = 1.0) -> None:
        if self.hidden_size % init.size("chunk", chunk):
            raise ValueError(f"chunk must divide hidden_size {self.hidden_size}, got {chunk}")
        self.chunk = chunk
        self.a, self.e = (self.new_gate(name, size=self.hidden_size // chunk) for name in "ae")
        self.f.b.data += forget_bias

    def spread(self, level: Tensor) -> Tensor:
        """(B,H/chunk) -> (B,H)."""
        shape = (*level.shape, self.chunk)
        return ops.broadcast_to(level.reshape((*level.shape, 1)), shape).reshape((level.shape[0], self.hidden_size))

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> TwoStates:
        i, f, o = sigmoid(self.i(x, h)), sigmoid(self.f(x, h)), sigmoid(self.o(x, h))
        keep = self.spread(ops.cumsum(softmax(self.a(x, h)), axis=-1))
        write = self.spread(1 - ops.cumsum(softmax(self.e(x, h)), axis=-1))
        both = keep * write
        c = (f * both + keep - both) * c + (i * both + write - both) * tanh(self.g(x, h))
        return o * tanh(c), c


class PhasedLSTMCell(Cell):
    """Neil et al. 2016, eq. 2 to 9, at equal steps and without peepholes: a unit is updated while its oscillation of
    period `tau` (drawn log-uniform from `periods`, in steps) is open, for a share `open_share` of it; otherwise it
    leaks by `leak`. States: h, c, and the phase (B,H) in [0, 1). (In the paper it leaks in training alone.)"""

    gates = "i f o g"
    state = "h c phase"
    kept = "phase"

    def setup(
        self,
        periods: tuple[float, float] = (1.0, 100.0),
        open_share: float = 0.05,
        leak: float = 0.001,
        forget_bias: float = 1.0,
    ) -> None:
        rng = init.generator(self.rng)
        low, high = periods
        if not 0 < low <= high:
            raise ValueError(f"periods must be two numbers, 0 < low <= high, got {periods!r}")
        if not 0 < open_share <= 1:
            raise ValueError(f"open_share must be above 0 and at most 1, got {open_share!r}")
        self.log_tau = Parameter(rng.uniform(np.log(low), np.log(high), self.hidden_size))
        self.shift = Parameter(rng.uniform(0, 1, self.hidden_size))  # as a share of the period
        self.share = Parameter(np.full(self.hidden_size, open_share))
        self.leak = leak
        self.f.b.data += forget_bias

    def wrapped(self, phase: Tensor) -> Tensor:
        """Modulo 1, in [0, 1): a period may be learnt to be shorter than a step, and a shift to be longer than one."""
        phase = phase - ops.astype(ops.astype(phase, "int64"), phase.dtype)
        return ops.where(phase < 0, phase + 1, phase)

    def openness(self, phase: Tensor) -> Tensor:
        """k: rises from 0 to 1 and falls again while open."""
        phase = self.wrapped(phase - self.shift)
        rise = 2 * phase / self.share
        closed = ops.where(phase < self.share, 2 - rise, self.leak * phase)
        return ops.where(2 * phase < self.share, rise, closed)

    def step(self, x: Tensor, h: Tensor, c: Tensor, phase: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        k = self.openness(phase)
        i, f, o = sigmoid(self.i(x, h)), sigmoid(self.f(x, h)), sigmoid(self.o(x, h))
        new = f * c + i * tanh(self.g(x, h))
        return (
            k * (o * tanh(new)) + (1 - k) * h,
            k * new + (1 - k) * c,
            self.wrapped(phase + ops.exp(-self.log_tau)),
        )
