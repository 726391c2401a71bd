"""State spaces: cells whose new state is linear in the old one, entry by entry, by factors that may be complex: then
its real and its imaginary part are two states."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell, TwoStates
from tinygrad_rnn.models.cells import _one_of
from tinygrad_rnn.ops import exp, sigmoid, softplus
from tinygrad_rnn.tensor import Parameter, Tensor

Between = tuple[float, float]
"""Two numbers between which others are drawn."""


def log_uniform(name: str, bounds: Between, rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
    """Numbers whose logarithm is uniform. Raises ValueError naming the option unless 0 < low <= high."""
    low, high = bounds
    if not 0 < low <= high:
        raise ValueError(f"{name} must be two numbers, 0 < low <= high, got {bounds!r}")
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def before_softplus(value: HostArray) -> HostArray:
    """Of what a value is the softplus."""
    return value + np.log(-np.expm1(-value))


class LRUCell(Cell):
    """Orvieto et al. 2023, eq. 7, with the output of eq. 1: linear recurrent unit. The `state_size` factors (H unless
    told) are exp(-exp(nu_log) + i exp(theta_log)), drawn uniformly from the ring between `r_min` and `r_max`, with
    angles up to `max_phase` (lemma 3.2). States: re and im (B,state_size). (The paper's D has no bias. Around the cell:
    a norm before it; a GELU, a gated linear unit and a residual behind it.)"""

    gates = "D:x"
    state = "re im"
    kept = "re im"  # two parts of one number: an old one beside a new one would turn it

    def setup(
        self, state_size: int | None = None, r_min: float = 0.0, r_max: float = 1.0, max_phase: float = 2 * np.pi
    ) -> None:
        if not 0 <= r_min < r_max <= 1:
            raise ValueError(f"r_min and r_max must be 0 <= r_min < r_max <= 1, got {r_min!r} and {r_max!r}")
        if not 0 < max_phase <= 2 * np.pi:
            raise ValueError(f"max_phase must be above 0 and at most 2 pi, got {max_phase!r}")
        n = self.state_size = self.hidden_size if state_size is None else init.size("state_size", state_size)
        rng = init.generator(self.rng)
        square = np.maximum(r_min**2 + rng.uniform(0, 1, n) * (r_max**2 - r_min**2), np.finfo(float).tiny)
        self.nu_log = Parameter(np.log(-0.5 * np.log(square)))
        self.theta_log = Parameter(np.log(max_phase * (1 - rng.uniform(0, 1, n))))  # 1 - u is never 0
        self.gamma_log = Parameter(0.5 * np.log1p(-square))
        self.B_re, self.B_im = (
            Parameter(rng.standard_normal((self.input_size, n)) / np.sqrt(2 * self.input_size)) for _ in range(2)
        )
        self.C_re, self.C_im = (Parameter(rng.standard_normal((n, self.hidden_size)) / np.sqrt(n)) for _ in range(2))

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.state_size,)] * 2

    def step(self, x: Tensor, re: Tensor, im: Tensor) -> TwoStates:
        size, angle, gamma = exp(-exp(self.nu_log)), exp(self.theta_log), exp(self.gamma_log)
        a, b = size * ops.cos(angle), size * ops.sin(angle)
        return a * re - b * im + gamma * (x @ self.B_re), b * re + a * im + gamma * (x @ self.B_im)

    def output(self, x: Tensor, re: Tensor, im: Tensor) -> Tensor:
        y: Tensor = re @ self.C_re - im @ self.C_im + self.D(x)
        return y


class S4DCell(Cell):
    """Gu et al. 2022, section 3: a diagonal state space for each of H channels, which are u = x U + b. A has
    `state_size` complex entries per channel, each for itself and its conjugate, and begins as S4D-Lin; B is 1, since
    only its product with C matters. `discretisation` is "zoh" (zero-order hold) or "bilinear", by a step of each
    channel's own, drawn log-uniform from `steps`. States: re and im (B,H,state_size). (The paper's channels are its
    inputs. Around the cell: a GELU, a matrix with a gated linear unit, a residual and a norm behind it.)"""

    gates = "u:x"
    state = "re im"
    kept = "re im"  # two parts of one number

    def setup(self, state_size: int = 16, discretisation: str = "zoh", steps: Between = (0.001, 0.1)) -> None:
        self.discretisation = _one_of("discretisation", discretisation, ("zoh", "bilinear"))
        shape = (self.hidden_size, init.size("state_size", state_size))
        rng = init.generator(self.rng)
        self.delta_log = Parameter(np.log(log_uniform("steps", steps, rng, (self.hidden_size, 1))))
        self.decay_log = Parameter(np.full(shape, np.log(0.5)))
        self.frequency = Parameter(np.tile(np.pi * np.arange(shape[1]), (shape[0], 1)))
        self.C_re, self.C_im = (Parameter(rng.standard_normal(shape) * np.sqrt(0.5)) for _ in range(2))
        self.D = Parameter(rng.standard_normal(self.hidden_size))

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [self.decay_log.shape] * 2

    def discretised(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Real and imaginary parts of A and B for a step of time, (H,state_size) each."""
        delta, A_re, A_im = exp(self.delta_log), -exp(self.decay_log), self.frequency
        re, im = delta * A_re, delta * A_im
        # First A - 1, which would cancel where the step is short.
        if self.discretisation == "zoh":  # exp(z) - 1
            re, im = ops.expm1(re) * ops.cos(im) - 2 * ops.square(ops.sin(im / 2)), exp(re) * ops.sin(im)
        else:  # z / (1 - z / 2)
            size = ops.square(1 - re / 2) + ops.square(im / 2)
            re, im = (re - (ops.square(re) + ops.square(im)) / 2) / size, im / size
        size = ops.square(A_re) + ops.square(A_im)
        return re + 1, im, (re * A_re + im * A_im) / size, (im * A_re - re * A_im) / size  # B = (A - 1) / A

    def step(self, x: Tensor, re: Tensor, im: Tensor) -> TwoStates:
        a, b, p, q = self.discretised()
        u = self.u(x)[:, :, None]
        return a * re - b * im + p * u, b * re + a * im + q * u

    def output(self, x: Tensor, re: Tensor, im: Tensor) -> Tensor:
        y: Tensor = 2 * (self.C_re * re - self.C_im * im).sum(axis=-1) + self.D * self.u(x)
        return y


