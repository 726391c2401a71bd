"""The works in HIPS autograd: NumPy's functions on its tape, time unrolled, the input product before the loop and the
gates in one product. Clipping and update are plain NumPy in place."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from works import Arrays, Batch, Floats, Work, endless, rms_rate

anp: Any = import_module("autograd.numpy")
value_and_grad: Any = import_module("autograd").value_and_grad


def sigmoid(a: Any) -> Any:
    """As (1 + tanh(a/2)) / 2: NumPy has no sigmoid."""
    return 0.5 * anp.tanh(0.5 * a) + 0.5


def run(work: Work, layer: int, weights: dict[str, Any], xs: Any) -> Any:
    """One layer: (T,B,I) -> (T,B,H)."""
    H = work.hidden
    w = {name.split(".")[1]: array for name, array in weights.items() if name.startswith(f"{layer}.")}
    zs = xs if work.cell == "tutorial" else anp.dot(xs, w["U"]) + w["b"]
    h = c = np.zeros((work.batch, H), np.float32)
    hs = []
    for t in range(work.steps):
        if work.cell == "tutorial":
            h = anp.tanh(zs[t] + anp.dot(h, w["W"]))
        elif work.cell == "lstm":
            a = zs[t] + anp.dot(h, w["W"])
            s = sigmoid(a[:, : 3 * H])
            c = s[:, H : 2 * H] * c + s[:, :H] * anp.tanh(a[:, 3 * H :])
            h = s[:, 2 * H :] * anp.tanh(c)
        elif work.cell == "peephole":
            a = zs[t] + anp.dot(h, w["W"])
            i = sigmoid(a[:, :H] + c * w["p"][0])
            f = sigmoid(a[:, H : 2 * H] + c * w["p"][1])
            c = f * c + i * anp.tanh(a[:, 3 * H :])
            h = sigmoid(a[:, 2 * H : 3 * H] + c * w["p"][2]) * anp.tanh(c)
        elif work.cell == "gru":
            product = anp.dot(h, w["W"])
            s = sigmoid(zs[t][:, : 2 * H] + product[:, : 2 * H])
            n = anp.tanh(zs[t][:, 2 * H :] + s[:, H:] * (product[:, 2 * H :] + w["c"]))
            h = n + s[:, :H] * (h - n)
        else:
            s = sigmoid(zs[t][:, : 2 * H] + anp.dot(h, w["W"][:, : 2 * H]))
            n = anp.tanh(zs[t][:, 2 * H :] + anp.dot(s[:, H:] * h, w["W"][:, 2 * H :]))
            h = n + s[:, :H] * (h - n)
        hs.append(h)
    return anp.stack(hs)


def loss_of(weights: dict[str, Any], work: Work, ids: Any, targets: Any) -> Any:
    """The mean nats per token; the tutorial's summed."""
    hs = weights["embedding"][ids]
    for layer in range(work.layers):
        hs = run(work, layer, weights, hs)
    logits = anp.dot(anp.reshape(hs, (-1, work.hidden)), weights["output.W"])
    if work.cell != "tutorial":
        logits = logits + weights["output.b"]
    logits = logits - anp.max(logits, axis=1, keepdims=True)
    chosen = logits[np.arange(work.tokens), targets.reshape(-1)]
    losses = anp.log(anp.sum(anp.exp(logits), axis=1)) - chosen
    return anp.sum(losses) if work.cell == "tutorial" else anp.mean(losses)


class InAutograd:
    """A work in autograd."""

    def __init__(self, work: Work, weights: Arrays) -> None:
        self.work = work
        self.weights = {name: w.copy() for name, w in weights.items()}
        self.caches = {name: np.zeros_like(w) for name, w in weights.items()}
        self.all: list[Batch] = work.batches()
        self.batches = endless(self.all)
        self.backward = value_and_grad(loss_of)

    def step(self) -> float:
        """One training step on the next batch."""
        loss, gradients = self.backward(self.weights, self.work, *next(self.batches))
        if self.work.max_norm is None:
            for name, g in gradients.items():
                self.weights[name] -= np.float32(self.work.lr) * g
            return float(loss)
        norm = np.sqrt(sum(float(np.vdot(g, g)) for g in gradients.values()))
        scale = np.float32(min(1.0, self.work.max_norm / norm))
        for name, g in gradients.items():
            self._rmsprop(self.weights[name], self.caches[name], np.multiply(g, scale, out=g))
        return float(loss)

    def _rmsprop(self, p: Floats, cache: Floats, g: Floats) -> None:
        lr, decay, eps = rms_rate(self.work)
        cache *= decay
        cache += (1 - decay) * g * g
        p -= lr * g / np.sqrt(cache + eps)

    def gradients(self) -> tuple[float, Arrays]:
        """Of the first batch, before clipping."""
        loss, gradients = self.backward(self.weights, self.work, *self.all[0])
        return float(loss), gradients

    def parameters(self) -> Arrays:
        """The weights under the shared names."""
        return {name: w.copy() for name, w in self.weights.items()}


def make(work: Work, weights: Arrays) -> InAutograd:
    """A work in autograd."""
    return InAutograd(work, weights)
