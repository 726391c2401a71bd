"""Linear attention: cells that write outer products of keys and values into a matrix, and read it with queries. RWKV is
among them, whose matrix is diagonal."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell, TwoStates
from tinygrad_rnn.models.layers import LayerNorm
from tinygrad_rnn.models.variants.state_spaces import Between, before_softplus, log_uniform
from tinygrad_rnn.ops import einsum, exp, log_sigmoid, relu, sigmoid, softplus
from tinygrad_rnn.tensor import Parameter, Tensor
from tinygrad_rnn.transforms import grad


class FastWeightsCell(Cell):
    """Ba et al. 2016, eq. 1 and 2, with the layer normalisation of section 3.2: an RNN of rectified units whose new
    state is found in `inner_steps` steps, in each of which it attends to the states before. The matrix A keeps a share
    `decay` of itself, and `eta` times the old state's outer product is added. States: h (B,H), A (B,H,H). (The paper's
    W begins as 0.05 times the identity.)"""

    gates = "n"
    state = "h A"
    kept = "A"

    def setup(self, inner_steps: int = 1, decay: float = 0.95, eta: float = 0.5) -> None:
        self.inner_steps, self.decay = init.size("inner_steps", inner_steps), init.rate("decay", decay)
        if not eta > 0:
            raise ValueError(f"eta must be above 0, got {eta!r}")
        self.eta = eta
        self.norm = LayerNorm(self.hidden_size)

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.hidden_size, self.hidden_size)]

    def step(self, x: Tensor, h: Tensor, A: Tensor) -> TwoStates:
        A = self.decay * A + self.eta * h[:, :, None] * h[:, None, :]
        total = self.n(x, h)
        h = relu(total)
        for _ in range(self.inner_steps):
            h = relu(self.norm(total + einsum("bij,bj->bi", A, h)))
        return h, A


class RWKV4Cell(Cell):
    """Peng et al. 2023 (RWKV-4), time mixing, in the stable form of the appendix. r, k and v read a mixture of this
    input and the one before, by shares mu; h is sigmoid(r) times the mean of all v so far with the weights exp(k),
    which fall by exp(w_log) in the exponent at every step; this one's is exp(u + k). States: the two sums num and den
    (B,H) over exp(most), most (B,H), the input before (B,I). (The paper has no biases; w, u and mu begin as in
    its first layer. Around the cell: a norm before it; a matrix, a residual and the channel mixing behind it.)"""

    gates = "r:x k:x v:x"
    state = "num den most before"
    kept = state
    output = "h"

    def setup(self) -> None:
        self.w_log = Parameter(8 * np.linspace(0, 1, self.hidden_size) ** 0.7 - 5)
        self.u = Parameter(np.log(0.3) + 0.5 * ((np.arange(self.hidden_size) + 1) % 3 - 1))
        share = np.arange(self.input_size) / self.input_size
        self.mu = {"r": Parameter(share**0.5), "k": Parameter(share), "v": Parameter(share)}

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [*[(self.hidden_size,)] * 3, (self.input_size,)]

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        num, den, most, before = super().initial_state(batch_size)
        return num, den, most + float(np.finfo(most.dtype).min) / 2, before  # below any k

    def step(self, x: Tensor, num: Tensor, den: Tensor, most: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        r, k, v = (getattr(self, name)(mu * x + (1 - mu) * before) for name, mu in self.mu.items())
        top = ops.maximum(most, self.u + k)
        old, new = exp(most - top), exp(self.u + k - top)
        h = sigmoid(r) * (old * num + new * v) / (old * den + new)
        most = most - exp(self.w_log)
        top = ops.maximum(most, k)
        old, new = exp(most - top), exp(k - top)
        return old * num + new * v, old * den + new, top, x, h


class _Heads(Cell):
    """Queries, keys and values of `heads` heads, D = H / `heads` entries of each, and a matrix of each head, (D,D), of
    which a row belongs to an entry of the keys."""

    gates = "q:x k:x v:x"
    state = "S"
    kept = "S"

    def split(self, heads: int) -> None:
        """Notes how many heads there are. Raises ValueError unless they divide H."""
        if self.hidden_size % init.size("heads", heads):
            raise ValueError(f"heads must divide hidden_size {self.hidden_size}, got {heads}")
        self.heads, self.width = heads, self.hidden_size // heads

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.heads, self.width, self.width)]

    def by_head(self, values: Tensor) -> Tensor:
        """(B,H) -> (B,heads,D)."""
        return values.reshape((-1, self.heads, self.width))

    def side_by_side(self, values: Tensor) -> Tensor:
        """(B,heads,D) -> (B,H)."""
        return values.reshape((-1, self.hidden_size))


def associated(k: Tensor, v: Tensor) -> Tensor:
    """k^T v: (B,heads,D) twice -> (B,heads,D,D)."""
    return k[..., None] * v[..., None, :]


def looked_up(q: Tensor, S: Tensor) -> Tensor:
    """q S: (B,heads,D), (B,heads,D,D) -> (B,heads,D)."""
    return einsum("bhk,bhkv->bhv", q, S)


class GatedLinearAttentionCell(_Heads):
    """Yang et al. 2024 (GLA), eq. 3 and section 4.4: S' = diag(a) S + k^T v in each of the `heads`, and q S' comes out;
    the gate a, one for each entry of the keys, is a sigmoid to the power of 1 / `temperature`. State: S (B,heads,D,D),
    D = H / `heads`. (In the paper keys are half as wide as values, the gate goes through a narrow layer, and nothing
    else has a bias. Around the cell: a norm of each head, a gate by SiLU, a matrix, a residual and a norm behind
    it.)"""

    gates = "q:x k:x v:x a:x"

    def setup(self, heads: int = 1, temperature: float = 16.0) -> None:
        self.split(heads)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature!r}")
        self.temperature = temperature

    def step(self, x: Tensor, S: Tensor) -> Tensor:
        k, v = self.by_head(self.k(x)), self.by_head(self.v(x))
        a = self.by_head(exp(log_sigmoid(self.a(x)) / self.temperature))
        return a[..., None] * S + associated(k, v)

    def output(self, x: Tensor, S: Tensor) -> Tensor:
        return self.side_by_side(looked_up(self.by_head(self.q(x)), S))


class _DeltaRule(_Heads):
    """Keys and queries of length 1, and how much is written."""

    def setup(self, heads: int = 1) -> None:
        self.split(heads)
        self.beta = self.new_gate("beta", "x", heads)

    def direction(self, values: Tensor) -> Tensor:
        """SiLU, of length 1 in each head: (B,H) -> (B,heads,D)."""
        values = self.by_head(values * sigmoid(values))
        return values / ops.sqrt(ops.square(values).sum(axis=-1, keepdims=True) + 1e-6)

    def output(self, x: Tensor, S: Tensor) -> Tensor:
        return self.side_by_side(looked_up(self.direction(self.q(x)), S))


class DeltaNetCell(_DeltaRule):
    """Schlag et al. 2021, section 4.2, with the keys and queries of Yang et al. 2024 (DeltaNet), SiLU over its length:
    S' = S + beta k^T (v - k S) in each of the `heads`, and q S' comes out. State: S (B,heads,D,D), D = H / `heads`.
    (The papers have no biases. Around the cell: a convolution of width 4 on q, k and v, which goes through SiLU too,
    before it; a norm of each head, a matrix, a residual and a norm behind it.)"""

    def step(self, x: Tensor, S: Tensor) -> Tensor:
        k, v, beta = self.direction(self.k(x)), self.by_head(self.v(x)), sigmoid(self.beta(x))
        return S + associated(k, beta[..., None] * (v - looked_up(k, S)))


class GatedDeltaNetCell(_DeltaRule):
    """Yang et al. 2025, eq. 10: the delta rule of `DeltaNetCell` after a S, with a gate of each head, a =
    exp(-exp(A_log) softplus(x U + b)), as in Mamba 2. softplus(b) is drawn log-uniform from `steps`, exp(A_log)
    uniformly from 1 to 16. State: S (B,heads,D,D), D = H / `heads`. (The paper has no other biases. Around the cell:
    what `DeltaNetCell` has there, and a gate by SiLU on the norm.)"""

    def setup(self, heads: int = 1, steps: Between = (0.001, 0.1)) -> None:
        super().setup(heads)
        rng = init.generator(self.rng)
        self.a = self.new_gate("a", "x", heads)
        self.a.b.data += before_softplus(log_uniform("steps", steps, rng, (heads,)))
        self.A_log = Parameter(np.log(rng.uniform(1, 16, heads)))

    def step(self, x: Tensor, S: Tensor) -> Tensor:
        S = exp(-exp(self.A_log) * softplus(self.a(x)))[..., None, None] * S
        k, v, beta = self.direction(self.k(x)), self.by_head(self.v(x)), sigmoid(self.beta(x))
        return S + associated(k, beta[..., None] * (v - looked_up(k, S)))


class TTTLinearCell(_Heads):
    """Sun et al. 2024 (TTT-Linear), sections 2.1 to 2.3 and 2.7: the state is the matrix of a model f, which learns
    from each input by a step of gradient descent on |f(k) - v|²; f(q) comes out after it. f(k) = k + LN(k W) in each
    of the `heads`, or k W where it is `plain`; the rate of a head is `base_rate` sigmoid(x U + b) / D. State: W
    (B,heads,D,D), D = H / `heads`, which begins as W0, learnt. (In the paper a step is for 16 inputs; nothing has a
    bias; to divide by D is its code's. Around the cell: a convolution, or none, before it; a norm, a gate by GELU, a
    matrix and a residual behind it.)"""

    state = "W"
    kept = "W"

    def setup(self, heads: int = 1, base_rate: float = 1.0, plain: bool = False) -> None:
        self.split(heads)
        if not base_rate > 0:
            raise ValueError(f"base_rate must be above 0, got {base_rate!r}")
        self.base_rate, self.plain = base_rate, plain
        self.eta = self.new_gate("eta", "x", heads)
        self.W0 = Parameter(0.02 * init.generator(self.rng).standard_normal((heads, self.width, self.width)))
        if not plain:
            self.gain, self.shift = (Parameter(fill((heads, self.width))) for fill in (np.ones, np.zeros))

    def initial_state(self, batch_size: int) -> tuple[Tensor]:
        return (ops.broadcast_to(self.W0, (batch_size, *self.W0.shape)),)

    def f(self, k: Tensor, W: Tensor) -> Tensor:
        """(B,heads,D), (B,heads,D,D) -> (B,heads,D)."""
        y = looked_up(k, W)
        if self.plain:
            return y
        y = y - y.mean(axis=-1, keepdims=True)
        y = y / ops.sqrt(ops.square(y).mean(axis=-1, keepdims=True) + 1e-6)
        return k + self.gain * y + self.shift

    def step(self, x: Tensor, W: Tensor) -> Tensor:
        k, v = self.by_head(self.k(x)), self.by_head(self.v(x))
        eta = self.base_rate / self.width * sigmoid(self.eta(x))
        slope = grad(lambda W: ops.square(self.f(k, W) - v).sum())(W)  # of each row its own: rows do not meet
        return W - eta[..., None, None] * slope

    def output(self, x: Tensor, W: Tensor) -> Tensor:
        return self.side_by_side(self.f(self.by_head(self.q(x)), W))