class SelectiveSSMCell(Cell):
    """Gu & Dao 2023 (Mamba), eq. 2 and algorithm 2: a diagonal state space for each of H channels, which are u = x U +
    b, whose step delta and whose B and C are read from the input. A has `state_size` entries per channel, -exp(A_log),
    and begins as -1, -2 and so on; delta is near a number drawn log-uniform from `steps`. `discretisation="euler"`
    takes delta B for the discrete B, as the authors' code does, "zoh" that of eq. 4. State: h (B,H,state_size). (In the
    paper delta goes through a narrow layer, and what reads the input has no biases but delta's. Around the cell: a
    matrix, a convolution of width 4 and SiLU before it; a gate by SiLU, a matrix, a residual and a norm behind it.)"""

    gates = "u:x delta:x"
    state = "h"
    kept = "h"  # entries of a memory, not units

    def setup(self, state_size: int = 16, discretisation: str = "euler", steps: Between = (0.001, 0.1)) -> None:
        self.discretisation = _one_of("discretisation", discretisation, ("euler", "zoh"))
        shape = (self.hidden_size, init.size("state_size", state_size))
        self.B, self.C = (self.new_gate(name, "x", state_size) for name in "BC")
        self.A_log = Parameter(np.tile(np.log(1 + np.arange(state_size)), (shape[0], 1)))
        self.D = Parameter(np.ones(self.hidden_size))
        self.delta.b.data += before_softplus(log_uniform("steps", steps, init.generator(self.rng), (self.hidden_size,)))

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [self.A_log.shape]

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        delta, u, B = softplus(self.delta(x))[:, :, None], self.u(x)[:, :, None], self.B(x)[:, None, :]
        A = -exp(self.A_log)
        written = delta if self.discretisation == "euler" else ops.expm1(delta * A) / A
        h = exp(delta * A) * h + written * B * u
        return h

    def output(self, x: Tensor, h: Tensor) -> Tensor:
        y: Tensor = (self.C(x)[:, None, :] * h).sum(axis=-1) + self.D * self.u(x)
        return y


class RGLRUCell(Cell):
    """De et al. 2024 (Griffin), eq. 1 to 4: real-gated linear recurrent unit. a = sigmoid(a_logit) begins with a to the
    power of `c` drawn uniformly from `r_min` to `r_max`; where I is not H, a matrix brings the input to H. (Around the
    cell: a matrix and a convolution of width 4 before it; a branch through GELU to multiply with, a matrix, a residual
    and a norm behind it.)"""

    gates = "r:x i:x"

    def setup(self, c: float = 8.0, r_min: float = 0.9, r_max: float = 0.999) -> None:
        if not c > 0:
            raise ValueError(f"c must be above 0, got {c!r}")
        if not 0 < r_min < r_max < 1:
            raise ValueError(f"r_min and r_max must be 0 < r_min < r_max < 1, got {r_min!r} and {r_max!r}")
        self.c = c
        log_a = np.log(init.generator(self.rng).uniform(r_min, r_max, self.hidden_size)) / c
        self.a_logit = Parameter(log_a - np.log(-np.expm1(log_a)))
        if self.input_size != self.hidden_size:
            self.k = self.new_gate("k", "x")

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        r, i = sigmoid(self.r(x)), sigmoid(self.i(x))
        log_a = self.c * r * ops.log_sigmoid(self.a_logit)
        # 1 - a**2 without cancellation; and never 0, where the root has no slope, but for what no dtype sees beside 1.
        least = float(np.finfo(x.dtype).smallest_subnormal) ** 0.5
        written = ops.sqrt(least - ops.expm1(2 * log_a))
        return exp(log_a) * h + written * i * (x if self.input_size == self.hidden_size else self.k(x))
