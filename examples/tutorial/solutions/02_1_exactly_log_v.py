"""2.1 A loss that is exact"""

import numpy as np
from chapters import taken

from tinygrad_rnn.data.relative_clauses import WORDS, corpus

RNN, bptt = taken("02", "RNN", "bptt")

# %%
flat, sentences = RNN(len(WORDS), 24, np.random.default_rng(1)), corpus(20)
flat.V[:] = 0  # every score is 0, whatever the state is: all words are equally likely
loss = flat.loss(sentences)
print(f"loss {loss:.12f}, log V = {np.log(len(WORDS)):.12f}")
assert np.isclose(loss, np.log(len(WORDS)), rtol=1e-12)

x = sentences[1]
sizes = [np.linalg.norm(g) for g in bptt(flat, x[:-1], x[1:], truncate=len(x))]
for name, size in zip("UVW", sizes, strict=True):
    print(f"d{name} has norm {size:.3f}")

# The error goes through V into the state, and V is zero: nothing comes to U and W. V itself reads
# the states, so it learns; after its first step the others do.
assert sizes[0] == sizes[2] == 0 < sizes[1]
