"""
3. Autodiff replaces it
=======================

The same network as in chapter 2, with its equations and nothing else. The tape does the walk back
through time; the two gradients agree to the last digits. Then we look at what the hand-written
loops were adding up, and at what truncating cuts.
"""

import importlib
from contextlib import redirect_stdout
from io import StringIO

import matplotlib.pyplot as plt
import numpy as np
from grammar import WORDS, corpus

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.optim import SGD

with redirect_stdout(StringIO()):  # importing a program runs it
    chapter_2 = importlib.import_module("02_manual_bptt")

# %%
# The equations
# -------------
# ``scan`` applies a step to one time step after another and hands the state on. The step is the
# two lines of the textbook. (Row vectors here: ``x @ U`` instead of ``U x``, so every matrix is
# the transpose of chapter 2's.)

rng = np.random.default_rng(1)
by_hand = chapter_2.RNN(len(WORDS), 24, rng)
U, V, W = (Parameter(matrix.T) for matrix in (by_hand.U, by_hand.V, by_hand.W))


def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    s = ops.tanh(x + s @ W)
    return s, s @ V


def loss(sentence: np.ndarray, truncate: int | None = None) -> Tensor:
    """Cross-entropy of the words that come, summed."""
    xs = ops.take(U, sentence[:-1])  # (T,H): a row for each word
    _, logits = tg.scan(step, Tensor(np.zeros(24)), xs, truncate=truncate)
    return ops.softmax_cross_entropy(logits, sentence[1:], reduction="sum")


# %%
# Both gradients, side by side
# ----------------------------
# There is no gradient to write. ``backward()`` walks the tape, through all the steps.

sentence = max(corpus(30), key=len)
loss(sentence).backward()
manual = chapter_2.bptt(by_hand, sentence[:-1], sentence[1:], truncate=len(sentence))
for name, parameter, gradient in zip("UVW", (U, V, W), manual, strict=True):
    found = parameter.grad.dense() if isinstance(parameter.grad, tg.RowSparse) else parameter.grad
    difference = np.abs(found - gradient.T).max() / np.abs(gradient).max()
    print(f"d{name}: {difference:.1e} apart")
    assert difference < 1e-12

# %%
# The gradient of W is the sum over its appearances
# -------------------------------------------------
# The hand-written loop added a term to ``dW`` for every pair of an output and an earlier step.
# The tape adds one for every place where ``W`` was read: one per time step. Give each step a
# ``W`` *of its own*, with the same numbers, and the one gradient falls apart into its terms,
# which we can draw.

own = Parameter(np.stack([W.data] * (len(sentence) - 1)))


def step_with_its_own(s: Tensor, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x, w = inputs
    s = ops.tanh(x + s @ w)
    return s, s @ V


_, logits = tg.scan(step_with_its_own, Tensor(np.zeros(24)), (ops.take(U, sentence[:-1]), own))
ops.softmax_cross_entropy(logits, sentence[1:], reduction="sum").backward()
assert np.allclose(own.grad.sum(axis=0), W.grad, rtol=1e-12, atol=1e-14)

sizes = np.linalg.norm(own.grad, axis=(1, 2))
figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
axes.bar(range(len(sizes)), sizes, color="#4878a8")
axes.set_xticks(range(len(sizes)), [WORDS[i] for i in sentence[:-1]], rotation=40, ha="right")
axes.set_ylabel("norm of the term")
axes.set_title(f"What each step adds to dW; the sum has norm {np.linalg.norm(W.grad):.2f}")
plt.show()

# %%
# The first bar is empty: the state before the first step is zero, so ``W`` has nothing to
# multiply there.
#
# Truncating
# ----------
# There are two ways to cut. Chapter 2 walks back ``k`` steps, and no further, **from every
# output**. Frameworks cut the sequence **into chunks** of ``k`` steps and let no gradient pass
# from one to the one before: cheaper, and an output at the start of a chunk sees no past at
# all. With chunks as long as the sentence, or walks as long, both are the whole gradient.

whole = W.grad
print(" k   from every output   in chunks   (relative distance from the whole gradient)")
for k in (1, 2, 4, 8, len(sentence)):
    W.grad = None
    loss(sentence, truncate=k).backward()
    _, _, each = chapter_2.bptt(by_hand, sentence[:-1], sentence[1:], truncate=k)
    distances = [np.linalg.norm(g - whole) / np.linalg.norm(whole) for g in (each.T, W.grad)]
    print(f"{k:2}   {distances[0]:17.4f}   {distances[1]:9.4f}")
assert max(distances) < 1e-12

# %%
# Training is the same loop as before, in a line each.

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
