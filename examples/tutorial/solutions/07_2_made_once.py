"""7.2 Made once"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.ops import tanh

# %%
import io
from contextlib import redirect_stdout

from tinygrad_rnn import Parameter


class Narrow(Cell):
    """Reads the input through a bottleneck of two numbers."""

    gates = "n:h"

    def setup(self) -> None:
        self.A = Parameter(np.ones((self.input_size, 2)))
        self.B = Parameter(np.ones((2, self.hidden_size)))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return tanh(x @ (self.A @ self.B) + self.n(h))


told = io.StringIO()
with redirect_stdout(told):
    tg.explain(Recurrent(Narrow, 6, 8), Tensor(np.zeros((1000, 4, 6), np.float32)))
before = told.getvalue().split("── Forward")[0]
print(before)

# It reads weights alone. So it is calculated once, before the scan, and the scan is given the
# product; and the gradient of the product, summed over all steps, goes through it once.
assert "A @ B" in before
assert "A @ B" not in told.getvalue().split("in the loop")[1]
