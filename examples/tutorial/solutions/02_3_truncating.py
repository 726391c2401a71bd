"""2.3 What truncating costs"""

import numpy as np
from chapters import taken

from tinygrad_rnn.data.relative_clauses import WORDS, corpus

RNN, bptt = taken("02", "RNN", "bptt")

# %%
new = RNN(len(WORDS), 24, np.random.default_rng(1))
longest = max(corpus(300), key=len)
x, y = longest[:-1], longest[1:]
whole = bptt(new, x, y, truncate=len(x))
far = []
for k in range(len(x)):
    cut = bptt(new, x, y, truncate=k)
    pairs = zip(cut, whole, strict=True)
    far.append([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs])
    print(f"truncate={k:2}  dU {far[k][0]:.4f}  dV {far[k][1]:.4f}  dW {far[k][2]:.4f}")

# V is read after the state: its gradient needs no walk. The others come nearer with every step, by
# a factor that is about how much of a gradient a step back leaves.
assert all(of_v == 0 for _, of_v, _ in far)
assert far[0][2] > far[2][2] > far[4][2] > far[8][2]
assert max(far[-1]) < 1e-12
