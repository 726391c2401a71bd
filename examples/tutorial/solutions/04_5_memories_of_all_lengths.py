"""4.5 Memories of all lengths"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import LSTM

data = Tensor(np.random.default_rng(0).standard_normal((200, 8, 4)))


# %%
def begun_at_all_lengths(longest: int, rng: np.random.Generator) -> LSTM:
    """A unit with forget bias log(n) keeps n / (n + 1): its time constant is about n."""
    layer = LSTM(4, 32, dtype=np.float64, rng=rng)
    bias = np.log(rng.uniform(1, longest - 1, 32))
    layer.cells[0].f.b.data[...], layer.cells[0].i.b.data[...] = bias, -bias
    return layer


for name, lstm in {
    "forget bias 1": LSTM(4, 32, dtype=np.float64, rng=np.random.default_rng(0)),
    "all lengths": begun_at_all_lengths(200, np.random.default_rng(0)),
}.items():
    with tg.trace() as tr, tg.no_grad():
        lstm(data)
    constants = np.sort(-1 / np.log(tr["0.forward.f"]).mean(axis=(0, 1)))
    spread = " ".join(f"{each:.0f}" for each in constants[[0, 8, 16, 24, 31]])
    print(f"{name}: time constants from least to largest {spread}")
assert constants[0] < 20 and constants[24] > 100 and constants[31] < 400
# To see whether it learns any faster, put such a layer into the loop of "A task that needs it",
# with `adding(200)`, several seeds each: one run says little.
