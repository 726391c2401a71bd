"""
1. A tape in your hands
=======================

A gradient says how much a result would change if an input changed a little. For a formula with
two inputs one can work it out with pencil and paper; a network has thousands of inputs, and its
formula is whatever your program happened to do. So let the program write down what it does, and
work out the gradient from what is written. That list is the **tape**. (Chapter 0 builds one; here
it is used.)
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor
from tinygrad_rnn.ops import tanh

# %%
# A neuron, as an expression
# --------------------------
# Take the smallest piece of a network: an input ``x``, a weight ``w``, a bias ``b``, a
# squashing function, and how far the result is from a target. A **Tensor** is an array that
# remembers where it came from; a **Parameter** is a Tensor whose gradient we shall ask for.

x = Tensor(0.5)
w = Parameter(-1.5, name="w")
b = Parameter(0.25, name="b")

y = tanh(w * x + b)
loss = (y - 1.0) ** 2
print(f"y = {y.item():.4f}, loss = {loss.item():.4f}")

# %%
# The tape
# --------
# Nothing looks different so far: the numbers are there at once. But every op left an entry
# behind, in the order in which it ran. Here is the whole tape: first the two numbers that we
# shall ask about, then a line for each op: its number, its name, and what it read, which is a
# number from a line above, a plain array (``float32[]``), such as ``x``, or a plain number. A
# leaf is an input whose gradient is asked for.

print(listed := tg.Tape(loss))
ops_by_line = [line.split()[1] for line in str(listed).splitlines()[2:]]
assert ops_by_line == "leaf leaf mul add tanh sub pow".split()

# %%
# The walk back
# -------------
# Each op knows one thing about itself: given how the loss changes with its *result*, how does
# the loss change with what it *read*? These rules are short. For a product ``c = a b``: the
# change by ``a`` is the change by ``c`` times ``b``. For ``t = tanh(s)``: the change by ``s``
# is the change by ``t`` times ``1 - t*t``.
#
# Begin with 1 at the end (the loss changes with itself one to one), go through the tape from
# the last line to the first, and apply each line's rule. By hand:

d_loss = 1.0
d_difference = d_loss * 2 * (y.item() - 1.0)  # line 7, the square: twice its base
d_y = d_difference  # line 6: subtracting a number changes nothing
d_sum = d_y * (1 - y.item() ** 2)  # line 5: tanh
d_product, d_b = d_sum, d_sum  # line 4: a sum hands the same to both
d_w = d_product * x.item()  # line 3: a product hands each the other
print(f"by hand: d loss / d w = {d_w:.6f}, d loss / d b = {d_b:.6f}")

# %%
# In a notebook, as here, a tape that is shown is drawn: each op with its value, and below it the
# gradient. The slider goes through it: forward, an op after the other, then the walk back.

tg.Tape(loss)

# %%
# ``backward()`` is this walk, and nothing more. What it finds for ``w`` and ``b`` is put in
# their ``.grad``.

loss.backward()
print(f"by tape: d loss / d w = {w.grad:.6f}, d loss / d b = {b.grad:.6f}")
assert np.isclose(w.grad, d_w) and np.isclose(b.grad, d_b)

# %%
# A value that is used twice
# --------------------------
# If a value is read twice, the loss depends on it in two ways, and the two gradients are
# **added**. Keep this one sentence: it will turn out to be all of backpropagation through time.

v = Tensor(3.0, requires_grad=True)
twice = v * v + v  # v is read three times
twice.backward()
print(f"d (v v + v) / d v at 3 = {v.grad}  (3 + 3 + 1)")
assert v.grad == 3 + 3 + 1

# %%
# Do not believe, check
# ---------------------
# There is a way to see a gradient without any rule: move an input a little, and look. It is
# slow (two evaluations for each entry of each input), but it needs no rule, so it cannot repeat
# a rule's mistake: it is how rules are tested. ``gradcheck`` does it for every entry, and raises
# an error that names the entry where rule and difference disagree.

tg.gradcheck(lambda w, b: (tanh(w * 0.5 + b) - 1.0) ** 2, -1.5, 0.25, order=2)
print("first and second derivatives agree with finite differences")

# %%
# ``order=2`` checked the gradient of the gradient too. The rules are written with the same ops
# that they are rules of, so the walk back can itself be put on a tape, and walked back again,
# to any order:

first = tg.grad(lambda v: v**4)  # 4 v^3
second = tg.grad(first)  # 12 v^2
print(f"at 2: {first(Tensor(2.0)).item():.0f} and {second(Tensor(2.0)).item():.0f}")
assert first(Tensor(2.0)).item() == 4 * 2**3
assert second(Tensor(2.0)).item() == 12 * 2**2

# %%
# Exercises
# ---------
# 1. **By hand.** ``y = sigmoid(w x) w`` reads ``w`` twice. Walk back with pencil and paper, as
#    above, line by line, for ``w = 2`` and ``x = 0.5``; then ask the tape.
# 2. **How many lines?** ``1 + v + v**2 + v**3 + v**4`` can be written as it stands, or as Horner
#    did: ``1 + v (1 + v (1 + v (1 + v)))``. Say how many lines the tape of each has before you
#    print it. Which would you rather walk back?
# 3. **A wrong rule.** Write tanh as a primitive of your own, with a rule that forgets the square.
#    What does ``gradcheck`` say, and where does it not see it? (``tinygrad_rnn.tape.primitive``
#    makes one, and its ``vjp`` takes the rule: ``help`` of it shows an example.)
# 4. **Newton's method.** Where a function is least its gradient is 0, and a step of ``- f' / f''``
#    finds the place. Write it with ``grad``, for any function of a number. How many digits are
#    right after each step?
