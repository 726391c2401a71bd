"""8.3 The nucleus"""

import numpy as np


# %%
def nucleus(chances: np.ndarray, p: float) -> np.ndarray:
    """The chances of the fewest words that have at least p together; the others have none."""
    order = np.argsort(-chances, kind="stable")
    together = np.cumsum(chances[order])
    kept = order[: np.searchsorted(together, p) + 1]
    left = np.zeros_like(chances)
    left[kept] = chances[kept] / chances[kept].sum()
    return left


sure = np.array([0.02, 0.90, 0.05, 0.03])
unsure = np.array([0.25, 0.30, 0.20, 0.25])
for name, row in {"where it is sure": sure, "where it is not": unsure}.items():
    print(f"{name}: {np.count_nonzero(nucleus(row, 0.7))} words of 4")
assert np.array_equal(nucleus(sure, 0.7), [0, 1, 0, 0])
assert np.count_nonzero(nucleus(unsure, 0.7)) == 3
assert np.count_nonzero(nucleus(unsure, 0.5)) == 2

# That is why it is not top-k: how many words make sense differs from place to place. In the
# library: generate(..., top_p=0.7).
for row in (sure, unsure):
    for p in (0.1, 0.5, 0.95):
        kept = nucleus(row, p) > 0
        assert row[kept].sum() >= p - 1e-12
        assert row[kept].sum() - row[kept].min() < p
