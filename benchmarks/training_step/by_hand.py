"""The works as the best hand-written NumPy that we know: backpropagation through time (Werbos 1990) without autodiff.

- Buffers are allocated once, and every operation writes into one (`out=`).
- The input products of all steps are one product before the loop; so are the weight gradients after it, over N rows.
- Gates are one product, and lie gate by gate, (G,T,B,H), so that a function of neighbouring gates is one call over
  contiguous memory. sigmoid(a) = (1 + tanh(a/2)) / 2 with the 1/2 in a copy of the weights: all gates are one tanh.
- Every derivative factor that does not need the error is made for several steps at a time, in what fits in cache.
- Products of the loop are taken in pieces that OpenBLAS need not repack (`products.py`).
- Softmax cross-entropy: exp in row blocks in place of the logits. What scales rows is applied to the rows of the small
  operand of a product: p = E / sum(E) is never formed. Subtracting the largest logit is left out where exp neither
  overflows nor vanishes without it; both are seen in its sum, and then it is done.
- Biases of the products over N rows are a column of ones.
- The embedding's gradient is sorted and added up per row, and only those rows are updated; the decay of RMSprop's
  cache that a row missed is made up for when it is met again, which gives the numbers of the dense update.
- All other weights are one vector, clipped and updated in blocks that fit in cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from products import Product
from tutorial_by_hand import TutorialByHand
from works import GATES, Arrays, Batch, Contestant, Floats, Work, endless, rms_rate

CHUNK = 1 << 15  # entries of one array that are worked on at a time: several of them fit in a core's L2 cache
ROWS = 1 << 19  # logits that are worked on at a time


def empty(*shape: int) -> Floats:
    """A buffer."""
    return np.empty(shape, np.float32)


class Flat:
    """The dense weights as views of one vector, and their gradients as views of another."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        total = sum(math.prod(shape) for shape in shapes.values())
        self.p, self.g, self.cache = (
            np.zeros(total, np.float32),
            np.zeros(total, np.float32),
            np.zeros(total, np.float32),
        )
        self.weights: Arrays = {}
        self.gradients: Arrays = {}
        start = 0
        for name, shape in shapes.items():
            end = start + math.prod(shape)
            self.weights[name], self.gradients[name] = (
                self.p[start:end].reshape(shape),
                self.g[start:end].reshape(shape),
            )
            start = end
        self.scratch = empty(CHUNK)

    def update(self, scale: float, lr: float, decay: float, eps: float) -> None:
        """RMSprop with all gradients times `scale`. `cache` holds cache / (1 - decay), which saves a pass."""
        step = np.float32(lr / math.sqrt(1 - decay))
        for start in range(0, len(self.p), CHUNK):
            here = slice(start, start + CHUNK)
            p, g, cache = self.p[here], self.g[here], self.cache[here]
            rms_step(p, g, cache, self.scratch[: len(p)], scale, step, decay, eps / (1 - decay))


def rms_step(p: Any, g: Any, cache: Any, a: Any, scale: float, step: Any, decay: float, eps: float) -> None:
    """In place on a block; `a` is scratch."""
    np.multiply(g, np.float32(scale), out=g)
    np.multiply(g, g, out=a)
    np.multiply(cache, np.float32(decay), out=cache)
    np.add(cache, a, out=cache)
    np.add(cache, np.float32(eps), out=a)
    np.sqrt(a, out=a)
    np.divide(g, a, out=a)
    np.multiply(a, step, out=a)
    np.subtract(p, a, out=p)


