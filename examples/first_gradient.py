"""A tape in your hands: what is recorded, what walking it backwards gives, and that it is right.

python examples/first_gradient.py
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops


def valley(x: Tensor) -> Tensor:
    """A smooth curve with one lowest point."""
    return x * x - 3 * ops.sin(x) + ops.exp(-x)


x = Tensor(2.0, requires_grad=True, dtype=np.float64)
y = valley(x)
print("Every op has left a line on the tape:\n")
print(tg.Tape(y))

y.backward()
by_hand = 2 * 2.0 - 3 * np.cos(2.0) - np.exp(-2.0)
print(f"\nWalked backwards it gives   dy/dx = {float(x.grad):.12f}")
print(f"and pencil and paper say            {by_hand:.12f}")

tg.gradcheck(valley, x, order=2)
print("Finite differences agree, for the first derivative and for the second.\n")

print("A derivative is a function like any other, so it can be differentiated again:\n")
slope = tg.grad(valley)
curvature = tg.grad(slope)
third = tg.grad(curvature)
print(f"  at 2:  slope {slope(x).item():+.6f}, curvature {curvature(x).item():+.6f}, third {third(x).item():+.6f}\n")

print("With both, Newton walks down into the valley; the number of right digits doubles at every step:\n")
here = Tensor(2.0, dtype=np.float64)
for step in range(6):
    print(f"  step {step}   x = {here.item():.15f}   slope {slope(here).item():+.1e}")
    here = here - slope(here) / curvature(here)

assert abs(slope(here).item()) < 1e-14
