"""
3. Autodiff replaces it
=======================

The same network as in chapter 2, with its equations and nothing else: in the plain loop over time
of chapter 0, and in ``scan``. The tape does the walk back through time, and the gradients agree to
the last digits. Then we look at what the hand-written loops were adding up, and at what truncating
cuts.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.data.relative_clauses import WORDS, corpus
from tinygrad_rnn.models import Cell
from tinygrad_rnn.optim import SGD

# %%
# The equations
# -------------
# The two lines of the textbook, for one step. (Row vectors here: ``x @ U`` instead of ``U x``, so
# every matrix is the transpose of chapter 2's. What the step calls ``x`` is the row of ``U`` that
# the word picks.)

rng = np.random.default_rng(1)
shapes = (len(WORDS), 24), (24, len(WORDS)), (24, 24)
U, V, W = (
    Parameter(rng.uniform(-1, 1, shape) / np.sqrt(shape[0]), name=name)
    for name, shape in zip("UVW", shapes, strict=True)
)


def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    s = ops.tanh(x + s @ W)
    return s, s @ V


# %%
# A plain loop over time
# ----------------------
# The loop of chapter 0, by the names of the library. ``label`` is there for the print alone. Here
# is the tape of three steps: the three matrices, and then each op with the lines that it has read.
# Line 3 is ``W``. Every step reads it, and the state of the step before.


def plain(sentence: np.ndarray) -> Tensor:
    """Cross-entropy of the words that come, summed."""
    s, logits = Tensor(np.zeros(24)), []
    for t, word in enumerate(sentence[:-1]):
        with tg.label("step", t):
            s, scores = step(s, ops.take(U, word))
        logits.append(scores)
    return ops.softmax_cross_entropy(ops.stack(logits), sentence[1:], reduction="sum")


sentence = max(corpus(30), key=len)
print(tape := tg.Tape(plain(sentence[:4])))
assert str(tape).count("#3 ") == 3

# %%
# And ``scan``
# ------------
# ``scan`` is that loop: it applies a step to one time step after another and hands the state on.
# It takes all inputs at once and gives back all outputs. What runs is something else, and faster:
# it is the subject of chapter 7.


def loss(sentence: np.ndarray, truncate: int | None = None) -> Tensor:
    """The same, and where `truncate` is given with the gradient cut."""
    xs = ops.take(U, sentence[:-1])  # (T,H): a row for each word
    _, logits = tg.scan(step, Tensor(np.zeros(24)), xs, truncate=truncate)
    return ops.softmax_cross_entropy(logits, sentence[1:], reduction="sum")


print(f"plain {plain(sentence).item():.6f}, scan {loss(sentence).item():.6f}")
assert np.isclose(plain(sentence).item(), loss(sentence).item(), rtol=1e-12)

# %%
# The gradients, side by side
# ---------------------------
# There is no gradient to write. ``backward()`` walks the tape, through all the steps. Beside it
# stands chapter 2's, by hand. (Of ``U`` only the rows of the words that came have a gradient. It
# is kept **row-sparse**, as just these rows, and ``dense()`` fills in the zeros.)
#
# The two ways side by side, in motion: :doc:`/unrolled`.


def bptt(x: np.ndarray, y: np.ndarray, truncate: int) -> tuple[np.ndarray, ...]:
    """Chapter 2's walk, for these matrices: back from every output through so many steps."""
    s, dU, dV, dW = np.zeros((len(x) + 1, 24)), *map(np.zeros, shapes)
    for t, word in enumerate(x):
        s[t] = np.tanh(U.data[word] + s[t - 1] @ W.data)
    chances = np.exp(s[:-1] @ V.data)
    error = chances / chances.sum(axis=1, keepdims=True)
    error[np.arange(len(y)), y] -= 1
    for t in range(len(x)):
        dV += np.outer(s[t], error[t])
        delta = V.data @ error[t] * (1 - s[t] ** 2)
        for step in range(t, max(t - truncate, 0) - 1, -1):
            dW += np.outer(s[step - 1], delta)
            dU[x[step]] += delta
            delta = W.data @ delta * (1 - s[step - 1] ** 2)
    return dU, dV, dW


manual = bptt(sentence[:-1], sentence[1:], truncate=len(sentence))
for way, result in {"plain": plain(sentence), "scan": loss(sentence)}.items():
    U.grad = V.grad = W.grad = None
    result.backward()
    found = (U.grad.dense(), V.grad, W.grad)
    for name, by_tape, gradient in zip("UVW", found, manual, strict=True):
        difference = np.abs(by_tape - gradient).max() / np.abs(gradient).max()
        print(f"{way:5} d{name}: {difference:.1e} from chapter 2's")
        assert difference < 1e-12

# %%
# The gradient of W is the sum over its appearances
# -------------------------------------------------
# The hand-written loop added a term to ``dW`` for every pair of an output and an earlier step.
# The tape adds one for every place where ``W`` was read: one per time step. Give each step a
# ``W`` *of its own*, with the same numbers, and the one gradient falls apart into its terms,
# which we can draw.

own = Parameter(np.stack([W.data] * (len(sentence) - 1)))


