"""3.4 Where the gradient comes from"""

import numpy as np
from chapters import taken

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.data.relative_clauses import WORDS, corpus

(step_apart,) = taken("03", "step_apart")

# %%
# With new weights: those of the page have been trained by now.
rng = np.random.default_rng(1)
longest = max(corpus(300), key=len)
new = rng.uniform(-1, 1, (24, 24)) / np.sqrt(24)
each = Parameter(np.stack([new] * (len(longest) - 1)))
xs = Tensor(rng.uniform(-1, 1, (len(WORDS), 24))[longest[:-1]] / np.sqrt(len(WORDS)))
_, logits = tg.scan(step_apart, Tensor(np.zeros(24)), (xs, each))
ops.softmax_cross_entropy(logits[-1:], longest[-1:]).backward()

sizes = np.linalg.norm(each.grad, axis=(1, 2))[1:]  # at the first step W reads zeros
factors = sizes[:-1] / sizes[1:]
for back, size in enumerate(sizes[::-1]):
    print(f"{back:2} steps before the last: {size:.6f}")
print("each divided by the one after it:", factors.round(2))

# A step back multiplies by W and the slope of tanh. That is about the same factor every
# time, so the share falls as a power does: that is the subject of chapter 4.
assert 0.2 < factors.min() and factors.max() < 1
