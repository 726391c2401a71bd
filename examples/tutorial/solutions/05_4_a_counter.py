"""5.4 A counter, by hand"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import LSTM

rng = np.random.default_rng(0)

# %%
# Keep all (f = 1), show or not, as you like; write where there is a one: i = 1 and g = 1 there, and
# i or g nothing where there is none. The candidate does it: its sum is 30 x, and tanh(30) is 1 to
# the last bit of a float64, tanh(0) is 0.

counter = LSTM(1, 1, dtype=np.float64)
cell = counter.cells[0]
for name, weight, bias in (("i", 0, 40), ("f", 0, 40), ("o", 0, 40), ("g", 30, 0)):
    gate = getattr(cell, name)
    gate.U.data[...], gate.W.data[...], gate.b.data[...] = weight, 0, bias

ones = rng.integers(2, size=(1000, 1, 1)).astype(float)
with tg.trace() as tr, tg.no_grad():
    counter(Tensor(ones))
c = tr["0.forward.c"]
apart = np.abs(c - ones.cumsum(axis=0)).max()
print(f"it counts to {c[-1, 0, 0]:.6f}, and {apart:.0e} is the most that it is wrong")
assert apart < 1e-9

# What limits it: the gates. With a bias of 5 the forget gate keeps 0.993, and a thousand steps
# leave a thousandth of the first one. A gate that is learned is seldom wider open than that.
cell.f.b.data[...] = 5
with tg.trace() as tr, tg.no_grad():
    counter(Tensor(ones))
print(
    f"with a forget bias of 5 it comes to {tr['0.forward.c'][-1, 0, 0]:.1f}, of {ones.sum():.0f}"
)
assert tr["0.forward.c"][-1, 0, 0] < 0.3 * ones.sum()
