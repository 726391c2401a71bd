"""3.4 Where the gradient comes from"""

import numpy as np
from chapters import taken

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.data.relative_clauses import corpus

U, W, step_apart = taken("03", "U", "W", "step_apart")
sentence = max(corpus(30), key=len)

# %%
each = Parameter(np.stack([W.data] * (len(sentence) - 1)))
xs = ops.take(U, sentence[:-1])
_, logits = tg.scan(step_apart, Tensor(np.zeros(24)), (xs, each))
ops.softmax_cross_entropy(logits[-1:], sentence[-1:]).backward()

sizes = np.linalg.norm(each.grad, axis=(1, 2))[1:]  # at the first step W reads zeros
factors = sizes[:-1] / sizes[1:]
for back, (size, factor) in enumerate(
    zip(sizes[::-1], [1, *factors[::-1]], strict=True)
):
    print(
        f"{back:2} steps before the last: {size:.6f}, {factor:.2f} of the one after it"
    )

# A step back multiplies by W and the slope of tanh. Of an untrained W that is about the same factor
# every time, so the share falls as a power does: that is the subject of chapter 4.
assert 0.2 < factors.min() and factors.max() < 1