class Table:
    """The embedding (V,E), with a column of ones for the bias of the product that reads it."""

    def __init__(self, weight: Floats, rows: int) -> None:
        self.table = np.concatenate([weight, np.ones((len(weight), 1), np.float32)], axis=1)
        self.weight = self.table[:, :-1]
        self.cache = np.zeros_like(weight)
        self.last = np.zeros(len(weight), np.int64)
        self.steps = 0
        self.looked_up = empty(rows, weight.shape[1] + 1)
        self.sorted = empty(rows, weight.shape[1])

    def forward(self, ids: Any) -> Floats:
        """ids (N,) -> [x 1] (N,E+1)."""
        return np.take(self.table, ids, axis=0, out=self.looked_up, mode="clip")  # "raise" would copy

    def backward(self, ids: Any, dx: Floats) -> tuple[Any, Floats]:
        """The rows that were read, and the sum of dx (N,E) for each."""
        short = ids.astype(np.uint16) if len(self.table) <= 1 << 16 else ids  # 16 bits are sorted by radix
        order = np.argsort(short, kind="stable")
        ids = ids[order]
        starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        np.take(dx, order, axis=0, out=self.sorted, mode="clip")
        return ids[starts], np.add.reduceat(self.sorted, starts, axis=0)

    def update(self, rows: Any, g: Floats, scale: float, lr: float, decay: float, eps: float) -> None:
        """The dense RMSprop step for these rows."""
        p, cache = self.weight[rows], self.cache[rows]
        cache *= (decay ** (self.steps - self.last[rows])).astype(np.float32)[:, None]
        self.steps += 1
        self.last[rows] = self.steps
        step = np.float32(lr / math.sqrt(1 - decay))
        rms_step(p, g, cache, np.empty_like(g), scale, step, decay, eps / (1 - decay))
        self.weight[rows], self.cache[rows] = p, cache


