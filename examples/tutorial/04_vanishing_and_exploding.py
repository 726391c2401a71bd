"""
4. Vanishing and exploding
==========================

The gradient reaches back through time by one multiplication per step. A hundred multiplications
make almost anything either nothing or enormous. Here we measure it: why it must be so, what gates
change, and what else helps.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.inspection.surfaces import loss_surface
from tinygrad_rnn.models import GRU, LSTM, RNN, Cell, Linear, Recurrent
from tinygrad_rnn.optim import SGD, Adam, Optimizer, clip_by_norm

rng = np.random.default_rng(0)

# %%
# How far a gradient reaches
# --------------------------
# Let the loss depend on the *last* output only, and ask how large its gradient is at the states
# 1, 2, 3... steps before. A **trace** takes down every state of a layer, and its gradient.


def reach(layer: Recurrent, xs: Tensor) -> dict[str, np.ndarray]:
    """By the name of a state the norm of the gradient at it, the last step first: (T,)."""
    with tg.trace() as tr:
        outputs, _ = layer(xs)
    outputs[-1].sum().backward()
    gradients = {
        name: tr.gradients[f"0.forward.{name}"] for name in layer.cells[0].states
    }
    return {name: np.linalg.norm(g, axis=(1, 2))[::-1] for name, g in gradients.items()}


# %%
# The linear case: powers of W
# ----------------------------
# Without a squashing function, the gradient k steps back is the gradient now, times ``W``
# transposed, k times. Along an eigenvector that is the eigenvalue to the power of k. So
# everything hangs on the eigenvalue of the largest absolute value: below 1 the past vanishes,
# above 1 it explodes. The dotted lines are its powers, drawn through the value at step 20
# (before that other eigenvectors count as well); the others are measured. In a cell ``gates = "n"``
# declares ``self.n(x, h) = x @ U + b + h @ W``, with weights of its own; a layer runs its step over
# time.


class LinearCell(Cell):
    """s' = x U + b + s W, without a squashing function."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        h = self.n(x, h)
        return h


data = Tensor(rng.standard_normal((200, 8, 4)))
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for radius, color in ((0.8, "#2b6a99"), (1.0, "#555555"), (1.15, "#b5452c")):
    linear = Recurrent(LinearCell, 4, 16, dtype=np.float64)
    W = linear.cells[0].n.W.data
    W[...] = rng.standard_normal(W.shape)
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    norms = reach(linear, data[:60])["h"]
    axes.semilogy(norms, color=color, label=f"largest eigenvalue {radius}")
    axes.semilogy(norms[20] * radius ** (np.arange(60) - 20.0), ":", color=color)
