"""The matrix products of a training step and nothing else: the time below which NumPy cannot go with this algorithm.

Per layer: the input product over N rows, h @ W in every step forward, dz @ W.T in every step backward, the two weight
gradients and the input's error over N rows; and the output layer's three. All into buffers that are there already.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from products import Product
from works import Arrays, Floats, Work


class Floor:
    """`in_pieces`: the products of the loop as the peer by hand takes them, otherwise one `np.matmul` for each."""

    def __init__(self, work: Work, in_pieces: bool) -> None:
        self.products: list[Callable[[], object]] = []
        rng = np.random.default_rng(0)
        T, B, H, G, N = work.steps, work.batch, work.hidden, work.gates, work.tokens

        def draw(*shape: int) -> Floats:
            return rng.uniform(-0.1, 0.1, shape).astype(work.dtype)

        def product(a: Floats, w: Floats, out: Floats) -> None:
            self.products.append(lambda: np.matmul(a, w, out=out))

        h = [draw(T, B, H) for _ in range(work.layers + 1)]
        for layer in range(work.layers):
            features = work.inputs(layer)
            x, U = draw(N, features), draw(features, G * H)
            z, dz = draw(T, B, G * H), draw(T, B, G * H)
            if work.cell != "tutorial":
                product(x, U, z.reshape(N, -1))
            # Gates that share their left operand are one product; a reset gate before the product takes two.
            widths = [2 * H, H] if work.cell == "gru-before" else [G * H]
            for width in widths:
                forward, backward = Product(B, H, width, whole=not in_pieces), Product(B, width, H, whole=not in_pieces)
                forward.load(draw(H, width))
                backward.load(draw(width, H))
                self.products += _loop(forward, h[layer], draw(T, B, width))
                self.products += _loop(backward, np.ascontiguousarray(dz[:, :, :width]), draw(T, B, H))
            product(h[layer].reshape(N, H).T, dz.reshape(N, -1), draw(H, G * H))
            if work.cell != "tutorial":
                product(x.T, dz.reshape(N, -1), draw(features, G * H))
                product(dz.reshape(N, -1), U.T, draw(N, features))
        last, output, logits = h[-1].reshape(N, H), draw(H, work.vocabulary), draw(N, work.vocabulary)
        product(last, output, logits)
        product(logits, output.T, draw(N, H))
        product(last.T, logits, draw(H, work.vocabulary))

    def step(self) -> float:
        """All products of a training step."""
        for each in self.products:
            each()
        return 0.0


def _loop(product: Product, inputs: Floats, outputs: Floats) -> list[Callable[[], object]]:
    """One product for every time step."""
    views = [(product.left(a), product.right(out)) for a, out in zip(inputs, outputs, strict=True)]
    return [lambda left=left, right=right: product.into(left, right) for left, right in views]  # type: ignore[misc]


def make(work: Work, weights: Arrays) -> Floor:
    """One call for each product."""
    del weights
    return Floor(work, in_pieces=False)


def pieces(work: Work, weights: Arrays) -> Floor:
    """The products of the loop in pieces."""
    del weights
    return Floor(work, in_pieces=True)
