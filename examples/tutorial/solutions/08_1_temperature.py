"""8.1 Temperature"""

import numpy as np


# %%
def chances(scores: np.ndarray, temperature: float) -> np.ndarray:
    """The scores are divided by it before the softmax."""
    raised = np.exp((scores - scores.max()) / temperature)
    return np.asarray(raised / raised.sum())


def entropy_of(p: np.ndarray) -> float:
    """In nats; what has no chance adds nothing."""
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


scores = np.array([2.0, 1.0, 0.5, -1.0])
entropies = []
for temperature in (0.01, 0.5, 1.0, 2.0, 100.0):
    p = chances(scores, temperature)
    entropies.append(entropy_of(p))
    print(f"at {temperature:6}: {p.round(3)}, entropy {entropies[-1]:.3f}")

# To 0: all for the largest score. Without end: the same for each, and the entropy is log 4. In
# between it rises: its derivative by the temperature is the variance of the scores divided by the
# temperature to the power of 3, which is never less than 0.
assert np.allclose(chances(scores, 0.01), [1, 0, 0, 0])
assert np.allclose(chances(scores, 1e9), 0.25)
assert entropies == sorted(entropies) and entropies[-1] < np.log(4)

h, p = 1e-5, chances(scores, 2.0)
slope = (entropy_of(chances(scores, 2 + h)) - entropy_of(chances(scores, 2 - h))) / (
    2 * h
)
variance = (p * scores**2).sum() - (p * scores).sum() ** 2
assert np.isclose(slope, variance / 2.0**3, rtol=1e-6)
