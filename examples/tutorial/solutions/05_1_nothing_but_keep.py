"""5.1 Nothing but keep"""

import numpy as np
from chapters import taken

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import GRU, LSTM

(held,) = taken("05", "held")
rng = np.random.default_rng(0)

# %%
xs = Tensor(rng.standard_normal((20, 4, 3)))
begin = Tensor(rng.standard_normal((1, 4, 5)))

gru = GRU(3, 5, dtype=np.float64)
held(gru, z=1)
outputs, (h,) = gru(xs, (begin,))
assert np.array_equal(h.numpy(), begin.numpy())
assert all(np.array_equal(each, begin.numpy()[0]) for each in outputs.numpy())
print("a GRU needs one gate: z says both what to keep and what not to write")

lstm = LSTM(3, 5, dtype=np.float64)
held(lstm, f=1)
_, (_, c) = lstm(xs, (begin, begin))
assert not np.allclose(c.numpy(), begin.numpy())  # it still writes
held(lstm, f=1, i=0)
_, (_, c) = lstm(xs, (begin, begin))
assert np.array_equal(c.numpy(), begin.numpy())
print("an LSTM needs two, for its cell; what it shows of that is up to the third")
