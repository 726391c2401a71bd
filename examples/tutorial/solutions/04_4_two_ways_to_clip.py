"""4.4 Two ways to clip"""

import numpy as np

from tinygrad_rnn import Parameter
from tinygrad_rnn.optim import clip_by_norm

# %%
from tinygrad_rnn.optim import clip_by_value

gradient = np.array([10.0, 0.5, -0.5, 0.1])
cosines = {}
for clip in (clip_by_norm, clip_by_value):
    p = Parameter(np.zeros(4))
    p.grad = gradient.copy()
    clip([p], 1.0)
    cosines[clip] = (
        p.grad @ gradient / np.linalg.norm(p.grad) / np.linalg.norm(gradient)
    )
    angle = np.degrees(np.arccos(min(cosines[clip], 1)))
    print(f"{clip.__name__}: {p.grad.round(3)}, turned by {angle:.0f} degrees")

# Scaling keeps the direction. Cutting entries off takes from the large ones alone: it turns the
# gradient towards the small ones, which are now as large as it lets any be.
assert np.isclose(cosines[clip_by_norm], 1)
assert cosines[clip_by_value] < 0.9
