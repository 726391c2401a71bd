"""6.5 Is it better?"""

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import sigmoid, tanh


class UpdateGate(Cell):
    """Collins, Sohl-Dickstein and Sussillo 2017, equations 5 to 7."""

    gates = "g n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        g = sigmoid(self.g(x, h))
        return g * h + (1 - g) * tanh(self.n(x, h))


# %%
fair = tg.compare(
    ["gru", UpdateGate],
    "memory",
    settings={"problem": "anbn", "epochs": 3, "hidden": 8},
    match="parameters",
    seeds=3,
    jobs=1,
)
print(fair)
assert len(fair.outcomes) == 6
# It may be said which is better in this task, at this size, after so many epochs and with this
# learning rate, if the difference is larger than the noise. Not that a cell is better: another
# task, or a rate that suits each (search=), may turn it round.
