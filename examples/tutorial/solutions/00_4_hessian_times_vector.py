"""0.4 A table that is never made"""

from typing import Any

import numpy as np
from chapters import taken

Array, gradients, sum_to, tanh = taken("00", "Array", "gradients", "sum_to", "tanh")

# %%
# The gradient of the number g · v by x, where g is the gradient and v stands still: row i of the
# table is the gradient of g[i], and the rows are added, each times v[i].


def f(x: Any) -> Any:
    return sum_to(tanh(x * x) * x, ())


def hessian_times(v: np.ndarray, x: Any) -> np.ndarray:
    (g,) = gradients(f(x), x)
    (product,) = gradients(sum_to(g * v, ()), x)
    return np.asarray(product.value)


rng = np.random.default_rng(0)
at, v = rng.uniform(0.5, 1.5, (2, 50))
product = hessian_times(v, Array(at))
moved = [
    gradients(f(x), x)[0].value for x in (Array(at + 1e-5 * v), Array(at - 1e-5 * v))
]
seen = (moved[0] - moved[1]) / 2e-5
apart = np.abs(product - seen).max() / np.abs(seen).max()
print(f"{apart:.0e} from what is seen")
assert apart < 1e-6
