"""
2. Manual backpropagation through time
======================================

Before a tape does the work, do it once by hand, as one learned it in 2015: a recurrent network for
language in plain NumPy, its gradient written out step by step. It is the best way to see what
there is to be automated, and how easily it goes wrong.
"""

import numpy as np

from tinygrad_rnn.data.relative_clauses import WORDS, corpus, entropy

# %%
# What a language model does
# --------------------------
# It reads a sentence word by word and says, at each word, how likely every word of the vocabulary
# is to come next. What it has read so far it keeps in a **state** ``s`` of H numbers. The
# sentences here come from a small grammar of 13 words, *the dog that a cat sees follows the bird
# .*, and a word, the full stop, or the sign of a beginning or an end is a **token**. One step is
#
# .. code-block:: text
#
#    s[t] = tanh(U x[t] + W s[t-1])        x[t]: the word, as a vector with a single 1
#    o[t] = softmax(V s[t])                a chance for every word
#
# ``U``, ``V`` and ``W`` are the same at every step: that is what *recurrent* means. A product
# with a vector that has a single 1 picks a column, so ``U x[t]`` is ``U[:, word]``.
#
# How good is it? Its **loss** is minus the logarithm of the chance that it gave to the word that
# came: 0 where it was certain, and more, the more it was surprised. That is the **cross-entropy**;
# the natural logarithm measures it in **nats**.


class RNN:
    """The vanilla recurrent network, by hand."""

    def __init__(self, words: int, hidden: int, rng: np.random.Generator) -> None:
        def uniform(rows: int, columns: int) -> np.ndarray:
            return np.asarray(rng.uniform(-1, 1, (rows, columns)) / np.sqrt(columns))

        self.U, self.V, self.W = (
            uniform(hidden, words),
            uniform(words, hidden),
            uniform(hidden, hidden),
        )

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States s (T+1,H), of which s[-1] is the one before the first step, and chances (T,V)."""
        s, o = np.zeros((len(x) + 1, len(self.W))), np.zeros((len(x), len(self.V)))
        for t, word in enumerate(x):
            s[t] = np.tanh(self.U[:, word] + self.W @ s[t - 1])
            scores = np.exp(self.V @ s[t])
            o[t] = scores / scores.sum()
        return s, o

    def loss(self, sentences: list[np.ndarray]) -> float:
        """Nats per token, over sentences."""
        total, count = 0.0, 0
        for x in sentences:
            _, chances = self.forward(x[:-1])
            total -= np.log(chances[np.arange(len(x) - 1), x[1:]]).sum()
            count += len(x) - 1
        return total / count


# %%
# The gradient
# ------------
# The loss of step t is ``log(sum(exp(z))) - z[right]``, with ``z = V s[t]``. By ``z`` its
# derivative is ``o[t]`` minus the vector with a 1 at the right word: the **error**. From there
# on the rules are those of chapter 1. Through the product it goes to ``V``, and, times ``V``,
# into the state ``s[t]``; through tanh, times ``1 - s[t]**2``. And ``s[t]`` depends on ``W``
# *directly*, and through ``s[t-1]``, and through ``s[t-2]``... So from each output we walk back
# through the steps, and add up what each has to say about ``U`` and ``W``. ``truncate`` stops
# the walk after so many steps back, to save time.
#
# In motion, with all walks made one (exercise 4): :doc:`/unrolled`.


def bptt(
    model: RNN, x: np.ndarray, y: np.ndarray, truncate: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of the summed loss of one sentence by U, V, W."""
    s, o = model.forward(x)
    dU, dV, dW = np.zeros_like(model.U), np.zeros_like(model.V), np.zeros_like(model.W)
    error = o.copy()
    error[np.arange(len(y)), y] -= 1
    for t in range(len(x)):
        dV += np.outer(error[t], s[t])
        delta = model.V.T @ error[t] * (1 - s[t] ** 2)
        for step in range(t, max(t - truncate, 0) - 1, -1):  # back from this output
            dW += np.outer(delta, s[step - 1])
            dU[:, x[step]] += delta
            delta = model.W.T @ delta * (1 - s[step - 1] ** 2)
    return dU, dV, dW


# %%
# Two things to check before training
# -----------------------------------
# **The first loss.** A network that knows nothing gives each of N words the same chance 1/N,
# so its loss is about log N.

model, sentences = RNN(len(WORDS), 24, np.random.default_rng(1)), corpus(300)
print(f"loss {model.loss(sentences):.3f}, log N = {np.log(len(WORDS)):.3f}")
assert abs(model.loss(sentences) - np.log(len(WORDS))) < 0.1

# %%
# **The gradient.** Move every weight a little, both ways, and compare. This must be done with a
# walk that is not truncated; the loop above is short, and every index in it could be one off.

x, y = sentences[1][:-1], sentences[1][1:]
for name, gradient in zip("UVW", bptt(model, x, y, truncate=len(x)), strict=True):
    weights, worst = getattr(model, name), 0.0
    for index in np.ndindex(weights.shape):
        kept, losses = weights[index], []
        for moved in (kept + 1e-4, kept - 1e-4):
            weights[index] = moved
            losses.append(-np.log(model.forward(x)[1][np.arange(len(y)), y]).sum())
        weights[index] = kept
        worst = max(worst, abs(gradient[index] - (losses[0] - losses[1]) / 2e-4))
    print(f"d{name}: largest difference from finite differences {worst:.1e}")
    assert worst < 1e-6

# %%
# Training: stochastic gradient descent
# -------------------------------------
# Take a sentence, take its gradient, take a small step down. The grammar's choices cannot be
# foreseen by anybody; what they leave uncertain is its **entropy**, and no model can get below
# it, on average over all sentences.

test = corpus(200, seed=1)
for epoch in range(12):
    for sentence in sentences:
        by_u, by_v, by_w = bptt(model, sentence[:-1], sentence[1:], truncate=4)
        model.U -= 0.05 * by_u
        model.V -= 0.05 * by_v
        model.W -= 0.05 * by_w
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1:2}: {model.loss(test):.3f} nats per token")
print(f"the entropy: {entropy():.3f}")
assert model.loss(test) < 1.15 * entropy()

# %%
# Let it speak
# ------------
# Draw a word from the chances, hand it back as the next input, and go on until the sentence
# ends.

rng = np.random.default_rng(2)
for _ in range(4):
    words = [0]
    while WORDS[words[-1]] != "</s>" and len(words) < 20:
        chances = model.forward(np.array(words))[1]
        words.append(int(rng.choice(len(WORDS), p=chances[-1])))
    print(" ".join(WORDS[i] for i in words[1:-1]))

# %%
# Exercises
# ---------
# 1. **A loss that is exact.** Before training, the loss is *about* log V. Change one matrix of a
#    new model so that it is exactly that. Which of the three gradients are then zero, and why?
# 2. **One off.** In ``bptt`` write ``s[step]`` for ``s[step - 1]`` in the line of ``dW``, and
#    train. Does the loss still fall? What would have told you?
# 3. **What truncating costs.** For a long sentence, and for every ``truncate`` from 0 on: how far
#    are the three gradients from the whole ones, as a share of their norm? Which of them is never
#    wrong?
# 4. **One walk.** Walking back from every output takes some T² / 2 steps. But all walks go the
#    same way. Let a single one carry the sum of what they carry, so that T steps are enough, and
#    show that the gradients are the same.
