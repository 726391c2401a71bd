"""5.3 Two places for a gate"""

import numpy as np
from chapters import taken

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import GRU

(held,) = taken("05", "held")
rng = np.random.default_rng(0)
xs = Tensor(rng.standard_normal((20, 4, 3)))

# %%
after = GRU(3, 5, dtype=np.float64, reset="after", rng=np.random.default_rng(1))
before = GRU(3, 5, dtype=np.float64, reset="before", rng=np.random.default_rng(1))


def apart() -> float:
    """How far the outputs of the two are from each other."""
    return float(np.abs(after(xs)[0].numpy() - before(xs)[0].numpy()).max())


print(f"with gates as they are: {apart():.2f}")
assert apart() > 1e-3

# The same number for all units of a row can be taken out of the product: (r h) W = r (h W).
for layer in (after, before):
    r = layer.cells[0].r
    r.U.data[...], r.W.data[...], r.b.data[...] = 0, 0, 0.3
print(f"r the same for all units: {apart():.0e}")
assert apart() < 1e-12

# And where W mixes no units, each unit's r stays with it.
for layer in (after, before):
    layer.cells[0].r.U.data[...] = np.arange(15).reshape(3, 5) / 10
    layer.cells[0].n.W.data[...] = np.diag([0.5, 0.6, 0.7, 0.8, 0.9])
print(f"W of the candidate diagonal: {apart():.0e}")
assert apart() < 1e-12
