"""Cells that are a differential equation, in steps of time: a state that turns neither grows nor fades by itself."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell, TwoStates
from tinygrad_rnn.models.gate import Gate
from tinygrad_rnn.ops import sigmoid, tanh
from tinygrad_rnn.tensor import Tensor


class CoRNNCell(Cell):
    """Rusch & Mishra 2021, eq. 3: coupled oscillators of position y and velocity z, driven by the input. `dt` is the
    time of a step, `gamma` the force back and `epsilon` the friction, which is taken at the new z. The states: y, the
    output, and z, (B,H) each. (Left out is the linear layer that reads the last y.)"""

    gates = "n"
    state = "y z"

    def setup(self, dt: float = 0.042, gamma: float = 2.7, epsilon: float = 4.7) -> None:
        self.dt, self.gamma, self.epsilon = (
            _positive(name, value) for name, value in (("dt", dt), ("gamma", gamma), ("epsilon", epsilon))
        )
        self.of_z = self.new_gate("of_z", "h", bias=False)

    def step(self, x: Tensor, y: Tensor, z: Tensor) -> TwoStates:
        force = tanh(self.n(x, y) + self.of_z.recurrent(z)) - self.gamma * y
        z = (z + self.dt * force) / (1 + self.dt * self.epsilon)
        return y + self.dt * z, z


class LEMCell(Cell):
    """Rusch et al. 2022, eq. 3: long expressive memory, two states with gates for the time that passes in each, `dt` at
    most. The states: y, the output, and z, (B,H) each. (Left out is the linear layer that reads y.)"""

    gates = "dz dy nz ny"
    state = "y z"

    def setup(self, dt: float = 1.0) -> None:
        self.dt = _positive("dt", dt)

    def step(self, x: Tensor, y: Tensor, z: Tensor) -> TwoStates:
        dz, dy = self.dt * sigmoid(self.dz(x, y)), self.dt * sigmoid(self.dy(x, y))
        z = (1 - dz) * z + dz * tanh(self.nz(x, y))
        return (1 - dy) * y + dy * tanh(self.ny(x, z)), z


class AntisymmetricRNNCell(Cell):
    """Chang et al. 2019, eq. 11 and 12: what h is multiplied by is antisymmetric, W - W^T - `gamma` 1, so that in steps
    of `epsilon` h turns, and `gamma` makes up for the length of the steps. With `gated` the step has a gate, which
    shares that product; without it is eq. 10. State: h (B,H). (The paper has a triangular W, of which W - W^T is as
    general; left out is the linear layer that reads h.)"""

    gates = "n"

    def setup(self, epsilon: float = 0.1, gamma: float = 0.01, gated: bool = True) -> None:
        self.epsilon, self.gamma = _positive("epsilon", epsilon), gamma * np.eye(self.hidden_size)
        self.z = self.new_gate("z", "x") if gated else None

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        turned: Tensor = self.n.with_recurrent(self.n.W - self.n.W.T - self.gamma).recurrent(h)
        change = self.epsilon * tanh(self.n.input(x) + turned)
        return h + change if self.z is None else h + sigmoid(self.z(x) + turned) * change


class LipschitzRNNCell(Cell):
    """Erichson et al. 2021, eq. 4 and 5, in Euler's steps of `epsilon`: h moves by A h + tanh(x U + b + h W), A and W
    both made of a matrix M as (1 - `beta`) (M + Mᵀ) + `beta` (M - Mᵀ) - `gamma` 1. State: h (B,H). (Both matrices
    have one `beta` and one `gamma` here, and one step is Euler's alone; left out is the linear layer that reads h.)"""

    gates = "n"

    def setup(self, epsilon: float = 0.03, beta: float = 0.75, gamma: float = 0.001) -> None:
        if not 0.5 <= beta <= 1:
            raise ValueError(f"beta must be at least 0.5 and at most 1, got {beta!r}")
        self.epsilon, self.beta, self.gamma = _positive("epsilon", epsilon), beta, gamma * np.eye(self.hidden_size)
        self.a = self.new_gate("a", "h", bias=False)
        for gate in (self.a, self.n):  # as in the authors' code: with larger ones h would grow
            gate.W.data = init.generator(self.rng).standard_normal(gate.W.shape) / self.hidden_size

    def bent(self, gate: Gate) -> Gate:
        """The gate, with its W in place of M."""
        M = gate.W
        return gate.with_recurrent((1 - self.beta) * (M + M.T) + self.beta * (M - M.T) - self.gamma)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return h + self.epsilon * (self.bent(self.a).recurrent(h) + tanh(self.bent(self.n)(x, h)))


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value!r}")
    return float(value)
