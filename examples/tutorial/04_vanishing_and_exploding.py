"""
4. Vanishing and exploding
==========================

The gradient reaches back through time by one multiplication per step. A hundred multiplications
make almost anything either nothing or enormous. Here we measure it: why it must be so, what gates
change, and what else helps.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.models import GRU, LSTM, RNN, Linear, Recurrent
from tinygrad_rnn.optim import SGD, Adam, Optimizer, clip_by_norm

STEPS = 60
rng = np.random.default_rng(0)

# %%
# The linear case: powers of W
# ----------------------------
# Without a squashing function, the gradient k steps back is the gradient now, times ``W``
# transposed, k times. Along an eigenvector that is the eigenvalue to the power of k. So
# everything hangs on the largest eigenvalue: below 1 the past vanishes, above 1 it explodes.
# The dotted lines are its powers, the others are measured.


def reach(step: Callable[[Tensor, Tensor], Tensor], start: Tensor, xs: Tensor) -> Any:
    """The norm of d loss / d state, 0, 1, 2... steps before the end; the loss is a sum over the last
    state, each entry with a weight of its own."""
    pushes = Tensor(np.zeros((len(xs), *start.shape)), requires_grad=True)  # added to each state: zeros

    def pushed(s: Tensor, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, push = inputs
        s = step(s, x) + push
        return s, s

    last, _ = tg.scan(pushed, start, (xs, pushes))
    (last * np.random.default_rng(1).standard_normal(last.shape)).sum().backward()
    return np.linalg.norm(pushes.grad.reshape(len(xs), -1), axis=1)[::-1]


def linear(W: np.ndarray, s: Tensor, x: Tensor) -> Tensor:
    return s @ W + x


figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
start, xs = Tensor(np.zeros((1, 16))), Tensor(rng.standard_normal((STEPS, 1, 16)))
for radius, color in ((0.8, "#2b6a99"), (1.0, "#555555"), (1.15, "#b5452c")):
    W = rng.standard_normal((16, 16))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    norms = reach(partial(linear, W), start, xs)
    axes.semilogy(norms, color=color, label=f"largest eigenvalue {radius}")
    axes.semilogy(norms[20] * radius ** (np.arange(STEPS) - 20.0), ":", color=color)
axes.set_xlabel("steps back")
axes.set_ylabel("norm of the gradient")
axes.legend()
plt.show()

# %%
# A bound that is sometimes told wrongly
# --------------------------------------
# With ``s' = tanh(x + s W)`` each step multiplies by ``W`` and by the slope of tanh, which is
# at most 1. So the norm of the step's derivative is at most the norm of **W**; it is not at
# most 1, as one can read. Here is a step where it is above 1:

weight = Parameter(1.5 * np.linalg.qr(rng.standard_normal((16, 16)))[0])
jacobian = tg.jacobian(lambda s: ops.tanh(s @ weight))(Tensor(0.1 * rng.standard_normal(16))).numpy()
print(f"||d s'/d s|| = {np.linalg.norm(jacobian, 2):.2f}, ||W|| = {np.linalg.norm(weight.data, 2):.2f}")
assert 1 < np.linalg.norm(jacobian, 2) <= np.linalg.norm(weight.data, 2)

# %%
# Gates
# -----
# The same measurement for whole cells, untrained, on the same data. ``trace`` has the gradient
# of every state. The distance at which a hundredth of the gradient is left is how far the cell
# can see to learn: its effective memory.

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
data = Tensor(rng.standard_normal((200, 8, 4)))
layers = {
    "RNN, W uniform": RNN(4, 32, dtype=np.float64, init="wildml"),
    "RNN, W orthogonal": RNN(4, 32, dtype=np.float64),
    "RNN, ReLU, W orthogonal": RNN(4, 32, dtype=np.float64, nonlinearity="relu"),
    "RNN, W after weight decay": RNN(4, 32, dtype=np.float64),
    "GRU": GRU(4, 32, dtype=np.float64),
    "LSTM, forget bias 1": LSTM(4, 32, dtype=np.float64),
    "LSTM, forget bias 5": LSTM(4, 32, dtype=np.float64, forget_bias=5.0),
}
layers["RNN, W after weight decay"].cells[0].n.W.data *= 0.9  # an orthogonal one, a tenth smaller
for name, layer in layers.items():
    with tg.trace() as tr:
        outputs, _ = layer(data)
    outputs[-1].sum().backward()
    states = [tr.gradients[f"0.forward.{state}"] for state in layer.cells[0].states]
    norms = np.linalg.norm(np.concatenate(states, axis=2), axis=(1, 2))[::-1]
    axes.semilogy(norms / norms[0], label=name)
    below = np.flatnonzero(norms < norms[0] / 100)
    print(f"{name:26} a hundredth is left after {below[0] if len(below) else 'more than 200'} steps")
axes.set_ylim(1e-8, 1e3)
axes.set_xlabel("steps back")
axes.legend()
plt.show()

# %%
# A task that needs it: adding
# ----------------------------
# A sequence of 100 random numbers, two of which are marked; what is their sum? (Hochreiter &
# Schmidhuber 1997.) Who always says 1 has a mean squared error of 1/6, or 0.167. To do better,
# the first number must be kept for fifty steps or more, and to *learn* that, the gradient must
# come that far.


def adding(steps: int = 100, batch: int = 50) -> tuple[Tensor, np.ndarray]:
    """Sequences (T,B,2) of numbers and marks, and the sums (B,)."""
    numbers, marks = rng.random((steps, batch)), np.zeros((steps, batch))
    for first, last in ((0, steps // 2), (steps // 2, steps)):
        marks[rng.integers(first, last, batch), np.arange(batch)] = 1
    return Tensor(np.stack([numbers, marks], axis=2).astype(np.float32)), (numbers * marks).sum(axis=0)


def improve(layer: Recurrent, output: Linear, optimizer: Optimizer, limit: float) -> float:
    """One step of training, and its loss."""
    xs, sums = adding()
    answers = output(layer(xs)[0][-1]).reshape((-1,))
    loss = ops.mse(answers, sums.astype(np.float32))
    optimizer.zero_grad()
    loss.backward()
    clip_by_norm(optimizer.parameters, limit)
    optimizer.step()
    return float(loss.item())


def learn(layer: Recurrent, most: int = 1200) -> list[float]:
    """The losses, until the mean of fifty of them is below 0.005."""
    output, losses = Linear(32, 1), [1.0]
    optimizer = Adam([*layer.parameters(), *output.parameters()], lr=0.01)
    while len(losses) < most and np.mean(losses[-50:]) > 0.005:
        losses.append(improve(layer, output, optimizer, limit=1.0))
    return losses


figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
results = {"tanh RNN": learn(RNN(2, 32)), "GRU": learn(GRU(2, 32)), "LSTM": learn(LSTM(2, 32))}
for name, losses in results.items():
    smooth = np.convolve(losses, np.ones(25) / 25, mode="valid")
    axes.semilogy(smooth, label=f"{name}: {np.mean(losses[-50:]):.4f} after {len(losses)} steps")
axes.axhline(1 / 6, color="#888888", linestyle=":")
axes.set_xlabel("step")
axes.set_ylabel("mean squared error")
axes.legend()
plt.show()
assert np.mean(results["LSTM"][-50:]) < 0.01 < 0.14 < np.mean(results["tanh RNN"][-50:])

# %%
# Exploding, and the belt for it
# ------------------------------
# A gradient that explodes does so rarely, and then one step throws the weights so far that
# nothing can be repaired. **Clipping** scales the gradient down where its norm is above a
# limit; the direction stays. The same run twice, with plain gradient descent, ReLU, whose state
# can grow without bound, and weights that are half as large again as they should be:

for limit in (np.inf, 1.0):
    start_rng = np.random.default_rng(3)
    relu, output = RNN(2, 32, nonlinearity="relu", rng=start_rng), Linear(32, 1, rng=start_rng)
    relu.cells[0].n.W.data *= 1.5
    optimizer = SGD([*relu.parameters(), *output.parameters()], lr=0.1)
    with np.errstate(all="ignore"):  # it will overflow
        losses = [improve(relu, output, optimizer, limit) for _ in range(100)]
    print(f"clipped at {limit}: loss {losses[-1]:.3f}, {optimizer.skipped} steps without a finite gradient")

# %%
# Without clipping the second step is the last: a gradient that is not a finite number is never
# applied, and no later one is finite again.
