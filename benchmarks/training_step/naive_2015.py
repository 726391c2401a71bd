"""The tutorial's network as a beginner's NumPy had it in 2015: the algorithm of Britz, "Recurrent Neural Networks
Tutorial", parts 2 and 3, in our words. Every step goes through the whole vocabulary on its own, every output is taken
back through time on its own, all weight gradients are outer products, and every weight is updated.

Its truncation is set to the length of the sentence, so that the gradient is the whole one, as that of the peers. It
ran in float64; here it gets float32, as the peers do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from works import Arrays, Floats, Work, endless


class Naive:
    """U (H,V), V (V,H), W (H,H), as the tutorial lays them out."""

    def __init__(self, work: Work, weights: Arrays) -> None:
        self.all = [(ids[:, 0], targets[:, 0]) for ids, targets in work.batches()]
        self.batches = endless(self.all)
        self.lr, self.truncate = np.float32(work.lr), work.steps
        self.U = np.ascontiguousarray(weights["embedding"].T)
        self.V = np.ascontiguousarray(weights["output.W"].T)
        self.W = np.ascontiguousarray(weights["0.W"].T)

    def forward(self, x: Any) -> tuple[Floats, Floats]:
        """Word ids (T,) -> probabilities (T,V) and states (T+1,H), the last of them the zero before the first."""
        steps = len(x)
        states = np.zeros((steps + 1, len(self.W)), np.float32)
        probabilities = np.zeros((steps, len(self.V)), np.float32)
        for t in range(steps):
            states[t] = np.tanh(self.U[:, x[t]] + self.W.dot(states[t - 1]))
            logits = self.V.dot(states[t])
            e = np.exp(logits - logits.max())
            probabilities[t] = e / e.sum()
        return probabilities, states

    def backward(self, x: Any, y: Any) -> tuple[float, Floats, Floats, Floats]:
        """The summed loss, and the gradients of U, V and W."""
        probabilities, states = self.forward(x)
        each = np.arange(len(y))
        loss = -float(np.log(probabilities[each, y]).sum())
        dU, dV, dW = np.zeros_like(self.U), np.zeros_like(self.V), np.zeros_like(self.W)
        errors = probabilities
        errors[each, y] -= 1
        for t in range(len(y) - 1, -1, -1):
            dV += np.outer(errors[t], states[t])
            delta = self.V.T.dot(errors[t]) * (1 - states[t] ** 2)
            for earlier in range(t, max(-1, t - self.truncate - 1), -1):
                dW += np.outer(delta, states[earlier - 1])
                dU[:, x[earlier]] += delta
                delta = self.W.T.dot(delta) * (1 - states[earlier - 1] ** 2)
        return loss, dU, dV, dW

    def step(self) -> float:
        """Stochastic gradient descent on the next sentence."""
        loss, dU, dV, dW = self.backward(*next(self.batches))
        self.U -= self.lr * dU
        self.V -= self.lr * dV
        self.W -= self.lr * dW
        return loss

    def gradients(self) -> tuple[float, Arrays]:
        """Of the first sentence."""
        loss, dU, dV, dW = self.backward(*self.all[0])
        return loss, {"embedding": dU.T, "output.W": dV.T, "0.W": dW.T}

    def parameters(self) -> Arrays:
        """The weights under the shared names."""
        return {"embedding": self.U.T.copy(), "output.W": self.V.T.copy(), "0.W": self.W.T.copy()}


def make(work: Work, weights: Arrays) -> Naive:
    """The tutorial's step."""
    return Naive(work, weights)
