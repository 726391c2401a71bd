"""3.3 From every output, by tape"""

import numpy as np
from chapters import taken

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.data.relative_clauses import corpus

U, V, W, step, bptt = taken("03", "U", "V", "W", "step", "bptt")
sentence = max(corpus(30), key=len)

# %%
# Once through without a tape, to have all states. Then, for each output, the k steps that lead to
# it once more, from a state without a past.


def from_every_output(sentence: np.ndarray, k: int) -> Tensor:
    """Cross-entropy, summed; no gradient goes back more than k steps from an output."""
    words, states = sentence[:-1], [Tensor(np.zeros(24))]
    with tg.no_grad():
        for word in words:
            states.append(step(states[-1], ops.take(U, word))[0])
    total = Tensor(np.float64(0))
    for t in range(len(words)):
        begin = max(t + 1 - k, 0)
        s = states[begin]
        for word in words[begin : t + 1]:
            s, scores = step(s, ops.take(U, word))
        total = total + ops.softmax_cross_entropy(scores[None], sentence[t + 1 : t + 2])
    return total


for k in (1, 2, 4, 8):
    U.grad = V.grad = W.grad = None
    from_every_output(sentence, k).backward()
    ours = (U.grad.dense(), V.grad, W.grad)
    by_hand = bptt(sentence[:-1], sentence[1:], truncate=k - 1)
    pairs = zip(ours, by_hand, strict=True)
    apart = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
    print(f"k={k}: {apart:.0e} from chapter 2's")
    assert apart < 1e-12
