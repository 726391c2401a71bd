"""6.2 An option"""

import numpy as np
from chapters import taken

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.ops import sigmoid, tanh

(NeighbourCell,) = taken("06", "NeighbourCell")


# %%
class DistantCell(Cell):
    """A state is kept where a unit, and another at a distance, both say so."""

    gates = "a e n"

    def setup(self, distance: int = 1) -> None:
        self.distance = distance

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        e, d = sigmoid(self.e(x, h)), self.distance
        other = ops.concatenate([e[:, -d:], e[:, :-d]], axis=1) if d else e
        keep = sigmoid(self.a(x, h)) * other
        return keep * h + (1 - keep) * tanh(self.n(x, h))


for distance in (0, 3):
    tg.check_cell(DistantCell, hidden_size=4, show=False, distance=distance)

near = Recurrent(NeighbourCell, 3, 5, dtype=np.float64)
some = Tensor(np.random.default_rng(0).standard_normal((20, 4, 3)))
for distance in (1, 2):
    far = Recurrent(DistantCell, 3, 5, dtype=np.float64, distance=distance)
    far.load_state_dict(near.state_dict())
    apart = np.abs(near(some)[0].numpy() - far(some)[0].numpy()).max()
    print(f"distance {distance}: {apart:.2f} from NeighbourCell")
    assert (apart < 1e-12) == (distance == 1)

# At distance 0 one product of two gates of the same unit keeps: it is a GRU without r, whose z is
# a product. On the command line: --cell "mycells.py:DistantCell(distance=3)".
