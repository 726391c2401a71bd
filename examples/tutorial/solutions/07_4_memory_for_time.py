"""7.4 Memory for time"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.ops import tanh

# %%
import tracemalloc

from tinygrad_rnn import Parameter

T, B, H = 400, 8, 32
W = Parameter(
    np.linalg.qr(np.random.default_rng(0).standard_normal((H, H)))[0], name="W"
)
inputs = Tensor(np.random.default_rng(1).standard_normal((T, B, H)))


def peak(k: int | None) -> tuple[float, np.ndarray]:
    """The memory at its highest, in megabytes, and the gradient of W."""

    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        s = tanh(tanh(tanh(x + s @ W) * 2) * 2)
        return s, s.sum()

    W.grad = None
    tracemalloc.reset_peak()
    _, sums = tg.scan(step, Tensor(np.zeros((B, H))), inputs, checkpoint_every=k)
    sums.sum().backward()
    return tracemalloc.get_traced_memory()[1] / 1e6, W.grad


# From the least on: memory that was in use is kept to be used again, and counts as taken.
tracemalloc.start()
found, gradients = {}, []
for k in (20, 80, 5, 200, 2, None):
    found[k], gradient = peak(k)
    gradients.append(gradient)
    print(f"k = {k!s:4}: {found[k]:.1f} MB")
    assert np.allclose(gradient, gradients[0], rtol=1e-10, atol=1e-12)
tracemalloc.stop()

# T / k states are kept, and k steps are in memory while they are calculated again. The sum is least
# where the derivative by k is 0, which is at the root of T, if a step's memory is a state's. (Here
# a step has more than a state, and the best k is smaller.)
assert found[20] < found[200] < found[None]
