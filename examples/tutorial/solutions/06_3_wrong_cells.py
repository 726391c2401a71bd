"""6.3 Cells that are wrong"""

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import sigmoid, tanh


# %%
class Crowd(Cell):
    """Subtracts the mean over the batch: what a row becomes depends on who is beside it."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        h = tanh(self.n(x, h))
        return h - h.mean(axis=0)


try:
    tg.check_cell(Crowd, show=False)
    raise AssertionError("it has passed")
except tg.CellError as error:
    print(str(error)[:300])
    assert "row" in str(error)


class Idle(Cell):
    """Has a gate z that it does not use."""

    gates = "z n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        sigmoid(self.z(x, h))
        return tanh(self.n(x, h))


report = str(tg.check_cell(Idle, show=False))  # a note, and no error: it may be meant
print(*(line for line in report.splitlines() if "gate z" in line), sep="\n")
assert "never reaches the loss" in report
