"""5.2 Couple the gates"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import LSTM, Recurrent

rng = np.random.default_rng(0)
xs = Tensor(rng.standard_normal((20, 4, 3)))

# %%
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import sigmoid, tanh


class CoupledCell(Cell):
    """An LSTM that keeps what it does not write."""

    gates = "i o g"
    state = "h c"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i = sigmoid(self.i(x, h))
        c = (1 - i) * c + i * tanh(self.g(x, h))
        return sigmoid(self.o(x, h)) * tanh(c), c


tg.check_cell(CoupledCell, show=False)

# 1 - sigmoid(a) is sigmoid(-a): so a full LSTM is this one where the weights of f are those of i
# with the other sign.
coupled, full = (
    Recurrent(CoupledCell, 3, 5, dtype=np.float64),
    LSTM(3, 5, dtype=np.float64),
)
one, other = coupled.cells[0], full.cells[0]
for gate, source, sign in (("i", "i", 1), ("o", "o", 1), ("g", "g", 1), ("f", "i", -1)):
    for part in "UWb":
        weights = getattr(getattr(one, source), part).data
        getattr(getattr(other, gate), part).data[...] = sign * weights
apart = np.abs(coupled(xs)[0].numpy() - full(xs)[0].numpy()).max()
print(f"{coupled.size} weights and {full.size}: {apart:.0e} apart")
assert apart < 1e-12