class SoftmaxCrossEntropy:
    """Mean over N of -log softmax([h 1] W)[target], W (H+1,V) with the bias as its last row."""

    def __init__(self, rows: int, hidden: int, classes: int) -> None:
        self.logits = empty(rows, classes)
        self.total, self.chosen = empty(rows), empty(rows)
        self.all = np.arange(rows)
        self.ones = np.ones(classes, np.float32)
        self.dh, self.scaled = empty(rows, hidden), empty(rows, hidden + 1)

    def __call__(self, h: Floats, W: Floats, targets: Any, dW: Floats) -> tuple[float, Floats]:
        """[h 1] (N,H+1), targets (N,) -> the loss and dh (N,H); the gradient of W goes to dW."""
        logits, total, rows = self.logits, self.total, len(h)
        np.matmul(h, W, out=logits)
        self.chosen[:] = logits[self.all, targets]
        block = max(1, ROWS // logits.shape[1])
        for start in range(0, rows, block):
            here = slice(start, start + block)
            with np.errstate(over="ignore"):  # seen in the sum
                np.exp(logits[here], out=logits[here])
                np.dot(logits[here], self.ones, out=total[here])
        if not (np.isfinite(total).all() and total.min() > 1e-30):
            np.matmul(h, W, out=logits)
            largest = logits.max(axis=1)
            self.chosen -= largest
            logits -= largest[:, None]
            np.exp(logits, out=logits)
            np.dot(logits, self.ones, out=total)
        loss = float((np.log(total) - self.chosen).mean())
        # (p - 1[target]) / N = (E - total 1[target]) / (N total): the division by rows moves to h and dh.
        logits[self.all, targets] -= total
        shares = (1 / (rows * total))[:, None]
        np.matmul(np.multiply(h, shares, out=self.scaled).T, logits, out=dW)
        np.matmul(logits, W[:-1].T, out=self.dh)
        self.dh *= shares
        return loss, self.dh


class Layer:
    """What the layers share. x is [input 1] (N,I+1), U (G,I+1,H) with the bias as its last row, W (G,H,H); the initial
    state is zero, but nothing makes use of that. Errors of the gates before their functions, dz, lie (T,B,G*H), rows of
    one product; 16 columns more where they would otherwise be a multiple of 4096 bytes apart, the same cache lines."""

    errors: int  # gates' errors per unit: G, and one more where a gate's two products have different ones

    def __init__(self, work: Work, layer: int) -> None:
        T, B, H, G = work.steps, work.batch, work.hidden, work.gates
        self.sizes = (T, B, H, G)
        self.h = np.zeros((T + 1, B, H), np.float32)  # h[t] is the state before step t
        self.z = empty(G, T, B, H)
        width = self.errors * H
        self.dz = empty(T, B, width + (0 if width % 1024 else 16))[:, :, :width]
        self.dz_gates = self.dz.reshape(T, B, self.errors, H).transpose(2, 0, 1, 3)  # (errors,T,B,H), a view
        self.dx = empty(T * B, work.inputs(layer))
        self.dh, self.some = empty(B, H), empty(B, H)
        self.chunk = min(T, max(1, CHUNK // (2 * B * H)))
        self.augmented = np.ones((T * B, H + 1), np.float32)

    def chunks(self) -> list[tuple[int, int]]:
        """Several steps at a time, the last ones first."""
        T = self.sizes[0]
        return [(max(0, end - self.chunk), end) for end in range(T, 0, -self.chunk)]

    def output(self) -> Floats:
        """[h 1] (N,H+1)."""
        np.copyto(self.augmented[:, :-1].reshape(self.h[1:].shape), self.h[1:])
        return self.augmented

    def rows(self, array: Any) -> Any:
        """(T,B,...) as (N,...), a view."""
        return array.reshape(self.sizes[0] * self.sizes[1], *array.shape[2:])


class LSTM(Layer):
    """Hochreiter & Schmidhuber 1997 with a forget gate. Gates lie o i f g: the sigmoids side by side, and so do those
    whose error comes through the cell."""

    order = "oifg"
    errors = 4

    def __init__(self, work: Work, layer: int) -> None:
        super().__init__(work, layer)
        T, B, H, G = self.sizes
        self.c, self.tanh_c = np.zeros((T + 1, B, H), np.float32), empty(T, B, H)
        self.forward_product, self.backward_product = Product(B, H, H, stack=G), Product(B, G * H, H)
        self.half = np.array([0.5, 0.5, 0.5, 1], np.float32)
        self.product = empty(G, B, H)
        self.lefts = [self.forward_product.left(h) for h in self.h]
        self.right = self.forward_product.right(self.product)
        self.error_lefts = [self.backward_product.left(dz) for dz in self.dz]
        self.error_right = self.backward_product.right(self.dh)
        self.factors, self.through, self.more = (
            empty(4, self.chunk, B, H),
            empty(self.chunk, B, H),
            empty(3, self.chunk, B, H),
        )
        self.dc, self.total = empty(B, H), empty(B, H)

    def forward(self, x: Floats, weights: Arrays) -> None:
        """Fills h (T+1,B,H)."""
        T, B, H, G = self.sizes
        half = self.half[:, None, None]
        self.forward_product.load(weights["W"], half[:, :, :, None, None])
        np.matmul(x, weights["U"] * half, out=self.z.reshape(G, T * B, H))
        h, c, some = self.h, self.c, self.some
        for t in range(T):
            z = self.z[:, t]
            self.forward_product.into(self.lefts[t], self.right)
            np.add(z, self.product, out=z)
            np.tanh(z, out=z)
            sigmoids = z[:3]
            np.multiply(sigmoids, 0.5, out=sigmoids)
            np.add(sigmoids, 0.5, out=sigmoids)
            o, i, f, g = z
            np.multiply(f, c[t], out=c[t + 1])
            np.multiply(i, g, out=some)
            np.add(c[t + 1], some, out=c[t + 1])
            np.tanh(c[t + 1], out=self.tanh_c[t])
            np.multiply(o, self.tanh_c[t], out=h[t + 1])

    def backward(self, x: Floats, dh: Floats, weights: Arrays, gradients: Arrays) -> Floats:
        """From the error of h (N,H) the error of x (N,I)."""
        T, B, H, _ = self.sizes
        above = dh.reshape(T, B, H)
        self.backward_product.load(_stacked(weights["W"]))
        dh, dc, total = self.dh, self.dc, self.total
        dh[...], dc[...] = 0, 0
        for start, end in self.chunks():
            here, k = slice(start, end), end - start
            (o, i, _, g), tanh_c = self.z[:, here], self.tanh_c[here]
            factors, through, more = self.factors[:, :k], self.through[:k], self.more[:, :k]
            np.subtract(1, self.z[:3, here], out=more)
            np.multiply(more, self.z[:3, here], out=more)  # s(1-s)
            np.multiply(more[0], tanh_c, out=factors[0])
            np.multiply(more[1], g, out=factors[1])
            np.multiply(more[2], self.c[here], out=factors[2])
            np.multiply(g, g, out=through)
            np.subtract(1, through, out=through)
            np.multiply(through, i, out=factors[3])
            np.multiply(tanh_c, tanh_c, out=through)
            np.subtract(1, through, out=through)
            np.multiply(through, o, out=through)  # dh to dc
            for t in range(end - 1, start - 1, -1):
                np.add(dh, above[t], out=dh)
                np.multiply(dh, through[t - start], out=total)
                np.add(total, dc, out=total)
                np.multiply(total, self.z[2, t], out=dc)
                dz = self.dz_gates[:, t]
                np.multiply(dh, factors[0, t - start], out=dz[0])
                np.multiply(total, factors[1:, t - start], out=dz[1:])
                self.backward_product.into(self.error_lefts[t], self.error_right)
        dz = self.rows(self.dz)
        _by_gates(self.rows(self.h[:-1]).T @ dz, gradients["W"])
        _by_gates(x.T @ dz, gradients["U"])
        return np.matmul(dz, _stacked(weights["U"][:, :-1]), out=self.dx)


class GRU(Layer):
    """Cho et al. 2014 with the reset gate after the product, n = tanh(x U + b + r (h W + c)). Gates lie n z r, and the
    error of the candidate's recurrent product is a fourth."""

    order = "nzr"
    errors = 4

    def __init__(self, work: Work, layer: int) -> None:
        super().__init__(work, layer)
        T, B, H, G = self.sizes
        self.forward_product, self.backward_product = Product(B, H, H, stack=G), Product(B, G * H, H)
        self.half = np.array([1, 0.5, 0.5], np.float32)
        self.product = empty(G, B, H)  # z r n
        self.candidate = empty(T, B, H)  # h W + c
        self.lefts = [self.forward_product.left(h) for h in self.h]
        self.right = self.forward_product.right(self.product)
        self.recurrent_dz = self.dz[:, :, H:]
        self.back = empty(B, H)
        self.error_right = self.backward_product.right(self.back)
        self.factors, self.more = empty(4, self.chunk, B, H), empty(2, self.chunk, B, H)

    def forward(self, x: Floats, weights: Arrays) -> None:
        """Fills h (T+1,B,H)."""
        T, B, H, G = self.sizes
        half = self.half[:, None, None]
        self.forward_product.load(_zrn(weights["W"]), _zrn(half)[:, :, :, None, None])
        np.matmul(x, weights["U"] * half, out=self.z.reshape(G, T * B, H))
        h, some, product = self.h, self.some, self.product
        for t in range(T):
            self.forward_product.into(self.lefts[t], self.right)
            gates = self.z[1:, t]
            np.add(gates, product[:2], out=gates)
            np.tanh(gates, out=gates)
            np.multiply(gates, 0.5, out=gates)
            np.add(gates, 0.5, out=gates)
            n, z, r = self.z[:, t]
            np.add(product[2], weights["c"], out=self.candidate[t])
            np.multiply(r, self.candidate[t], out=some)
            np.add(n, some, out=n)
            np.tanh(n, out=n)
            np.subtract(h[t], n, out=some)
            np.multiply(some, z, out=some)
            np.add(n, some, out=h[t + 1])

    def backward(self, x: Floats, dh: Floats, weights: Arrays, gradients: Arrays) -> Floats:
        """From the error of h (N,H) the error of x (N,I)."""
        T, B, H, _ = self.sizes
        above = dh.reshape(T, B, H)
        self.backward_product.load(_stacked(_zrn(weights["W"])))
        left = self.backward_product.left
        dh, back = self.dh, self.back
        dh[...] = 0
        for start, end in self.chunks():
            here, k = slice(start, end), end - start
            n, z, r = self.z[:, here]
            candidate, factors = self.candidate[here], self.factors[:, :k]
            keep, other = self.more[0, :k], self.more[1, :k]
            np.subtract(1, z, out=keep)
            np.multiply(n, n, out=other)
            np.subtract(1, other, out=other)
            np.multiply(keep, other, out=factors[0])  # n, before its tanh
            np.subtract(self.h[here], n, out=other)
            np.multiply(other, z, out=other)
            np.multiply(other, keep, out=factors[1])  # z
            np.multiply(factors[0], r, out=factors[3])  # h W + c
            np.multiply(factors[3], candidate, out=factors[2])
            np.subtract(1, r, out=other)
            np.multiply(factors[2], other, out=factors[2])  # r
            for t in range(end - 1, start - 1, -1):
                np.add(dh, above[t], out=dh)
                np.multiply(dh, factors[:, t - start], out=self.dz_gates[:, t])
                self.backward_product.into(left(self.recurrent_dz[t]), self.error_right)
                np.multiply(dh, z[t - start], out=dh)
                np.add(dh, back, out=dh)
        dz = self.rows(self.dz)
        zrn = self.rows(self.h[:-1]).T @ dz[:, H:]
        _by_gates(np.concatenate([zrn[:, 2 * H :], zrn[:, : 2 * H]], axis=1), gradients["W"])
        np.sum(dz[:, 3 * H :], axis=0, out=gradients["c"])
        _by_gates(x.T @ dz[:, : 3 * H], gradients["U"])
        return np.matmul(dz[:, : 3 * H], _stacked(weights["U"][:, :-1]), out=self.dx)


class GRUBefore(Layer):
    """Cho et al. 2014 as in the paper, n = tanh(x U + b + (r h) W): two products a step, one after the other."""

    order = "nzr"
    errors = 3

    def __init__(self, work: Work, layer: int) -> None:
        super().__init__(work, layer)
        T, B, H, _ = self.sizes
        self.gates_product, self.candidate_product = Product(B, H, H, stack=2), Product(B, H, H)
        self.gates_back, self.candidate_back = Product(B, 2 * H, H), Product(B, H, H)
        self.half = np.array([1, 0.5, 0.5], np.float32)
        self.reset_h = empty(T, B, H)
        self.gates, self.candidate = empty(2, B, H), empty(B, H)
        self.back, self.reset_back = empty(B, H), empty(B, H)
        self.dn = empty(B, H)
        self.factors, self.more = empty(3, self.chunk, B, H), empty(2, self.chunk, B, H)

    def forward(self, x: Floats, weights: Arrays) -> None:
        """Fills h (T+1,B,H)."""
        T, B, H, G = self.sizes
        half = self.half[:, None, None]
        self.gates_product.load(weights["W"][1:], 0.5)
        self.candidate_product.load(weights["W"][0])
        np.matmul(x, weights["U"] * half, out=self.z.reshape(G, T * B, H))
        h, some = self.h, self.some
        gates_right, candidate_right = (
            self.gates_product.right(self.gates),
            self.candidate_product.right(self.candidate),
        )
        for t in range(T):
            self.gates_product.into(self.gates_product.left(h[t]), gates_right)
            gates = self.z[1:, t]
            np.add(gates, self.gates, out=gates)
            np.tanh(gates, out=gates)
            np.multiply(gates, 0.5, out=gates)
            np.add(gates, 0.5, out=gates)
            n, z, r = self.z[:, t]
            np.multiply(r, h[t], out=self.reset_h[t])
            self.candidate_product.into(self.candidate_product.left(self.reset_h[t]), candidate_right)
            np.add(n, self.candidate, out=n)
            np.tanh(n, out=n)
            np.subtract(h[t], n, out=some)
            np.multiply(some, z, out=some)
            np.add(n, some, out=h[t + 1])

    def backward(self, x: Floats, dh: Floats, weights: Arrays, gradients: Arrays) -> Floats:
        """From the error of h (N,H) the error of x (N,I)."""
        T, B, H, _ = self.sizes
        above = dh.reshape(T, B, H)
        self.gates_back.load(_stacked(weights["W"][1:]))
        self.candidate_back.load(weights["W"][0].T)
        back_right, reset_right = self.gates_back.right(self.back), self.candidate_back.right(self.reset_back)
        dn_left = self.candidate_back.left(self.dn)
        dh, back, reset_back, some = self.dh, self.back, self.reset_back, self.some
        dh[...] = 0
        for start, end in self.chunks():
            here, k = slice(start, end), end - start
            n, z, r = self.z[:, here]
            factors, keep, other = self.factors[:, :k], self.more[0, :k], self.more[1, :k]
            np.subtract(1, z, out=keep)
            np.multiply(n, n, out=other)
            np.subtract(1, other, out=other)
            np.multiply(keep, other, out=factors[0])  # n, before its tanh
            np.subtract(self.h[here], n, out=other)
            np.multiply(other, z, out=other)
            np.multiply(other, keep, out=factors[1])  # z
            np.subtract(1, r, out=other)
            np.multiply(other, self.reset_h[here], out=factors[2])  # r, of the error of r h
            for t in range(end - 1, start - 1, -1):
                j, dz = t - start, self.dz_gates[:, t]
                np.add(dh, above[t], out=dh)
                np.multiply(dh, factors[0, j], out=self.dn)
                self.candidate_back.into(dn_left, reset_right)
                np.copyto(dz[0], self.dn)
                np.multiply(dh, factors[1, j], out=dz[1])
                np.multiply(reset_back, factors[2, j], out=dz[2])
                self.gates_back.into(self.gates_back.left(self.dz[t, :, H:]), back_right)
                np.multiply(dh, z[j], out=dh)
                np.multiply(reset_back, r[j], out=some)
                np.add(dh, some, out=dh)
                np.add(dh, back, out=dh)
        dz = self.rows(self.dz)
        np.matmul(self.rows(self.reset_h).T, dz[:, :H], out=gradients["W"][0])
        _by_gates(self.rows(self.h[:-1]).T @ dz[:, H:], gradients["W"][1:])
        _by_gates(x.T @ dz, gradients["U"])
        return np.matmul(dz, _stacked(weights["U"][:, :-1]), out=self.dx)


def _stacked(w: Floats) -> Floats:
    """(G,I,H) -> (G*H,I): the right operand of an error's way back through all gates at once."""
    return np.ascontiguousarray(w.transpose(0, 2, 1)).reshape(-1, w.shape[1])


def _by_gates(side_by_side: Floats, out: Floats) -> None:
    """(I,G*H) -> (G,I,H)."""
    np.copyto(out, side_by_side.reshape(len(side_by_side), len(out), -1).transpose(1, 0, 2))


def _zrn(nzr: Floats) -> Floats:
    return np.concatenate([nzr[1:], nzr[:1]])


LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "gru-before": GRUBefore}


class ByHand:
    """A work by hand."""

    def __init__(self, work: Work, weights: Arrays) -> None:
        self.work = work
        self.all: list[Batch] = [(ids.reshape(-1), targets.reshape(-1)) for ids, targets in work.batches()]
        self.batches = endless(self.all)
        self.layers = [LAYERS[work.cell](work, layer) for layer in range(work.layers)]
        self.order = [GATES[work.cell].index(gate) for gate in self.layers[0].order]
        H, G = work.hidden, work.gates
        shapes: dict[str, tuple[int, ...]] = {"output": (H + 1, work.vocabulary)}
        for layer in range(work.layers):
            shapes |= {f"{layer}.U": (G, work.inputs(layer) + 1, H), f"{layer}.W": (G, H, H)}
            if work.cell == "gru":
                shapes |= {f"{layer}.c": (H,)}
        self.flat = Flat(shapes)
        self.table = Table(weights["embedding"], work.tokens)
        self.loss = SoftmaxCrossEntropy(work.tokens, H, work.vocabulary)
        own = self.flat.weights
        own["output"][:-1], own["output"][-1] = weights["output.W"], weights["output.b"]
        for layer in range(work.layers):
            for part, rows in (("U", slice(None, -1)), ("b", slice(-1, None)), ("W", slice(None))):
                side_by_side = np.atleast_2d(weights[f"{layer}.{part}"])
                gates = side_by_side.reshape(len(side_by_side), G, H).transpose(1, 0, 2)[self.order]
                own[f"{layer}.{'U' if part == 'b' else part}"][:, rows] = gates
            if work.cell == "gru":
                own[f"{layer}.c"][:] = weights[f"{layer}.c"]

    def backward(self, ids: Any, targets: Any) -> tuple[float, Any, Floats]:
        """The loss, and the embedding's rows and their gradient; the other gradients are in `flat`."""
        x, inputs = self.table.forward(ids), []
        for number, layer in enumerate(self.layers):
            inputs.append(x)
            layer.forward(x, _of(self.flat.weights, number))
            x = layer.output()
        loss, dh = self.loss(x, self.flat.weights["output"], targets, self.flat.gradients["output"])
        for number, layer in reversed(list(enumerate(self.layers))):
            dh = layer.backward(inputs[number], dh, _of(self.flat.weights, number), _of(self.flat.gradients, number))
        return loss, *self.table.backward(ids, dh)

    def step(self) -> float:
        """One training step on the next batch."""
        loss, rows, g = self.backward(*next(self.batches))
        norm = math.sqrt(float(np.dot(self.flat.g, self.flat.g)) + float(np.vdot(g, g)))
        assert self.work.max_norm is not None
        scale = min(1.0, self.work.max_norm / norm)
        self.flat.update(scale, *rms_rate(self.work))
        self.table.update(rows, g, scale, *rms_rate(self.work))
        return loss

    def gradients(self) -> tuple[float, Arrays]:
        """Of the first batch, before clipping."""
        loss, rows, g = self.backward(*self.all[0])
        dense = np.zeros_like(self.table.cache)
        dense[rows] = g
        return loss, self._shared(self.flat.gradients, dense)

    def parameters(self) -> Arrays:
        """The weights under the shared names."""
        return self._shared(self.flat.weights, self.table.weight)

    def _shared(self, own: Arrays, embedding: Floats) -> Arrays:
        shared = {"embedding": embedding, "output.W": own["output"][:-1], "output.b": own["output"][-1]}
        back = np.argsort(self.order)
        for layer in range(self.work.layers):
            U, W = (own[f"{layer}.{part}"][back].transpose(1, 0, 2) for part in "UW")
            shared[f"{layer}.U"], shared[f"{layer}.b"] = U[:-1].reshape(len(U) - 1, -1), U[-1].reshape(-1)
            shared[f"{layer}.W"] = W.reshape(len(W), -1)
            if self.work.cell == "gru":
                shared[f"{layer}.c"] = own[f"{layer}.c"]
        return {name: np.array(array) for name, array in shared.items()}


def _of(arrays: Arrays, layer: int) -> Arrays:
    """The arrays of a layer, without its number."""
    start = f"{layer}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def make(work: Work, weights: Arrays) -> Contestant:
    """A work by hand."""
    return TutorialByHand(work, weights) if work.cell == "tutorial" else ByHand(work, weights)
