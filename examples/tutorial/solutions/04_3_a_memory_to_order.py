"""4.3 A memory to order"""

import numpy as np
from chapters import taken

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import LSTM

(steps_to_a_hundredth,) = taken("04", "steps_to_a_hundredth")
data = Tensor(np.random.default_rng(0).standard_normal((200, 8, 4)))

# %%
f = 0.01 ** (1 / 150)  # f to the power of 150 is a hundredth
bias = np.log(f / (1 - f))  # where the sigmoid is f
print(f"f = {f:.4f}: a forget bias of {bias:.2f}")

ordered = LSTM(
    4, 32, dtype=np.float64, forget_bias=float(bias), rng=np.random.default_rng(0)
)
with tg.trace() as tr:
    ordered(data)[0][-1].sum().backward()
forget, at_the_end = tr["0.forward.f"], tr.gradients["0.forward.c"][-1]
alone = at_the_end * np.cumprod([np.ones_like(at_the_end), *forget[:0:-1]], axis=0)
steps = steps_to_a_hundredth(np.linalg.norm(alone, axis=(1, 2)))
print(f"measured: {steps} steps")

# The gate reads inputs and states as well, and moves about its bias: so it is not 150 exactly.
assert 120 < steps < 200
