"""7.3 Until it is good enough"""

import warnings

import numpy as np

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.ops import tanh


# %%
class Until(Cell):
    """As often as it takes: the number of times depends on the numbers."""

    gates = "a"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        a, y = self.a(x, h), h
        while abs((new := tanh(a + y / 2)) - y).numpy().max() > 1e-9:
            y = new
        return new


class ThirtyTimes(Cell):
    """Always as often: each time halves the distance, or more, and 2**-30 is 1e-9."""

    gates = "a"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        a, y = self.a(x, h), h
        for _ in range(30):
            y = tanh(a + y / 2)
        return y


slow, fast = (Recurrent(cell, 3, 5, dtype=np.float64) for cell in (Until, ThirtyTimes))
fast.load_state_dict(slow.state_dict())
some = Tensor(np.random.default_rng(0).standard_normal((10, 4, 3)))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    first = slow(some)[0].numpy()
assert told
print(f"{len(told)} warning: it runs as a plain loop")
with warnings.catch_warnings():
    warnings.simplefilter("error")
    second = fast(some)[0].numpy()
print(f"and the other without one, {np.abs(first - second).max():.0e} apart")
assert np.abs(first - second).max() < 1e-8
# It is the better cell besides: in the first, how often a row goes round depends on the others.
