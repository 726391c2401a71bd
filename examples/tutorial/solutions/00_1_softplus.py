"""0.1 An operation more"""

import numpy as np
from chapters import taken

op, sigmoid, worst_of, first = taken("00", "op", "sigmoid", "worst_of", "first")

# %%
softplus = op(lambda x: np.log1p(np.exp(x)), lambda g, out, a: g * sigmoid(a))

apart = worst_of(softplus, [(4, 3)])
print(f"{apart:.0e} from what is seen")
assert apart < 1e-6

# The rule is written with operations: so it has rules of its own.
apart = worst_of(first(softplus), [(4, 3)])
print(f"and its second derivative {apart:.0e}")
assert apart < 1e-6
