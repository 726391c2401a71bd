"""0.2 Where two rules meet"""

import numpy as np
from chapters import taken

op, Array, gradients, worst_of = taken("00", "op", "Array", "gradients", "worst_of")

# %%
# The larger one has all of the gradient, and of two that are equal each has half: then the shares
# add up to g everywhere, as they do for x, which maximum(x, x) is.


def share(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 where a is the larger, 0 where b is, a half where they are equal."""
    return np.asarray(0.5 * (1 + np.sign(a - b)))


maximum = op(
    np.maximum,
    lambda g, out, a, b: g * share(a.value, b.value),
    lambda g, out, a, b: g * share(b.value, a.value),
)
apart = worst_of(maximum, [(4, 3), (3,)])
print(f"{apart:.0e} from what is seen, where no two are equal")
assert apart < 1e-6

x = Array([1.0, 2.0])
(of_x,) = gradients(maximum(x, x), x)
print(f"of maximum(x, x): {of_x.value}")
assert of_x.value.tolist() == [1, 1]
