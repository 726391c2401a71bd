"""4.2 The identity"""

import numpy as np
from chapters import taken

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import RNN

reach, memory = taken("04", "reach", "memory")
data = Tensor(np.random.default_rng(0).standard_normal((200, 8, 4)))

# %%
uniform = RNN(4, 32, dtype=np.float64, nonlinearity="relu", init="wildml")
orthogonal = RNN(4, 32, dtype=np.float64, nonlinearity="relu")
identity = RNN(4, 32, dtype=np.float64, nonlinearity="relu")
identity.cells[0].n.W.data[...] = np.eye(32)
seen = {}
for name, each in {
    "uniform": uniform,
    "orthogonal": orthogonal,
    "identity": identity,
}.items():
    seen[name] = memory(each, data)
    print(f"W {name:10} a hundredth is left after {seen[name]:3} steps of 200")

# A unit that is at 0 loses its gradient. With an orthogonal W every unit's gradient is spread over
# all of them at each step, so all of it comes by a unit at 0 sooner or later. With the identity a
# unit hands it to itself: what is in a unit that is not at 0 is kept whole.
assert seen["uniform"] < seen["orthogonal"] < seen["identity"]
