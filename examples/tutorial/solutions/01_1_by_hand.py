"""1.1 By hand"""

import numpy as np

from tinygrad_rnn import Parameter, Tensor

# %%
from tinygrad_rnn.ops import sigmoid

x, w = Tensor(0.5), Parameter(2.0, name="w")
s = sigmoid(w * x)
y = s * w

d_y = 1.0
d_s = d_y * w.item()  # the last line: a product hands each the other
d_w = d_y * s.item()  # the first share of w
d_product = d_s * s.item() * (1 - s.item())  # sigmoid
d_w += d_product * x.item()  # and the second

y.backward()
print(f"by hand {d_w:.6f}, by tape {w.grad:.6f}")
assert np.isclose(w.grad, d_w)
