"""6.1 From a paper"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.ops import sigmoid, tanh

# %%
from tinygrad_rnn.models.variants import UGRNNCell


class UpdateGate(Cell):
    """Collins, Sohl-Dickstein and Sussillo 2017, equations 5 to 7."""

    gates = "g n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        g = sigmoid(self.g(x, h))
        return g * h + (1 - g) * tanh(self.n(x, h))


tg.check_cell(UpdateGate, show=False)

ours, shipped = (
    Recurrent(cell, 3, 5, dtype=np.float64) for cell in (UpdateGate, UGRNNCell)
)
shipped.load_state_dict(ours.state_dict())
some = Tensor(np.random.default_rng(0).standard_normal((20, 4, 3)))
apart = np.abs(ours(some)[0].numpy() - shipped(some)[0].numpy()).max()
print(f"{apart:.0e} from the one that is shipped")
assert apart < 1e-12
