"""The works in JAX: the whole training step, with clipping and update, is one jitted function; time is `lax.scan`, with
the input product before it and the gates in one product; weights and caches are donated, so that they change in place.
The scan is not unrolled: by 4 or 8 steps it was slower in all these works.
"""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from works import Arrays, Work, endless, rms_rate

jax: Any = import_module("jax")  # typed or not, by version: the same to us
jnp: Any = import_module("jax.numpy")
Weights = dict[str, Any]


def run(work: Work, layer: int, weights: Weights, xs: Any) -> Any:
    """One layer: (T,B,I) -> (T,B,H)."""
    H = work.hidden
    w = {name.split(".")[1]: array for name, array in weights.items() if name.startswith(f"{layer}.")}
    zs = xs if work.cell == "tutorial" else xs @ w["U"] + w["b"]

    def lstm(state: Any, z: Any) -> Any:
        h, c = state
        a = z + h @ w["W"]
        i, f, o = jnp.split(jax.nn.sigmoid(a[:, : 3 * H]), 3, axis=1)
        c = f * c + i * jnp.tanh(a[:, 3 * H :])
        h = o * jnp.tanh(c)
        return (h, c), h

    def peephole(state: Any, z: Any) -> Any:
        h, c = state
        i, f, o, g = jnp.split(z + h @ w["W"], 4, axis=1)
        i, f = jax.nn.sigmoid(i + c * w["p"][0]), jax.nn.sigmoid(f + c * w["p"][1])
        c = f * c + i * jnp.tanh(g)
        h = jax.nn.sigmoid(o + c * w["p"][2]) * jnp.tanh(c)
        return (h, c), h

    def gru(h: Any, z: Any) -> Any:
        product = h @ w["W"]
        keep, r = jnp.split(jax.nn.sigmoid(z[:, : 2 * H] + product[:, : 2 * H]), 2, axis=1)
        n = jnp.tanh(z[:, 2 * H :] + r * (product[:, 2 * H :] + w["c"]))
        h = (1 - keep) * n + keep * h
        return h, h

    def gru_before(h: Any, z: Any) -> Any:
        keep, r = jnp.split(jax.nn.sigmoid(z[:, : 2 * H] + h @ w["W"][:, : 2 * H]), 2, axis=1)
        n = jnp.tanh(z[:, 2 * H :] + (r * h) @ w["W"][:, 2 * H :])
        h = (1 - keep) * n + keep * h
        return h, h

    def tutorial(h: Any, x: Any) -> Any:
        h = jnp.tanh(x + h @ w["W"])
        return h, h

    h = jnp.zeros((xs.shape[1], H), xs.dtype)
    step: Any = {"lstm": lstm, "peephole": peephole, "gru": gru, "gru-before": gru_before, "tutorial": tutorial}[
        work.cell
    ]
    _, hs = jax.lax.scan(step, (h, h) if work.cell in ("lstm", "peephole") else h, zs)
    return hs


def loss_of(work: Work, weights: Weights, vectors: Any, targets: Any) -> Any:
    """From the embedded tokens (T,B,E): the mean nats per token, the tutorial's summed."""
    hs = vectors
    for layer in range(work.layers):
        hs = run(work, layer, weights, hs)
    logits = hs.reshape(-1, work.hidden) @ weights["output.W"]
    if work.cell != "tutorial":
        logits = logits + weights["output.b"]
    targets = targets.reshape(-1)
    chosen = jnp.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    losses = jax.nn.logsumexp(logits, axis=1) - chosen
    return losses.sum() if work.cell == "tutorial" else losses.mean()


def gradients_of(work: Work, weights: Weights, ids: Any, targets: Any) -> Any:
    """The loss, and the gradient of every weight, dense."""
    return jax.value_and_grad(lambda w: loss_of(work, w, w["embedding"][ids], targets))(weights)


def rmsprop_step(work: Work, weights: Weights, caches: Weights, ids: Any, targets: Any) -> Any:
    """A whole training step."""
    loss, gradients = gradients_of(work, weights, ids, targets)
    norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradients.values()))
    scale = jnp.minimum(1.0, work.max_norm / norm)
    lr, decay, eps = rms_rate(work)
    gradients = {name: g * scale for name, g in gradients.items()}
    caches = {name: decay * caches[name] + (1 - decay) * g**2 for name, g in gradients.items()}
    weights = {name: w - lr * gradients[name] / jnp.sqrt(caches[name] + eps) for name, w in weights.items()}
    return loss, weights, caches


def sgd_step(work: Work, weights: Weights, ids: Any, targets: Any) -> Any:
    """A whole training step. The embedding's rows are updated alone, as the gradient of what was looked up."""

    def loss(dense: Weights, vectors: Any) -> Any:
        return loss_of(work, dense, vectors, targets)

    dense = {name: w for name, w in weights.items() if name != "embedding"}
    value, (gradients, rows) = jax.value_and_grad(loss, argnums=(0, 1))(dense, weights["embedding"][ids])
    updated = {name: w - work.lr * gradients[name] for name, w in dense.items()}
    return value, updated | {"embedding": weights["embedding"].at[ids].add(-work.lr * rows)}


class InJax:
    """A work in JAX."""

    def __init__(self, work: Work, weights: Arrays) -> None:
        self.work = work
        if work.device == "cuda" and os.environ.get("CUPY_TF32") != "1":
            jax.config.update("jax_default_matmul_precision", "highest")  # no TF32, of 10 bits, which nobody takes
        self.weights: Weights = {name: jnp.array(w) for name, w in weights.items()}
        self.caches: Weights = {name: jnp.zeros_like(w) for name, w in self.weights.items()}
        self.all = [(jnp.array(ids, jnp.int32), jnp.array(targets, jnp.int32)) for ids, targets in work.batches()]
        self.batches = endless(self.all)
        if work.max_norm is None:
            self.update: Any = jax.jit(partial(sgd_step, work), donate_argnums=(0,))
        else:
            self.update = jax.jit(partial(rmsprop_step, work), donate_argnums=(0, 1))

    def step(self) -> float:
        """One training step on the next batch."""
        ids, targets = next(self.batches)
        if self.work.max_norm is None:
            loss, self.weights = self.update(self.weights, ids, targets)
        else:
            loss, self.weights, self.caches = self.update(self.weights, self.caches, ids, targets)
        jax.block_until_ready(self.weights)
        return float(loss)

    def gradients(self) -> tuple[float, Arrays]:
        """Of the first batch, before clipping."""
        loss, gradients = jax.jit(partial(gradients_of, self.work))(self.weights, *self.all[0])
        return float(loss), {name: np.array(g) for name, g in gradients.items()}

    def parameters(self) -> Arrays:
        """The weights under the shared names."""
        return {name: np.array(w) for name, w in self.weights.items()}


def make(work: Work, weights: Arrays) -> InJax:
    """A work in JAX."""
    return InJax(work, weights)
