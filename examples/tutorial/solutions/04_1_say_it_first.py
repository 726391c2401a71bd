"""4.1 Say it first"""

import numpy as np
from chapters import taken

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Recurrent

reach, steps_to_a_hundredth, LinearCell = taken(
    "04", "reach", "steps_to_a_hundredth", "LinearCell"
)
rng = np.random.default_rng(0)
data = Tensor(rng.standard_normal((200, 8, 4)))

# %%
# 0.9 to the power of k is 1/100 for k = log(1/100) / log(0.9).
said = np.log(1 / 100) / np.log(0.9)

linear = Recurrent(LinearCell, 4, 16, dtype=np.float64)
W = linear.cells[0].n.W.data
W[...] = rng.standard_normal(W.shape)
W *= 0.9 / np.abs(np.linalg.eigvals(W)).max()
norms = reach(linear, data)["h"]
first = steps_to_a_hundredth(norms)
later = steps_to_a_hundredth(norms[20:])
print(
    f"said {said:.1f}, measured {first} from the end, and {later} from 20 steps before it"
)

# From the end the other eigenvectors count as well, and vanish sooner.
assert abs(later - said) < 3 and first < said + 3
