"""3.2 Chunks by hand"""

import numpy as np
from chapters import taken

from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.data.relative_clauses import corpus

U, V, W, step, loss = taken("03", "U", "V", "W", "step", "loss")
sentence = max(corpus(30), key=len)


# %%
def in_chunks(sentence: np.ndarray, k: int) -> Tensor:
    """The plain loop; at the begin of a chunk the state is a number without a past."""
    s, logits = Tensor(np.zeros(24)), []
    for t, word in enumerate(sentence[:-1]):
        if t % k == 0:
            s = s.detach()
        s, scores = step(s, ops.take(U, word))
        logits.append(scores)
    return ops.softmax_cross_entropy(ops.stack(logits), sentence[1:], reduction="sum")


for k in (1, 2, 4, 8):
    found = []
    for result in (in_chunks(sentence, k), loss(sentence, truncate=k)):
        W.grad = None
        result.backward()
        found.append(W.grad)
    apart = np.abs(found[0] - found[1]).max() / np.abs(found[1]).max()
    print(f"k={k}: {apart:.0e} apart")
    assert apart < 1e-12