axes.set(xlabel="steps back", ylabel="norm of the gradient")
figure.legend(loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %%
# A bound that is sometimes told wrongly
# --------------------------------------
# With ``s' = tanh(x U + s W)`` each step multiplies by ``W`` and by the slope of tanh, which is
# at most 1. So the norm of a step's derivative is at most the norm of **W**, which is the most by
# which it stretches a vector. A well-known
# tutorial (Britz 2015, part 3) has 1 for its bound. Here is a step where it is 1.5: about the
# zero state, where tanh is steepest, the true bound is reached.

weight = Parameter(1.5 * np.linalg.qr(rng.standard_normal((16, 16)))[0])
jacobian = tg.jacobian(lambda s: ops.tanh(s @ weight))(Tensor(np.zeros(16))).numpy()
norm, bound = (np.linalg.norm(each, 2) for each in (jacobian, weight.data))
print(f"norm of the step's derivative {norm:.4f}, norm of W {bound:.4f}")
assert 1 < norm <= bound * (1 + 1e-12)

# %%
# Gates, and how W begins
# -----------------------
# The same measurement for whole cells, untrained, on the same data. The distance at which a
# hundredth of the gradient is left is how far a cell can see: its effective memory. An LSTM has
# two states: the output ``h``, which every step makes anew, and ``c``, which it keeps. What
# counts is the one that is kept.


def steps_to_a_hundredth(norms: np.ndarray) -> int:
    """The steps until a hundredth is left, T where more is."""
    below = np.flatnonzero(norms < norms[0] / 100)
    return int(below[0]) if len(below) else len(norms)


def memory(layer: Recurrent, xs: Tensor) -> int:
    """How far back the gradient reaches at the last state of the cell: c where there is one."""
    return steps_to_a_hundredth([*reach(layer, xs).values()][-1])


layers = {
    "RNN, W uniform": RNN(4, 32, dtype=np.float64, init="wildml"),
    "RNN, W orthogonal": RNN(4, 32, dtype=np.float64),
    "RNN, ReLU, W orthogonal": RNN(4, 32, dtype=np.float64, nonlinearity="relu"),
    "RNN, W decayed": RNN(4, 32, dtype=np.float64),
    "GRU": GRU(4, 32, dtype=np.float64),
    "LSTM, forget bias 1": LSTM(4, 32, dtype=np.float64),
    "LSTM, forget bias 5": LSTM(4, 32, dtype=np.float64, forget_bias=5.0),
}
W = layers["RNN, W decayed"].cells[0].n.W
decay = SGD([W], lr=0.1, weight_decay=0.01)
size = np.linalg.norm(W.data, 2)
for _ in range(100):  # weight decay, and nothing else
    W.grad = np.zeros(W.shape)
    decay.step()
print(f"the decay leaves {np.linalg.norm(W.data, 2) / size:.2f} of W")

figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
for i, (name, layer) in enumerate(layers.items()):
    for state, norms in reach(layer, data).items():
        each = f"{name}: {state}" if "LSTM" in name else name
        style = "--" if name.startswith("RNN") else ":" if each.endswith(": h") else "-"
        axes.semilogy(norms / norms[0], style, color=f"C{i}", label=each)
    seen = memory(layer, data)
    more = "more than " if seen == len(data) else ""
    print(f"{name:24} {more}a hundredth is left after {seen:3} steps")
axes.set(xlabel="steps back", ylabel="share of the gradient", ylim=(1e-8, 1e3))
figure.legend(loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %%
# A uniform ``W`` shrinks the gradient fastest. An orthogonal one, which turns a vector and
# does not stretch it, keeps its norm, so that only the slope of tanh is lost; ReLU has slope 1 or
# 0, and loses the units that are at 0. Weight decay, which is good against fitting noise, costs
# memory: what is left of ``W`` is a factor at every step. ``h`` of an LSTM falls at once: a new
# one is made at each step. ``c`` hardly does where the forget gate is open, and its line may
# *rise* in the end: a gate that stands open is no protection against exploding.
#
# The forget gate begins at sigmoid(bias). If ``c`` were kept by that gate alone, the gradient
# would be multiplied by ``f`` at each step. It is not alone: ``c`` also makes ``h``, which makes
# the gates and the candidate of the next step, and what comes back on that way adds to it.

layer = layers["LSTM, forget bias 1"]
with tg.trace() as tr:
    layer(data)[0][-1].sum().backward()
forget, at_the_end = tr["0.forward.f"], tr.gradients["0.forward.c"][-1]
alone = at_the_end * np.cumprod([np.ones_like(at_the_end), *forget[:0:-1]], axis=0)
steps = steps_to_a_hundredth(np.linalg.norm(alone, axis=(1, 2)))
print(
    f"f is {forget.mean():.2f}: a hundredth of what it keeps alone is left after {steps} steps"
)
print(f"and of the gradient by c after {memory(layer, data)}")
assert steps < memory(layer, data)

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
    xs = np.stack([numbers, marks], axis=2).astype(np.float32)
    return Tensor(xs), (numbers * marks).sum(axis=0).astype(np.float32)


def improve(layer: Recurrent, output: Linear, way: Optimizer, limit: float) -> float:
    """One step of training by an optimiser, and its loss."""
    xs, sums = adding()
    loss = ops.mse(output(layer(xs)[0][-1]).reshape((-1,)), sums)
    way.zero_grad()
    loss.backward()
    clip_by_norm(way.parameters, limit)
    way.step()
    return float(loss.item())


figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
rng = np.random.default_rng(0)
long, results, sights = adding(200)[0], {}, {}
for layer in (RNN(2, 32), GRU(2, 32), LSTM(2, 32)):
    before, output, losses = memory(layer, long), Linear(32, 1), [1.0]
    optimizer = Adam([*layer.parameters(), *output.parameters()], lr=0.01)
    while len(losses) < 1200 and np.mean(losses[-50:]) > 0.005:
        losses.append(improve(layer, output, optimizer, limit=1.0))
    name, after = type(layer).__name__, memory(layer, long)
    error = results[name] = np.mean(losses[-50:])
    sights[name] = before, after
    print(f"{name:4} sees {before:3} steps before training, {after:3} after")
    smooth = np.convolve(losses, np.ones(25) / 25, mode="valid")
    axes.semilogy(smooth, label=f"{name}: {error:.4f} after {len(losses)} steps")
axes.axhline(1 / 6, color="#888888", linestyle=":")
axes.set(xlabel="step", ylabel="mean squared error")
figure.legend(loc="outside lower center", ncols=3, frameon=False)
plt.show()
assert results["LSTM"] < 0.01 and results["GRU"] < 0.01 and results["RNN"] > 0.14

# %%
# Before training, the GRU sees less far than the plain network. Its gates ``z`` and ``r`` are about
# 1/2. Half of the gradient stays where it is. The other half goes through the candidate: ``r``
# halves it again, the slope of tanh takes its part, and ``W`` turns it. ``W`` is the same at every
# step, so what lives longest is what it hardly turns, and there both parts add up:

norms = reach(layers["GRU"], data)["h"]
with tg.trace() as tr:
    layers["GRU"](data)
z, r, n = (tr[f"0.forward.{name}"] for name in "zrn")
stays, goes_round = z.mean(), ((1 - z) * r * (1 - n**2)).mean()
kept = (norms[15] / norms[5]) ** 0.1
print(
    f"kept {kept:.2f} a step; {stays:.2f} + {goes_round:.2f} = {stays + goes_round:.2f}"
)
assert abs(kept - stays - goes_round) < 0.04
assert sights["GRU"][0] < sights["RNN"][0] > sights["RNN"][1] < sights["GRU"][1]

# %%
# But a gate can *learn* to stay open, and then the whole sequence is in sight (200 is all we
# looked at). A plain network has nothing to open: it sees less far after training than before.
# (Stanford's course cs224n speaks of about 7 steps for a plain network and 100 for an LSTM.)
#
# Exploding, and the belt for it
# ------------------------------
# A gradient that explodes does so rarely, and then one step throws the weights so far that
# nothing can be repaired. **Clipping** scales the gradient down where its norm is above a
# limit; the direction stays. The same run twice, with plain gradient descent, ReLU, whose state
# can grow without bound, and weights that are half as large again as they should be:

for limit in (np.inf, 1.0):
    start = np.random.default_rng(3)
    relu, output = RNN(2, 32, nonlinearity="relu", rng=start), Linear(32, 1, rng=start)
    relu.cells[0].n.W.data *= 1.5
    sgd = SGD([*relu.parameters(), *output.parameters()], lr=0.1)
    with np.errstate(all="ignore"):  # it will overflow
        loss = np.mean([improve(relu, output, sgd, limit) for _ in range(100)][50:])
    print(f"clipped at {limit}: loss {loss:.3f}, {sgd.skipped} steps skipped")

# %%
# Without clipping the first step is the last that is taken: it throws the weights so far that
# the second loss is no number. A gradient that is not finite is never applied, so nothing
# moves again. Clipped, the run lives, and may go on to learn.
#
# What does a gradient that explodes look like from above? Take the smallest network that has one:
# a single unit, ``x' = w sigmoid(x) + b``, that runs for 50 steps and is to end at 0.7 (after
# Pascanu, Mikolov & Bengio 2013, figure 6). It has two weights, so its loss can be drawn as a map.

w, b = Parameter(np.array(0.0), name="w"), Parameter(np.array(0.0), name="b")


def missed() -> Tensor:
    """How far from 0.7 the unit ends, squared."""

    def step(x: Tensor, _: Tensor) -> tuple[Tensor, tuple[()]]:
        return w * ops.sigmoid(x) + b, ()

    x, _ = tg.scan(step, Tensor(np.array(0.5)), Tensor(np.zeros(50)))
    return (ops.sigmoid(x) - 0.7) ** 2


paths: dict[str, list[list[np.ndarray]]] = {}
for name, limit in (("the gradient as it is", np.inf), ("clipped at 0.2", 0.2)):
    w.data, b.data = np.array(6.5), np.array(-2.5)
    sgd, path = SGD([w, b], lr=0.5), [[w.numpy().copy(), b.numpy().copy()]]
    for _ in range(300):
        sgd.zero_grad()
        missed().backward()
        clip_by_norm([w, b], limit)
        sgd.step()
        path.append([w.numpy().copy(), b.numpy().copy()])
    paths[name] = path
    taken = [float(np.linalg.norm(np.subtract(*pair))) for pair in pairwise(path)]
    longest, usual = max(taken), np.median(taken)
    print(
        f"{name}: longest step {longest:.2f}, usual one {usual:.2f}, loss {missed().item():.4f}"
    )
    if limit == np.inf:
        assert longest > 10 * usual
    else:
        assert longest < 0.11 and missed().item() < 0.01

axes_of_w_and_b = (1.0, 0.0), (0.0, 1.0)
w_values, b_values = np.linspace(3.5, 7, 56), np.linspace(-3.6, 0.5, 42)
surface = loss_surface(
    missed, [w, b], axes_of_w_and_b, w_values, b_values, center=(0.0, 0.0)
)
surface.plot(paths, ("w", "b"))
plt.show()

# %%
# The loss is nearly flat on both sides of a wall. Below it the unit comes to rest at a small
# value, above it at a large one, and on the wall a hair's breadth decides: there the gradient is
# many times what it is elsewhere. Both ways run down the slope to the foot of the wall, and along
# it. Sooner or later a step touches it, and whoever takes the gradient as it is, is thrown across
# the map. Clipped, the way goes on where it was. (A way begins at a dot and ends at a cross.)

# %%
# Exercises
# ---------
# 1. **Say it first.** The largest eigenvalue is 0.9, and nothing is squashed. After how many steps
#    is a hundredth of the gradient left? Calculate it, then measure it with ``reach``.
# 2. **The identity.** A plain network with ReLU whose ``W`` begins as the identity matrix (Le,
#    Jaitly and Hinton 2015): how far does it see, untrained, beside one with a uniform ``W``? Why
#    does it not lose what an orthogonal one with ReLU loses?
# 3. **A memory to order.** You want a hundredth to be left after 150 steps, of what the forget
#    gate keeps alone. What must ``forget_bias`` be? Calculate it, and measure it.
# 4. **Two ways to clip.** ``clip_by_norm`` and ``clip_by_value`` both make a large gradient
#    smaller. What does each do to its direction? Measure the angle.
# 5. **Memories of all lengths.** Let every unit begin with another memory: forget biases that are
#    the logarithm of numbers drawn evenly from 1 to T - 1, and input biases minus that (Tallec and
#    Ollivier 2018, section 2). What are the time constants of the units then? Does the network
#    learn to add over 200 steps any faster?
