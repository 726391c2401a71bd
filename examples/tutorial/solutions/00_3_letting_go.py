"""0.3 A tape that lets go"""

from typing import Any

import numpy as np
from chapters import taken

tape, Array, fitted, tanh = taken("00", "tape", "Array", "fitted", "tanh")

# %%
import weakref


def gradients_once(result: Any, *wanted: Any) -> list[Any]:
    """The walk of this page; what it has passed is gone."""
    entries = tape[:]
    tape.clear()  # what is left on it are the entries of the rules, for a second derivative
    found = {result: Array(np.ones_like(result.value))}
    walked = False
    while entries:
        out, arrays, options, rules = entries.pop()
        g = found[out] if out in wanted else found.pop(out, None)
        if g is None:
            continue
        walked = True
        for a, rule in zip(arrays, rules, strict=True):
            share = fitted(rule(g, out, *arrays, *options), a.value.shape)
            found[a] = found[a] + share if a in found else share
    if not walked:
        raise RuntimeError("the tape has let go of what this came from")
    tape.clear()
    return [found[a] for a in wanted]


x = Array(0.5)
middle = tanh(x)
alive = weakref.ref(middle)
y = middle * middle
del middle
assert alive() is not None  # the tape holds it

(of_x,) = gradients_once(y, x)
t = np.tanh(0.5)
print(f"the gradient is {of_x.value:.6f}, and should be {2 * t * (1 - t * t):.6f}")
assert np.isclose(of_x.value, 2 * t * (1 - t * t))
assert alive() is None
try:
    gradients_once(y, x)
    raise AssertionError("it went there again")
except RuntimeError as error:
    print(error)
