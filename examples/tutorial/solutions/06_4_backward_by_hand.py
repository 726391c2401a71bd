"""6.4 Its backward step, by hand"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.variants import UGRNNCell as UpdateGate

# %%
# With h' = g h + (1 - g) n, and dh' what comes to it: n has dh' (1 - g), its sum that times
# (1 - n²). g has dh' (h - n), its sum that times g (1 - g). And h has dh' g, and what comes through
# both sums by W.
derived = tg.derive(UpdateGate, input_size=3, hidden_size=5)
print(derived)
for line in ("∂h' ⊙ (1 − g) ⊙ (1 − n²)", "∂h' ⊙ (h − n) ⊙ g ⊙ (1 − g)"):
    assert line in str(derived)

# The program: `derived.save("update_gate.py")` writes it to a file; here it is run as it is.
program: dict[str, object] = {}
exec(derived.source, program)
forward, backward = program["forward"], program["backward"]
assert callable(forward) and callable(backward)

layer = Recurrent(UpdateGate, 3, 5, dtype=np.float64)
cell = layer.cells[0]
weights = {name: p.data for name, p in cell.named_parameters()}
some = np.random.default_rng(0).standard_normal((20, 4, 3))
outputs, _, saved = forward(weights, some, np.zeros((4, 5)))
by_program, _, _ = backward(weights, saved, 2 * outputs, np.zeros((4, 5)))

(layer(Tensor(some))[0] ** 2).sum().backward()
for name, p in cell.named_parameters():
    apart = np.abs(by_program[name] - p.grad).max() / np.abs(p.grad).max()
    print(f"{name}: {apart:.0e} apart")
    assert apart < 1e-12