def step_apart(s: Tensor, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x, w = inputs  # w: this step's own
    s = ops.tanh(x + s @ w)
    return s, s @ V


xs = ops.take(U, sentence[:-1])
_, logits = tg.scan(step_apart, Tensor(np.zeros(24)), (xs, own))
ops.softmax_cross_entropy(logits, sentence[1:], reduction="sum").backward()
assert np.allclose(own.grad.sum(axis=0), W.grad, rtol=1e-12, atol=1e-14)

sizes = np.linalg.norm(own.grad, axis=(1, 2))
figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
axes.bar(range(len(sizes)), sizes, color="#4878a8")
words = [WORDS[i] for i in sentence[:-1]]
axes.set_xticks(range(len(words)), words, rotation=40, ha="right")
axes.set_ylabel("norm of the term")
whole = W.grad
axes.set_title(f"What each step adds to dW, which has norm {np.linalg.norm(whole):.2f}")
plt.show()

# %%
# The first bar is empty: the state before the first step is zero, so ``W`` has nothing to
# multiply there.

assert sizes[0] == 0 < sizes[1:].min()

# %%
# Truncating
# ----------
# There are two ways to cut. Chapter 2 walks back **from every output**, through ``k`` steps and
# no further (its own counted: what it calls ``truncate`` is one less). Frameworks cut the
# sequence **into chunks** of ``k`` steps. The state is handed on from chunk to chunk, but no
# gradient passes back: cheaper, and an output at the start of a chunk has no past to learn from.

print(" k   from every output   in chunks   (relative distance from the whole)")
far = {}
for k in (1, 2, 4, 8, len(sentence)):
    W.grad = None
    loss(sentence, truncate=k).backward()
    _, _, each = bptt(sentence[:-1], sentence[1:], truncate=k - 1)
    size = np.linalg.norm(whole)
    far[k] = [np.linalg.norm(g - whole) / size for g in (each, W.grad)]
    print(f"{k:2}   {far[k][0]:17.4f}   {far[k][1]:9.4f}")
assert abs(far[1][0] - far[1][1]) < 1e-12 and max(far[len(sentence)]) < 1e-12
assert far[8][0] < 0.01 and 0.15 < far[8][1] < 0.25

# %%
# For ``k`` = 1 the two are the same. At 8 the walks from every output miss next to nothing, and
# the chunks still a fifth: the outputs just after the cut have no past. With a ``k`` as long as
# the sentence both are the whole gradient.
#
# Training is the same loop as before, each of its parts a line.

optimizer = SGD([U, V, W], lr=0.05)
for _ in range(2):
    for sentence in corpus(300):
        optimizer.zero_grad()
        loss(sentence).backward()
        optimizer.step()
test = corpus(200, seed=1)
with tg.no_grad():
    nats = sum(loss(x).item() for x in test) / sum(len(x) - 1 for x in test)
print(f"after two passes: {nats:.3f} nats per token")

# %%
# What autodiff replaced, written out by it
# -----------------------------------------
# The walk that you no longer write can be had in writing. ``derive`` takes a **cell**, which is a
# step with its weights (chapter 6 is about them), and finds the equations of its backward step by
# the rules of the tape. ``s'`` is the state after the step, and ``∂⁺s'`` what comes to it from
# later steps.


class Elman(Cell):
    """The step of this chapter; what it reads is the row of U."""

    state = "s"

    def setup(self) -> None:
        self.W = Parameter(W.data, name="W")

    def step(self, x: Tensor, s: Tensor) -> Tensor:
        return ops.tanh(x + s @ self.W)


derivation = tg.derive(Elman, 24, 24)
print(derivation)

# %%
# ``δs'`` is the sum of chapter 2's ``delta`` over all outputs: one walk back for all of them
# (its exercise 4). And this is a program of it, in NumPy alone, written by the tape. On the
# command line ``tinygrad-rnn derive mycells.py:MyCell`` writes it into a file, for any cell of
# your own.

print(derivation.source)

# %%
# Does it agree with the one by hand? It is handed the gradient by its outputs, which chapter 2's
# loop had too: the error, through ``V``.

program: dict[str, Any] = {}
exec(derivation.source, program)
by_u, _, by_w = bptt(sentence[:-1], sentence[1:], truncate=len(sentence))
xs = U.data[sentence[:-1]][:, None]  # (T,B,H), with one row
states, _, saved = program["forward"]({"W": W.data}, xs, np.zeros((1, 24)))
chances = np.exp(states @ V.data)
error = chances / chances.sum(axis=-1, keepdims=True)
error[np.arange(len(xs)), 0, sentence[1:]] -= 1
weights, dxs, _ = program["backward"](
    {"W": W.data}, saved, error @ V.data.T, np.zeros((1, 24))
)
rows = np.zeros_like(by_u)
np.add.at(rows, sentence[:-1], dxs[:, 0])
for name, derived, by_hand in (("W", weights["W"], by_w), ("U", rows, by_u)):
    difference = np.abs(derived - by_hand).max() / np.abs(by_hand).max()
    print(f"d{name}: {difference:.1e} from chapter 2's")
    assert difference < 1e-12

# %%
# Exercises
# ---------
# 1. **A bias.** Give the step a ``b`` of its own, ``tanh(x + s @ W + b)``. How many lines of the
#    gradient have to be written? Say what the gradient of ``b`` is in words of chapter 2, and
#    check it with ``gradcheck``.
# 2. **Chunks by hand.** What ``truncate=k`` does is one call of ``detach`` in the plain loop.
#    Where? Show that the gradients are the same.
# 3. **From every output, by tape.** Now the other way to cut, that of chapter 2, with the tape
#    alone: let each output have a past of ``k`` steps, and no more. It is a loop in a loop.
#    Compare it with ``bptt``.
# 4. **Where the gradient comes from.** With a ``W`` of each step's own, as above, let the loss be
#    that of the *last* word alone. How does the share of a step fall with its distance? Divide
#    each by the one after it.
