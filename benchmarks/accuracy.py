"""How right the engine is: the largest errors of what `docs/reliability.md` promises, measured here and now.

    python benchmarks/accuracy.py

Every figure is a comparison with something apart: NumPy in float64 or longdouble, finite differences, the plain loop.
An ulp is the distance between two neighbouring numbers of the dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.checks.derivatives import numerical_gradient
from tinygrad_rnn.models import GRU, LSTM, RNN

Array = np.ndarray[Any, Any]
MILLION = 10**6
RNG = np.random.default_rng(0)


def ulps(found: Array, exact: Array) -> float:
    """The largest error, in ulps of what is right."""
    return float(np.max(np.abs(found.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(found.dtype))))


def relative(found: Any, exact: Any) -> float:
    """The largest relative error."""
    return float(np.max(np.abs(np.asarray(found, np.float64) / exact - 1)))


def slopes(op: Callable[..., Any], x: Array) -> Array:
    """The derivative of an op of one number, at every entry."""
    return np.asarray(tg.vjp(op, Tensor(x))[1](np.ones_like(x))[0].numpy())


def of_activations() -> Iterator[tuple[str, str]]:
    """Values and derivatives over all that float32 and float16 can tell from 0."""
    for dtype, lowest in ((np.float32, -87.0), (np.float16, -9.5)):
        x = np.linspace(lowest, 20, MILLION).astype(dtype)
        exact = 1 / (1 + np.exp(-x.astype(np.float64)))
        name = np.dtype(dtype).name
        yield f"sigmoid, {name}, from {lowest} to 20", f"{ulps(ops.sigmoid(Tensor(x)).numpy(), exact):.1f} ulp"
        slope = slopes(ops.softplus, x)
        yield f"the derivative of softplus, {name}", f"{ulps(slope, exact):.1f} ulp"
    x = np.linspace(-87, 0, MILLION).astype(np.float32)
    slope = slopes(ops.sigmoid, x)
    s = 1 / (1 + np.exp(-x.astype(np.float64)))
    yield "the derivative of sigmoid, float32, below 0", f"{ulps(slope, s * (1 - s)):.1f} ulp"


def of_sums() -> Iterator[tuple[str, str]]:
    """Over 10^6 rows of 0.1 in float32."""
    g, total = np.full((MILLION, 2), 0.1, np.float32), MILLION * float(np.float32(0.1))
    zeros, ones = Tensor(np.zeros((MILLION, 2), np.float32)), np.ones(MILLION, np.int64)
    uses: dict[str, Callable[[Parameter], Tensor]] = {
        "a bias": lambda w: zeros + w[1],
        "w[ids]": lambda w: w[ids],
        "take(w, ids)": lambda w: ops.take(w, ids),
    }
    ids = ones
    for name, use in uses.items():
        w = Parameter(np.zeros((3, 2), np.float32))
        use(w).backward(g)
        found = w.grad.dense() if isinstance(w.grad, tg.RowSparse) else w.grad
        yield f"the gradient of {name} over 10^6 rows", f"{relative(found[1], total):.1e}"
    yield "sum over 10^6 rows", f"{relative(ops.sum(Tensor(g), 0).numpy(), total):.1e}"


def of_losses() -> Iterator[tuple[str, str]]:
    """A vocabulary of 8,000 in float32, beside float64."""
    z, targets = RNG.standard_normal((64, 8000)).astype(np.float32) * 5, RNG.integers(0, 8000, 64)
    both = tg.value_and_grad(lambda z: ops.softmax_cross_entropy(z, targets))
    narrow, wide = both(Tensor(z)), both(Tensor(z.astype(np.float64)))
    yield "softmax cross-entropy, V 8000, float32", f"{relative(narrow[0].item(), wide[0].item()):.1e}"
    error = np.abs(narrow[1].numpy() - wide[1].numpy()).max() / np.abs(wide[1].numpy()).max()
    yield "its gradient", f"{error:.1e}"
    sure = ops.binary_cross_entropy_with_logits(Tensor(np.array([20], np.float32)), np.ones(1, np.float32)).item()
    yield "binary cross-entropy of a sure right answer (logit 20)", f"{relative(sure, np.log1p(np.exp(-20.0))):.1e}"


def of_layers() -> Iterator[tuple[str, str]]:
    """Two layers in both directions with lengths: against differences, and the plain loop."""
    for kind in (RNN, GRU, LSTM):
        layer = kind(3, 4, num_layers=2, bidirectional=True, dtype=np.float64, rng=np.random.default_rng(0))
        xs, lengths = RNG.standard_normal((6, 3, 3)), np.array([6, 2, 0])

        def loss(xs: Any, layer: Any = layer, lengths: Any = lengths) -> Tensor:
            outputs, state = layer(xs, lengths=lengths)
            return ops.square(outputs).sum() + sum((ops.sin(s).sum() for s in state), Tensor(0.0))

        found = tg.grad(loss)(Tensor(xs)).numpy()
        numbers = numerical_gradient(lambda xs, loss=loss: loss(Tensor(xs)).item(), [xs], 0)
        yield (
            f"{kind.__name__}, 2 layers, 2 directions: gradient",
            f"{np.abs(found - numbers).max():.1e} of differences",
        )
        gradients = []
        for on in (True, False):
            for p in layer.parameters():
                p.grad = None
            with tg.compiled(on):
                loss(Tensor(xs)).backward()
            gradients.append(np.concatenate([np.ravel(p.grad) for p in layer.parameters()]))
        yield f"{kind.__name__}: compiled and plain", f"{np.abs(gradients[0] - gradients[1]).max():.1e} apart"


def main() -> None:
    """Prints the table."""
    for part in (of_activations, of_sums, of_losses, of_layers):
        for what, figure in part():
            print(f"{what:58} {figure}")


if __name__ == "__main__":
    main()
