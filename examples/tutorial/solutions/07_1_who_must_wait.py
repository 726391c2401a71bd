"""7.1 Who must wait?"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Recurrent

# %%
import io
from contextlib import redirect_stdout

from tinygrad_rnn.models import GRUCell, RNNCell
from tinygrad_rnn.models.variants import MinGRUCell

counted = {}
for cell in (RNNCell, GRUCell, MinGRUCell):
    told = io.StringIO()
    with redirect_stdout(told):
        tg.explain(Recurrent(cell, 6, 8), Tensor(np.zeros((30, 4, 6), np.float32)))
    forward = told.getvalue().split("── Forward")[1].split("── Backward")[0]
    loop = forward.split("in the loop")[1].split("after the loop")[0]
    counted[cell.__name__] = loop.count("matmul(")
    print(f"{cell.__name__}: {counted[cell.__name__]}")

# h @ W must wait for h. In the GRU there are three such products, of which two read the same and
# are one product of stacked matrices; the third is gated. In a minGRU no product reads the state:
# all are made before the loop, and what is left in it goes entry by entry.
assert counted == {"RNNCell": 1, "GRUCell": 2, "MinGRUCell": 0}
