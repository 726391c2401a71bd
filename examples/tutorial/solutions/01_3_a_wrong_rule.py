"""1.3 A wrong rule"""

import numpy as np

import tinygrad_rnn as tg

# %%
from typing import Any

from tinygrad_rnn.tape import primitive


@primitive
def my_tanh(x: Any) -> Any:
    return np.tanh(x)


my_tanh.vjp(lambda g, out, x: g * (1 - out))  # out * out is right

try:
    tg.gradcheck(my_tanh, np.array([0.0, 0.5]))
    raise AssertionError("it has not seen it")
except tg.checks.derivatives.GradientError as error:
    print(error)

# At 0 the wrong rule is right, since out is its own square there: a check at zeros sees nothing.
tg.gradcheck(my_tanh, np.zeros(3))

my_tanh.vjp(lambda g, out, x: g * (1 - out * out))
assert tg.gradcheck(my_tanh, np.array([0.0, 0.5]), order=2)
