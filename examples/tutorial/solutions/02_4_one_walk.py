"""2.4 One walk"""

import numpy as np
from chapters import taken

from tinygrad_rnn.data.relative_clauses import WORDS, corpus

RNN, bptt = taken("02", "RNN", "bptt")

# %%
from typing import Any

# What is carried from step t+1 to t is linear in what it began as. So the walks from all later
# outputs can be added before the step back, and not after it.


def one_walk(model: Any, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Gradients of the summed loss of one sentence by U, V, W."""
    s, o = model.forward(x)
    dU, dV, dW = np.zeros_like(model.U), np.zeros_like(model.V), np.zeros_like(model.W)
    error = o.copy()
    error[np.arange(len(y)), y] -= 1
    carried = np.zeros(len(model.W))
    for t in reversed(range(len(x))):
        dV += np.outer(error[t], s[t])
        delta = (model.V.T @ error[t] + carried) * (1 - s[t] ** 2)
        dW += np.outer(delta, s[t - 1])
        dU[:, x[t]] += delta
        carried = model.W.T @ delta
    return [dU, dV, dW]


new = RNN(len(WORDS), 24, np.random.default_rng(1))
longest = max(corpus(300), key=len)
x, y = longest[:-1], longest[1:]
every = bptt(new, x, y, truncate=len(x))
for name, a, b in zip("UVW", one_walk(new, x, y), every, strict=True):
    apart = np.abs(a - b).max() / np.abs(b).max()
    print(f"d{name}: {apart:.0e} apart")
    assert apart < 1e-12
print(f"{len(x)} steps back, and not {len(x) * (len(x) + 1) // 2}")
# This is what the tape does: it comes to each step once, when all that has read it had its turn.
