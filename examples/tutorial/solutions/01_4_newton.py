"""1.4 Newton's method"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor

# %%
from collections.abc import Callable
from itertools import pairwise

from tinygrad_rnn.ops import exp


def newton(f: Callable[[Tensor], Tensor], x: float, steps: int) -> list[float]:
    """The places that it goes through."""
    first = tg.grad(f)
    second = tg.grad(first)
    places = [x]
    for _ in range(steps):
        at = Tensor(np.float64(places[-1]))  # a float of Python's would become float32
        places.append(places[-1] - first(at).item() / second(at).item())
    return places


places = newton(lambda x: exp(x) - 2 * x, 0.0, 6)  # the least is where exp(x) = 2
wrong = [abs(x - np.log(2)) for x in places]
for x, error in zip(places, wrong, strict=True):
    print(f"{x:.15f}  {error:.0e} from the place")

# The number of right digits doubles: what is wrong is about half the square of what was wrong.
for before, after in pairwise(wrong[:5]):
    assert after < before**2
assert wrong[-1] < 1e-15
