"""The tutorial's network as the best hand-written NumPy that we know, for `by_hand.py`. A sentence alone is a vector
times a matrix in every step, and it is the output layer that goes in pieces. The learning rate is in the small operand
of the output weight's gradient, so that the update of the largest weight is one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from products import blas_threads
from works import Arrays, Floats, Work, endless

PIECE = 160  # columns of the vocabulary in a product that OpenBLAS need not repack (products.py)


class TutorialByHand:
    """s' = tanh(U[x] + s W), o = softmax(s V), the loss summed, plain SGD."""

    def __init__(self, work: Work, weights: Arrays) -> None:
        T, H, V = work.steps, work.hidden, work.vocabulary
        self.lr = np.float32(work.lr)
        self.all = [(ids[:, 0], targets[:, 0]) for ids, targets in work.batches()]
        self.batches = endless(self.all)
        self.U, self.W, self.V = (weights[name].copy() for name in ("embedding", "0.W", "output.W"))
        self.s, self.x, self.error = np.zeros((T + 1, H), np.float32), _empty(T, H), _empty(T, H)
        self.slope, self.dz, self.scaled, self.carry = _empty(T, H), _empty(T, H), _empty(T, H), _empty(H)
        self.logits, self.total, self.each = _empty(T, V), _empty(T), np.arange(T)
        self.ones, self.dV = np.ones(V, np.float32), np.empty_like(self.V)
        piece = V if V % PIECE or blas_threads() > 1 else PIECE
        self.pieces = [a.reshape(len(a), -1, piece).transpose(1, 0, 2) for a in (self.V, self.logits, self.dV)]

    def backward(self, ids: Any, targets: Any, rate: Any) -> tuple[float, Any, Floats, Floats]:
        """The loss, the rows of U and their gradient, and that of W; that of V goes to `dV`. All times `rate`."""
        s, W, logits, total = self.s, self.W, self.logits, self.total
        np.take(self.U, ids, axis=0, out=self.x, mode="clip")
        for before, after, x in zip(s, s[1:], self.x, strict=False):
            np.dot(before, W, out=after)
            np.add(after, x, out=after)
            np.tanh(after, out=after)
        V_pieces, logits_pieces, dV_pieces = self.pieces
        np.matmul(s[1:], V_pieces, out=logits_pieces)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[self.each, targets]
        np.exp(logits, out=logits)
        np.dot(logits, self.ones, out=total)
        loss = float((np.log(total) - chosen).sum())
        logits[self.each, targets] -= total  # total (p - 1[target]): the division moves to the small operands
        shares = (rate / total)[:, None]
        np.matmul(np.multiply(s[1:], shares, out=self.scaled).T, logits_pieces, out=dV_pieces)
        np.matmul(logits, self.V.T, out=self.error)
        np.multiply(self.error, shares, out=self.error)
        np.multiply(s[1:], s[1:], out=self.slope)
        np.subtract(1, self.slope, out=self.slope)
        carry, back = self.carry, np.ascontiguousarray(W.T)
        carry[...] = 0
        for error, slope, dz in zip(self.error[::-1], self.slope[::-1], self.dz[::-1], strict=True):
            np.add(carry, error, out=carry)
            np.multiply(carry, slope, out=dz)
            np.dot(dz, back, out=carry)
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        return loss, ids[starts], np.add.reduceat(self.dz[order], starts, axis=0), s[:-1].T @ self.dz

    def step(self) -> float:
        """Stochastic gradient descent on the next sentence."""
        ids, targets = next(self.batches)
        loss, rows, dU, dW = self.backward(ids, targets, self.lr)
        self.U[rows] -= dU
        np.subtract(self.W, dW, out=self.W)
        np.subtract(self.V, self.dV, out=self.V)
        return loss

    def gradients(self) -> tuple[float, Arrays]:
        """Of the first sentence."""
        ids, targets = self.all[0]
        loss, rows, dU, dW = self.backward(ids, targets, np.float32(1))
        dense = np.zeros_like(self.U)
        dense[rows] = dU
        return loss, {"embedding": dense, "0.W": dW, "output.W": self.dV.copy()}

    def parameters(self) -> Arrays:
        """The weights under the shared names."""
        return {"embedding": self.U.copy(), "0.W": self.W.copy(), "output.W": self.V.copy()}


def _empty(*shape: int) -> Floats:
    return np.empty(shape, np.float32)
