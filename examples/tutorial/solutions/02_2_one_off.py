"""2.2 One off"""

import numpy as np
from chapters import taken

from tinygrad_rnn.data.relative_clauses import WORDS, corpus

RNN, bptt = taken("02", "RNN", "bptt")

# %%
from typing import Any


def one_off(
    model: Any, x: np.ndarray, y: np.ndarray, truncate: int
) -> list[np.ndarray]:
    """The walk of this chapter, with a mistake."""
    s, o = model.forward(x)
    dU, dV, dW = np.zeros_like(model.U), np.zeros_like(model.V), np.zeros_like(model.W)
    error = o.copy()
    error[np.arange(len(y)), y] -= 1
    for t in range(len(x)):
        dV += np.outer(error[t], s[t])
        delta = model.V.T @ error[t] * (1 - s[t] ** 2)
        for step in range(t, max(t - truncate, 0) - 1, -1):
            dW += np.outer(delta, s[step])
            dU[:, x[step]] += delta
            delta = model.W.T @ delta * (1 - s[step - 1] ** 2)
    return [dU, dV, dW]


sentences = corpus(100)
wrong_model = RNN(len(WORDS), 24, np.random.default_rng(1))
x, y = sentences[1][:-1], sentences[1][1:]
right, wrong = (f(wrong_model, x, y, truncate=len(x)) for f in (bptt, one_off))
apart = np.linalg.norm(right[2] - wrong[2]) / np.linalg.norm(right[2])
print(f"dW is {apart:.2f} of its norm from what it should be")
assert apart > 0.1

before = wrong_model.loss(sentences)
for sentence in sentences * 3:
    for name, g in zip(
        "UVW", one_off(wrong_model, sentence[:-1], sentence[1:], 4), strict=True
    ):
        getattr(wrong_model, name)[...] -= 0.05 * g
after = wrong_model.loss(sentences)
print(f"the loss falls from {before:.2f} to {after:.2f} all the same")

# A loss that falls shows nothing: U and V are right, and learn. The differences would have told.
assert after < 0.6 * before
