"""3.1 A bias"""

import numpy as np
from chapters import taken

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.data.relative_clauses import corpus

U, V, W = taken("03", "U", "V", "W")
sentence = max(corpus(30), key=len)

# %%
b = Parameter(np.full(24, 0.1), name="b")


def loss_with(b: Tensor) -> Tensor:
    """The loss of a sentence by a step with a bias. No line of a gradient has to be written."""

    def biased(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        s = ops.tanh(x + s @ W + b)
        return s, s @ V

    _, logits = tg.scan(biased, Tensor(np.zeros(24)), ops.take(U, sentence[:-1]))
    return ops.softmax_cross_entropy(logits, sentence[1:], reduction="sum")


U.grad = None  # it may have one from before
loss_with(b).backward()
print("the gradient of b begins", b.grad[:4].round(3))

# b is added at every step, as the row of U is. So its gradient is the sum of all deltas; that of U
# has the same deltas, each in the row of its word.
assert np.allclose(b.grad, U.grad.dense().sum(axis=0), rtol=1e-12, atol=1e-14)
assert tg.gradcheck(loss_with, b.data)
