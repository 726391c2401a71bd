"""A vanilla RNN learns a noisy rule, down to the last nat that can be learnt.

Every bit is the exclusive or of the two before it, but in one case of ten the opposite. Who looks one bit back only
sees a fair coin: log 2 nats a bit. Who has found the rule needs the entropy of the noise, and nobody can do with
less. So the loss must fall from the first number to the second, and stop there.

    python examples/minimal_rnn.py
"""

import math

import numpy as np

from tinygrad_rnn import Tensor, no_grad, ops
from tinygrad_rnn.models import RNN, Linear
from tinygrad_rnn.optim import Adam

NOISE = 0.1
COIN = math.log(2)
ENTROPY = -NOISE * math.log(NOISE) - (1 - NOISE) * math.log(1 - NOISE)

rng = np.random.default_rng(0)
layer = RNN(1, 16, rng=rng)
output = Linear(16, 1, rng=rng)


def bits(steps: int, batch: int) -> np.ndarray:
    """(T,B) bits of the noisy rule."""
    rows = list(rng.random((2, batch)) < 0.5)
    for flip in rng.random((steps - 2, batch)) < NOISE:
        rows.append(rows[-1] ^ rows[-2] ^ flip)
    return np.array(rows, dtype=np.float32)


def nats_per_bit(sequence: np.ndarray) -> Tensor:
    """What the network needs for every bit that has two before it."""
    states, _ = layer(2 * sequence[1:-1, :, None] - 1)  # (T-2,B,1) of -1 and 1 -> (T-2,B,H)
    logits = output(states)[..., 0]
    return ops.binary_cross_entropy_with_logits(logits[1:], sequence[3:])


optimizer = Adam([*layer.parameters(), *output.parameters()], lr=0.01)
print(f"a fair coin {COIN:.4f}, the noise alone {ENTROPY:.4f} nats a bit\n")
for step in range(301):
    loss = nats_per_bit(bits(20, 256))
    if step % 30 == 0:
        length = round(60 * (loss.item() - ENTROPY) / (COIN - ENTROPY))
        print(f"step {step:4}   {loss.item():.4f}   |{'#' * length}")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with no_grad():
    final = nats_per_bit(bits(200, 500)).item()  # ten times longer than what it was trained on
print(f"\non 100,000 new bits: {final:.4f} nats a bit; the noise alone is {ENTROPY:.4f}")
assert abs(final - ENTROPY) < 0.01
